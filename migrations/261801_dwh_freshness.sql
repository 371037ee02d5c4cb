-- The view of freshness knows tables that come out of files, and those that were read anew as a whole.
--
-- Plain SQL, as 261001 explains; after 261701. May be applied again.

create or replace view "dwh_control".v_table_freshness as
select table_name,
    max(run_finished_at) as last_loaded_at,
    now() - max(run_finished_at) as lag,
    count(*) filter (where run_started_at > now() - interval '24 hours') as loads_last_24h
from "dwh_control".extract_runs
where status = 'loaded' and kind in ('run', 'file', 'resync') -- a backfill makes no table fresh
group by table_name;
comment on view "dwh_control".v_recent_failures is
    'Runs of the last 24 hours that failed, but for those that somebody stopped; also those whose table was loaded since by a newer run';

alter view "dwh_control".v_table_freshness owner to "dwh_owner";
grant select on "dwh_control".v_table_freshness to "grafana_ro";
