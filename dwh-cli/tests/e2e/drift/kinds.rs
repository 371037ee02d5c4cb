//! The kinds of drift: a table before and after.

/// What a person does about it.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Nothing: the run goes on.
    None,
    /// Pastes the statements, and gives the commands that must follow.
    Paste,
    /// Says `on_missing_column = "keep"`.
    Keep,
}

/// One kind of drift. `{t}` stands for the table.
#[derive(Debug)]
pub struct Kind {
    pub name: String,
    pub before: String,
    /// At the source, after the first run.
    pub after: String,
    /// In bronze, after the first run.
    pub in_bronze: String,
    pub step: Step,
}

impl Kind {
    fn new(name: &str, before: &str, after: &str) -> Self {
        Self {
            name: name.to_owned(),
            before: before.to_owned(),
            after: format!("set timezone = 'UTC'; {after}"),
            in_bronze: String::new(),
            step: Step::Paste,
        }
    }

    fn step(self, step: Step) -> Self {
        Self { step, ..self }
    }

    fn in_bronze(self, sql: &str) -> Self {
        Self { in_bronze: sql.to_owned(), ..self }
    }

    pub fn sql(&self, sql: &str, table: &str) -> String {
        sql.replace("{t}", table)
    }
}

/// A table with a column `v` of two values, and NULL.
fn having(kind: &str, one: &str, two: &str) -> String {
    format!(
        "create table {{t}} (id int primary key, at timestamptz not null default now(), v {kind}, z int);
         create index on {{t}} (at); insert into {{t}} (id, v) values (1, {one}), (2, {two}), (3, null);"
    )
}

fn base() -> String {
    having("text", "'one'", "'two'")
}

/// A new row that has no value where it need not.
const NEW_ROW: &str = "insert into {t} (id) values (9)";

fn added(name: &str, definition: &str) -> Kind {
    Kind::new(name, &base(), &format!("alter table {{t}} add column n {definition}; {NEW_ROW}"))
}

pub fn columns() -> Vec<Kind> {
    let constants = [
        ("text", "text default E'it''s \\\\ \"here\"'"),
        ("int", "int not null default 5"),
        ("numeric", "numeric(8, 3) default 1.250"),
        ("bool", "boolean default true"),
        ("date", "date default date '2024-02-03'"),
        ("stamp", "timestamptz default timestamptz '2024-02-03 04:05:06.7+03'"),
        ("zoneless", "timestamp default timestamp '2024-02-03 04:05:06.7'"),
        ("interval", "interval default interval '-1 day 2 hours'"),
        ("money", "money default 1234.5::money"),
        ("bytea", "bytea default '\\xdeadbeef'"),
        ("array", "text[] default array['a', null, 'b,c', '\"']"),
        ("ints", "int[] default '{1,2}'"),
        ("boxes", "box[] default array['(1,1),(0,0)'::box]"),
        ("jsonb", "jsonb default '{\"a\": [1, null]}'"),
        ("real", "real default 0.1"),
        ("mood", "app.mood default 'bad'"),
        ("domain", "app.positive default 7"),
        ("made", "app.only_here default 'b'"),
        ("pair", "app.pair default row(1, 'a b')::app.pair"),
        ("mades", "app.only_here[]"),
        ("point", "public.geometry(Point,4326) default 'SRID=4326;POINT(1 2)'"),
        ("now", "timestamptz not null default now()"),
    ];
    let mut kinds: Vec<Kind> =
        constants.iter().map(|(name, definition)| added(&format!("const_{name}"), definition)).collect();
    kinds.extend([
        added("plain", "text"),
        added("volatile", "double precision default random()"),
        added("uuid", "uuid not null default gen_random_uuid()"),
        added("identity", "bigint generated always as identity"),
        added("serial", "serial"),
        Kind::new(
            "filled",
            &base(),
            "alter table {t} add column n int; update {t} set n = id; alter table {t} alter column n set not null;
             insert into {t} (id, n) values (9, 9)",
        ),
        Kind::new("rewritten", &base(), &format!("alter table {{t}} add column n int default 3; {NEW_ROW}; vacuum_full")),
        Kind::new(
            "parts",
            "create table {t} (id int primary key, at timestamptz not null default now(), v text) partition by range (id);
             create table {t}_1 partition of {t} for values from (0) to (5); create index on {t} (at);
             create table {t}_2 partition of {t} for values from (5) to (100); insert into {t} (id) values (1), (6)",
            "alter table {t} add column n text default 'old'; alter table {t} alter column n set default 'new';
             create table {t}_3 partition of {t} for values from (100) to (200); insert into {t} (id) values (9), (101)",
        ),
        Kind::new("default_changed", &base(), &format!(
            "alter table {{t}} add column n text default 'old'; alter table {{t}} alter column n set default 'new'; {NEW_ROW}"
        )),
        Kind::new("renamed", &base(), "alter table {t} rename column v to w; insert into {t} (id, w) values (9, 'new')"),
        Kind::new("renamed_last", &base(), "alter table {t} rename column z to y; insert into {t} (id, y) values (9, 9)"),
        Kind::new(
            "lost",
            &base(),
            "alter table {t} drop column v; insert into {t} (id) values (9)",
        )
        .step(Step::Keep),
        Kind::new(
            "nullable",
            "create table {t} (id int primary key, at timestamptz not null default now(), v int not null default 3);
             create index on {t} (at); insert into {t} (id) values (1)",
            "alter table {t} alter column v drop not null; insert into {t} (id, v) values (9, null)",
        ),
        Kind::new("not_null",
            &having("int", "1", "2").replace(", (3, null)", ""),
            "alter table {t} alter column v set not null; insert into {t} (id, v) values (9, 9)",
        )
        .step(Step::None),
        Kind::new(
            "computed",
            "create table {t} (id int primary key, at timestamptz not null default now(), v int); create index on {t} (at);
             insert into {t} (id, v) values (1, 10), (2, 20)",
            "insert into {t} (id, v) values (9, 1)",
        )
        .in_bronze("alter table {t} drop column v; alter table {t} add column v int generated always as (id * 10) stored"),
        Kind::new(
            "computed_int",
            "create table {t} (id int primary key, at timestamptz not null default now(), v bigint); create index on {t} (at);
             insert into {t} (id, v) values (1, 10), (2, 20)",
            "insert into {t} (id, v) values (9, 10000000000)",
        )
        .in_bronze("alter table {t} drop column v; alter table {t} add column v int generated always as (id * 10) stored"),
        Kind::new(
            "becomes_computed",
            "create table {t} (id int primary key, at timestamptz not null default now(), v int); create index on {t} (at);
             insert into {t} (id, v) values (1, 10), (2, 20)",
            "alter table {t} drop column v; alter table {t} add column v int generated always as (id * 10) stored; insert into {t} (id) values (9)",
        )
        .step(Step::None),
        Kind::new(
            "several",
            &base(),
            "alter table {t} add column n text default 'x', add column m int, alter column z type bigint; insert into {t} (id, z) values (9, 10000000000)",
        ),
    ]);
    kinds.retain(|kind| !kind.after.contains("vacuum_full"));
    kinds
}

/// Two types, two values of the first one, the source's conversion (none: the server's own), and a new value.
type Change = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

fn changes(changes: &[Change]) -> Vec<Kind> {
    let word = |kind: &str| -> String {
        kind.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    changes
        .iter()
        .map(|(from, to, one, two, using, new)| {
            let using = if using.is_empty() { String::new() } else { format!("using {using}") };
            Kind::new(
                &format!("{}__{}", word(from), word(to)),
                &having(from, one, two),
                &format!(
                    "alter table {{t}} alter column v type {to} {using}; insert into {{t}} (id, v) values (9, {new})"
                ),
            )
        })
        .collect()
}

pub fn numbers() -> Vec<Kind> {
    changes(&[
        ("int", "bigint", "1", "-2", "", "10000000000"),
        ("bigint", "int", "1", "-2", "", "7"),
        ("int", "smallint", "1", "-2", "", "7"),
        ("int", "numeric", "1", "-2", "", "7.25"),
        ("int", "numeric(12,2)", "1", "-2", "", "7.25"),
        ("numeric", "int", "1", "-2.0", "", "7"),
        ("int", "double precision", "1", "-2", "", "7.25"),
        ("double precision", "int", "1", "-2", "", "7"),
        ("bigint", "double precision", "1", "-2", "", "7.25"),
        ("double precision", "bigint", "1", "-2", "", "7"),
        ("numeric(12,4)", "numeric(6,2)", "1.5", "-2.25", "", "7.25"),
        ("numeric(6,2)", "numeric(12,4)", "1.5", "-2.25", "", "7.2525"),
        ("numeric(6,2)", "numeric", "1.5", "-2.25", "", "7.25257"),
        ("numeric", "double precision", "1.5", "-2.25", "", "0.1"),
        ("double precision", "numeric", "1.5", "0.1", "", "0.1"),
        ("real", "double precision", "1.5", "0.1", "", "0.1"),
        ("double precision", "real", "1.5", "-2.25", "", "0.1"),
        ("int", "text", "1", "-2", "", "'seven'"),
        ("text", "int", "'1'", "'-2'", "v::int", "7"),
        ("numeric", "text", "1.50", "-2", "", "'seven'"),
        ("text", "numeric(8,2)", "'1.5'", "'-2'", "v::numeric", "7.25"),
        ("double precision", "text", "0.1", "1e300", "", "'seven'"),
        ("text", "double precision", "'0.1'", "'1e300'", "v::double precision", "7.25"),
        ("varchar(5)", "varchar(10)", "'abcde'", "''", "", "'abcdefghij'"),
        ("varchar(10)", "varchar(5)", "'abcde'", "''", "", "'fghij'"),
        ("varchar(5)", "text", "'abcde'", "''", "", "'abcdefghij'"),
        ("text", "varchar(5)", "'abcde'", "''", "", "'fghij'"),
        ("char(4)", "text", "'ab'", "''", "", "'abcdefghij'"),
        ("text", "char(4)", "'ab'", "''", "", "'cd'"),
        ("char(4)", "varchar(4)", "'ab'", "''", "", "'cd'"),
        ("int", "varchar(3)", "1", "-22", "", "'cd'"),
        ("money", "numeric", "1234.5::money", "(-2)::money", "v::numeric", "7.25"),
        ("numeric", "money", "1234.5", "-2.25", "v::money", "7.25::money"),
        ("int", "money", "1234", "-2", "v::money", "7.25::money"),
        ("money", "text", "1234.5::money", "(-2)::money", "", "'seven'"),
        ("text", "money", "'1234.50'", "'-2'", "v::money", "7.25::money"),
        ("boolean", "int", "true", "false", "v::int", "7"),
        ("int", "boolean", "1", "0", "v::boolean", "true"),
        ("boolean", "numeric", "true", "false", "v::int::numeric", "7.5"),
        ("smallint", "boolean", "1", "0", "v::int::boolean", "true"),
        ("boolean", "text", "true", "false", "", "'seven'"),
        ("text", "boolean", "'yes'", "'0'", "v::boolean", "true"),
    ])
}

pub fn times() -> Vec<Kind> {
    let (date, stamp, zoned) = ("date '2024-02-03'", "timestamp '2024-02-03 00:00'", "timestamptz '2024-02-03 00:00Z'");
    let (exact, zoned_exact) = ("timestamp '2024-02-03 04:05:06.7'", "timestamptz '2024-02-03 04:05:06.789+03'");
    let (other, infinite) = ("date '0044-03-15 BC'", "'infinity'");
    changes(&[
        ("date", "timestamp", date, other, "", exact),
        ("timestamp", "date", stamp, infinite, "", date),
        ("date", "timestamptz", date, other, "", zoned_exact),
        ("timestamptz", "date", zoned, infinite, "", date),
        ("timestamp", "timestamptz", exact, infinite, "", zoned_exact),
        ("timestamptz", "timestamp", zoned_exact, infinite, "", exact),
        ("timestamp", "timestamp(0)", stamp, infinite, "", stamp),
        ("timestamp(0)", "timestamp", stamp, infinite, "", exact),
        ("timestamptz", "timestamp(3)", zoned_exact, infinite, "", exact),
        ("text", "date", "'2024-02-03'", "'2024-12-11'", "v::date", date),
        ("date", "text", date, other, "", "'seven'"),
        ("text", "timestamp", "'2024-02-03 04:05'", "'2024-12-11'", "v::timestamp", exact),
        ("timestamp", "text", exact, infinite, "", "'seven'"),
        ("text", "timestamptz", "'2024-02-03 04:05'", "'2024-12-11 01:02:03+03'", "v::timestamptz", zoned_exact),
        ("timestamptz", "text", zoned_exact, infinite, "", "'seven'"),
        ("interval", "text", "interval '-1 day 2 hours'", "interval '1 year'", "", "'seven'"),
        ("text", "interval", "'-1 days +02:00:00'", "'1 year'", "v::interval", "interval '1 s'"),
        ("time", "interval", "time '04:05:06'", "time '00:00'", "", "interval '1 day'"),
        ("interval", "time", "interval '04:05:06'", "interval '0'", "v::time", "time '04:05'"),
        ("time", "text", "time '04:05:06'", "time '00:00'", "", "'seven'"),
        ("text", "time", "'04:05:06'", "'00:00'", "v::time", "time '04:05'"),
        ("time", "timetz", "time '04:05:06'", "time '00:00'", "", "timetz '04:05+03'"),
        ("timetz", "text", "timetz '04:05:06+03'", "timetz '00:00Z'", "", "'seven'"),
        ("timestamptz[]", "text[]", "array[timestamptz '2024-02-03 04:05:06+03']", "'{}'", "v::text[]", "'{a}'"),
        (
            "timestamptz[]",
            "timestamp[]",
            "array[timestamptz '2024-02-03 04:05:06+03']",
            "'{}'",
            "v::timestamp[]",
            "array[now()::timestamp]",
        ),
        ("int", "date", "1", "2", "date '2024-01-01' + v", date),
        ("interval", "int", "interval '1 s'", "interval '2 s'", "extract(epoch from v)::int", "7"),
        ("timestamp", "time", exact, exact, "v::time", "time '04:05'"),
    ])
}

pub fn others() -> Vec<Kind> {
    let (one, two) = ("'00000000-0000-0000-0000-00000000000a'::uuid", "'f0000000-0000-0000-0000-00000000000a'::uuid");
    let json = "'{\"a\": [1, null, \"x\"]}'";
    changes(&[
        ("json", "jsonb", json, "'1'", "v::jsonb", "'{\"b\": 2}'"),
        ("jsonb", "json", json, "'1'", "v::json", "'{\"b\": 2}'"),
        ("text", "jsonb", json, "'1'", "v::jsonb", "'{\"b\": 2}'"),
        ("jsonb", "text", json, "'1'", "v::text", "'seven'"),
        ("text", "json", json, "'1'", "v::json", "'{\"b\": 2}'"),
        ("json", "text", json, "'1'", "v::text", "'seven'"),
        ("int", "jsonb", "1", "-2", "to_jsonb(v)", json),
        ("jsonb", "int", "'1'", "'-2'", "v::int", "7"),
        ("timestamptz", "jsonb", "timestamptz '2024-02-03 04:05:06+03'", "null", "to_jsonb(v)", json),
        ("jsonb", "date", "'\"2024-02-03\"'", "'\"2024-12-11\"'", "(v #>> '{}')::date", "date '2024-01-01'"),
        ("int[]", "jsonb", "'{1,2}'", "'{}'", "to_jsonb(v)", json),
        ("uuid", "text", one, two, "", "'seven'"),
        (
            "text",
            "uuid",
            "'00000000-0000-0000-0000-00000000000a'",
            "'f0000000-0000-0000-0000-00000000000a'",
            "v::uuid",
            one,
        ),
        ("uuid", "bytea", one, two, "decode(replace(v::text, '-', ''), 'hex')", "'\\x01'"),
        ("bytea", "uuid", "'\\x0000000000000000000000000000000a'", "null", "encode(v, 'hex')::uuid", one),
        ("bytea", "text", "'\\xdeadbeef'", "'\\x'", "", "'seven'"),
        ("text", "bytea", "'abc'", "''", "v::bytea", "'\\x01'"),
        ("app.mood", "text", "'ok'", "'bad'", "", "'seven'"),
        ("text", "app.mood", "'ok'", "'bad'", "v::app.mood", "'ok'"),
        ("text", "app.only_here", "'a'", "'b'", "v::app.only_here", "'b'"),
        ("app.mood", "app.mood2", "'ok'", "'bad'", "v::text::app.mood2", "'new'"),
        ("app.mood", "varchar(9)", "'ok'", "'bad'", "", "'seven'"),
        ("app.mood[]", "text[]", "'{ok}'", "'{}'", "v::text[]", "'{x}'"),
        ("app.positive", "int", "1", "2", "", "-7"),
        ("int", "app.positive", "1", "2", "", "7"),
        ("int[]", "bigint[]", "'{1,null}'", "'{}'", "v::bigint[]", "'{10000000000}'"),
        ("bigint[]", "int[]", "'{1,2}'", "'{}'", "v::int[]", "'{7}'"),
        ("int[]", "text[]", "'{1,2}'", "'{}'", "v::text[]", "'{a,\"b,c\"}'"),
        ("text[]", "int[]", "'{1,2}'", "'{}'", "v::int[]", "'{7}'"),
        ("int[]", "text", "'{1,2}'", "'{}'", "", "'seven'"),
        ("text", "int[]", "'{1,2}'", "'{}'", "v::int[]", "'{7}'"),
        ("numeric[]", "numeric(6,2)[]", "'{1.5}'", "'{}'", "v::numeric(6,2)[]", "'{7.25}'"),
        ("inet", "text", "'10.0.0.1'", "'10.0.0.0/8'", "", "'seven'"),
        ("text", "inet", "'10.0.0.1'", "'10.0.0.0/8'", "v::inet", "'10.0.0.2'"),
        ("xml", "text", "'<a/>'", "'x'", "", "'seven'"),
        ("text", "xml", "'<a/>'", "'x'", "v::xml", "'<b/>'"),
        ("bit(3)", "bit varying(5)", "b'101'", "b'000'", "", "b'10101'"),
        ("int4range", "text", "'[1,3)'", "'empty'", "", "'seven'"),
        ("public.geometry(Point,4326)", "public.geometry", "'SRID=4326;POINT(1 2)'", "null", "", "'POINT(1 2)'"),
        ("public.geometry(Point,4326)", "text", "'SRID=4326;POINT(1 2)'", "null", "v::text", "'seven'"),
        ("uuid", "int", one, two, "1", "7"),
        ("bytea", "int", "'\\x01'", "'\\x02'", "7", "7"),
    ])
}

/// Values that the new type does not hold, but for the last one.
pub fn narrow() -> Vec<Kind> {
    changes(&[
        ("bigint", "int", "10000000000", "1", "1", "7"),
        ("numeric(12,4)", "numeric(6,2)", "1.2345", "1", "", "7.25"),
        ("numeric", "int", "1.5", "1", "", "7"),
        ("double precision", "real", "0.1", "1", "", "1.5"),
        ("double precision", "int", "1.5", "1", "", "7"),
        ("varchar(10)", "varchar(3)", "'abcd'", "'a'", "left(v, 3)", "'b'"),
        ("text", "varchar(3)", "'ab   '", "'a'", "left(v, 3)", "'b'"),
        (
            "timestamp",
            "timestamp(0)",
            "timestamp '2024-02-03 04:05:06.7'",
            "null",
            "",
            "timestamp '2024-02-03 04:05:06'",
        ),
        ("timestamp", "date", "timestamp '2024-02-03 04:05:06'", "null", "", "date '2024-02-03'"),
        ("timestamptz", "date", "timestamptz '2024-02-03 04:05:06Z'", "null", "", "date '2024-02-03'"),
        ("text", "date", "'2024-02-03 04:05'", "null", "v::date", "date '2024-02-03'"),
        ("text", "numeric(6,2)", "'1.234'", "null", "v::numeric", "7.25"),
        ("numeric[]", "int[]", "'{1.5}'", "null", "v::int[]", "'{7}'"),
    ])
}
