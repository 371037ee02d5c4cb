//! Each right that a run needs is taken away in turn: `check` names it with the grant, which mends it, and then `run` runs.

use dwh_core::operate::{CheckReport, Finding, MigrateRequest, Severity};
use dwh_core::pipeline::RunRequest;
use dwh_core::testing::TestDb;
use dwh_core::{Config, Pipeline};
use tokio_util::sync::CancellationToken;

const TABLES: &str = "[[table]]\nname = \"trips\"\nrelation = \"app.trips\"\nmode = \"incremental\"\nwatermark = \"recorded_at\"\nkey = [\"id\"]\non_conflict = \"update\"\n
[[table]]\nname = \"zones\"\nrelation = \"app.zones\"\nmode = \"snapshot\"\n
[[table]]\nname = \"plans\"\nrelation = \"app.plans\"\nmode = \"scd\"\n";

/// What is taken away at the source or the target, the subject and the message of the finding, and the grant.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const SOURCE: &str = "source app";
const TARGET: &str = "target";
const TRIPS: &str = "table `trips`";
const ZONES: &str = "table `zones`";
const PLANS: &str = "table `plans`";

const CASES: &[Case] = &[
    (
        TARGET,
        "revoke usage on schema bronze from dwh_owner",
        TARGET,
        "use schema `bronze`",
        "grant usage on schema bronze to dwh_owner;",
    ),
    (
        TARGET,
        "revoke usage on schema dwh_control from dwh_owner",
        TARGET,
        "use schema `dwh_control`",
        "grant usage on schema dwh_control to dwh_owner;",
    ),
    (
        TARGET,
        "revoke insert on dwh_control.extract_runs from dwh_owner",
        TARGET,
        "insert on `dwh_control.extract_runs`",
        "grant insert on dwh_control.extract_runs to dwh_owner;",
    ),
    (
        TARGET,
        "revoke update on dwh_control.extract_runs from dwh_owner",
        TARGET,
        "update on",
        "grant update on dwh_control.extract_runs to dwh_owner;",
    ),
    (
        TARGET,
        "revoke select on dwh_control.extract_runs from dwh_owner",
        TARGET,
        "select on",
        "grant select on dwh_control.extract_runs to dwh_owner;",
    ),
    (
        TARGET,
        "revoke update on dwh_control.extract_watermarks from dwh_owner",
        TARGET,
        "update on",
        "grant update on dwh_control.extract_watermarks to dwh_owner;",
    ),
    (
        TARGET,
        "revoke select on dwh_control.extract_watermarks from dwh_owner",
        TARGET,
        "select on",
        "grant select on dwh_control.extract_watermarks to dwh_owner;",
    ),
    (
        TARGET,
        "revoke select on dwh_control.schema_migrations from dwh_owner",
        TARGET,
        "select on",
        "grant select on dwh_control.schema_migrations to dwh_owner;",
    ),
    (
        TARGET,
        "revoke execute on function pg_catalog.pg_try_advisory_xact_lock(bigint) from public",
        TARGET,
        "call",
        "grant execute on function pg_catalog.pg_try_advisory_xact_lock(bigint) to dwh_owner;",
    ),
    (
        TARGET,
        "revoke execute on function pg_catalog.hashtextextended(text, bigint) from public",
        TARGET,
        "call",
        "grant execute on function pg_catalog.hashtextextended(text, bigint) to dwh_owner;",
    ),
    (
        TARGET,
        "revoke usage on type public.mood from public",
        TARGET,
        "use type `public.mood`",
        "grant usage on type public.mood to dwh_owner;",
    ),
    (
        TARGET,
        "revoke usage on type public.tag from public",
        TARGET,
        "use type `public.tag`",
        "grant usage on type public.tag to dwh_owner;",
    ),
    (
        TARGET,
        "revoke temporary on database DATABASE from public",
        TARGET,
        "temporary table",
        "grant temporary on database",
    ),
    (
        TARGET,
        "revoke insert on bronze.trips from dwh_owner",
        TRIPS,
        "may not load bronze.trips: it lacks insert",
        "grant insert on \"bronze\".\"trips\" to \"dwh_owner\";",
    ),
    (
        TARGET,
        "revoke update on bronze.trips from dwh_owner",
        TRIPS,
        "lacks update",
        "grant update on \"bronze\".\"trips\" to \"dwh_owner\";",
    ),
    (
        TARGET,
        "revoke select on bronze.trips from dwh_owner",
        TRIPS,
        "lacks select",
        "grant select on \"bronze\".\"trips\" to \"dwh_owner\";",
    ),
    (
        TARGET,
        "revoke truncate on bronze.zones from dwh_owner",
        ZONES,
        "lacks truncate",
        "grant truncate on \"bronze\".\"zones\" to \"dwh_owner\";",
    ),
    (
        TARGET,
        "revoke insert on bronze.zones from dwh_owner",
        ZONES,
        "lacks insert",
        "grant insert on \"bronze\".\"zones\" to \"dwh_owner\";",
    ),
    (
        TARGET,
        "revoke insert, select on bronze.plans from dwh_owner",
        PLANS,
        "lacks select, insert",
        "grant select, insert on \"bronze\".\"plans\" to \"dwh_owner\";",
    ),
    (
        SOURCE,
        "revoke usage on schema app from app_ro",
        TRIPS,
        "usage of schema `app`",
        "grant usage on schema \"app\" to \"app_ro\";",
    ),
    (
        SOURCE,
        "revoke select on app.trips from app_ro",
        TRIPS,
        "select on app.trips",
        "grant select on \"app\".\"trips\" to \"app_ro\";",
    ),
    (
        SOURCE,
        "revoke select on app.zones from app_ro; grant select (id) on app.zones to app_ro",
        ZONES,
        "select on the columns `name`",
        "grant select (\"name\", \"mood\", \"tags\") on \"app\".\"zones\" to \"app_ro\";",
    ),
    (
        SOURCE,
        "revoke execute on function pg_catalog.pg_current_snapshot() from public",
        SOURCE,
        "call",
        "grant execute on function pg_catalog.pg_current_snapshot() to app_ro;",
    ),
    (
        SOURCE,
        "revoke execute on function app.double(int) from public",
        PLANS,
        "permission denied for function double",
        "grant execute on function app.double(n integer) to app_ro;",
    ),
];

fn of(db: &TestDb, tables: &str) -> Pipeline {
    let text = db.config(tables);
    let config = Config::parse(&text, "dwh.toml".as_ref(), [("HOME", "/nowhere")].into_iter().collect());
    Pipeline::from_config(config.expect("configuration")).expect("pipeline")
}

fn pipeline(db: &TestDb) -> Pipeline {
    of(db, &TABLES.replace("\"app.plans\"\nmode", "\"app.plans\"\nselect = { twice = \"app.double(t.id)\" }\nmode"))
}

fn failures(report: &CheckReport) -> Vec<&Finding> {
    let failed = |finding: &&Finding| finding.severity == Severity::Failure && finding.check != "space";
    report.findings.iter().filter(failed).collect()
}

async fn runs(pipeline: &Pipeline) -> Result<(), String> {
    let report = pipeline.run(&RunRequest::default(), &CancellationToken::new()).await.expect("a report");
    let failed: Vec<String> = report.runs.iter().filter_map(|run| Some(run.error.as_ref()?.message.clone())).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

#[tokio::test]
async fn each_right_that_a_run_needs_is_missed_by_check_and_given_back_by_its_grant() {
    let db = TestDb::new("check_rights").await;
    let types = "create type public.mood as enum ('good', 'bad'); create type public.tag as enum ('a', 'b');";
    db.src(&format!(
        "create schema app; {types}
         create function app.double(n int) returns int language sql as 'select 2 * n';
         create table app.trips (id int primary key, recorded_at timestamptz not null default now());
         create index on app.trips (recorded_at);
         create table app.zones (id int primary key, name text, mood public.mood, tags public.tag[]);
         create table app.plans (id int primary key);
         grant usage on schema app to app_ro; grant select on all tables in schema app to app_ro"
    ))
    .await;
    db.tgt(types).await;
    pipeline(&db).migrate(&MigrateRequest::default()).await.expect("migrated");
    let report = pipeline(&db).check(&[]).await.expect("tables");
    assert!(failures(&report).is_empty(), "{:#?}", failures(&report));
    for (at, (end, revoke, subject, words, grant)) in CASES.iter().enumerate() {
        let revoke = revoke.replace("DATABASE", &format!("\"{}\"", db.name()));
        // A row that is there already needs other rights than one that is new.
        let fill = "update app.trips set recorded_at = clock_timestamp() where id = N - 1; insert into app.trips (id) values (N); insert into app.zones values (N, 'z', 'good', '{a}'); insert into app.plans values (N)";
        db.src(&fill.replace('N', &at.to_string())).await;
        if *end == SOURCE {
            db.src(&revoke).await
        } else {
            db.tgt(&revoke).await
        }
        let report = pipeline(&db).check(&[]).await.expect("tables");
        let found = failures(&report);
        let finding = found.iter().find(|f| f.subject == *subject && f.message.contains(words));
        let finding = finding.unwrap_or_else(|| panic!("{revoke}: {found:#?}"));
        let remedy = finding.remedy.as_deref().expect("remedy");
        assert!(remedy.contains(grant), "{revoke}: {finding:#?}");
        // One cause is told once, but for a schema of the source, which every table of it names.
        let sources = revoke.contains("on schema app");
        assert!(found.len() == 1 || sources, "{revoke}: {found:#?}");
        // Only what check needs for itself is none of a run's.
        assert_eq!(runs(&pipeline(&db)).await.is_err(), !revoke.contains("schema_migrations"), "{revoke}");
        for sql in remedy.split_once(": ").expect("a place").1.split_inclusive(';') {
            if *end == SOURCE { db.src(sql).await } else { db.tgt(sql).await }
        }
        let report = pipeline(&db).check(&[]).await.expect("tables");
        assert!(failures(&report).is_empty(), "{revoke}: {:#?}", failures(&report));
        runs(&pipeline(&db)).await.unwrap_or_else(|error| panic!("{revoke}: check passes, run does not: {error}"));
    }
}

#[tokio::test]
async fn a_table_that_is_too_wide_to_merge_does_not_pass() {
    let db = TestDb::new("check_wide").await;
    let columns: Vec<String> = (0..850).map(|n| format!("c{n} int")).collect();
    db.src(&format!(
        "create schema app; create table app.wide (id int primary key, at timestamptz not null default now(), {});
         create index on app.wide (at); insert into app.wide (id) values (1);
         grant usage on schema app to app_ro; grant select on app.wide to app_ro",
        columns.join(", ")
    ))
    .await;
    let wide = "[[table]]\nname = \"wide\"\nrelation = \"app.wide\"\nmode = \"incremental\"\nwatermark = \"at\"\n\
                key = [\"id\"]\non_conflict = \"update\"\n";
    let pipeline = of(&db, wide);
    pipeline.migrate(&MigrateRequest::default()).await.expect("migrated");
    let report = pipeline.check(&[]).await.expect("tables");
    let run = runs(&pipeline).await;
    assert_eq!(failures(&report).is_empty(), run.is_ok(), "{:#?}\n{run:?}", failures(&report));
}
