//! `dwh rebuild` where more happened than runs: columns that were added, history read again, retention, a rebuild that
//! was killed, and a control schema that began anew beside older files.

use serde_json::Value;
use std::time::Duration;

use crate::support::{Project, READABLE, age, number, table, total};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const LOSE: &str = "drop schema bronze cascade; drop schema dwh_control cascade";

const SOURCE: &str = "create table app.trips (id int primary key, km int, at timestamptz not null default now());
    create index on app.trips (at); create table app.cars (id int primary key, name text);
    create table app.drivers (id int primary key, name text);
    insert into app.trips select i, i, now() - interval '20 days' + i * interval '1 hour' from generate_series(1, 240) i;
    insert into app.cars values (1, 'a'), (2, 'b'); insert into app.drivers values (1, 'Ann');";

fn config(more: &str) -> String {
    table(
        "trips",
        "app.trips",
        "incremental",
        "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"2d\"\nlate_window = \"0\"",
    ) + &table("cars", "app.cars", "snapshot", "")
        + &table("drivers", "app.drivers", "scd", "")
        + more
}

async fn fleet(db: &TestDb, blobs: &TestBlobs, compression: &str, more: &str) -> Project {
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    let project = Project::over(db, &config(more), blobs)
        .config_with("[blob]\n", &format!("[blob]\ncompression = \"{compression}\"\n"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    project
}

fn nothing(project: &Project) {
    let report = project.json(&["recover"]);
    assert_eq!(report["found"], Value::Array(Vec::new()), "{report:#}");
}

async fn assert_equal(db: &TestDb) {
    for name in ["trips", "cars"] {
        assert_equal_tables(db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}")).await;
    }
}

/// A year in the life of a warehouse, then it is lost.
async fn everything_that_happens(db: TestDb, blobs: TestBlobs, compression: &str) {
    let project = fleet(&db, &blobs, compression, "").await;
    // A column is added half-way; older files do not have it.
    db.src("alter table app.trips add column note text; insert into app.trips values (1001, 1, now(), 'new')").await;
    db.tgt("alter table bronze.trips add column note text").await;
    project.ok(&["run"]);
    let ranged = ["backfill", "trips", "--from", "2020-01-01T00:00:00Z"];
    project.ok(&ranged);
    project.ok(&["replay", "trips"]);
    project.ok(&["reseed", "trips"]);
    db.src(
        "insert into app.trips values (1002, 1, now(), null); update app.cars set name = 'c' where id = 1;
            update app.drivers set name = 'Anna'",
    )
    .await;
    project.ok(&["run"]);
    project.ok(&["verify", "--blobs"]);
    let watermark = "select max(extract(epoch from last_extracted_at) * 1e6)::bigint from dwh_control.extract_watermarks where table_name = 'trips'";
    let stood = number(&db, watermark).await;
    let highest = number(&db, "select max(run_id) from dwh_control.extract_runs where csv_path is not null").await;
    db.tgt(&format!("create schema kept; create table kept.drivers as table bronze.drivers; {LOSE}")).await;

    project.ok(&["rebuild"]);
    assert_eq!(number(&db, watermark).await, stood, "the watermark is where it was");
    project.ok(&["verify", "--blobs"]);
    nothing(&project);
    assert_equal(&db).await;
    let lost = "select count(*) from (select * from kept.drivers except all select * from bronze.drivers) x";
    assert_eq!((number(&db, lost).await, number(&db, "select count(*) from bronze.drivers").await), (0, 3));
    let kinds = "select count(distinct kind) from dwh_control.extract_runs where table_name = 'trips'";
    assert_eq!(number(&db, kinds).await, 3, "runs, backfills and reseeds; a replay writes no file");

    db.src("insert into app.trips values (1003, 1, now(), 'x')").await;
    let next = project.json(&["run", "trips"]);
    assert_eq!((total(&next, "trips", "rows_extracted"), total(&next, "trips", "rows_loaded")), (1, 1), "{next:#}");
    assert!(next["runs"][0]["run_id"].as_i64().expect("run_id") > highest, "{next:#}");
    let began = "select (extract(epoch from window_low) * 1e6)::bigint from dwh_control.extract_runs order by run_id desc limit 1";
    assert_eq!(number(&db, began).await, stood, "its window begins where the last one ended");
    project.ok(&["verify", "--blobs"]);
    project.ok(&ranged);
    project.ok(&["replay", "trips"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn all_that_happened_comes_back_from_a_folder() {
    let db = TestDb::new("rebuild_life_local").await;
    let blobs = TestBlobs::local(&db);
    everything_that_happens(db, blobs, "gzip").await;
}

#[tokio::test]
async fn all_that_happened_comes_back_from_a_bucket() {
    let db = TestDb::new("rebuild_life_s3").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    everything_that_happens(db, blobs, "zstd").await;
}

const RETENTION: &str = "[retention]\nprocessed = \"10d\"\nruns = \"10d\"\n";

async fn pruned(db: TestDb, blobs: TestBlobs, compression: &str) {
    let project = fleet(&db, &blobs, compression, RETENTION).await;
    db.src("insert into app.trips values (1001, 1, now())").await;
    project.ok(&["run"]);
    // Backfills are the newest files by far; the newest ordinary one is needed all the same.
    let from = "select to_char((now() - interval '11 days') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')";
    let from: String = db.target().query_one(from, &[]).await.expect("a moment").get(0);
    project.ok(&["backfill", "trips", "--from", &from]);
    age(&db, &blobs, "kind = 'run'", "40 days").await;
    let done = project.json(&["prune"]);
    assert_eq!(
        done["tables"][0]["files"].as_array().map(Vec::len),
        Some(10),
        "five windows and their manifests: {done:#}"
    );
    nothing(&project);
    project.ok(&["verify", "--blobs"]);
    // And once more when the backfills are old too.
    age(&db, &blobs, "kind <> 'run'", "40 days").await;
    project.ok(&["prune"]);
    nothing(&project);
    project.ok(&["verify", "--blobs"]);
    db.src("insert into app.trips values (1002, 1, now())").await;
    project.ok(&["run"]);
    assert_equal(&db).await;

    let watermark = "select max(extract(epoch from last_extracted_at) * 1e6)::bigint from dwh_control.extract_watermarks where table_name = 'trips'";
    let stood = number(&db, watermark).await;
    db.tgt(LOSE).await;
    let report = project.json(&["rebuild"]);
    let notes = report["tables"][0]["notes"].to_string();
    assert!(notes.contains("pruned") && notes.contains("dwh reseed trips"), "{report:#}");
    assert_eq!(number(&db, watermark).await, stood);
    project.ok(&["reseed", "trips"]);
    project.ok(&["verify", "--blobs"]);
    project.ok(&["run"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn what_retention_took_is_told_and_read_again() {
    let db = TestDb::new("rebuild_pruned").await;
    let blobs = TestBlobs::local(&db);
    pruned(db, blobs, "none").await;
}

#[tokio::test]
async fn what_retention_took_of_a_bucket() {
    let db = TestDb::new("rebuild_pruned_s3").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    pruned(db, blobs, "gzip").await;
}

#[tokio::test]
async fn a_rebuild_that_was_killed_is_made_again_and_the_backup_can_be_restored() {
    let db = TestDb::new("rebuild_killed").await;
    let blobs = TestBlobs::local(&db);
    let project = fleet(&db, &blobs, "none", "").await;
    // As it was before anything went wrong, with a row that only this warehouse has.
    db.tgt(
        "insert into bronze.cars values (77, 'by hand'); create schema kept;
            create table kept.runs as table dwh_control.extract_runs;
            create table kept.watermarks as select * from dwh_control.extract_watermarks;
            create table kept.trips as table bronze.trips",
    )
    .await;
    let held = db.another_target().await;
    held.batch_execute("begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control cars', 0))")
        .await
        .expect("held");
    assert_eq!(project.dwh(&["rebuild", "--reset"]).code, 5, "a run is working on one of them");
    held.batch_execute("rollback").await.expect("given free");
    assert_eq!(number(&db, "select count(*) from pg_namespace where nspname like 'dwh_backup%'").await, 0);

    // The third window cannot be committed until the process is dead.
    let first = project.json(&["rebuild", "--reset"]);
    let restore = first["restore_sql"].as_str().expect("sql").to_owned();
    let tables = first["backup_tables"].as_array().expect("tables");
    assert_eq!(tables.len(), 6, "{first:#}");
    let comment = format!(
        "select obj_description('{}'::regnamespace, 'pg_namespace')",
        first["backup"].as_str().expect("schema")
    );
    let comment: String = db.target().query_one(&comment, &[]).await.expect("comment").get(0);
    assert_eq!(comment, restore, "whoever finds the schema finds the way back");
    db.tgt(LOSE).await;
    let loaded = "select count(*) from dwh_control.extract_runs where status = 'loaded'";
    let mut child = project.spawn(&["rebuild"]);
    let there = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'dwh_control' and relname = 'extract_runs'";
    while number(&db, there).await == 0 || number(&db, loaded).await < 2 {
        assert!(child.try_wait().expect("waits").is_none(), "it ended before it was killed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().expect("kill -9");
    child.wait().expect("dead");
    let refused = project.dwh(&["rebuild"]);
    assert!(refused.code == 4 && refused.stderr.contains("`dwh rebuild --reset`"), "{}", refused.all());
    project.ok(&["rebuild", "--reset"]);
    project.ok(&["verify", "--blobs"]);
    nothing(&project);
    assert_equal(&db).await;

    // Back to the first backup, with the SQL that was printed.
    let login = tokio_postgres::connect(&db.target_url_as("dwh_loader"), tokio_postgres::NoTls).await.expect("loader");
    tokio::spawn(login.1);
    login.0.batch_execute(&restore).await.expect("restored");
    for (now, then) in [
        ("bronze.trips", "kept.trips"),
        ("dwh_control.extract_runs", "kept.runs"),
        ("dwh_control.extract_watermarks", "kept.watermarks"),
    ] {
        let same = format!(
            "select count(*) from ((select t::text from {now} t except all select t::text from {then} t)
            union all (select t::text from {then} t except all select t::text from {now} t)) d"
        );
        assert_eq!(number(&db, &same).await, 0, "{now}");
    }
    assert_eq!(number(&db, "select count(*) from bronze.cars where id = 77").await, 1);
    db.src("insert into app.trips values (1001, 1, now())").await;
    project.ok(&["run"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_control_schema_that_began_anew_is_told() {
    let db = TestDb::new("rebuild_new_life").await;
    let blobs = TestBlobs::local(&db);
    let retention = table("fresh", "app.fresh", "snapshot", "") + RETENTION;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    db.src("create table app.fresh (id int primary key)").await;
    let project = Project::over(&db, &config(&retention), &blobs);
    project.ok(&["migrate"]);
    project.ok(&["run", "trips", "cars", "drivers"]);
    let highest = number(&db, "select max(run_id) from dwh_control.extract_runs where csv_path is not null").await;
    let before = blobs.list("").await;
    db.tgt(LOSE).await;
    project.ok(&["migrate"]);
    let refused = project.fails(4, &["run", "trips"]);
    refused.failure("trips").names(&["processed/trips", "run log"]);
    assert!(refused.failure("trips").hint.contains("dwh rebuild trips"), "{}", refused.all());
    assert_eq!(project.dwh(&["extract", "trips"]).code, 4);
    assert_eq!(project.dwh(&["prune", "trips"]).code, 4, "nothing of it is loaded, as far as this run log goes");
    let found = project.fails(4, &["recover", "trips"]).json();
    assert_eq!(
        (&found["found"][0]["state"], &found["found"][0]["outcome"]),
        (&"run_log_behind".into(), &"person".into())
    );
    assert_eq!(blobs.list("").await, before, "nothing was written");
    // A new table may begin, and its runs get numbers that no file bears.
    let fresh = project.json(&["run", "fresh"]);
    assert!(fresh["runs"][0]["run_id"].as_i64().expect("run_id") > highest, "{fresh:#}");
    project.ok(&["rebuild", "trips", "cars", "drivers"]);
    nothing(&project);
    project.ok(&["verify", "--blobs"]);
    project.ok(&["run"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_run_log_restored_from_a_backup_is_told() {
    let db = TestDb::new("rebuild_restored").await;
    let blobs = TestBlobs::local(&db);
    let project = fleet(&db, &blobs, "none", "").await;
    db.tgt("create schema kept; create table kept.watermarks as select * from dwh_control.extract_watermarks; create table kept.trips as table bronze.trips").await;
    let then = number(&db, "select max(run_id) from dwh_control.extract_runs").await;
    db.src("insert into app.trips values (1001, 1, now())").await;
    project.ok(&["run", "trips"]);
    let highest = number(&db, "select max(run_id) from dwh_control.extract_runs").await;
    // The target goes back to the backup, its sequence with it.
    db.tgt(&format!("delete from dwh_control.extract_runs where run_id > {then}; truncate bronze.trips; insert into bronze.trips table kept.trips;
        delete from dwh_control.extract_watermarks; insert into dwh_control.extract_watermarks table kept.watermarks;
        select setval(pg_get_serial_sequence('dwh_control.extract_runs', 'run_id'), {then})")).await;
    let found = project.json(&["recover"]);
    assert_eq!(
        (&found["found"][0]["state"], &found["found"][0]["outcome"]),
        (&"run_log_behind".into(), &"mended".into()),
        "{found:#}"
    );
    nothing(&project);
    let next = project.json(&["run", "trips"]);
    assert!(next["runs"][0]["run_id"].as_i64().expect("run_id") > highest, "{next:#}");
    assert_equal(&db).await;
    db.tgt(LOSE).await;
    project.ok(&["rebuild"]);
    project.ok(&["verify", "--blobs"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_stops_its_table_alone_and_says_what_to_type() {
    let db = TestDb::new("rebuild_damaged").await;
    let blobs = TestBlobs::local(&db);
    let project = fleet(&db, &blobs, "none", "").await;
    let csv = blobs.list("test/processed/trips/").await.remove(2);
    let good = blobs.read(&csv).await;
    let mut bad = good.clone();
    bad[20] ^= 1;
    blobs.write(&csv, bad).await;
    db.tgt(LOSE).await;
    let report = project.fails(4, &["rebuild"]).json();
    let error = &report["tables"][0]["error"];
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("dwh rebuild 'trips' --reset")), "{report:#}");
    assert_eq!((&report["tables"][1]["error"], &report["tables"][1]["csvs_loaded"]), (&Value::Null, &1.into()));
    blobs.write(&csv, good).await;
    project.ok(&["rebuild", "trips", "--reset"]);
    project.ok(&["verify", "--blobs"]);
    project.ok(&["run"]);
    assert_equal(&db).await;
}
