//! CSV files that are gone while their manifests stay, and keys that were others when files were read: what is lost is
//! named, and no older version comes beside a newer one.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;

use crate::support::{Project, READABLE, files, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};

const SOURCE: &str = "create table app.trips (id int primary key, code text unique not null, state text,
        at timestamptz not null default now());
    create index on app.trips (at); create table app.drivers (id int primary key, name text);
    insert into app.trips select i, 'c' || i, 'x', now() - interval '2 days' from generate_series(1, 9) i;
    insert into app.drivers values (1, 'Ann');";

async fn fleet(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    let more = "watermark = \"at\"\nkey = [\"id\"]\nlate_window = \"0\"\non_conflict = \"update\"";
    let tables = table("trips", "app.trips", "incremental", more) + &table("drivers", "app.drivers", "scd", "");
    let project = Project::new(&db, &tables);
    project.ok(&["migrate"]);
    (db, project)
}

async fn newest(db: &TestDb) -> i64 {
    number(db, "select max(run_id) from dwh_control.extract_runs").await
}

fn csv_of(db: &TestDb, run_id: i64) -> PathBuf {
    let all = files(&db.blobs().join("test"));
    let csv = all.into_iter().find(|file| file.to_string_lossy().ends_with(&format!("_{run_id}.csv")));
    csv.unwrap_or_else(|| panic!("no CSV of run {run_id}"))
}

/// The target as it was before the runs from `then` on; rows of these come from `kept`.
async fn restore(db: &TestDb, then: i64) {
    db.tgt(&format!(
        "delete from dwh_control.extract_runs where run_id > {then}; delete from dwh_control.extract_watermarks;
         insert into dwh_control.extract_watermarks table kept.watermarks;
         select setval(pg_get_serial_sequence('dwh_control.extract_runs', 'run_id'), greatest({then}, 1), {then} > 0);
         delete from bronze.trips; insert into bronze.trips table kept.trips;
         delete from bronze.drivers; insert into bronze.drivers table kept.drivers"
    ))
    .await;
}

async fn back_up(db: &TestDb) {
    db.tgt(
        "create schema kept; create table kept.watermarks as table dwh_control.extract_watermarks;
         create table kept.trips as table bronze.trips; create table kept.drivers as table bronze.drivers",
    )
    .await;
}

/// The first and the last command that the hint of a finding names.
fn hint(report: &Value, state: &str) -> (Vec<String>, Vec<String>) {
    let found = report["found"].as_array().expect("found").iter().find(|found| found["state"] == state);
    let hint = found.unwrap_or_else(|| panic!("no {state}: {report:#}"))["hint"].as_str().expect("hint");
    let commands = hint.split('`').filter_map(|part| part.strip_prefix("dwh "));
    let mut commands = commands.map(|command| command.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let first = commands.next().expect("a command");
    let last = commands.next_back().unwrap_or_else(|| first.clone());
    (first, last)
}

fn ok(project: &Project, command: &[String]) {
    project.ok(&command.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_dated_copy_that_only_its_manifest_tells_of_is_named_until_a_person_has_decided() {
    let (db, project) = fleet("bereft_copy").await;
    back_up(&db).await;
    project.ok(&["run", "drivers"]);
    let lost = newest(&db).await;
    let csv = csv_of(&db, lost);
    let kept = fs::read(&csv).expect("read");
    fs::remove_file(&csv).expect("lost");
    restore(&db, 0).await;
    // No run of the log says that anything was ever loaded.
    let run = project.ok(&["run", "drivers"]);
    assert!(run.stderr.contains(&format!("the manifests of runs {lost}")), "{}", run.all());
    let report = project.fails(4, &["recover", "drivers"]).json();
    assert_eq!(report["found"][0]["run_id"], lost, "{report:#}");
    let (_, set_aside) = hint(&report, "rows_lost");
    let refused = project.fails(4, &["replay", "drivers"]);
    assert!(refused.stderr.contains(&format!("the CSV of run {lost}")), "{}", refused.all());
    // The CSV comes back from a backup of the store.
    fs::write(&csv, kept).expect("back");
    project.ok(&["replay", "drivers"]);
    assert_eq!(number(&db, "select count(*) from bronze.drivers").await, 2, "both copies");
    project.fails(2, &set_aside.iter().map(String::as_str).collect::<Vec<_>>());
    // It never comes back.
    fs::remove_file(&csv).expect("lost");
    ok(&project, &set_aside);
    assert_eq!(project.json(&["recover", "drivers"])["found"], Value::Array(Vec::new()));
    project.ok(&["replay", "drivers"]);
}

#[tokio::test]
async fn rows_that_only_a_manifest_tells_of_stop_a_replay_into_a_target_that_was_restored() {
    let (db, project) = fleet("bereft_rows").await;
    project.ok(&["run"]);
    back_up(&db).await;
    let then = newest(&db).await;
    // A window below the watermark: no run reads it again.
    db.src("update app.trips set state = 'y' where id < 4").await;
    project.ok(&["backfill", "trips", "--from", "2020-01-01T00:00:00Z"]);
    let wrote = "select max(run_id) from dwh_control.extract_runs where kind = 'backfill' and csv_path is not null";
    let lost = number(&db, wrote).await;
    fs::remove_file(csv_of(&db, lost)).expect("lost");
    restore(&db, then).await;
    let refused = project.fails(4, &["replay", "trips"]);
    assert!(refused.stderr.contains(&format!("the CSV of run {lost}")), "{}", refused.all());
    project.ok(&["run", "trips"]);
    let report = project.fails(4, &["recover", "trips"]).json();
    ok(&project, &hint(&report, "rows_lost").0);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    assert_eq!(
        project.json(&["recover", "trips"])["found"],
        Value::Array(Vec::new()),
        "what was read again is not lost"
    );
    project.ok(&["replay", "trips"]);
}

#[tokio::test]
async fn an_older_csv_of_another_key_puts_no_old_version_beside_the_newer_one() {
    let (db, project) = fleet("bereft_key").await;
    project.ok(&["run", "trips"]);
    db.src("insert into app.trips values (1001, 'old', 'x')").await;
    let older = project.json(&["extract", "trips"]);
    db.src("update app.trips set code = 'new', state = 'y', at = clock_timestamp() where id = 1001").await;
    let newer = project.json(&["extract", "trips"]);
    project.ok(&["load", "--params", &newer.to_string()]);
    let key = |from: &str, to: &str| (format!("key = [\"{from}\"]"), format!("key = [\"{to}\"]"));
    let (id, code) = key("id", "code");
    let by_code = project.config_with(&id, &code);
    db.tgt("alter table bronze.trips drop constraint trips_pkey, add primary key (code)").await;
    let equal = || assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips");
    let refused = by_code.fails(4, &["recover", "trips"]).json();
    equal().await;
    let error = &refused["found"][0]["error"];
    assert!(error["message"].as_str().is_some_and(|text| text.contains("by (id)")), "{refused:#}");
    // By the key of then it is an older version of a row that is there.
    db.tgt("alter table bronze.trips drop constraint trips_pkey, add primary key (id)").await;
    let report = project.json(&["recover", "trips"]);
    assert_eq!(total(&report, "trips", "rows_kept_newer"), 1, "{report:#}");
    equal().await;
    assert_eq!(report["runs"][0]["run_id"], older["run_id"]);
    // A replay by the key of today meets the same two versions; a rebuild takes both, and says so.
    db.tgt("alter table bronze.trips drop constraint trips_pkey, add primary key (code)").await;
    let refused = by_code.fails(4, &["replay", "trips"]);
    assert!(
        refused.stderr.contains("by (id)") && refused.stderr.contains("rebuild trips --reset"),
        "{}",
        refused.all()
    );
    equal().await;
    let rebuilt = by_code.json(&["rebuild", "trips", "--reset"]);
    let notes = rebuilt["tables"][0]["notes"].to_string();
    assert!(notes.contains("a row of its own by (code)"), "{rebuilt:#}");
    assert_eq!(number(&db, "select count(*) from bronze.trips where id = 1001").await, 2);
}

#[tokio::test]
async fn a_rebuild_clears_what_a_killed_run_left_and_a_table_of_a_reseed_alone_goes_on() {
    let (db, project) = fleet("bereft_rebuild").await;
    db.src("delete from app.trips").await;
    project.ok(&["run"]);
    db.src("insert into app.trips values (1, 'late', 'x', now() - interval '1 day')").await;
    project.ok(&["reseed", "trips", "--restart"]);
    // Its manifest may not know of the run that found nothing before it.
    let csv = csv_of(
        &db,
        number(&db, "select max(run_id) from dwh_control.extract_runs where kind = 'reseed' and csv_path is not null")
            .await,
    );
    let manifest = csv.with_extension("manifest.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&manifest).expect("manifest")).expect("JSON");
    let fields = document.as_object_mut().expect("fields");
    fields.remove("before");
    fs::write(&manifest, document.to_string()).expect("written");
    // An extract that died before its manifest was written.
    db.src("insert into app.trips values (2, 'more', 'x')").await;
    let died = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run");
    let csv = csv_of(&db, died);
    fs::remove_file(csv.with_extension("manifest.json")).expect("manifest");
    db.tgt(&format!(
        "update dwh_control.extract_runs set status = 'extracting', csv_path = null, sha256 = null, rows_extracted = null,
         bytes = null where run_id = {died}"
    ))
    .await;
    project.ok(&["rebuild", "--reset"]);
    assert!(!csv.exists(), "the log that proved whose it is was put aside");
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    assert_eq!(project.json(&["recover"])["found"], Value::Array(Vec::new()));
    // Where the log is lost, the way out works.
    fs::write(&csv, "id,code,state,at\n").expect("written");
    let report = project.fails(4, &["recover", "trips"]).json();
    ok(&project, &hint(&report, "csv_without_manifest").1);
    assert!(!csv.exists());
    assert_eq!(project.json(&["recover"])["found"], Value::Array(Vec::new()));
}
