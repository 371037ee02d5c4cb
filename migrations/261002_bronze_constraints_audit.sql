-- The key audit: every ON CONFLICT key must be backed by a PRIMARY KEY or UNIQUE, or rows would double in silence.
--
-- Plain SQL, as 261001 explains. Makes a function, and calls it: it raises with a list of everything that is missing.
-- `dwh migrate` calls it again after it has made the bronze tables.

create or replace function "dwh_control".audit_keys() returns void
language plpgsql stable
set search_path = ''
as $dwh$
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
$dwh$;
comment on function "dwh_control".audit_keys() is
    'Raises with a list when a table of table_contracts has no unique key that ON CONFLICT could use';

select "dwh_control".audit_keys();
