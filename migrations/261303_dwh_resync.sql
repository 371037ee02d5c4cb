-- Tables that are read anew as a whole, in chunks beside bronze: the run that does it, and one for each chunk.
--
-- Plain SQL, as 261001 explains; after 261302. May be applied again.

alter table "dwh_control".extract_runs
    drop constraint if exists extract_runs_kind_check;
alter table "dwh_control".extract_runs
    add constraint extract_runs_kind_check
        check (kind in ('run', 'backfill', 'reseed', 'repair', 'replay', 'file', 'resync', 'chunk')) not valid;
comment on column "dwh_control".extract_runs.kind is
    'run: the next window; file: a file; backfill, reseed: rows below the watermark, read again; repair: the same, in the place of what bronze has there; replay: a CSV, loaded again; resync: all of a table, in the place of what bronze has; chunk: a part of that, beside bronze. Only a run, a file and a resync move the watermark';
