-- The role contract: one role owns and writes both schemas, another one reads them, neither may do more.
--
-- Plain SQL, as 261001 explains. Makes the two roles when they are missing, hands every object to the owner, grants,
-- and then asserts all of it: audit_roles() raises with a list of everything that is not as it should be.
-- Neither role can log in. A DBA makes the logins, one for the engine and one for the dashboards, with passwords that
-- stand in no file; psql's \password sets them without writing them down:
--   create role dwh_loader login password 'CHANGE_ME_BEFORE_APPLY' in role dwh_owner;
--   create role grafana login password 'CHANGE_ME_BEFORE_APPLY' in role grafana_ro;

do $dwh$
declare
    wanted text;
    thing record;
begin
    foreach wanted in array array['dwh_owner', 'grafana_ro'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
            execute pg_catalog.format('create role %I nologin', wanted);
        end if;
    end loop;
    if not pg_catalog.pg_has_role('dwh_owner', 'usage') then
        execute pg_catalog.format('grant %I to %I', 'dwh_owner', current_user);
    end if;
    for thing in
        select pg_catalog.format('alter schema %I', nspname) as change from pg_catalog.pg_namespace
        where nspname in ('dwh_control', 'bronze') and nspowner <> pg_catalog.quote_ident('dwh_owner')::pg_catalog.regrole
            and pg_catalog.pg_has_role(nspowner, 'usage')
        union all
        -- A sequence of a column follows its table; what belongs to an extension stays with it.
        select pg_catalog.format('alter table %s', c.oid::pg_catalog.regclass) from pg_catalog.pg_class c
        where c.relnamespace in (select oid from pg_catalog.pg_namespace where nspname in ('dwh_control', 'bronze'))
            and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relowner <> pg_catalog.quote_ident('dwh_owner')::pg_catalog.regrole
            and pg_catalog.pg_has_role(c.relowner, 'usage')
            and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid
                and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i', 'e'))
        union all
        select pg_catalog.format('alter routine %s', p.oid::pg_catalog.regprocedure) from pg_catalog.pg_proc p
        where p.pronamespace = (select oid from pg_catalog.pg_namespace where nspname = 'dwh_control')
            and p.proowner <> pg_catalog.quote_ident('dwh_owner')::pg_catalog.regrole and pg_catalog.pg_has_role(p.proowner, 'usage')
    loop
        execute pg_catalog.format('%s owner to %I', thing.change, 'dwh_owner');
    end loop;
end
$dwh$;

revoke all on schema "dwh_control", "bronze" from public;
grant usage on schema "dwh_control", "bronze" to "grafana_ro";
grant select on all tables in schema "dwh_control", "bronze" to "grafana_ro";
alter default privileges for role "dwh_owner" in schema "dwh_control", "bronze" grant select on tables to "grafana_ro";

create or replace function "dwh_control".audit_roles() returns void
language plpgsql stable
set search_path = ''
as $dwh$
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
$dwh$;
alter function "dwh_control".audit_roles() owner to "dwh_owner";
comment on function "dwh_control".audit_roles() is
    'Raises with a list when owner and reader role do not have exactly the rights that they need';

select "dwh_control".audit_roles();
