-- The three views of the observability contract, with the manual's columns, for dashboards and alerts.
--
-- Plain SQL, as 261001 explains; after 261003, because the reader role reads them.

create or replace view "dwh_control".v_table_freshness as
select table_name,
    max(run_finished_at) as last_loaded_at,
    now() - max(run_finished_at) as lag,
    count(*) filter (where run_started_at > now() - interval '24 hours') as loads_last_24h
from "dwh_control".extract_runs
where status = 'loaded' and kind = 'run' -- a backfill makes no table fresh
group by table_name;
comment on view "dwh_control".v_table_freshness is 'How long ago each table was last loaded; alert when lag exceeds twice the cadence';
comment on column "dwh_control".v_table_freshness.table_name is 'Name of the table in dwh.toml';
comment on column "dwh_control".v_table_freshness.last_loaded_at is 'When its last successful run ended';
comment on column "dwh_control".v_table_freshness.lag is 'How long ago that was';
comment on column "dwh_control".v_table_freshness.loads_last_24h is 'Runs begun in the last 24 hours and loaded';

create or replace view "dwh_control".v_recent_failures as
select run_id, table_name, run_started_at, run_finished_at, csv_path, error_message
from "dwh_control".extract_runs
where status = 'failed' and run_started_at > now() - interval '24 hours'
order by run_started_at desc;
comment on view "dwh_control".v_recent_failures is 'Runs of the last 24 hours that failed and were not loaded since; alert on any row';
comment on column "dwh_control".v_recent_failures.run_id is 'Number of the run';
comment on column "dwh_control".v_recent_failures.table_name is 'Name of the table in dwh.toml';
comment on column "dwh_control".v_recent_failures.run_started_at is 'When it began';
comment on column "dwh_control".v_recent_failures.run_finished_at is 'When it failed';
comment on column "dwh_control".v_recent_failures.csv_path is 'Its CSV, if it got so far';
comment on column "dwh_control".v_recent_failures.error_message is 'What went wrong';

create or replace view "dwh_control".v_watermark_lag as
select table_name, last_extracted_at, last_loaded_at, rows_loaded_last_run,
    now() - last_loaded_at as load_lag,
    now() - last_extracted_at as extract_lag
from "dwh_control".extract_watermarks;
comment on view "dwh_control".v_watermark_lag is 'Extract lag against load lag: tells a table without new rows from one that is stuck';
comment on column "dwh_control".v_watermark_lag.table_name is 'Name of the table in dwh.toml';
comment on column "dwh_control".v_watermark_lag.last_extracted_at is 'Every row stamped up to here is loaded';
comment on column "dwh_control".v_watermark_lag.last_loaded_at is 'When a run was last loaded';
comment on column "dwh_control".v_watermark_lag.rows_loaded_last_run is 'Rows that it inserted or updated';
comment on column "dwh_control".v_watermark_lag.load_lag is 'How long ago that was';
comment on column "dwh_control".v_watermark_lag.extract_lag is 'How far the watermark lies behind now';

alter view "dwh_control".v_table_freshness owner to "dwh_owner";
alter view "dwh_control".v_recent_failures owner to "dwh_owner";
alter view "dwh_control".v_watermark_lag owner to "dwh_owner";
grant select on all tables in schema "dwh_control" to "grafana_ro";
