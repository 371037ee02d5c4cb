-- Tables over every type that the database knows: `matrix.wide` lists those of many columns, `matrix.keys` those whose key
-- is made of many types, `matrix.mute` those of
-- types whose text names what only this database has, or that none reads.
-- Types are told with their schemas.
set search_path = pg_catalog;
create schema matrix;
create table matrix.tries (place int primary key, text text not null);
insert into matrix.tries select row_number() over (), text from unnest(array[
    '1', '0', '-0', '1.00', 'a', 'A "b" \,', '2026-01-31', '2026-02-28 12:30:00.123456', '10:20', '10:20:30+02', '3 days', '10.1.2.3', '::1/128',
    '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-00000000000b',
    '(1,2)', '(2,-0)', '{1,2,3}', '{1,-1,0}', '((1,2),(3,4))', '((0,0),(5,6))', '<(1,2),3>', '<(0,0),1>', 't', 'f', '{}', 'empty', '[1,9)', '[2,3)',
    '[2026-01-01,2026-02-01)', '{[1,9)}', '{[1,2),[5,6)}', '{[2026-01-01,2026-02-01)}', '{"a": 1.0}', '[1, null]', '<a>1</a>', '<b/>', '0/1', '0/16B3740',
    '10:20:10,14,15', '1:2:', '$.a', '$[*]', '\x00ff', '$1.00', '(0,1)', '1 2', '3 4', 'postgres=r/postgres', 'postgres=w/postgres',
    'pg_class', 'pg_type', 'integer', 'text', 'abs(integer)', 'abs(bigint)', '=(integer,integer)', '+(integer,integer)', 'postgres', 'english', 'simple',
    'english_stem', 'pg_catalog', 'public', '"C"', '"POSIX"', 'sin', 'cos', '!~~*', '|/', 'sum(integer)',
    '978-0-393-04002-9', '1-4028-9462-7', '1436-4522', '979-0-060-11561-5', 'M-060-11561-5', '220356483481', '978-1-56619-909-4', '0317-8471',
    'M-2306-7118-7', '036000291452', '1 .. 2', '<3', 'Top.Science', 'Top.Hobby', '*.a', 'a.*', 'a & b', 'c | !d', 'a=>1', 'b=>NULL', '1&2', '1|3',
    'POINT(1 2)', 'LINESTRING(0 0,1 1)', 'BOX(0 0,1 1)', 'BOX(1 2,3 4)', 'BOX3D(0 0 0,1 1 1)', 'BOX3D(1 2 3,4 5 6)', 'SPHEROID["WGS 84",6378137,298.257223563]',
    'SPHEROID["GRS 1980",6378137,298.257222101]',
    '0100000000000000000000F03F000000000000F0BF00000000000000000000000000000000000000000000000000000000000000000000000001000100',
    '0100000000000000000000F03F000000000000F03F00000000000000000000000000000000000000000000000000000000000000000000000002000100',
    'YES', 'NO', '(6378168, 0, 0)', '(0, 6378168, 0)']) with ordinality t(text, place);
create table matrix.types (number int generated always as identity primary key, type text, first text, second text, array_of bool, key bool, mute bool);
create function matrix.takes(type text, value text) returns text language plpgsql as $$
declare taken text;
begin
    execute format('select (%L::%s)::text', value, type) into taken;
    return taken;
exception when others then return null; end $$;
create function matrix.can(sql text) returns bool language plpgsql as $$
begin
    execute sql;
    return true;
exception when others then return false; end $$;

-- The labels of an enum, and a record of NULLs, are tried first.
insert into matrix.types (type, first, second, array_of)
    select format_type(t.oid, null), (array_agg(v.text order by v.place))[1], (array_agg(v.text order by v.place))[2], t.typarray <> 0
    from pg_type t left join lateral (
        select distinct on (took) try.text, try.place, matrix.takes(format_type(t.oid, null), try.text) as took from (
            select enumlabel, enumsortorder - 1000 from pg_enum where enumtypid = t.oid
            union all select '(' || repeat(',', c.relnatts - 1) || ')', -1 from pg_class c where c.oid = t.typrelid
            union all select text, place from matrix.tries) try(text, place)
        where matrix.takes(format_type(t.oid, null), try.text) is not null order by took, try.place) v on true
    where t.typisdefined and (t.typtype in ('b', 'd', 'e', 'r', 'm') or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
        and not exists (select from pg_type e where e.typarray = t.oid) and t.typnamespace <> 'matrix'::regnamespace
    group by t.oid, t.typarray order by t.oid;

-- A domain and a composite over each, in a schema that only the source has.
do $$
declare t record;
begin
    for t in select * from matrix.types loop
        execute format('create domain matrix.d%s as %s', t.number, t.type);
        execute format('create type matrix."c %s" as ("the value" %s)', t.number, t.type);
    end loop;
end $$;
update matrix.types set key = matrix.can(format('create temporary table try_key (k %s primary key)', type)) and matrix.can('drop table try_key')
    -- A record has an order only if what is in it has one, which nobody asks before a second one comes.
    and (select typtype <> 'c' from pg_type where oid = type::regtype);

-- Types of PostgreSQL itself for which no text was found are read by no server.
update matrix.types set mute = type ~ '^(reg|aclitem)' or first is null and type !~ '[.]';

create function matrix.shapes(number int, type text, array_of bool) returns table (shape text, type_name text, value text) language sql as $$
    values ('v', type, '%s'), ('d', format('matrix.d%s', number), '%s'), ('c', format('matrix."c %s"', number), 'row(%s)::' || format('matrix."c %s"', number)),
        ('e', format('matrix.d%s[]', number), 'array[%s, null]::' || format('matrix.d%s[]', number)),
        ('f', format('matrix."c %s"[]', number), 'array[row(%s), null]::' || format('matrix."c %s"[]', number))
    union all select 'a', type || '[]', 'array[null, %s]::' || type || '[]' where array_of $$;

create table matrix.wide (name text);
create table matrix.keys (name text);
create table matrix.mute (name text, type text);
do $$
declare part record; names text; columns text; vals text;
begin
    for part in select number / 12 as part, array_agg(number) as numbers from matrix.types where not mute group by 1 order by 1 loop
        select string_agg(format('%s%s %s', s.shape, t.number, s.type_name), ', ') into columns
            from matrix.types t, matrix.shapes(t.number, t.type, t.array_of) s where t.number = any (part.numbers);
        execute format('create table matrix.wide_%s (id int primary key, at timestamptz not null default clock_timestamp(), %s)', part.part, columns);
        execute format('insert into matrix.wide_%s (id) values (0)', part.part);
        for i in 1..2 loop
            select string_agg(format('%s%s', s.shape, t.number), ', '),
                   string_agg(format(s.value, format('%L::%s', case i when 1 then t.first else coalesce(t.second, t.first) end, t.type)), ', ')
                into names, vals from matrix.types t, matrix.shapes(t.number, t.type, t.array_of) s where t.number = any (part.numbers);
            execute format('insert into matrix.wide_%s (id, %s) values (%s, %s)', part.part, names, i, vals);
        end loop;
        insert into matrix.wide values (format('wide_%s', part.part));
    end loop;
    for part in select s.shape, number / 12 as part, array_agg(number) as numbers from matrix.types t, matrix.shapes(number, type, array_of) s
            where key and first is not null and not mute group by 1, 2 order by 1, 2 loop
        select string_agg(format('k%s %s not null', t.number, s.type_name), ', '), string_agg(format('k%s', t.number), ', ') into columns, names
            from matrix.types t, matrix.shapes(t.number, t.type, t.array_of) s where t.number = any (part.numbers) and s.shape = part.shape;
        execute format('create table matrix.keys_%s%s (n int, at timestamptz not null default clock_timestamp(), %s, primary key (%s))',
            part.shape, part.part, columns, names);
        for i in 1..2 loop
            select string_agg(format(s.value, format('%L::%s', case i when 1 then t.first else coalesce(t.second, t.first) end, t.type)), ', ')
                into vals from matrix.types t, matrix.shapes(t.number, t.type, t.array_of) s where t.number = any (part.numbers) and s.shape = part.shape;
            -- Types of one value only would clash.
            perform matrix.can(format('insert into matrix.keys_%s%s (n, %s) values (%s, %s)', part.shape, part.part, names, i, vals));
        end loop;
        insert into matrix.keys values (format('keys_%s%s', part.shape, part.part));
    end loop;
    for part in select * from matrix.types where mute loop
        execute format('create table matrix.mute_%s (id int primary key, at timestamptz not null default clock_timestamp(), v %s)', part.number, part.type);
        execute format('insert into matrix.mute_%s values (0, now(), %L)', part.number, part.first);
        insert into matrix.mute values (format('mute_%s', part.number), part.type);
    end loop;
end $$;
grant usage on schema matrix to app_ro; grant select on all tables in schema matrix to app_ro;
reset search_path;
