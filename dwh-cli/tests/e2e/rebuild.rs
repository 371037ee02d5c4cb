//! `dwh rebuild`: the database is lost, the sources do not answer, and the blob store brings everything back: bronze,
//! watermarks and run log as they were, so that the next run goes on as if nothing had happened.

use dwh_core::testing::{S3Server, TestDb, assert_equal_tables};
use serde_json::Value;
use std::fs;

use crate::support::{Project, READABLE, files, number, table, total};

const SOURCE: &str = "create table app.pings (imei text, gps_time timestamptz, recorded_at timestamptz not null default now(),
        geom geometry(Point, 4326), amount numeric(6,2), tags text[], primary key (imei, gps_time));
    create index on app.pings (recorded_at);
    create table app.points (id int primary key, at timestamptz not null default now(), geom geometry);
    create index on app.points (at);
    create table app.trips (id int primary key, state text, updated_at timestamptz not null default now());
    create index on app.trips (updated_at);
    create table app.devices (imei text primary key, name text);
    create table app.drivers (id int primary key, name text);
    insert into app.pings select 'd' || i % 7, t, t, st_setsrid(st_makepoint(36.8 + i / 77777.0, -1.3 + i / 33333.0), 4326),
        i / 7.0, array['a', null, i::text] from generate_series(1, 500) i, lateral (select now() - interval '9 days' + i * interval '5 minutes' t) x;
    insert into app.points select i, now(), st_makepoint(i / 3.0, i / 7.0, 1) from generate_series(1, 20) i;
    insert into app.trips select i, 'planned' from generate_series(1, 50) i;
    insert into app.devices values ('1', ''), ('2', null);
    insert into app.drivers values (1, 'Ann'), (2, 'Ben');";

const MORE: &str =
    "insert into app.pings (imei, gps_time) select 'new', now() + i * interval '1 s' from generate_series(1, 5) i;
    insert into app.points values (21, now(), 'srid=4326;point(1 2)');
    update app.trips set state = 'driving', updated_at = now() where id <= 10;
    insert into app.trips values (51, 'planned');
    update app.devices set name = 'b' where imei = '1'; delete from app.devices where imei = '2';
    update app.drivers set name = 'Bob' where id = 2;";

const TABLES: [&str; 5] = ["pings", "points", "trips", "devices", "drivers"];

fn config() -> String {
    table(
        "pings",
        "app.pings",
        "incremental",
        "watermark = \"recorded_at\"\nkey = [\"imei\", \"gps_time\"]\ngeometry = \"ewkb\"",
    ) + &table("points", "app.points", "incremental", "watermark = \"at\"\nkey = [\"id\"]\ngeometry = \"ewkt\"")
        + &table(
            "trips",
            "app.trips",
            "incremental",
            "watermark = \"updated_at\"\nkey = [\"id\"]\non_conflict = \"update\"",
        )
        + &table("devices", "app.devices", "snapshot", "")
        + &table("drivers", "app.drivers", "scd", "")
}

async fn source(test: &str) -> TestDb {
    let db = TestDb::new(test).await;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    db
}

/// A project of the same blobs and target whose source cannot be reached.
fn without_source(db: &TestDb, project: &Project) -> Project {
    project.config_with(&db.source_url_as("app_ro"), "postgresql://nobody@127.0.0.1:1/nowhere")
}

const WATERMARK: &str =
    "table_name, last_extracted_at, last_run_id, snapshot_xmin, read_high, source_system_identifier,
    source_timeline, source_clock, undrained";
const RUN: &str = "run_id, table_name, run_started_at, status, mode, kind, rows_extracted, rows_loaded, rows_inserted,
    rows_identical, rows_different, rows_late, csv_path, window_low, window_high, watermark, bound, bytes, sha256, engine_version";

/// Keeps a copy of everything, then loses the database.
async fn lose(db: &TestDb) {
    db.tgt(
        "create schema kept; create table kept.watermarks as table dwh_control.extract_watermarks;
        create table kept.runs as table dwh_control.extract_runs",
    )
    .await;
    for name in TABLES {
        db.tgt(&format!("create table kept.{name} as table bronze.{name}")).await;
    }
    db.tgt("drop schema bronze cascade; drop schema dwh_control cascade").await;
}

async fn same(db: &TestDb, a: &str, b: &str) -> i64 {
    number(db, &format!("select count(*) from (({a} except all {b}) union all ({b} except all {a})) d")).await
}

async fn assert_as_it_was(db: &TestDb) {
    for name in TABLES {
        let rows = |schema: &str| format!("select t::text from {schema}.{name} t");
        assert_eq!(same(db, &rows("bronze"), &rows("kept")).await, 0, "{name} differs from what was lost");
        assert!(number(db, &format!("select count(*) from bronze.{name}")).await > 0);
    }
    let rows = |columns: &str, table: &str| format!("select row({columns})::text from {table}");
    let of = |table: &str| rows(WATERMARK, table);
    assert_eq!(same(db, &of("dwh_control.extract_watermarks"), &of("kept.watermarks")).await, 0, "watermarks differ");
    let runs = |table: &str| rows(RUN, table) + " where csv_path is not null";
    assert_eq!(same(db, &runs("dwh_control.extract_runs"), &runs("kept.runs")).await, 0, "the run log differs");
}

/// Everything, over the blob store of `project`.
async fn lost_and_rebuilt(db: &TestDb, project: &Project) {
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src(MORE).await;
    project.ok(&["run"]);
    lose(db).await;
    let rebuilder = without_source(db, project);
    let planned = rebuilder.json(&["rebuild", "--dry-run"]);
    assert_eq!(planned["in_the_way"], Value::Array(Vec::new()));
    assert_eq!(
        number(db, "select count(*) from pg_namespace where nspname = 'bronze'").await,
        0,
        "a dry run made something"
    );
    let report = rebuilder.json(&["rebuild"]);
    for (at, name) in TABLES.iter().enumerate() {
        assert_eq!(report["tables"][at]["table"], *name);
        assert_eq!(report["tables"][at]["csvs"], planned["tables"][at]["csvs"]);
    }
    assert_as_it_was(db).await;
    project.ok(&["verify", "--blobs"]);
    assert_eq!(project.json(&["recover"])["found"], Value::Array(Vec::new()), "nothing is left to recover");

    db.src("insert into app.trips values (99, 'planned'); insert into app.points values (99, now(), null)").await;
    let next = project.json(&["run"]);
    assert_eq!((total(&next, "trips", "rows_loaded"), total(&next, "points", "rows_loaded")), (1, 1), "{next:#}");
    // The sweep may deliver the last run's rows again while other tests have transactions open in the same cluster.
    assert!(total(&next, "pings", "rows_extracted") <= 5, "no history is read again: {next:#}");
    assert_eq!(total(&next, "pings", "rows_loaded"), 0, "{next:#}");
    for name in ["pings", "points", "trips", "devices"] {
        assert_equal_tables(db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}")).await;
    }
    project.ok(&["verify", "--blobs"]);
    let known = number(db, "select max(run_id) from kept.runs").await;
    assert!(number(db, "select max(run_id) from dwh_control.extract_runs").await > known, "numbers go on");
}

#[tokio::test]
async fn a_lost_database_comes_back_from_files() {
    let db = source("rebuild_local").await;
    let project = Project::new(&db, &config());
    lost_and_rebuilt(&db, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_comes_back_from_s3() {
    let db = source("rebuild_s3").await;
    let server = S3Server::start_in_process().await;
    let store =
        format!("url = \"s3://{}/wip\"\nendpoint = \"{}\"\ncompression = \"zstd\"", server.bucket, server.endpoint);
    let project = Project::new(&db, &config())
        .env("AWS_ACCESS_KEY_ID", &server.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &server.secret_key)
        .config_with(&format!("url = \"{}\"", db.blob_url()), &store);
    lost_and_rebuilt(&db, &project).await;
}

#[tokio::test]
async fn what_is_there_is_refused_and_put_aside_when_told() {
    let db = source("rebuild_reset").await;
    let project = Project::new(&db, &config());
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let refused = project.dwh(&["rebuild", "trips"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(
        refused.stderr.contains("bronze.trips holds rows") && refused.stderr.contains("--reset"),
        "{}",
        refused.all()
    );
    // One corrupt table.
    db.tgt("delete from bronze.trips where id < 5; update bronze.trips set state = 'wrong'").await;
    let others = number(&db, "select count(*) from dwh_control.extract_runs where table_name <> 'trips'").await;
    let report = project.json(&["rebuild", "trips", "--reset"]);
    let backup = report["backup"].as_str().expect("backup").to_owned();
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    assert_eq!(
        number(&db, &format!("select count(*) from {backup}.trips where state = 'wrong'")).await,
        46,
        "nothing is dropped"
    );
    assert_eq!(number(&db, &format!("select count(*) from {backup}.dwh_extract_runs")).await, 1);
    let untouched = number(&db, "select count(*) from dwh_control.extract_runs where table_name <> 'trips'").await;
    assert_eq!(untouched, others, "the other tables keep their runs");
    let next = project.json(&["run", "trips"]);
    assert_eq!(total(&next, "trips", "rows_loaded"), 0, "{next:#}");
}

#[tokio::test]
async fn what_waits_in_exports_is_loaded_by_the_next_run() {
    let db = source("rebuild_waiting").await;
    let project = Project::new(&db, &config());
    project.ok(&["migrate"]);
    project.ok(&["run", "trips"]);
    db.src(MORE).await;
    project.ok(&["extract", "trips"]);
    db.tgt("drop schema bronze cascade; drop schema dwh_control cascade").await;
    let report = without_source(&db, &project).json(&["rebuild", "trips"]);
    assert_eq!((report["tables"][0]["csvs"].as_u64(), report["tables"][0]["waiting"].as_u64()), (Some(1), Some(1)));
    assert_eq!(number(&db, "select count(*) from bronze.trips where state = 'driving'").await, 0);
    project.ok(&["run", "trips"]);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs where status <> 'loaded'").await, 0);
}

#[tokio::test]
async fn runs_that_found_nothing_leave_no_gap() {
    let db = source("rebuild_quiet").await;
    // Without the sweep, which may find rows again, a quiet run is an empty one.
    let quiet = config().replace("on_conflict = \"update\"", "on_conflict = \"update\"\nlate_window = \"0\"");
    let project = Project::new(&db, &quiet);
    project.ok(&["migrate"]);
    project.ok(&["run", "trips"]);
    project.ok(&["run", "trips"]);
    project.ok(&["run", "trips"]);
    db.src(MORE).await;
    project.ok(&["run", "trips"]);
    db.tgt("drop schema bronze cascade; drop schema dwh_control cascade").await;
    let report = without_source(&db, &project).json(&["rebuild", "trips"]);
    let nothing = Value::Array(Vec::new());
    assert_eq!((&report["tables"][0]["notes"], &report["tables"][0]["gaps"]), (&nothing, &nothing), "{report:#}");
    assert_eq!(project.json(&["recover", "trips"])["found"], Value::Array(Vec::new()));
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    // Manifests of release 0.1 have no trace of such runs: what nobody can tell is a note, not a gap.
    for file in files(&db.blobs().join("test/processed/trips")) {
        if file.extension().is_some_and(|end| end == "json") {
            let mut manifest: Value = serde_json::from_slice(&fs::read(&file).expect("read")).expect("JSON");
            manifest.as_object_mut().expect("object").remove("before");
            fs::write(&file, manifest.to_string()).expect("written");
        }
    }
    let report = project.json(&["rebuild", "trips", "--reset"]);
    assert_eq!(report["tables"][0]["gaps"], nothing, "{report:#}");
    assert!(report["tables"][0]["notes"].to_string().contains("dwh backfill trips --from"), "{report:#}");
    assert_eq!(project.json(&["recover", "trips"])["found"], nothing);
}

#[tokio::test]
async fn what_was_not_made_is_told_as_not_made() {
    let db = source("rebuild_not_made").await;
    let project = Project::new(&db, &config());
    project.ok(&["migrate"]);
    project.ok(&["run", "trips", "devices"]);
    let csv = files(&db.blobs().join("test/processed/trips"));
    let csv = csv.iter().find(|file| !file.to_string_lossy().ends_with(".json")).expect("a CSV");
    let aside = db.blobs().join("aside");
    fs::rename(csv, &aside).expect("moved away");
    db.tgt("drop schema bronze cascade; drop schema dwh_control cascade").await;
    let rebuild = ["rebuild", "trips", "devices"];
    let refused = project.fails(4, &rebuild);
    let report = refused.json();
    let other = report["tables"].as_array().expect("tables").iter().find(|told| told["table"] == "devices");
    let other = other.unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!((&other["made"], &other["error"]), (&Value::Bool(false), &Value::Null), "{report:#}");
    assert!(other["notes"].to_string().contains("a CSV of `trips` is missing"), "{report:#}");
    assert_eq!(number(&db, "select count(*) from pg_namespace where nspname = 'dwh_control'").await, 0);
    let people = project.dwh(&rebuild);
    assert!(people.stdout.contains("not made") && !people.stdout.contains("rebuilt"), "{}", people.all());
    // What the note says goes, and the other one once its file is back.
    assert_eq!(project.json(&["rebuild", "devices"])["tables"][0]["made"], true);
    fs::rename(&aside, csv).expect("moved back");
    let people = project.ok(&["rebuild", "trips"]);
    assert!(people.stdout.contains("rebuilt"), "{}", people.all());
}
