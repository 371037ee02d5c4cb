-- Runs that build a model: a SELECT whose rows become a table or a view of the warehouse.
--
-- Plain SQL, as 261001 explains; after 261601. May be applied again.

alter table "dwh_control".extract_runs
    drop constraint if exists extract_runs_kind_check;
alter table "dwh_control".extract_runs
    add constraint extract_runs_kind_check
        check (kind in ('run', 'backfill', 'reseed', 'repair', 'replay', 'file', 'resync', 'chunk', 'keys', 'model')) not valid;
comment on column "dwh_control".extract_runs.kind is
    'run: the next window; file: a file; backfill, reseed: rows below the watermark, read again; repair: the same, in the place of what bronze has there; replay: a CSV, loaded again; resync: all of a table, in the place of what bronze has; chunk: a part of that, beside bronze; keys: the keys alone, to find rows that the source has deleted; model: a SELECT of [models], of which table_name is schema and name. Only a run, a file and a resync move the watermark';
