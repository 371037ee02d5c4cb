-- Runs that read the keys of the source alone, and how many rows they marked or removed.
--
-- Plain SQL, as 261001 explains; after 261303. May be applied again.

alter table "dwh_control".extract_runs
    add column if not exists rows_marked bigint,
    add column if not exists rows_unmarked bigint,
    drop constraint if exists extract_runs_kind_check,
    drop constraint if exists extract_runs_loaded;
alter table "dwh_control".extract_runs
    add constraint extract_runs_kind_check
        check (kind in ('run', 'backfill', 'reseed', 'repair', 'replay', 'file', 'resync', 'chunk', 'keys')) not valid,
    -- Keys become no rows, so there is no account of them.
    add constraint extract_runs_loaded check (status <> 'loaded' or engine_version is null or kind = 'keys'
        or coalesce(rows_loaded = rows_inserted + rows_updated
            and rows_extracted = rows_loaded + rows_identical + rows_different + rows_kept_newer, false)) not valid;
comment on column "dwh_control".extract_runs.kind is
    'run: the next window; file: a file; backfill, reseed: rows below the watermark, read again; repair: the same, in the place of what bronze has there; replay: a CSV, loaded again; resync: all of a table, in the place of what bronze has; chunk: a part of that, beside bronze; keys: the keys alone, to find rows that the source has deleted. Only a run, a file and a resync move the watermark';
comment on column "dwh_control".extract_runs.rows_extracted is 'Rows in the CSV; of a run of keys, the keys';
comment on column "dwh_control".extract_runs.rows_removed is
    'Rows that bronze had and the source has no more, which a repair or a run of keys removed';
comment on column "dwh_control".extract_runs.rows_marked is
    'Rows that got a time in _deleted_at: the source has deleted them. Null: none';
comment on column "dwh_control".extract_runs.rows_unmarked is
    'Rows that lost it: the source has them again. Null: none';
