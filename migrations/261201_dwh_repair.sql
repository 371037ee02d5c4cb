-- Runs that put a window of the source in the place of what bronze has, and how many rows they removed.
--
-- Plain SQL, as 261001 explains; after 261101. May be applied again.

alter table "dwh_control".extract_runs
    add column if not exists rows_removed bigint,
    drop constraint if exists extract_runs_kind_check;
alter table "dwh_control".extract_runs
    add constraint extract_runs_kind_check check (kind in ('run', 'backfill', 'reseed', 'repair', 'replay')) not valid;
comment on column "dwh_control".extract_runs.kind is
    'run: the next window; backfill, reseed: rows below the watermark, read again; repair: the same, in the place of what bronze has there; replay: a CSV, loaded again. Only a run moves the watermark';
comment on column "dwh_control".extract_runs.rows_removed is
    'Rows of the window that bronze had and the source has no more, which a repair removed';
