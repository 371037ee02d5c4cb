-- Tables that come out of files: which file a run read, in which version, and how many of its records were rejected.
--
-- Plain SQL, as 261001 explains; after 261301. May be applied again.

alter table "dwh_control".extract_runs
    add column if not exists file jsonb,
    drop constraint if exists extract_runs_kind_check,
    drop constraint if exists extract_runs_values;
alter table "dwh_control".extract_runs
    add constraint extract_runs_kind_check
        check (kind in ('run', 'backfill', 'reseed', 'repair', 'replay', 'file')) not valid,
    add constraint extract_runs_values check (mode in ('incremental', 'snapshot', 'scd', 'files') and window_low <= window_high
        and attempt >= 1 and bytes >= 0 and rows_extracted >= 0 and rows_loaded >= 0 and sha256 ~ '^[0-9a-f]{64}$') not valid;
comment on column "dwh_control".extract_runs.kind is
    'run: the next window; file: a file; backfill, reseed: rows below the watermark, read again; repair: the same, in the place of what bronze has there; replay: a CSV, loaded again. Only a run and a file move the watermark';
comment on column "dwh_control".extract_runs.mode is 'incremental, snapshot, scd or files';
comment on column "dwh_control".extract_runs.file is
    'The file that was read: path below the source, bytes, modified, sha256 once it was read to its end, and how many of its records were rejected';
comment on column "dwh_control".table_contracts.mode is 'incremental, snapshot, scd or files';
