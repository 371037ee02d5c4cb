-- Every type with the values that break copiers. Row n of `everything` has the n-th value of each type, else NULL.
create schema zoo;
create table zoo.everything (
    t_first text,
    id bigint primary key,
    at timestamptz not null default now(),
    n numeric, n_digits numeric(6, 2), n_round numeric(3, -2),
    f8 double precision, f4 real, cash money, i2 smallint, i4 integer, i8 bigint, b boolean,
    ts timestamp, tstz timestamptz, ts3 timestamp(3), d date, tm time, tmtz timetz, iv interval, ivm interval year to month,
    t text, vc varchar(5), bp char(5), nm name, one "char", by bytea,
    a_text text[], a_num numeric[], a_ts timestamptz[], a_by bytea[], a_pair pair[], a_iv interval[],
    mood mood, positive positive, pair pair,
    r_int int4range, r_num numrange, r_ts tstzrange, r_date daterange, m_num nummultirange, m_ts tstzmultirange,
    bits bit(5), vbits bit varying(70), js json, jb jsonb, x xml, tsv tsvector, tsq tsquery, jp jsonpath,
    hs hstore, ci citext, lt ltree, uid uuid, ip inet, net cidr, mac macaddr, mac8 macaddr8,
    lsn pg_lsn, o oid, x8 xid8, snap pg_snapshot,
    pt point, ln line, ls lseg, bx box, pa path, pg polygon, ci_ circle,
    "wéird ""col""" text,
    t_last text
);
create index on zoo.everything (at);

-- puts the values of one column into rows 1, 2, 3, …
create function zoo.fill(relation regclass, names text[], vals text[]) returns void language plpgsql as $$
declare
    column_name text;
    column_type text;
begin
    foreach column_name in array names loop
        select format_type(atttypid, atttypmod) into strict column_type
        from pg_attribute where attrelid = relation and attname = column_name;
        execute format(
            'insert into %1$s (id, at, %2$I) select i, now() - i * interval ''50 minutes'', v::%3$s
             from unnest($1) with ordinality u (v, i) on conflict (id) do update set %2$I = excluded.%2$I',
            relation, column_name, column_type) using vals;
    end loop;
end $$;

create table zoo.lonely (t text);
insert into zoo.lonely values
    (''), (null), ('\.'), ('\N'), ('NULL'), ('null'), ('"'), ('""'), (','), ('\'), ('\\'), (E'\r'), (E'\n'), (E'\r\n'),
    (E'a\r\nb\rc\nd'), (E'\t'), (E'\n\\.\n'), (E'\\.\n'), (E'\n\\.'), ('\.x'), (' '), ('  lead'), ('trail  '),
    (U&'\FEFF' || 'bom'), ('🐘'), (U&'e\0301'), (U&'\FFFF'), (U&'\FFFE'), ('שלום'), (U&'\202E' || 'rtl'), (U&'\0085\2028\2029'),
    (E'\x01\x02\x1f\x7f'), ('a"b,c'';--'), ('{}'), (repeat('ü"', 50000)), (null), ('');
select zoo.fill('zoo.everything', '{t_first,t,t_last,"wéird \"col\"",ci}', (select array_agg(t) from zoo.lonely));

select zoo.fill('zoo.everything', '{n}', array['NaN', 'Infinity', '-Infinity', repeat('9', 131072),
    '1e-16383', '-0.00', '0', '0.000', '123456789012345678901234567890.123456789', '1e131071', null, '-1']);
select zoo.fill('zoo.everything', '{n_digits}', '{9999.99,-9999.99,0,0.01,NaN}');
select zoo.fill('zoo.everything', '{n_round}', '{99900,-100,0}');
select zoo.fill('zoo.everything', '{f8}', '{-0,0,NaN,Infinity,-Infinity,4.94065645841247e-324,2.2250738585072011e-308,
    1.7976931348623157e308,0.1,0.30000000000000004,123456789.12345679,1e15,1e16,-1e-5}');
select zoo.fill('zoo.everything', '{f4}', '{-0,NaN,Infinity,-Infinity,1e-45,3.4028235e38,0.1,16777217,1.17549435e-38}');
select zoo.fill('zoo.everything', '{cash}', array['-92233720368547758.08', '92233720368547758.07', '0.01', '0', '-1,234.56']);
select zoo.fill('zoo.everything', '{i2}', '{-32768,32767,0}');
select zoo.fill('zoo.everything', '{i4}', '{-2147483648,2147483647,0}');
select zoo.fill('zoo.everything', '{i8}', '{-9223372036854775808,9223372036854775807,0}');
select zoo.fill('zoo.everything', '{b}', '{true,false,NULL}');
select zoo.fill('zoo.everything', '{ts,tstz}', array['infinity', '-infinity', '4713-11-24 00:00:00 BC',
    '294276-12-31 23:59:59.999999', '0001-12-31 23:59:59 BC', '2026-02-03 04:05:06.000001', '1883-11-18 12:03:57',
    '12345-06-07', '2026-03-02 00:00:00', '2026-02-03', null]);
select zoo.fill('zoo.everything', '{ts3}', '{2026-02-03 04:05:06.789,infinity}');
select zoo.fill('zoo.everything', '{d}', '{infinity,-infinity,4713-11-24 BC,5874897-12-31,2026-02-03,2026-03-02,0001-01-01}');
select zoo.fill('zoo.everything', '{tm}', '{24:00:00,00:00:00,23:59:59.999999,04:05:06.5}');
select zoo.fill('zoo.everything', '{tmtz}', '{24:00:00+15:59,00:00:00-15:59,12:00:00.5+05:45,12:00+01:02:03,00:00Z}');
select zoo.fill('zoo.everything', '{iv}', array['1 year -2 mons 3 days -04:05:06.789', '-178000000 years', '178000000 years',
    '0', '-1 day +00:00:01', '1 mon -1 day', '-00:00:00.000001', '2562047788:00:54.775807', '1-2', null]);
select zoo.fill('zoo.everything', '{ivm}', '{1 year 2 mons,-1 mon}');
select zoo.fill('zoo.everything', '{vc}', array['', 'a  ', '12345', 'ééééé', null, '\.']);
select zoo.fill('zoo.everything', '{bp}', array['', 'a', 'ab  ', '12345', '\.']);
select zoo.fill('zoo.everything', '{nm}', array['', 'x', repeat('n', 63)]);
select zoo.fill('zoo.everything', '{one}', array['', 'a', '"', ',', '\', ' ']);
select zoo.fill('zoo.everything', '{by}', array['\x', '\x00ff5c0a0d22', '\x5c2e', '\x2c', repeat('\x', 1) || repeat('00', 1000), null]);

select zoo.fill('zoo.everything', '{a_text}', array['{}', '{NULL,"NULL","","a\"b","\\.","\\","a,b"," ","{}"}',
    '[2:3]={x,y}', '[-1:0][5:6]={{a,b},{NULL,"{"}}', '{{{1},{2}},{{3},{4}}}', E'{"\n\\\\.\n","\r"}']);
select zoo.fill('zoo.everything', '{a_num}', '{"{NaN,-0.00,Infinity,NULL}","{}"}');
select zoo.fill('zoo.everything', '{a_ts}', array['{infinity,"4713-11-24 00:00:00 BC","2026-02-03 04:05:06.5+00"}']);
select zoo.fill('zoo.everything', '{a_by}', array['{"\\x00ff","\\x",NULL}']);
select zoo.fill('zoo.everything', '{a_iv}', array['{"1 year -2 mons",00:00:00}']);
select zoo.fill('zoo.everything', '{a_pair}', array['{"(1,\"a \\\"b\\\"\",NaN)","(,,)",NULL}']);
select zoo.fill('zoo.everything', '{mood}', array['ok', 'not ok', 'it''s "so", \.', 'NULL', '', null]);
select zoo.fill('zoo.everything', '{positive}', '{1,2147483647,NULL}');
select zoo.fill('zoo.everything', '{pair}', array['(1,"a ""b"",\\,",NaN)', '(,,)', '(,"",)', '(-1,"' || E'\n' || '",0.10)', null]);
select zoo.fill('zoo.everything', '{r_int}', array['[1,5)', 'empty', '(,)', '[,5]', null]);
select zoo.fill('zoo.everything', '{r_num}', array['[-Infinity,Infinity]', '[NaN,NaN]', '(0.10,0.1000001)', 'empty']);
select zoo.fill('zoo.everything', '{r_ts}', array['["2026-02-03 00:00:00+00",infinity)', '[-infinity,)', 'empty', '("0044-03-15 00:00:00+00 BC",)']);
select zoo.fill('zoo.everything', '{r_date}', array['[2026-02-03,2026-03-02)', 'empty']);
select zoo.fill('zoo.everything', '{m_num}', array['{}', '{[1,2),(3,)}', '{(,)}']);
select zoo.fill('zoo.everything', '{m_ts}', array['{["2026-02-03 00:00:00+00","2026-03-02 00:00:00+00"]}', '{}']);
select zoo.fill('zoo.everything', '{bits}', '{00000,10101}');
select zoo.fill('zoo.everything', '{vbits}', array['', '0', repeat('10', 35), null]);
select zoo.fill('zoo.everything', '{js}', array['{"a":1, "a" : 2 , "b":[ ] }', '"\u0000"', E' {"x" :\n1}', 'null', '1e400', '"\ud83d\udc18"', null]);
select zoo.fill('zoo.everything', '{jb}', array['{"a":1.0000,"b":null}', '"\u00e9 \" \\ \n"', 'null', '1e400', '[]', '{"":"","a b":[1,{"c":-0}]}', null]);
select zoo.fill('zoo.everything', '{x}', array['<a b="c">t &amp; u</a>', '<!-- c --><a/>', 'just text', '',
    '<?xml version="1.1"?><a>é</a>', E'<a>\n\\.\n</a>', null]);
select zoo.fill('zoo.everything', '{tsv}', array['''a b'':1A,2B ''c''''d'':3 e', '', null]);
select zoo.fill('zoo.everything', '{tsq}', array['''a'' & !''b'':*', '''x'' <2> ''y'' | ''z'':AB', '']);
select zoo.fill('zoo.everything', '{jp}', array['$."a"[*]?(@ > 1)', 'strict $']);
select zoo.fill('zoo.everything', '{hs}', array['"a"=>NULL, "b \"c"=>"", "d"=>"NULL", "e"=>"\\."', '', null]);
select zoo.fill('zoo.everything', '{lt}', array['a.b.C', '', 'x_1', null]);
select zoo.fill('zoo.everything', '{uid}', '{00000000-0000-0000-0000-000000000000,FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}');
select zoo.fill('zoo.everything', '{ip}', '{::ffff:1.2.3.4/96,10.1.2.3/8,::,255.255.255.255,fe80::1/64}');
select zoo.fill('zoo.everything', '{net}', '{10.0.0.0/8,::/0,1.2.3.4/32}');
select zoo.fill('zoo.everything', '{mac}', '{00:00:00:00:00:00,ff:ff:ff:ff:ff:ff}');
select zoo.fill('zoo.everything', '{mac8}', '{08:00:2b:01:02:03:04:05}');
select zoo.fill('zoo.everything', '{lsn}', '{0/0,FFFFFFFF/FFFFFFFF,16/B374D848}');
select zoo.fill('zoo.everything', '{o}', '{0,4294967295}');
select zoo.fill('zoo.everything', '{x8}', '{0,18446744073709551615}');
select zoo.fill('zoo.everything', '{snap}', array['10:20:10,14,15', '1:1:']);
select zoo.fill('zoo.everything', '{pt}', array['(1e-300,-0)', '(NaN,Infinity)', '(0.1,0.30000000000000004)']);
select zoo.fill('zoo.everything', '{ln}', array['{1,-0.1,3}']);
select zoo.fill('zoo.everything', '{ls}', array['[(0,0),(1,1.1)]']);
select zoo.fill('zoo.everything', '{bx}', array['(2,2),(0,-0.1)']);
select zoo.fill('zoo.everything', '{pa}', array['((0,0),(1,1))', '[(0,0),(1,1)]']);
select zoo.fill('zoo.everything', '{pg}', array['((0,0),(1,1),(0.1,2))']);
select zoo.fill('zoo.everything', '{ci_}', array['<(0.1,0),1e10>']);

-- geometry that EWKT with 30 decimals carries exactly
create table zoo.shapes (
    id bigint primary key,
    at timestamptz not null default now(),
    g geometry, p geometry(Point, 4326), pz geometry(PointZ, 4326), pm geometry(PointM, 4326), pzm geometry(PointZM, 4326),
    mp geometry(MultiPolygon, 2263), cv geometry(CurvePolygon), gg geography, gp geography(Point, 4326)
);
create index on zoo.shapes (at);
select zoo.fill('zoo.shapes', '{g}', array[
    'SRID=4326;POINT(36.817223 -1.286389)', null, 'POINT EMPTY', 'SRID=3857;POINT EMPTY', 'LINESTRING EMPTY',
    'SRID=4326;POLYGON EMPTY', 'GEOMETRYCOLLECTION EMPTY', 'MULTIPOINT EMPTY', 'POINT(0.1 0.30000000000000004)',
    'POINT(1e-9 3.0000000000000004e-300)', 'POINT(1e300 -1e300)', 'POINT Z (1 2 3)', 'POINT M (1 2 3)', 'SRID=4326;POINT ZM (1 2 3 4)',
    'LINESTRING(0 0,1 1,2 0.1)', 'LINESTRING Z (0 0 1,1 1 2)', 'LINESTRING M (0 0 1,1 1 2)', 'LINESTRING(0 0,NaN 1)',
    'POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,1 2,2 2,2 1,1 1))', 'MULTIPOINT(1 2,3 4)', 'MULTIPOINT(1 2,EMPTY)',
    'MULTILINESTRING((0 0,1 1),(2 2,3 3))', 'MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))',
    'GEOMETRYCOLLECTION(POINT(1 2),GEOMETRYCOLLECTION(LINESTRING(0 0,1 1),POINT EMPTY))',
    'CIRCULARSTRING(0 0,1 1,2 0)', 'COMPOUNDCURVE(CIRCULARSTRING(0 0,1 1,1 0),(1 0,0 1))',
    'CURVEPOLYGON(CIRCULARSTRING(0 0,4 0,4 4,0 4,0 0),(1 1,3 3,3 1,1 1))', 'MULTICURVE((0 0,5 5),CIRCULARSTRING(4 0,4 4,8 4))',
    'MULTISURFACE(CURVEPOLYGON(CIRCULARSTRING(0 0,4 0,4 4,0 4,0 0)),((10 10,14 12,11 10,10 10)))',
    'TRIANGLE((0 0,0 1,1 1,0 0))', 'TIN(((0 0 0,0 0 1,0 1 0,0 0 0)))',
    'POLYHEDRALSURFACE(((0 0 0,0 0 1,0 1 1,0 1 0,0 0 0)),((0 0 0,0 1 0,1 1 0,1 0 0,0 0 0)))',
    'SRID=999000;POINT(1 2)']);
select zoo.fill('zoo.shapes', '{p,gp}', array['SRID=4326;POINT(36.817223 -1.286389)', 'SRID=4326;POINT EMPTY', null,
    'SRID=4326;POINT(179.99999999999997 -89.99999999999999)']);
select zoo.fill('zoo.shapes', '{pz}', array['SRID=4326;POINT Z (1 2 3.3000000000000003)', null]);
select zoo.fill('zoo.shapes', '{pm}', array['SRID=4326;POINT M (1 2 1767225600.123456)', null]);
select zoo.fill('zoo.shapes', '{pzm}', array['SRID=4326;POINT ZM (1 2 3 4)', null]);
select zoo.fill('zoo.shapes', '{mp}', array['SRID=2263;MULTIPOLYGON(((970217.0223999023 145643.3322143555,970227.2 145641.6,970273.9 145641.6,970217.0223999023 145643.3322143555)))', null]);
select zoo.fill('zoo.shapes', '{cv}', array['CURVEPOLYGON(CIRCULARSTRING(0 0,4 0,4 4,0 4,0 0))']);
select zoo.fill('zoo.shapes', '{gg}', array['POLYGON((0 0,10 0,10 10,0 0))', 'GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))', 'POINT Z (1 2 3)', null]);
insert into zoo.shapes (id, at, p, gp)
select 1000 + i, now() - i % 40 * interval '1 hour', q, q::geography
from generate_series(1, 2000) i, lateral (select st_setsrid(st_makepoint(random() * 360 - 180, (random() - 0.5) * power(10, -(i % 12))), 4326) q) r;

-- geometry that only EWKB carries: -0, infinities, the Z and M of empties
create table zoo.specials (id bigint primary key, at timestamptz not null default now(), g geometry, z geometry(PointZ, 4326), gg geography);
insert into zoo.specials values
    (1, now(), st_makepoint('-0', 0), null, st_makepoint('-0', 0)),
    (2, now(), st_makepoint('Infinity', '-Infinity'), null, null),
    (3, now(), 'POINT Z EMPTY', 'SRID=4326;POINT Z EMPTY', null),
    (4, now(), 'POLYGON ZM EMPTY', null, null),
    (5, now(), 'LINESTRING M EMPTY', null, null),
    (6, now(), st_makepoint('NaN', 1), null, null);

grant usage on schema zoo to app_ro;
grant select on all tables in schema zoo to app_ro;
