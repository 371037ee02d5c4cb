-- The control schema: how far each table has come, and what every run did.
--
-- Plain SQL. `dwh migrate` applies it; by hand, as a superuser or a role that may create schemas and roles:
--   psql -v ON_ERROR_STOP=1 --single-transaction -f 261001_dwh_control.sql
-- Four names stand for those of [target] in dwh.toml: dwh_control, bronze, dwh_owner and grafana_ro; in double quotes
-- where SQL wants an identifier, in single quotes where it wants a text. `dwh migrate --print-sql` puts in yours.
-- May be applied again: what is there stays, also tables made by the manual's own files, which only get more columns.

do $dwh$
declare
    problems text[] := '{}';
    remedies text[] := '{}';
    me constant pg_catalog.pg_roles := (select r from pg_catalog.pg_roles r where r.rolname = current_user);
    wanted text;
    owned_by oid;
begin
    foreach wanted in array array['dwh_owner', 'grafana_ro'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = wanted) and not (me.rolsuper or me.rolcreaterole) then
            problems := problems || pg_catalog.format('role "%s" is missing, and "%s" may not create roles', wanted, current_user);
            remedies := remedies || pg_catalog.format('create role %I nologin;', wanted);
        end if;
    end loop;
    if not (me.rolsuper or me.rolcreaterole)
        and not exists (select from pg_catalog.pg_roles where rolname = 'dwh_owner' and pg_catalog.pg_has_role(oid, 'usage')) then
        problems := problems || pg_catalog.format('"%s" is not a member of role "%s"', current_user, 'dwh_owner');
        remedies := remedies || pg_catalog.format('grant %I to %I;', 'dwh_owner', current_user);
    end if;
    foreach wanted in array array['dwh_control', 'bronze'] loop
        owned_by := (select nspowner from pg_catalog.pg_namespace where nspname = wanted);
        if owned_by is null and not pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') then
            problems := problems || pg_catalog.format('schema "%s" is missing, and "%s" may not create schemas in database "%s"',
                wanted, current_user, pg_catalog.current_database());
            remedies := remedies || pg_catalog.format('create schema %I authorization %I;', wanted, 'dwh_owner');
        elsif owned_by is not null and not pg_catalog.pg_has_role(owned_by, 'usage') then
            problems := problems || pg_catalog.format('schema "%s" belongs to "%s", of which "%s" is no member',
                wanted, pg_catalog.pg_get_userbyid(owned_by), current_user);
            remedies := remedies || pg_catalog.format('alter schema %I owner to %I;', wanted, 'dwh_owner');
        end if;
    end loop;
    if problems <> '{}' then
        raise exception using
            message = E'the warehouse is not prepared:\n  - ' || pg_catalog.array_to_string(problems, E'\n  - '),
            hint = E'a superuser of the target runs:\n' || pg_catalog.array_to_string(remedies, E'\n');
    end if;
    foreach wanted in array array['dwh_control', 'bronze'] loop
        -- `create schema if not exists` asks for the right to create one even when it is there.
        if not exists (select from pg_catalog.pg_namespace where nspname = wanted) then
            execute pg_catalog.format('create schema %I', wanted);
        end if;
    end loop;
end
$dwh$;

comment on schema "dwh_control" is 'Watermarks and run log of dwh';
comment on schema "bronze" is 'Tables copied by dwh, as they are at the source';

create table if not exists "dwh_control".schema_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default pg_catalog.now(),
    engine_version text not null
);
comment on table "dwh_control".schema_migrations is 'Migrations that were applied; a row is never changed';
comment on column "dwh_control".schema_migrations.name is 'File name';
comment on column "dwh_control".schema_migrations.checksum is 'SHA-256 of the file with the configured names put in';
comment on column "dwh_control".schema_migrations.applied_at is 'When it was applied';
comment on column "dwh_control".schema_migrations.engine_version is 'Version of dwh that applied it';

create table if not exists "dwh_control".extract_watermarks (
    table_name text primary key,
    last_extracted_at timestamptz not null default '2000-01-01T00:00:00Z',
    last_loaded_at timestamptz,
    rows_loaded_last_run bigint
);
alter table "dwh_control".extract_watermarks
    add column if not exists last_run_id bigint,
    add column if not exists snapshot_xmin bigint,
    add column if not exists read_high timestamptz,
    add column if not exists source_system_identifier text,
    add column if not exists source_timeline bigint,
    add column if not exists source_clock timestamptz,
    add column if not exists undrained jsonb,
    add column if not exists lease_holder text,
    add column if not exists lease_since timestamptz;
comment on table "dwh_control".extract_watermarks is 'How far each table has come; one row a table';
comment on column "dwh_control".extract_watermarks.table_name is 'Name of the table in dwh.toml';
comment on column "dwh_control".extract_watermarks.last_extracted_at is
    'Every row stamped up to here is loaded; the next run reads what is later. 2000-01-01 UTC: nothing yet. Set it back to read again: rows that are there are not doubled';
comment on column "dwh_control".extract_watermarks.last_loaded_at is 'When a run was last loaded';
comment on column "dwh_control".extract_watermarks.rows_loaded_last_run is 'Rows that it inserted or updated';
comment on column "dwh_control".extract_watermarks.last_run_id is 'The run that set this row; a load compares it before it moves the watermark';
comment on column "dwh_control".extract_watermarks.snapshot_xmin is 'xmin of the snapshot that was loaded last: row versions of transactions from it on may be new';
comment on column "dwh_control".extract_watermarks.read_high is 'Upper end of what was read last; rows up to here may be loaded already';
comment on column "dwh_control".extract_watermarks.source_system_identifier is 'Cluster that it was read from';
comment on column "dwh_control".extract_watermarks.source_timeline is 'Timeline of that cluster';
comment on column "dwh_control".extract_watermarks.source_clock is 'Highest clock reading of the source so far';
comment on column "dwh_control".extract_watermarks.undrained is 'Transactions that could not be seen to end yet; the next run goes on with them';
comment on column "dwh_control".extract_watermarks.lease_holder is 'Who works on the table now: host and process. For people; what counts is an advisory lock';
comment on column "dwh_control".extract_watermarks.lease_since is 'Since when';

create table if not exists "dwh_control".extract_runs (
    run_id bigint generated always as identity primary key,
    table_name text not null,
    run_started_at timestamptz not null default pg_catalog.now(),
    run_finished_at timestamptz,
    status text not null,
    rows_extracted bigint,
    rows_loaded bigint,
    csv_path text,
    error_message text
);
alter table "dwh_control".extract_runs
    add column if not exists mode text,
    add column if not exists window_low timestamptz,
    add column if not exists window_high timestamptz,
    add column if not exists watermark timestamptz,
    add column if not exists bound jsonb,
    add column if not exists bytes bigint,
    add column if not exists sha256 text,
    add column if not exists rows_inserted bigint,
    add column if not exists rows_identical bigint,
    add column if not exists rows_different bigint,
    add column if not exists rows_late bigint,
    add column if not exists attempt integer not null default 1,
    add column if not exists host text,
    add column if not exists engine_version text,
    add column if not exists _task_instance text,
    add column if not exists kind text not null default 'run' check (kind in ('run', 'backfill', 'reseed', 'replay'));
-- Not valid: rows of the manual's own workflows, written before, are left as they are.
alter table "dwh_control".extract_runs
    drop constraint if exists extract_runs_status,
    drop constraint if exists extract_runs_finished,
    drop constraint if exists extract_runs_failed,
    drop constraint if exists extract_runs_uploaded,
    drop constraint if exists extract_runs_loaded,
    drop constraint if exists extract_runs_values,
    add constraint extract_runs_status check (status in ('extracting', 'uploaded', 'loading', 'loaded', 'failed')) not valid,
    add constraint extract_runs_finished check ((run_finished_at is not null) = (status in ('loaded', 'failed'))) not valid,
    add constraint extract_runs_failed check (status <> 'failed' or error_message is not null) not valid,
    add constraint extract_runs_uploaded check (status <> 'uploaded'
        or (rows_extracted is not null and (csv_path is not null or rows_extracted = 0))) not valid,
    add constraint extract_runs_loaded check (status <> 'loaded' or engine_version is null
        or (rows_loaded is not null and rows_extracted = rows_inserted + rows_identical + rows_different)) not valid,
    add constraint extract_runs_values check (mode in ('incremental', 'snapshot', 'scd') and window_low <= window_high
        and attempt >= 1 and bytes >= 0 and rows_extracted >= 0 and rows_loaded >= 0 and sha256 ~ '^[0-9a-f]{64}$') not valid;
comment on table "dwh_control".extract_runs is 'The run log: one row a run, from extracting to loaded or failed';
comment on column "dwh_control".extract_runs.run_id is 'Number of the run';
comment on column "dwh_control".extract_runs.table_name is 'Name of the table in dwh.toml';
comment on column "dwh_control".extract_runs.run_started_at is 'now() of the target when it began';
comment on column "dwh_control".extract_runs.run_finished_at is 'When it was loaded or failed';
comment on column "dwh_control".extract_runs.status is
    'extracting: the CSV may be partly written; uploaded: it is complete; loading: the load began; loaded: rows and watermark are committed; failed: see error_message';
comment on column "dwh_control".extract_runs.rows_extracted is 'Rows in the CSV';
comment on column "dwh_control".extract_runs.rows_loaded is 'Rows inserted or updated in bronze';
comment on column "dwh_control".extract_runs.csv_path is 'Address of the CSV when it was written, null when there was no row; once loaded it lies under processed/';
comment on column "dwh_control".extract_runs.error_message is 'What went wrong, one line';
comment on column "dwh_control".extract_runs.kind is
    'run: the next window; backfill, reseed: rows below the watermark, read again; replay: a CSV, loaded again. Only a run moves the watermark';
comment on column "dwh_control".extract_runs.mode is 'incremental, snapshot or scd';
comment on column "dwh_control".extract_runs.window_low is 'Lower end of what was read, exclusive; null: from the first row on';
comment on column "dwh_control".extract_runs.window_high is 'Upper end of what was read, inclusive';
comment on column "dwh_control".extract_runs.watermark is 'Where last_extracted_at moves when it is loaded; of a backfill or reseed, which never moves it, the end of the whole range';
comment on column "dwh_control".extract_runs.bound is 'What held the watermark back: the rule, and the session or transaction';
comment on column "dwh_control".extract_runs.bytes is 'Bytes of the CSV, uncompressed';
comment on column "dwh_control".extract_runs.sha256 is 'SHA-256 of the CSV, uncompressed';
comment on column "dwh_control".extract_runs.rows_inserted is 'Rows of the CSV that were new in bronze';
comment on column "dwh_control".extract_runs.rows_identical is 'Rows of the CSV that were in bronze already, byte for byte';
comment on column "dwh_control".extract_runs.rows_different is 'Rows of the CSV whose key was in bronze with other values, updated or not';
comment on column "dwh_control".extract_runs.rows_late is 'Rows of the CSV below the window, which became visible late';
comment on column "dwh_control".extract_runs.attempt is 'How often its load was begun after a failure, counted from 1';
comment on column "dwh_control".extract_runs.host is 'Machine and process that ran it';
comment on column "dwh_control".extract_runs.engine_version is 'Version of dwh that ran it';
comment on column "dwh_control".extract_runs._task_instance is 'The orchestrator''s own name of the run, when it gave one';

create index if not exists extract_runs_of_table on "dwh_control".extract_runs (table_name, run_id desc);
create index if not exists extract_runs_open on "dwh_control".extract_runs (table_name) where status not in ('loaded', 'failed');
create index if not exists extract_runs_failures on "dwh_control".extract_runs (run_started_at) where status = 'failed';

create table if not exists "dwh_control".table_contracts (
    table_name text primary key,
    target_schema text not null,
    target_table text not null,
    mode text not null,
    key_columns text[] not null
);
comment on table "dwh_control".table_contracts is 'What dwh.toml says of each table, for the audits; written by `dwh migrate`';
comment on column "dwh_control".table_contracts.table_name is 'Name of the table in dwh.toml';
comment on column "dwh_control".table_contracts.target_schema is 'Schema of the bronze table';
comment on column "dwh_control".table_contracts.target_table is 'Name of the bronze table';
comment on column "dwh_control".table_contracts.mode is 'incremental, snapshot or scd';
comment on column "dwh_control".table_contracts.key_columns is 'Natural key: what ON CONFLICT names';
