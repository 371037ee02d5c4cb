-- What kind of error ended a run, so that a run that somebody stopped is not counted as a failure.
--
-- Plain SQL, as 261001 explains; after 261101. May be applied again.

alter table "dwh_control".extract_runs add column if not exists error_code text;
comment on column "dwh_control".extract_runs.error_code is
    'Stable word of the error of a failed run; interrupted: somebody stopped it, which is no failure; null: its process died';

create or replace view "dwh_control".v_recent_failures as
select run_id, table_name, run_started_at, run_finished_at, csv_path, error_message
from "dwh_control".extract_runs
where status = 'failed' and error_code is distinct from 'interrupted' and run_started_at > now() - interval '24 hours'
order by run_started_at desc;
comment on view "dwh_control".v_recent_failures is
    'Runs of the last 24 hours that failed and were not loaded since, but for those that somebody stopped; alert on any row';
alter view "dwh_control".v_recent_failures owner to "dwh_owner";
