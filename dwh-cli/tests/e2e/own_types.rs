//! Types that a database made itself: known by schema and name, made in the target by `migrate`, and told by their cause
//! where they cannot be made.

use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;
use std::fs;

use crate::support::{Project, READABLE, number, table};

const MODES: [(&str, &str, &str); 3] = [
    ("inc", "incremental", "watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\""),
    ("all", "snapshot", ""),
    ("dated", "scd", ""),
];

/// One relation in every mode.
fn in_every_mode(relation: &str) -> String {
    MODES.iter().map(|(name, mode, more)| table(name, relation, mode, more)).collect()
}

async fn app(test: &str, sql: &str) -> TestDb {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE}")).await;
    db.src(sql).await;
    db
}

/// The values are compared as text: a type has a number of its own at each end.
async fn same_in_every_mode(db: &TestDb, columns: &str) {
    for (name, mode, _) in MODES {
        let source = format!("select {columns} from app.t");
        let newest =
            if mode == "scd" { " where _uploaded_at = (select max(_uploaded_at) from bronze.dated)" } else { "" };
        assert_equal_tables(db, &source, &format!("select {columns} from bronze.{name}{newest}")).await;
    }
}

fn refusals(report: &Value) -> &Vec<Value> {
    report["refused"].as_array().expect("refused")
}

fn types_found(report: &Value) -> Vec<&Value> {
    report["findings"].as_array().expect("findings").iter().filter(|found| found["check"] == "type").collect()
}

const TWO: &str = "create schema b; grant usage on schema b to app_ro;
    create domain app.price as numeric(10,2); create domain b.price as numeric(10,4);
    create type app.mood as enum ('x'); create type b.mood as enum ('y');
    create table app.t (id int primary key, at timestamptz not null default now(), p app.price, q b.price, m app.mood, n b.mood[]);
    create index on app.t (at); insert into app.t values (1, now(), 1.25, 1.2345, 'x', '{y}')";

#[tokio::test]
async fn types_of_one_name_in_two_schemas_stay_apart() {
    let db = app("own_two", TWO).await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    let made = project.json(&["migrate"]);
    assert_eq!(made["types_created"], serde_json::json!(["app.price", "b.price", "app.mood", "b.mood"]));
    project.ok(&["run"]);
    same_in_every_mode(&db, "id, p::text, q::text, m::text, n::text").await;
    project.ok(&["check"]);
    project.ok(&["verify"]);
    // The other type of that name is drift, not the same.
    db.tgt("alter table bronze.inc alter column q type app.price").await;
    db.src("insert into app.t (id, q) values (2, 9.8765)").await;
    let failure = project.fails(4, &["run", "inc"]).failure("inc");
    assert_eq!(failure.code, "drift");
    failure.names(&["b.price", "app.price"]);
}

const NESTED: &str = r#"create schema "Ö dd"; grant usage on schema "Ö dd" to app_ro;
    create type "Ö dd"."Mo od" as enum ('ok', 'it''s "so", \.', '🐘', 'NULL', '', 'a,b', '$dwh$', '%L');
    create domain app.moods as "Ö dd"."Mo od"[] check (cardinality(value) < 9);
    create domain app.cents as numeric(12,4) not null default 0;
    create type app.pair as ("the Mood" "Ö dd"."Mo od", cents app.cents, spot public.geometry(Point, 4326));
    create type app.span as range (subtype = app.cents, multirange_type_name = app.spans);
    create type app.words as range (subtype = text, collation = "C", subtype_opclass = text_pattern_ops);
    create type app.deep as (pairs app.pair[], moods app.moods, spans app.spans);
    create domain app.deeper as app.deep;
    create table app.t (id int primary key, at timestamptz not null default now(), m "Ö dd"."Mo od", ms app.moods, p app.pair,
        s app.span, ss app.spans, w app.words, d app.deeper, ds app.deeper[], g public.geometry(Point, 4326));
    create index on app.t (at);
    insert into app.t select i, now(), m, array[m, '🐘'], row(m, i::numeric, 'srid=4326;point(1 2)')::app.pair, app.span(i::app.cents, (i + 1)::app.cents),
        app.spans(app.span(i::app.cents, (i + 1)::app.cents)), app.words('A', 'b'),
        row(array[row(m, i::numeric, null)::app.pair, null], array[m], app.spans(app.span(1, 2)))::app.deep, null, 'srid=4326;point(3 4)'
        from unnest(enum_range(null::"Ö dd"."Mo od")) with ordinality x(m, i);
    update app.t set ds = array[d, null];"#;
const NESTED_COLUMNS: &str = "id, m::text, ms::text, p::text, s::text, ss::text, w::text, d::text, ds::text, g";

#[tokio::test]
async fn all_kinds_of_types_nested_in_every_mode() {
    let db = app("own_nested", NESTED).await;
    // The extension lives elsewhere.
    db.tgt("drop extension postgis; create schema gis; create extension postgis schema gis; grant usage on schema gis to public").await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    let would = project.json(&["migrate", "--dry-run"]);
    let made = project.json(&["migrate"]);
    assert_eq!(would["types_created"], made["types_created"]);
    assert_eq!(made["types_created"].as_array().expect("types").len(), 8, "{made:#}");
    project.ok(&["check"]);
    project.ok(&["run"]);
    let target_columns = NESTED_COLUMNS.replace(", g", ", g::text");
    for (name, mode, _) in MODES {
        let rows = |from: &str| format!("select {target_columns} from {from}");
        let newest =
            if mode == "scd" { " where _uploaded_at = (select max(_uploaded_at) from bronze.dated)" } else { "" };
        assert_equal_tables(&db, &rows("app.t"), &rows(&format!("bronze.{name}{newest}"))).await;
    }
    let again = project.json(&["migrate"]);
    assert_eq!((&again["types_created"], &again["labels_added"]), (&serde_json::json!([]), &serde_json::json!([])));
    db.src("insert into app.t (id, s) values (100, '[1,2)')").await;
    project.ok(&["run"]);
    project.ok(&["verify"]);
}

#[tokio::test]
async fn a_label_that_came_later_is_added_in_its_place() {
    let db = app(
        "own_labels",
        "create type app.mood as enum ('b', 'd');
         create table app.t (id int primary key, at timestamptz not null default now(), m app.mood); create index on app.t (at);
         insert into app.t values (1, now(), 'b')",
    )
    .await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src(
        "alter type app.mood add value 'c' after 'b'; alter type app.mood add value '''a' before 'b'; alter type app.mood add value 'e'",
    )
    .await;
    db.src("insert into app.t values (2, now(), '''a'), (3, now(), 'c'), (4, now(), 'e')").await;
    let checked = project.fails(4, &["check"]).json();
    let found = types_found(&checked);
    assert_eq!(found.len(), 3, "one a table: {checked:#}");
    assert!(found[0]["message"].as_str().expect("message").contains("lacks `'a`, `c`, `e`"), "{found:#?}");
    assert_eq!(found[0]["remedy"], "dwh migrate");
    let would = project.json(&["migrate", "--dry-run"]);
    let done = project.json(&["migrate"]);
    assert_eq!(would["labels_added"], done["labels_added"]);
    assert_eq!(done["labels_added"].as_array().expect("labels").len(), 3, "{done:#}");
    project.ok(&["run"]);
    same_in_every_mode(&db, "id, m::text").await;
    let order =
        "select string_agg(enumlabel, ' ' order by enumsortorder) from pg_enum where enumtypid = 'app.mood'::regtype";
    let order: String = db.target().query_one(order, &[]).await.expect("labels").get(0);
    assert_eq!(order, "'a b c d e");
    project.ok(&["check"]);
}

#[tokio::test]
async fn a_type_of_another_definition_is_refused_with_both() {
    let db = app(
        "own_another",
        "create type app.pair as (a int, b text); create type app.mood as enum ('x', 'y'); create type app.fine as enum ('z');
         create table app.t (id int primary key, at timestamptz not null default now(), p app.pair); create index on app.t (at);
         create table app.u (id int primary key, m app.mood);
         create table app.v (id int primary key, f app.fine); insert into app.v values (1, 'z')",
    )
    .await;
    db.tgt("create schema app authorization dwh_owner; create type app.pair as (a int, b int); create type app.mood as enum ('y', 'x')")
        .await;
    let tables = table("u", "app.u", "snapshot", "") + &table("v", "app.v", "snapshot", "");
    let project = Project::new(&db, &(in_every_mode("app.t") + &tables));
    let report = project.fails(4, &["migrate"]).json();
    let found = refusals(&report);
    assert_eq!(found.len(), 2, "{report:#}");
    assert_eq!(
        found[0]["cause"],
        "type `app.pair` is composite (a integer, b integer) in the target, but composite (a integer, b text) in the source"
    );
    assert_eq!(found[0]["tables"], serde_json::json!(["inc", "all", "dated"]));
    assert_eq!(
        found[1]["cause"],
        "type `app.mood` is enum (`y`, `x`) in the target, but enum (`x`, `y`) in the source"
    );
    assert_eq!(report["tables_created"], serde_json::json!(["bronze.v"]), "the others are made");
    project.ok(&["run", "v"]);
    // A renamed label is no new one.
    db.tgt("drop type app.mood; create type app.mood as enum ('w', 'y')").await;
    let report = project.fails(4, &["migrate", "u"]).json();
    let hint = refusals(&report)[0]["hint"].as_str().expect("hint").to_owned();
    let sql = hint.split("in the target: ").nth(1).and_then(|rest| rest.split(" --").next()).expect("sql");
    assert_eq!(sql, "alter type \"app\".\"mood\" rename value 'w' to 'x';");
    db.tgt(sql).await;
    project.ok(&["migrate", "u"]);
}

#[tokio::test]
async fn values_are_not_read_by_another_definition() {
    let db = app(
        "own_changed",
        "create type app.pair as (a int, b int); create domain app.price as numeric(10,2);
         create table app.t (id int primary key, at timestamptz not null default now(), p app.pair, q app.price);
         create index on app.t (at); insert into app.t (id, p) values (1, (1, 2))",
    )
    .await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let waits = project.ok(&["extract", "inc"]).stdout;
    // The second attribute takes the place of the first, and a domain gets more digits: both under the names that they had.
    db.src(
        "alter type app.pair drop attribute a; alter type app.pair add attribute a int;
         alter table app.t alter q type numeric; drop domain app.price; create domain app.price as numeric(10,4);
         alter table app.t alter q type app.price; update app.t set p = (20, 10), q = 1.2345, at = clock_timestamp()",
    )
    .await;
    let report = project.fails(4, &["run"]);
    for (name, _, _) in MODES {
        let failure = report.failure(name);
        assert_eq!(failure.code, "drift");
        failure.names(&["`app.pair`", "`app.price`", "numeric(10,4)"]);
    }
    assert_eq!(number(&db, "select count(*) from bronze.inc where p = (1, 2)::app.pair").await, 1);
    // What was read before fits.
    project.ok(&["load", "--params", waits.trim()]);
    db.tgt(
        "alter type app.pair drop attribute a; alter type app.pair add attribute a int;
         alter domain app.price rename to old_price; create domain app.price as numeric(10,4)",
    )
    .await;
    for (name, _, _) in MODES {
        db.tgt(&format!("alter table bronze.{name} alter q type app.price")).await;
    }
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.inc where p = (20, 10)::app.pair and q = 1.2345").await, 1);
}

#[tokio::test]
async fn a_missing_extension_is_one_cause_of_all_its_tables() {
    let names: Vec<String> = (1..=12).map(|n| format!("t{n}")).collect();
    let tables: String = names.iter().map(|n| format!("create table app.{n} (id int, g public.geometry[]);")).collect();
    let db = app("own_extension", &format!("{tables} create table app.plain (id int)")).await;
    db.tgt("drop extension postgis").await;
    let toml: String = names.iter().map(|n| table(n, &format!("app.{n}"), "snapshot", "")).collect();
    let project = Project::new(&db, &(toml + &table("plain", "app.plain", "snapshot", "")));
    for args in [&["migrate", "--dry-run"][..], &["migrate"]] {
        let report = project.fails(4, args).json();
        let [found] = refusals(&report).as_slice() else { panic!("{report:#}") };
        assert_eq!(found["cause"], "the target has no extension `postgis`, which brings type `geometry`");
        assert_eq!(found["tables"].as_array().expect("tables").len(), 12);
        assert_eq!(found["hint"], "in the target, as a superuser: create extension if not exists \"postgis\";");
        assert_eq!(report["tables_created"].as_array().expect("created").len(), usize::from(!args.is_empty()));
    }
    let text = project.dwh(&["migrate"]).stdout;
    assert!(text.contains("12 tables: `t1`, `t2`, `t3`, `t4`, `t5` and 7 more"), "{text}");
    let checked = project.fails(4, &["check"]).json();
    assert_eq!(types_found(&checked).len(), 12);
    assert_eq!(
        types_found(&checked)[0]["remedy"],
        "in the target, as a superuser: create extension if not exists \"postgis\";"
    );
    project.ok(&["run", "plain"]);
    db.tgt("create extension if not exists \"postgis\"").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
}

#[tokio::test]
async fn a_schema_that_the_owner_may_not_use_is_named_as_a_right() {
    let db = app(
        "own_usage",
        "create extension citext schema app; create type public.state as enum ('on'); create domain app.nr as int;
         create table app.t (id int primary key, c app.citext, n app.nr, s public.state[]); insert into app.t values (1, 'A', 2, '{on}')",
    )
    .await;
    // The types are there; the right to use them, or to make one in `public`, is not.
    db.tgt(
        "create schema ext; create extension citext schema ext; create schema app; create domain app.nr as int;
            revoke create on schema public from public",
    )
    .await;
    let project = Project::new(&db, &table("t", "app.t", "snapshot", ""));
    let report = project.fails(4, &["migrate"]).json();
    let hints: Vec<&str> = refusals(&report).iter().filter_map(|one| one["hint"].as_str()).collect();
    let wanted = [
        "in the target: grant usage on schema \"ext\" to \"dwh_owner\";",
        "in the target: grant usage on schema \"app\" to \"dwh_owner\";",
        "in the target: grant usage, create on schema \"public\" to \"dwh_owner\";",
    ];
    assert_eq!(hints, wanted, "{report:#}");
    let checked = project.fails(4, &["check"]).json();
    let remedies: Vec<&str> = types_found(&checked).iter().filter_map(|one| one["remedy"].as_str()).collect();
    assert_eq!(remedies, wanted);
    for hint in wanted {
        db.tgt(hint.trim_start_matches("in the target: ")).await;
    }
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    assert_equal_tables(
        &db,
        "select id, c::text, n, s::text from app.t",
        "select id, c::text, n, s::text from bronze.t",
    )
    .await;
}

#[tokio::test]
async fn one_bad_table_of_several_keeps_no_other_from_being_made() {
    let db = app(
        "own_one_bad",
        "create table app.a (id int); create table app.b (id int, c regclass); insert into app.a values (1)",
    )
    .await;
    let toml = ["a", "b", "gone"].map(|name| table(name, &format!("app.{name}"), "snapshot", "")).concat();
    let project = Project::new(&db, &toml);
    for args in [&["migrate", "--dry-run"][..], &["migrate"]] {
        let report = project.fails(4, args).json();
        assert_eq!(report["tables_created"], serde_json::json!(["bronze.a"]));
        let tables: Vec<&Value> = refusals(&report).iter().map(|one| &one["tables"][0]).collect();
        assert_eq!(tables, ["b", "gone"], "{report:#}");
    }
    let failed = project.dwh(&["migrate", "--print-sql"]);
    assert_eq!(failed.code, 4, "{}", failed.all());
    assert!(failed.stderr.contains("`b`") && failed.stderr.contains("`gone`"), "{}", failed.all());
    project.ok(&["run", "a"]);
    assert_eq!(number(&db, "select count(*) from bronze.a").await, 1);
}

#[tokio::test]
async fn printed_sql_makes_the_types_too() {
    let db = app("own_print", NESTED).await;
    db.tgt("drop extension postgis; create schema gis; create extension postgis schema gis; grant usage on schema gis to public").await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    let sql = project.ok(&["migrate", "--print-sql"]).stdout;
    db.tgt(&sql).await;
    let report = project.json(&["migrate"]);
    assert_eq!((&report["types_created"], &report["tables_created"]), (&serde_json::json!([]), &serde_json::json!([])));
    project.ok(&["run"]);
    // Again, with a label that came since.
    db.src("alter type \"Ö dd\".\"Mo od\" add value '-- 0' before 'ok'").await;
    let sql = project.ok(&["migrate", "--print-sql"]).stdout;
    db.tgt(&sql).await;
    db.src("insert into app.t (id, m) values (50, '-- 0')").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select id, m::text from app.t", "select id, m::text from bronze.inc").await;
}

#[tokio::test]
async fn a_rebuild_makes_the_types_from_the_blobs_alone() {
    let db = app("own_rebuild", NESTED).await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src("alter type \"Ö dd\".\"Mo od\" add value 'later' after 'ok'").await;
    db.src("insert into app.t (id, m) values (50, 'later')").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let other = TestDb::new("own_rebuild_there").await;
    other.tgt("drop extension postgis; create schema gis; create extension postgis schema gis; grant usage on schema gis to public").await;
    let project = project
        .config_with(&db.target_url_as("dwh_loader"), &other.target_url_as("dwh_loader"))
        .config_with(&db.source_url_as("app_ro"), "postgresql://nobody@127.0.0.1:1/none");
    project.ok(&["rebuild"]);
    for name in ["inc", "all"] {
        let there = nested_rows(other.target(), &format!("bronze.{name}")).await;
        assert_eq!(nested_rows(db.source(), "app.t").await, there, "{name}");
    }
}

async fn nested_rows(client: &tokio_postgres::Client, from: &str) -> String {
    let columns = NESTED_COLUMNS.replace(", g", ", g::text");
    let sql = format!("select string_agg(x::text, '|' order by id) from (select {columns} from {from}) x");
    client.query_one(&sql, &[]).await.expect("rows").get(0)
}

#[tokio::test]
async fn what_names_objects_of_the_source_is_refused_before_an_extract() {
    let db = app("own_reg", "create table app.t (id int primary key, fine oid); insert into app.t values (1, 7)").await;
    let project = Project::new(&db, &table("t", "app.t", "snapshot", ""));
    project.ok(&["migrate"]);
    db.src(
        "create type app.holds as (a int, r regrole); create domain app.kind as regtype;
         alter table app.t add \"c c\" regclass, add h app.holds[], add k app.kind, add a aclitem[];
         update app.t set \"c c\" = 'app.t', h = array[row(1, 'app_ro')::app.holds], k = 'int'",
    )
    .await;
    let refused = project.fails(4, &["migrate"]).json();
    assert!(refusals(&refused)[0]["cause"].as_str().expect("cause").contains("regclass"), "{refused:#}");
    let failure = project.fails(4, &["run"]).failure("t");
    failure.names(&[
        "`c c` is `regclass`",
        "`h` is `app.holds[]`, which holds `regrole`",
        "`k` is `app.kind`",
        "`a` is `aclitem[]`",
    ]);
    assert!(!failure.message.contains("fine"), "{failure:?}");
    let checked = project.fails(4, &["check"]);
    assert!(checked.stdout.contains("regclass"), "{}", checked.all());
    let lines: Vec<&str> = failure.hint.lines().skip_while(|line| !line.starts_with('[')).take(5).collect();
    let project = project.config_with("mode = \"snapshot\"", &format!("mode = \"snapshot\"\n{}", lines.join("\n")));
    db.tgt("drop table bronze.t").await;
    project.ok(&["migrate"]);
    project.ok(&["check"]);
    project.ok(&["run"]);
    let columns = "id, \"c c\"::text, h::text, k::text, a::text, fine";
    assert_equal_tables(&db, &format!("select {columns} from app.t"), &format!("select {columns} from bronze.t")).await;
}

#[tokio::test]
async fn generated_columns_arrive_as_plain_values_in_every_mode() {
    let db = app(
        "own_generated",
        "create domain app.nr as int;
         create table app.t (id int primary key, at timestamptz not null default now(), v int,
             twice app.nr generated always as (v * 2) stored, name text generated always as ('n' || v::int) stored);
         create index on app.t (at); insert into app.t (id, v) values (1, 1), (2, null)",
    )
    .await;
    let project = Project::new(&db, &in_every_mode("app.t"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    same_in_every_mode(&db, "id, v, twice::int, name").await;
    // Computed in another way, or not at all any more.
    db.src(
        "alter table app.t drop column twice; alter table app.t add twice app.nr generated always as (v * 3) stored;
            alter table app.t alter name drop expression; insert into app.t (id, v, name) values (3, 4, 'own')",
    )
    .await;
    project.ok(&["migrate"]);
    project.ok(&["run", "all", "dated"]);
    project.ok(&["reseed", "inc"]);
    project.ok(&["run", "inc"]);
    same_in_every_mode(&db, "id, v, twice::int, name").await;
    project.ok(&["verify"]);
}

/// A manifest of release 0.1 tells nothing of types.
#[tokio::test]
async fn a_manifest_without_definitions_is_read_as_before() {
    let db = app(
        "own_old",
        "create table app.t (id int, g public.geometry, c text[]); insert into app.t values (1, 'point(1 2)', '{a}')",
    )
    .await;
    let project = Project::new(&db, &table("t", "app.t", "snapshot", ""));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    for path in
        crate::support::files(db.blobs()).iter().filter(|path| path.to_string_lossy().ends_with(".manifest.json"))
    {
        let mut json: Value = serde_json::from_slice(&fs::read(path).expect("manifest")).expect("json");
        json.as_object_mut().expect("object").remove("types").expect("types are told");
        fs::write(path, json.to_string()).expect("written");
    }
    let other = TestDb::new("own_old_there").await;
    let there = project.config_with(&db.target_url_as("dwh_loader"), &other.target_url_as("dwh_loader"));
    other.tgt("drop extension postgis").await;
    let failed = there.dwh(&["rebuild"]);
    assert_eq!(failed.code, 4, "{}", failed.all());
    assert!(failed.stderr.contains("create extension if not exists postgis"), "{}", failed.all());
    other.tgt("create schema gis; create extension postgis schema gis; grant usage on schema gis to public").await;
    there.ok(&["rebuild"]);
    assert_eq!(number(&other, "select count(*) from bronze.t where gis.st_x(g) = 1").await, 1);
}
