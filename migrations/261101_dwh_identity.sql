-- What a watermark belongs to, and counts that tell updated rows and kept ones apart.
--
-- Plain SQL, as 261001 explains; after 261004. May be applied again.

alter table "dwh_control".extract_watermarks
    add column if not exists origin jsonb,
    add column if not exists bronze jsonb,
    add column if not exists delivered jsonb,
    add column if not exists relations jsonb,
    add column if not exists newest_run_id bigint;
comment on column "dwh_control".extract_watermarks.origin is
    'What the watermark belongs to: project, cluster and database, relation, watermark column; null: loaded by release 0.1, filled by the next load';
comment on column "dwh_control".extract_watermarks.bronze is 'The bronze table that rows were loaded into, by oid and file';
comment on column "dwh_control".extract_watermarks.delivered is 'Columns that loads have delivered, also those that the source has lost since';
comment on column "dwh_control".extract_watermarks.relations is 'Tables that were read last, with their oids and files';
comment on column "dwh_control".extract_watermarks.newest_run_id is 'Newest run whose rows are loaded, of whatever kind but a replay';

alter table "dwh_control".extract_runs
    add column if not exists rows_updated bigint,
    add column if not exists rows_kept_newer bigint,
    add column if not exists bronze jsonb,
    add column if not exists plan_sha256 text;
alter table "dwh_control".extract_runs drop constraint if exists extract_runs_loaded;
-- Release 0.1 counted updated rows as a part of the different ones.
update "dwh_control".extract_runs
set rows_updated = rows_loaded - rows_inserted,
    rows_different = rows_different - (rows_loaded - rows_inserted),
    rows_kept_newer = 0
where status = 'loaded' and engine_version is not null and rows_updated is null;
alter table "dwh_control".extract_runs
    add constraint extract_runs_loaded check (status <> 'loaded' or engine_version is null
        or coalesce(rows_loaded = rows_inserted + rows_updated
            and rows_extracted = rows_loaded + rows_identical + rows_different + rows_kept_newer, false)) not valid;
comment on column "dwh_control".extract_runs.rows_updated is 'Rows of the CSV that replaced an older version of themselves';
comment on column "dwh_control".extract_runs.rows_different is
    'Rows of the CSV whose key was in bronze with other values, which stayed: on_conflict = "nothing"';
comment on column "dwh_control".extract_runs.rows_kept_newer is
    'Rows of the CSV that bronze has in a version of a newer snapshot, which stayed';
comment on column "dwh_control".extract_runs.bronze is 'The bronze table that it was loaded into, by oid and file';
comment on column "dwh_control".extract_runs.plan_sha256 is 'SHA-256 of the select list that was read: a backfill that was cut off goes on only with the same one';

-- A run of an incremental table without a window loaded a file that a person made: nobody knows when its rows were read.
update "dwh_control".extract_watermarks w
set newest_run_id = (select max(r.run_id) from "dwh_control".extract_runs r
    where r.table_name = w.table_name and r.status = 'loaded' and r.kind <> 'replay'
        and (r.mode is distinct from 'incremental' or r.watermark is not null))
where newest_run_id is null;
