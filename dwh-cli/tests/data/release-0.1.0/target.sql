--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: bronze; Type: SCHEMA; Schema: -; Owner: dwh_owner
--

CREATE SCHEMA bronze;


ALTER SCHEMA bronze OWNER TO dwh_owner;

--
-- Name: SCHEMA bronze; Type: COMMENT; Schema: -; Owner: dwh_owner
--

COMMENT ON SCHEMA bronze IS 'Tables copied by dwh, as they are at the source';


--
-- Name: dwh_control; Type: SCHEMA; Schema: -; Owner: dwh_owner
--

CREATE SCHEMA dwh_control;


ALTER SCHEMA dwh_control OWNER TO dwh_owner;

--
-- Name: SCHEMA dwh_control; Type: COMMENT; Schema: -; Owner: dwh_owner
--

COMMENT ON SCHEMA dwh_control IS 'Watermarks and run log of dwh';


--
-- Name: audit_keys(); Type: FUNCTION; Schema: dwh_control; Owner: dwh_owner
--

CREATE FUNCTION dwh_control.audit_keys() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    problems text[] := '{}';
    remedies text[] := '{}';
    contract record;
    relation regclass;
    nullable text;
begin
    for contract in select * from "dwh_control".table_contracts order by table_name loop
        relation := pg_catalog.to_regclass(pg_catalog.format('%I.%I', contract.target_schema, contract.target_table));
        if relation is null then
            problems := problems || pg_catalog.format('table "%s": %s.%s is missing',
                contract.table_name, contract.target_schema, contract.target_table);
            remedies := remedies || pg_catalog.format(
                '-- run `dwh migrate`; or, when it is no longer copied: delete from %I.table_contracts where table_name = %L;',
                'dwh_control', contract.table_name);
            continue;
        end if;
        -- The same rule as the engine's: exactly these columns, and nothing that ON CONFLICT would not take.
        continue when contract.mode <> 'incremental' or exists (
            select from pg_catalog.pg_index i
            where i.indrelid = relation and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
                and i.indnkeyatts = pg_catalog.cardinality(contract.key_columns)
                and (select pg_catalog.count(*) from pg_catalog.pg_attribute a
                    where a.attrelid = relation and a.attname = any (contract.key_columns)
                        and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                        and (a.attnotnull or (pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean)
                ) = i.indnkeyatts);
        problems := problems || pg_catalog.format(
            'table "%s": %s.%s has no PRIMARY KEY or UNIQUE over (%s) that is valid, not deferrable, not partial and without NULLs',
            contract.table_name, contract.target_schema, contract.target_table,
            pg_catalog.array_to_string(contract.key_columns, ', '));
        remedies := remedies || pg_catalog.format('alter table %s add %s (%s);', relation,
            case when exists (select from pg_catalog.pg_constraint where conrelid = relation and contype = 'p')
                then 'unique' else 'primary key' end,
            (select pg_catalog.string_agg(pg_catalog.quote_ident(name), ', ' order by place)
                from pg_catalog.unnest(contract.key_columns) with ordinality u(name, place)));
        for nullable in select attname from pg_catalog.pg_attribute
            where attrelid = relation and attname = any (contract.key_columns) and not attnotnull order by attnum
        loop
            remedies := remedies || pg_catalog.format('alter table %s alter column %I set not null;', relation, nullable);
        end loop;
    end loop;
    if problems <> '{}' then
        raise exception using
            message = E'keys are missing in bronze:\n  - ' || pg_catalog.array_to_string(problems, E'\n  - '),
            hint = E'in the target:\n' || pg_catalog.array_to_string(remedies, E'\n');
    end if;
end
$$;


ALTER FUNCTION dwh_control.audit_keys() OWNER TO dwh_owner;

--
-- Name: FUNCTION audit_keys(); Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON FUNCTION dwh_control.audit_keys() IS 'Raises with a list when a table of table_contracts has no unique key that ON CONFLICT could use';


--
-- Name: audit_roles(); Type: FUNCTION; Schema: dwh_control; Owner: dwh_owner
--

CREATE FUNCTION dwh_control.audit_roles() RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    problems text[] := '{}';
    remedies text[] := '{}';
    wanted text;
    thing record;
begin
    foreach wanted in array array['dwh_owner', 'grafana_ro'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
            problems := problems || pg_catalog.format('role "%s" is missing', wanted);
            remedies := remedies || pg_catalog.format('create role %I nologin;', wanted);
        end if;
    end loop;
    for thing in select * from pg_catalog.pg_roles where rolname in ('dwh_owner', 'grafana_ro')
        and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls) order by rolname
    loop
        problems := problems || pg_catalog.format('role "%s" may do more than it needs: superuser, createrole, createdb, replication or bypassrls', thing.rolname);
        remedies := remedies || pg_catalog.format('alter role %I nosuperuser nocreaterole nocreatedb noreplication nobypassrls;', thing.rolname);
    end loop;
    if problems = '{}' then
        if pg_catalog.pg_has_role('grafana_ro', 'dwh_owner', 'member') then
            problems := problems || pg_catalog.format('role "%s" is a member of "%s", so it may write', 'grafana_ro', 'dwh_owner');
            remedies := remedies || pg_catalog.format('revoke %I from %I;', 'dwh_owner', 'grafana_ro');
        end if;
        for thing in select n.* from pg_catalog.pg_namespace n where n.nspname in ('dwh_control', 'bronze')
            or n.nspname in (select target_schema from "dwh_control".table_contracts) order by n.nspname
        loop
            if thing.nspowner <> pg_catalog.quote_ident('dwh_owner')::pg_catalog.regrole then
                problems := problems || pg_catalog.format('schema "%s" belongs to "%s", not to "%s"', thing.nspname, pg_catalog.pg_get_userbyid(thing.nspowner), 'dwh_owner');
                remedies := remedies || pg_catalog.format('alter schema %I owner to %I;', thing.nspname, 'dwh_owner');
            end if;
            if not pg_catalog.has_schema_privilege('grafana_ro', thing.oid, 'usage') then
                problems := problems || pg_catalog.format('role "%s" may not use schema "%s"', 'grafana_ro', thing.nspname);
                remedies := remedies || pg_catalog.format('grant usage on schema %I to %I;', thing.nspname, 'grafana_ro');
            end if;
            if pg_catalog.has_schema_privilege('grafana_ro', thing.oid, 'create') then
                problems := problems || pg_catalog.format('role "%s" may create objects in schema "%s"', 'grafana_ro', thing.nspname);
                remedies := remedies || pg_catalog.format('revoke create on schema %I from %I, public;', thing.nspname, 'grafana_ro');
            end if;
        end loop;
        -- In other people's schemas only the tables that are copied count.
        for thing in select c.oid, c.oid::pg_catalog.regclass as name, c.relowner from pg_catalog.pg_class c
            join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where c.relkind in ('r', 'p', 'v', 'm', 'f')
                and (n.nspname in ('dwh_control', 'bronze') or (n.nspname, c.relname) in (
                    select target_schema, target_table from "dwh_control".table_contracts))
                and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid
                    and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype = 'e')
            order by n.nspname, c.relname
        loop
            if thing.relowner <> pg_catalog.quote_ident('dwh_owner')::pg_catalog.regrole then
                problems := problems || pg_catalog.format('%s belongs to "%s", not to "%s"', thing.name, pg_catalog.pg_get_userbyid(thing.relowner), 'dwh_owner');
                remedies := remedies || pg_catalog.format('alter table %s owner to %I;', thing.name, 'dwh_owner');
            end if;
            if not pg_catalog.has_table_privilege('grafana_ro', thing.oid, 'select') then
                problems := problems || pg_catalog.format('role "%s" may not read %s', 'grafana_ro', thing.name);
                remedies := remedies || pg_catalog.format('grant select on %s to %I;', thing.name, 'grafana_ro');
            end if;
            if pg_catalog.has_table_privilege('grafana_ro', thing.oid, 'insert, update, delete, truncate') then
                problems := problems || pg_catalog.format('role "%s" may write %s', 'grafana_ro', thing.name);
                remedies := remedies || pg_catalog.format('revoke insert, update, delete, truncate on %s from %I, public;', thing.name, 'grafana_ro');
            end if;
        end loop;
    end if;
    if problems <> '{}' then
        raise exception using
            message = E'the role contract does not hold:\n  - ' || pg_catalog.array_to_string(problems, E'\n  - '),
            hint = E'a superuser of the target runs:\n' || pg_catalog.array_to_string(remedies, E'\n');
    end if;
end
$$;


ALTER FUNCTION dwh_control.audit_roles() OWNER TO dwh_owner;

--
-- Name: FUNCTION audit_roles(); Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON FUNCTION dwh_control.audit_roles() IS 'Raises with a list when owner and reader role do not have exactly the rights that they need';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: devices; Type: TABLE; Schema: bronze; Owner: dwh_owner
--

CREATE TABLE bronze.devices (
    imei text NOT NULL,
    name text
);


ALTER TABLE bronze.devices OWNER TO dwh_owner;

--
-- Name: drivers; Type: TABLE; Schema: bronze; Owner: dwh_owner
--

CREATE TABLE bronze.drivers (
    id integer NOT NULL,
    name text NOT NULL,
    born date,
    _uploaded_at timestamp with time zone NOT NULL
);


ALTER TABLE bronze.drivers OWNER TO dwh_owner;

--
-- Name: events; Type: TABLE; Schema: bronze; Owner: dwh_owner
--

CREATE TABLE bronze.events (
    id bigint NOT NULL,
    note text,
    amount numeric,
    recorded_at timestamp with time zone NOT NULL
);


ALTER TABLE bronze.events OWNER TO dwh_owner;

--
-- Name: trips; Type: TABLE; Schema: bronze; Owner: dwh_owner
--

CREATE TABLE bronze.trips (
    id integer NOT NULL,
    state text NOT NULL,
    distance_km double precision,
    updated_at timestamp with time zone NOT NULL
);


ALTER TABLE bronze.trips OWNER TO dwh_owner;

--
-- Name: extract_runs; Type: TABLE; Schema: dwh_control; Owner: dwh_owner
--

CREATE TABLE dwh_control.extract_runs (
    run_id bigint NOT NULL,
    table_name text NOT NULL,
    run_started_at timestamp with time zone DEFAULT now() NOT NULL,
    run_finished_at timestamp with time zone,
    status text NOT NULL,
    rows_extracted bigint,
    rows_loaded bigint,
    csv_path text,
    error_message text,
    mode text,
    window_low timestamp with time zone,
    window_high timestamp with time zone,
    watermark timestamp with time zone,
    bound jsonb,
    bytes bigint,
    sha256 text,
    rows_inserted bigint,
    rows_identical bigint,
    rows_different bigint,
    rows_late bigint,
    attempt integer DEFAULT 1 NOT NULL,
    host text,
    engine_version text,
    _task_instance text,
    kind text DEFAULT 'run'::text NOT NULL,
    CONSTRAINT extract_runs_kind_check CHECK ((kind = ANY (ARRAY['run'::text, 'backfill'::text, 'reseed'::text, 'replay'::text])))
);


ALTER TABLE dwh_control.extract_runs OWNER TO dwh_owner;

--
-- Name: TABLE extract_runs; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON TABLE dwh_control.extract_runs IS 'The run log: one row a run, from extracting to loaded or failed';


--
-- Name: COLUMN extract_runs.run_id; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.run_id IS 'Number of the run';


--
-- Name: COLUMN extract_runs.table_name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.table_name IS 'Name of the table in dwh.toml';


--
-- Name: COLUMN extract_runs.run_started_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.run_started_at IS 'now() of the target when it began';


--
-- Name: COLUMN extract_runs.run_finished_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.run_finished_at IS 'When it was loaded or failed';


--
-- Name: COLUMN extract_runs.status; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.status IS 'extracting: the CSV may be partly written; uploaded: it is complete; loading: the load began; loaded: rows and watermark are committed; failed: see error_message';


--
-- Name: COLUMN extract_runs.rows_extracted; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.rows_extracted IS 'Rows in the CSV';


--
-- Name: COLUMN extract_runs.rows_loaded; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.rows_loaded IS 'Rows inserted or updated in bronze';


--
-- Name: COLUMN extract_runs.csv_path; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.csv_path IS 'Address of the CSV when it was written, null when there was no row; once loaded it lies under processed/';


--
-- Name: COLUMN extract_runs.error_message; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.error_message IS 'What went wrong, one line';


--
-- Name: COLUMN extract_runs.mode; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.mode IS 'incremental, snapshot or scd';


--
-- Name: COLUMN extract_runs.window_low; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.window_low IS 'Lower end of what was read, exclusive; null: from the first row on';


--
-- Name: COLUMN extract_runs.window_high; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.window_high IS 'Upper end of what was read, inclusive';


--
-- Name: COLUMN extract_runs.watermark; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.watermark IS 'Where last_extracted_at moves when it is loaded; of a backfill or reseed, which never moves it, the end of the whole range';


--
-- Name: COLUMN extract_runs.bound; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.bound IS 'What held the watermark back: the rule, and the session or transaction';


--
-- Name: COLUMN extract_runs.bytes; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.bytes IS 'Bytes of the CSV, uncompressed';


--
-- Name: COLUMN extract_runs.sha256; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.sha256 IS 'SHA-256 of the CSV, uncompressed';


--
-- Name: COLUMN extract_runs.rows_inserted; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.rows_inserted IS 'Rows of the CSV that were new in bronze';


--
-- Name: COLUMN extract_runs.rows_identical; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.rows_identical IS 'Rows of the CSV that were in bronze already, byte for byte';


--
-- Name: COLUMN extract_runs.rows_different; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.rows_different IS 'Rows of the CSV whose key was in bronze with other values, updated or not';


--
-- Name: COLUMN extract_runs.rows_late; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.rows_late IS 'Rows of the CSV below the window, which became visible late';


--
-- Name: COLUMN extract_runs.attempt; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.attempt IS 'How often its load was begun after a failure, counted from 1';


--
-- Name: COLUMN extract_runs.host; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.host IS 'Machine and process that ran it';


--
-- Name: COLUMN extract_runs.engine_version; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.engine_version IS 'Version of dwh that ran it';


--
-- Name: COLUMN extract_runs._task_instance; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs._task_instance IS 'The orchestrator''s own name of the run, when it gave one';


--
-- Name: COLUMN extract_runs.kind; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_runs.kind IS 'run: the next window; backfill, reseed: rows below the watermark, read again; replay: a CSV, loaded again. Only a run moves the watermark';


--
-- Name: extract_runs_run_id_seq; Type: SEQUENCE; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs ALTER COLUMN run_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME dwh_control.extract_runs_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: extract_watermarks; Type: TABLE; Schema: dwh_control; Owner: dwh_owner
--

CREATE TABLE dwh_control.extract_watermarks (
    table_name text NOT NULL,
    last_extracted_at timestamp with time zone DEFAULT '2000-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    last_loaded_at timestamp with time zone,
    rows_loaded_last_run bigint,
    last_run_id bigint,
    snapshot_xmin bigint,
    read_high timestamp with time zone,
    source_system_identifier text,
    source_timeline bigint,
    source_clock timestamp with time zone,
    undrained jsonb,
    lease_holder text,
    lease_since timestamp with time zone
);


ALTER TABLE dwh_control.extract_watermarks OWNER TO dwh_owner;

--
-- Name: TABLE extract_watermarks; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON TABLE dwh_control.extract_watermarks IS 'How far each table has come; one row a table';


--
-- Name: COLUMN extract_watermarks.table_name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.table_name IS 'Name of the table in dwh.toml';


--
-- Name: COLUMN extract_watermarks.last_extracted_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.last_extracted_at IS 'Every row stamped up to here is loaded; the next run reads what is later. 2000-01-01 UTC: nothing yet. Set it back to read again: rows that are there are not doubled';


--
-- Name: COLUMN extract_watermarks.last_loaded_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.last_loaded_at IS 'When a run was last loaded';


--
-- Name: COLUMN extract_watermarks.rows_loaded_last_run; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.rows_loaded_last_run IS 'Rows that it inserted or updated';


--
-- Name: COLUMN extract_watermarks.last_run_id; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.last_run_id IS 'The run that set this row; a load compares it before it moves the watermark';


--
-- Name: COLUMN extract_watermarks.snapshot_xmin; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.snapshot_xmin IS 'xmin of the snapshot that was loaded last: row versions of transactions from it on may be new';


--
-- Name: COLUMN extract_watermarks.read_high; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.read_high IS 'Upper end of what was read last; rows up to here may be loaded already';


--
-- Name: COLUMN extract_watermarks.source_system_identifier; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.source_system_identifier IS 'Cluster that it was read from';


--
-- Name: COLUMN extract_watermarks.source_timeline; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.source_timeline IS 'Timeline of that cluster';


--
-- Name: COLUMN extract_watermarks.source_clock; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.source_clock IS 'Highest clock reading of the source so far';


--
-- Name: COLUMN extract_watermarks.undrained; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.undrained IS 'Transactions that could not be seen to end yet; the next run goes on with them';


--
-- Name: COLUMN extract_watermarks.lease_holder; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.lease_holder IS 'Who works on the table now: host and process. For people; what counts is an advisory lock';


--
-- Name: COLUMN extract_watermarks.lease_since; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.extract_watermarks.lease_since IS 'Since when';


--
-- Name: schema_migrations; Type: TABLE; Schema: dwh_control; Owner: dwh_owner
--

CREATE TABLE dwh_control.schema_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    engine_version text NOT NULL
);


ALTER TABLE dwh_control.schema_migrations OWNER TO dwh_owner;

--
-- Name: TABLE schema_migrations; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON TABLE dwh_control.schema_migrations IS 'Migrations that were applied; a row is never changed';


--
-- Name: COLUMN schema_migrations.name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.schema_migrations.name IS 'File name';


--
-- Name: COLUMN schema_migrations.checksum; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.schema_migrations.checksum IS 'SHA-256 of the file with the configured names put in';


--
-- Name: COLUMN schema_migrations.applied_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.schema_migrations.applied_at IS 'When it was applied';


--
-- Name: COLUMN schema_migrations.engine_version; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.schema_migrations.engine_version IS 'Version of dwh that applied it';


--
-- Name: table_contracts; Type: TABLE; Schema: dwh_control; Owner: dwh_owner
--

CREATE TABLE dwh_control.table_contracts (
    table_name text NOT NULL,
    target_schema text NOT NULL,
    target_table text NOT NULL,
    mode text NOT NULL,
    key_columns text[] NOT NULL
);


ALTER TABLE dwh_control.table_contracts OWNER TO dwh_owner;

--
-- Name: TABLE table_contracts; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON TABLE dwh_control.table_contracts IS 'What dwh.toml says of each table, for the audits; written by `dwh migrate`';


--
-- Name: COLUMN table_contracts.table_name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.table_contracts.table_name IS 'Name of the table in dwh.toml';


--
-- Name: COLUMN table_contracts.target_schema; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.table_contracts.target_schema IS 'Schema of the bronze table';


--
-- Name: COLUMN table_contracts.target_table; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.table_contracts.target_table IS 'Name of the bronze table';


--
-- Name: COLUMN table_contracts.mode; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.table_contracts.mode IS 'incremental, snapshot or scd';


--
-- Name: COLUMN table_contracts.key_columns; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.table_contracts.key_columns IS 'Natural key: what ON CONFLICT names';


--
-- Name: v_recent_failures; Type: VIEW; Schema: dwh_control; Owner: dwh_owner
--

CREATE VIEW dwh_control.v_recent_failures AS
 SELECT extract_runs.run_id,
    extract_runs.table_name,
    extract_runs.run_started_at,
    extract_runs.run_finished_at,
    extract_runs.csv_path,
    extract_runs.error_message
   FROM dwh_control.extract_runs
  WHERE ((extract_runs.status = 'failed'::text) AND (extract_runs.run_started_at > (now() - '24:00:00'::interval)))
  ORDER BY extract_runs.run_started_at DESC;


ALTER TABLE dwh_control.v_recent_failures OWNER TO dwh_owner;

--
-- Name: VIEW v_recent_failures; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON VIEW dwh_control.v_recent_failures IS 'Runs of the last 24 hours that failed and were not loaded since; alert on any row';


--
-- Name: COLUMN v_recent_failures.run_id; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_recent_failures.run_id IS 'Number of the run';


--
-- Name: COLUMN v_recent_failures.table_name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_recent_failures.table_name IS 'Name of the table in dwh.toml';


--
-- Name: COLUMN v_recent_failures.run_started_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_recent_failures.run_started_at IS 'When it began';


--
-- Name: COLUMN v_recent_failures.run_finished_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_recent_failures.run_finished_at IS 'When it failed';


--
-- Name: COLUMN v_recent_failures.csv_path; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_recent_failures.csv_path IS 'Its CSV, if it got so far';


--
-- Name: COLUMN v_recent_failures.error_message; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_recent_failures.error_message IS 'What went wrong';


--
-- Name: v_table_freshness; Type: VIEW; Schema: dwh_control; Owner: dwh_owner
--

CREATE VIEW dwh_control.v_table_freshness AS
 SELECT extract_runs.table_name,
    max(extract_runs.run_finished_at) AS last_loaded_at,
    (now() - max(extract_runs.run_finished_at)) AS lag,
    count(*) FILTER (WHERE (extract_runs.run_started_at > (now() - '24:00:00'::interval))) AS loads_last_24h
   FROM dwh_control.extract_runs
  WHERE ((extract_runs.status = 'loaded'::text) AND (extract_runs.kind = 'run'::text))
  GROUP BY extract_runs.table_name;


ALTER TABLE dwh_control.v_table_freshness OWNER TO dwh_owner;

--
-- Name: VIEW v_table_freshness; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON VIEW dwh_control.v_table_freshness IS 'How long ago each table was last loaded; alert when lag exceeds twice the cadence';


--
-- Name: COLUMN v_table_freshness.table_name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_table_freshness.table_name IS 'Name of the table in dwh.toml';


--
-- Name: COLUMN v_table_freshness.last_loaded_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_table_freshness.last_loaded_at IS 'When its last successful run ended';


--
-- Name: COLUMN v_table_freshness.lag; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_table_freshness.lag IS 'How long ago that was';


--
-- Name: COLUMN v_table_freshness.loads_last_24h; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_table_freshness.loads_last_24h IS 'Runs begun in the last 24 hours and loaded';


--
-- Name: v_watermark_lag; Type: VIEW; Schema: dwh_control; Owner: dwh_owner
--

CREATE VIEW dwh_control.v_watermark_lag AS
 SELECT extract_watermarks.table_name,
    extract_watermarks.last_extracted_at,
    extract_watermarks.last_loaded_at,
    extract_watermarks.rows_loaded_last_run,
    (now() - extract_watermarks.last_loaded_at) AS load_lag,
    (now() - extract_watermarks.last_extracted_at) AS extract_lag
   FROM dwh_control.extract_watermarks;


ALTER TABLE dwh_control.v_watermark_lag OWNER TO dwh_owner;

--
-- Name: VIEW v_watermark_lag; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON VIEW dwh_control.v_watermark_lag IS 'Extract lag against load lag: tells a table without new rows from one that is stuck';


--
-- Name: COLUMN v_watermark_lag.table_name; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_watermark_lag.table_name IS 'Name of the table in dwh.toml';


--
-- Name: COLUMN v_watermark_lag.last_extracted_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_watermark_lag.last_extracted_at IS 'Every row stamped up to here is loaded';


--
-- Name: COLUMN v_watermark_lag.last_loaded_at; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_watermark_lag.last_loaded_at IS 'When a run was last loaded';


--
-- Name: COLUMN v_watermark_lag.rows_loaded_last_run; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_watermark_lag.rows_loaded_last_run IS 'Rows that it inserted or updated';


--
-- Name: COLUMN v_watermark_lag.load_lag; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_watermark_lag.load_lag IS 'How long ago that was';


--
-- Name: COLUMN v_watermark_lag.extract_lag; Type: COMMENT; Schema: dwh_control; Owner: dwh_owner
--

COMMENT ON COLUMN dwh_control.v_watermark_lag.extract_lag IS 'How far the watermark lies behind now';


--
-- Data for Name: devices; Type: TABLE DATA; Schema: bronze; Owner: dwh_owner
--

INSERT INTO bronze.devices VALUES ('860001', 'truck');
INSERT INTO bronze.devices VALUES ('860003', 'van, "small"');


--
-- Data for Name: drivers; Type: TABLE DATA; Schema: bronze; Owner: dwh_owner
--

INSERT INTO bronze.drivers VALUES (1, 'Ann', '1980-02-29', '2024-03-01 12:00:20.307664+00');
INSERT INTO bronze.drivers VALUES (2, 'Ben', NULL, '2024-03-01 12:00:20.307664+00');
INSERT INTO bronze.drivers VALUES (1, 'Ann', '1980-02-29', '2024-03-01 12:00:20.960071+00');
INSERT INTO bronze.drivers VALUES (2, 'Bob', NULL, '2024-03-01 12:00:20.960071+00');


--
-- Data for Name: events; Type: TABLE DATA; Schema: bronze; Owner: dwh_owner
--

INSERT INTO bronze.events VALUES (1, 'event 1', 1.10, '2024-03-01 08:10:00+00');
INSERT INTO bronze.events VALUES (2, NULL, 2.20, '2024-03-01 08:20:00+00');
INSERT INTO bronze.events VALUES (3, '', 3.30, '2024-03-01 08:30:00+00');
INSERT INTO bronze.events VALUES (4, 'event 4', 4.40, '2024-03-01 08:40:00+00');
INSERT INTO bronze.events VALUES (5, 'event 5', 5.50, '2024-03-01 08:50:00+00');
INSERT INTO bronze.events VALUES (6, 'event 6', 6.60, '2024-03-01 09:00:00+00');
INSERT INTO bronze.events VALUES (7, 'late', NULL, '2024-03-01 12:00:20.707077+00');
INSERT INTO bronze.events VALUES (8, 'two
lines', NULL, '2024-03-01 12:00:20.707077+00');


--
-- Data for Name: trips; Type: TABLE DATA; Schema: bronze; Owner: dwh_owner
--

INSERT INTO bronze.trips VALUES (3, 'planned', 1, '2024-03-01 08:30:00+00');
INSERT INTO bronze.trips VALUES (4, 'planned', 1.3333333333333333, '2024-03-01 08:40:00+00');
INSERT INTO bronze.trips VALUES (5, 'planned', 1.6666666666666667, '2024-03-01 08:50:00+00');
INSERT INTO bronze.trips VALUES (1, 'driving', 0.3333333333333333, '2024-03-01 12:00:20.726125+00');
INSERT INTO bronze.trips VALUES (2, 'driving', 0.6666666666666666, '2024-03-01 12:00:20.726125+00');
INSERT INTO bronze.trips VALUES (6, 'planned', 1e-07, '2024-03-01 12:00:20.726125+00');


--
-- Data for Name: extract_runs; Type: TABLE DATA; Schema: dwh_control; Owner: dwh_owner
--

INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (1, 'drivers', '2024-03-01 12:00:20.307664+00', '2024-03-01 12:00:20.39785+00', 'loaded', 2, 2, 'file:///var/lib/dwh/fleet/exports/drivers/20240301_1500_EAT_1.csv', NULL, 'scd', NULL, NULL, NULL, NULL, 110, 'c22ee30f71e53b920900a07f5061764d910aa1e368586c2e7ba0cf810489675b', 2, 0, 0, 0, 1, 'worker pid 27223', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (2, 'devices', '2024-03-01 12:00:20.330547+00', '2024-03-01 12:00:20.417855+00', 'loaded', 3, 3, 'file:///var/lib/dwh/fleet/exports/devices/20240301_1500_EAT_2.csv', NULL, 'snapshot', NULL, NULL, NULL, NULL, 55, '76dfd765df79e69529ad8ab477d5c4dceeb118f75c5495cd0a99222acad00d3d', 3, 0, 0, 0, 1, 'worker pid 27223', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (4, 'events', '2024-03-01 12:00:20.35597+00', '2024-03-01 12:00:20.499575+00', 'loaded', 6, 6, 'file:///var/lib/dwh/fleet/exports/events/20240301_1500_EAT_4.csv', NULL, 'incremental', NULL, '2024-03-01 12:00:20.35597+00', '2024-03-01 12:00:20.35597+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:20.355970Z", "source_clock": "2024-03-01T12:00:20.370380Z"}', 243, 'e08109f3665a3f78589e14e9a6d7aed932cc055d9ee32f080c64fb505970a518', 6, 0, 0, 0, 1, 'worker pid 27223', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (3, 'trips', '2024-03-01 12:00:20.351041+00', '2024-03-01 12:00:20.504207+00', 'loaded', 5, 5, 'file:///var/lib/dwh/fleet/exports/trips/20240301_1500_EAT_3.csv', NULL, 'incremental', NULL, '2024-03-01 12:00:20.351041+00', '2024-03-01 12:00:20.351041+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:20.351041Z", "source_clock": "2024-03-01T12:00:20.384303Z"}', 275, '0d14433714cce1b34068c005628a0182e76ca2cc96850724e0e333031fa6e764', 5, 0, 0, 0, 1, 'worker pid 27223', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (5, 'drivers', '2024-03-01 12:00:20.960071+00', '2024-03-01 12:00:21.0335+00', 'loaded', 2, 2, 'file:///var/lib/dwh/fleet/exports/drivers/20240301_1500_EAT_5.csv.gz', NULL, 'scd', NULL, NULL, NULL, NULL, 110, 'f064559594b57f6b8917b88e68c339d726b53817a0d97bdd0af59c7e8abeba5c', 2, 0, 0, 0, 1, 'worker pid 27341', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (7, 'trips', '2024-03-01 12:00:20.966957+00', '2024-03-01 12:00:21.10146+00', 'loaded', 3, 3, 'file:///var/lib/dwh/fleet/exports/trips/20240301_1500_EAT_7.csv.gz', NULL, 'incremental', '2024-03-01 12:00:20.351041+00', '2024-03-01 12:00:20.966957+00', '2024-03-01 12:00:20.966957+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:20.966957Z", "source_clock": "2024-03-01T12:00:20.996454Z"}', 196, 'e543a704cf77c08a910297bb33d0515bd6512ead7b2b8994fd35fd1702c08a65', 1, 0, 2, 0, 1, 'worker pid 27341', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (6, 'devices', '2024-03-01 12:00:20.963883+00', '2024-03-01 12:00:21.111499+00', 'loaded', 2, 2, 'file:///var/lib/dwh/fleet/exports/devices/20240301_1500_EAT_6.csv.gz', NULL, 'snapshot', NULL, NULL, NULL, NULL, 47, '83a0030481d90cbbacd17215be83f1d1a3e5e2242d1c7d3f751f7751f1b039da', 2, 0, 0, 0, 1, 'worker pid 27341', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (8, 'events', '2024-03-01 12:00:20.991586+00', '2024-03-01 12:00:21.139369+00', 'loaded', 2, 2, 'file:///var/lib/dwh/fleet/exports/events/20240301_1500_EAT_8.csv.gz', NULL, 'incremental', '2024-03-01 12:00:20.35597+00', '2024-03-01 12:00:20.991586+00', '2024-03-01 12:00:20.991586+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:20.991586Z", "source_clock": "2024-03-01T12:00:21.019307Z"}', 110, 'ec7bc7f0a9bca4102398474a5150c0484f38b09b65cf7e882b7d24c7b7af2a98', 2, 0, 0, 0, 1, 'worker pid 27341', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (9, 'devices', '2024-03-01 12:00:21.466334+00', '2024-03-01 12:00:21.480586+00', 'failed', NULL, NULL, NULL, 'table `devices`: column `label` (text) exists in the source but not in bronze', 'snapshot', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 'worker pid 27433', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (11, 'trips', '2024-03-01 12:00:21.793857+00', '2024-03-01 12:00:21.899308+00', 'loaded', 0, 0, NULL, NULL, 'incremental', '2024-03-01 12:00:20.966957+00', '2024-03-01 12:00:21.793857+00', '2024-03-01 12:00:21.793857+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:21.793857Z", "source_clock": "2024-03-01T12:00:21.805837Z"}', 32, 'a6606a830076cd8898d05acdd3a11bd0ea8eac5344076fe7db2925c182f0095d', 0, 0, 0, 0, 1, 'worker pid 27509', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (10, 'events', '2024-03-01 12:00:21.785799+00', '2024-03-01 12:00:21.911265+00', 'loaded', 0, 0, NULL, NULL, 'incremental', '2024-03-01 12:00:20.991586+00', '2024-03-01 12:00:21.785799+00', '2024-03-01 12:00:21.785799+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:21.785799Z", "source_clock": "2024-03-01T12:00:21.800155Z"}', 27, '072f5d0013211aaa61e8a528a7fd338e7d42744cef59b27f309295bfb1447b37', 0, 0, 0, 0, 1, 'worker pid 27509', '0.1.0', NULL, 'run');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (12, 'events', '2024-03-01 12:00:22.126779+00', '2024-03-01 12:00:22.228372+00', 'loaded', 8, 0, 'file:///var/lib/dwh/fleet/exports/events/20240301_1500_EAT_12.csv.gz', NULL, 'incremental', '2024-01-31 23:59:59.999999+00', '2024-03-01 12:00:21.785799+00', '2024-03-01 12:00:21.785799+00', NULL, 326, '8c2e7837cf47bcdcb84d83a06f39a5c58ec5d6946392e6a1eb5ca651e860ba8a', 0, 8, 0, 0, 1, 'worker pid 27573', '0.1.0', NULL, 'backfill');
INSERT INTO dwh_control.extract_runs OVERRIDING SYSTEM VALUE VALUES (13, 'trips', '2024-03-01 12:00:22.53517+00', NULL, 'uploaded', 2, NULL, 'file:///var/lib/dwh/fleet/exports/trips/20240301_1500_EAT_13.csv.gz', NULL, 'incremental', '2024-03-01 12:00:21.793857+00', '2024-03-01 12:00:22.53517+00', '2024-03-01 12:00:22.53517+00', '{"rule": "target_clock", "watermark": "2024-03-01T12:00:22.535170Z", "source_clock": "2024-03-01T12:00:22.568073Z"}', 130, 'd1da4f0e75c616899ca03bc8dd0c0711214b8f6c99732c7b533a98985d3adb90', NULL, NULL, NULL, 0, 1, 'worker pid 27692', '0.1.0', NULL, 'run');


--
-- Data for Name: extract_watermarks; Type: TABLE DATA; Schema: dwh_control; Owner: dwh_owner
--

INSERT INTO dwh_control.extract_watermarks VALUES ('drivers', '2024-03-01 12:00:20.960071+00', '2024-03-01 12:00:21.029854+00', 2, 5, 743, NULL, '7712183734642451690', 1, NULL, NULL, NULL, NULL);
INSERT INTO dwh_control.extract_watermarks VALUES ('devices', '2024-03-01 12:00:20.963883+00', '2024-03-01 12:00:21.077382+00', 2, 6, 743, NULL, '7712183734642451690', 1, NULL, NULL, 'worker pid 27433', '2024-03-01 12:00:21.390674+00');
INSERT INTO dwh_control.extract_watermarks VALUES ('events', '2024-03-01 12:00:21.785799+00', '2024-03-01 12:00:21.907425+00', 0, 10, 745, '2024-03-01 12:00:21.785799+00', '7712183734642451690', 1, '2024-03-01 12:00:21.800155+00', NULL, NULL, NULL);
INSERT INTO dwh_control.extract_watermarks VALUES ('trips', '2024-03-01 12:00:21.793857+00', '2024-03-01 12:00:21.898895+00', 0, 11, 745, '2024-03-01 12:00:21.793857+00', '7712183734642451690', 1, '2024-03-01 12:00:21.805837+00', NULL, NULL, NULL);


--
-- Data for Name: schema_migrations; Type: TABLE DATA; Schema: dwh_control; Owner: dwh_owner
--

INSERT INTO dwh_control.schema_migrations VALUES ('261001_dwh_control.sql', 'b8410eb01d8c040b3c1408c8381faba1bd767e8ad4e858096b7091ad70216f73', '2024-03-01 12:00:19.846882+00', '0.1.0');
INSERT INTO dwh_control.schema_migrations VALUES ('261002_bronze_constraints_audit.sql', '3cce917bbf8e919c152a85378adcecbeeb6abc08cb23072b20353c7a4dadd933', '2024-03-01 12:00:19.951513+00', '0.1.0');
INSERT INTO dwh_control.schema_migrations VALUES ('261003_dwh_roles.sql', '4f0924f197806f49d31408b2a20d3bcbc22bd16fc8b9c4d69f065e3575279a67', '2024-03-01 12:00:19.963316+00', '0.1.0');
INSERT INTO dwh_control.schema_migrations VALUES ('261004_dwh_observability_views.sql', 'be653452e30ccff860de6f680667b429d128bffab0d9d5420120c2d42c27f486', '2024-03-01 12:00:19.999404+00', '0.1.0');


--
-- Data for Name: table_contracts; Type: TABLE DATA; Schema: dwh_control; Owner: dwh_owner
--

INSERT INTO dwh_control.table_contracts VALUES ('events', 'bronze', 'events', 'incremental', '{id}');
INSERT INTO dwh_control.table_contracts VALUES ('trips', 'bronze', 'trips', 'incremental', '{id}');
INSERT INTO dwh_control.table_contracts VALUES ('devices', 'bronze', 'devices', 'snapshot', '{}');
INSERT INTO dwh_control.table_contracts VALUES ('drivers', 'bronze', 'drivers', 'scd', '{}');


--
-- Name: extract_runs_run_id_seq; Type: SEQUENCE SET; Schema: dwh_control; Owner: dwh_owner
--

SELECT pg_catalog.setval('dwh_control.extract_runs_run_id_seq', 13, true);


--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: bronze; Owner: dwh_owner
--

ALTER TABLE ONLY bronze.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);


--
-- Name: trips trips_pkey; Type: CONSTRAINT; Schema: bronze; Owner: dwh_owner
--

ALTER TABLE ONLY bronze.trips
    ADD CONSTRAINT trips_pkey PRIMARY KEY (id);


--
-- Name: extract_runs extract_runs_failed; Type: CHECK CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_failed CHECK (((status <> 'failed'::text) OR (error_message IS NOT NULL))) NOT VALID;


--
-- Name: extract_runs extract_runs_finished; Type: CHECK CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_finished CHECK (((run_finished_at IS NOT NULL) = (status = ANY (ARRAY['loaded'::text, 'failed'::text])))) NOT VALID;


--
-- Name: extract_runs extract_runs_loaded; Type: CHECK CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_loaded CHECK (((status <> 'loaded'::text) OR (engine_version IS NULL) OR ((rows_loaded IS NOT NULL) AND (rows_extracted = ((rows_inserted + rows_identical) + rows_different))))) NOT VALID;


--
-- Name: extract_runs extract_runs_pkey; Type: CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE ONLY dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_pkey PRIMARY KEY (run_id);


--
-- Name: extract_runs extract_runs_status; Type: CHECK CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_status CHECK ((status = ANY (ARRAY['extracting'::text, 'uploaded'::text, 'loading'::text, 'loaded'::text, 'failed'::text]))) NOT VALID;


--
-- Name: extract_runs extract_runs_uploaded; Type: CHECK CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_uploaded CHECK (((status <> 'uploaded'::text) OR ((rows_extracted IS NOT NULL) AND ((csv_path IS NOT NULL) OR (rows_extracted = 0))))) NOT VALID;


--
-- Name: extract_runs extract_runs_values; Type: CHECK CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE dwh_control.extract_runs
    ADD CONSTRAINT extract_runs_values CHECK (((mode = ANY (ARRAY['incremental'::text, 'snapshot'::text, 'scd'::text])) AND (window_low <= window_high) AND (attempt >= 1) AND (bytes >= 0) AND (rows_extracted >= 0) AND (rows_loaded >= 0) AND (sha256 ~ '^[0-9a-f]{64}$'::text))) NOT VALID;


--
-- Name: extract_watermarks extract_watermarks_pkey; Type: CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE ONLY dwh_control.extract_watermarks
    ADD CONSTRAINT extract_watermarks_pkey PRIMARY KEY (table_name);


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE ONLY dwh_control.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);


--
-- Name: table_contracts table_contracts_pkey; Type: CONSTRAINT; Schema: dwh_control; Owner: dwh_owner
--

ALTER TABLE ONLY dwh_control.table_contracts
    ADD CONSTRAINT table_contracts_pkey PRIMARY KEY (table_name);


--
-- Name: extract_runs_failures; Type: INDEX; Schema: dwh_control; Owner: dwh_owner
--

CREATE INDEX extract_runs_failures ON dwh_control.extract_runs USING btree (run_started_at) WHERE (status = 'failed'::text);


--
-- Name: extract_runs_of_table; Type: INDEX; Schema: dwh_control; Owner: dwh_owner
--

CREATE INDEX extract_runs_of_table ON dwh_control.extract_runs USING btree (table_name, run_id DESC);


--
-- Name: extract_runs_open; Type: INDEX; Schema: dwh_control; Owner: dwh_owner
--

CREATE INDEX extract_runs_open ON dwh_control.extract_runs USING btree (table_name) WHERE (status <> ALL (ARRAY['loaded'::text, 'failed'::text]));


--
-- Name: SCHEMA bronze; Type: ACL; Schema: -; Owner: dwh_owner
--

GRANT USAGE ON SCHEMA bronze TO grafana_ro;


--
-- Name: SCHEMA dwh_control; Type: ACL; Schema: -; Owner: dwh_owner
--

GRANT USAGE ON SCHEMA dwh_control TO grafana_ro;


--
-- Name: TABLE devices; Type: ACL; Schema: bronze; Owner: dwh_owner
--

GRANT SELECT ON TABLE bronze.devices TO grafana_ro;


--
-- Name: TABLE drivers; Type: ACL; Schema: bronze; Owner: dwh_owner
--

GRANT SELECT ON TABLE bronze.drivers TO grafana_ro;


--
-- Name: TABLE events; Type: ACL; Schema: bronze; Owner: dwh_owner
--

GRANT SELECT ON TABLE bronze.events TO grafana_ro;


--
-- Name: TABLE trips; Type: ACL; Schema: bronze; Owner: dwh_owner
--

GRANT SELECT ON TABLE bronze.trips TO grafana_ro;


--
-- Name: TABLE extract_runs; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.extract_runs TO grafana_ro;


--
-- Name: TABLE extract_watermarks; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.extract_watermarks TO grafana_ro;


--
-- Name: TABLE schema_migrations; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.schema_migrations TO grafana_ro;


--
-- Name: TABLE table_contracts; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.table_contracts TO grafana_ro;


--
-- Name: TABLE v_recent_failures; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.v_recent_failures TO grafana_ro;


--
-- Name: TABLE v_table_freshness; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.v_table_freshness TO grafana_ro;


--
-- Name: TABLE v_watermark_lag; Type: ACL; Schema: dwh_control; Owner: dwh_owner
--

GRANT SELECT ON TABLE dwh_control.v_watermark_lag TO grafana_ro;


--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: bronze; Owner: dwh_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE dwh_owner IN SCHEMA bronze GRANT SELECT ON TABLES  TO grafana_ro;


--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: dwh_control; Owner: dwh_owner
--

ALTER DEFAULT PRIVILEGES FOR ROLE dwh_owner IN SCHEMA dwh_control GRANT SELECT ON TABLES  TO grafana_ro;


--
-- PostgreSQL database dump complete
--


