//! How the CSV files of a table follow each other: whatever was done to log, files and target meanwhile, no row is lost
//! without a word.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;

use crate::support::{Project, READABLE, files, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};

const LOSE: &str = "drop schema bronze cascade; drop schema dwh_control cascade";

const SOURCE: &str = "create table app.trips (id int primary key, code text unique not null, state text,
        at timestamptz not null default now());
    create index on app.trips (at); create table app.cars (id int primary key, name text);
    create table app.drivers (id int primary key, name text);
    insert into app.trips select i, 'c' || i, 'x', now() - interval '20 days' + i * interval '1 hour' from generate_series(1, 240) i;
    insert into app.cars values (1, 'a'); insert into app.drivers values (1, 'Ann');";

fn config(more: &str) -> String {
    table(
        "trips",
        "app.trips",
        "incremental",
        &format!("watermark = \"at\"\nkey = [\"id\"]\nwindow = \"2d\"\nlate_window = \"0\"\n{more}"),
    ) + &table("cars", "app.cars", "snapshot", "")
        + &table("drivers", "app.drivers", "scd", "")
}

/// Three tables that were loaded once.
async fn fleet(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    let project = Project::new(&db, &config(more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

async fn assert_equal(db: &TestDb) {
    for name in ["trips", "cars"] {
        assert_equal_tables(db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}")).await;
    }
}

fn nothing(project: &Project) {
    let report = project.json(&["recover"]);
    assert_eq!(report["found"], Value::Array(Vec::new()), "{report:#}");
}

fn folder(db: &TestDb, folder: &str, table: &str) -> Vec<PathBuf> {
    let mut found = files(&db.blobs().join("test").join(folder).join(table));
    found.sort();
    found
}

/// The CSV of a run, wherever it lies.
fn csv_of(db: &TestDb, run_id: i64) -> PathBuf {
    let all = files(&db.blobs().join("test"));
    let csv = all.into_iter().find(|file| file.to_string_lossy().ends_with(&format!("_{run_id}.csv")));
    csv.unwrap_or_else(|| panic!("no CSV of run {run_id}"))
}

async fn newest(db: &TestDb) -> i64 {
    number(db, "select max(run_id) from dwh_control.extract_runs").await
}

async fn insert(db: &TestDb, id: i64) {
    db.src(&format!("insert into app.trips values ({id}, 'c{id}', 'x')")).await;
}

/// A backup of the target, and the way back to it.
struct Backup(i64);

impl Backup {
    async fn of(db: &TestDb) -> Self {
        db.tgt("create schema kept; create table kept.watermarks as table dwh_control.extract_watermarks").await;
        for name in ["trips", "cars", "drivers"] {
            db.tgt(&format!("create table kept.{name} as table bronze.{name}")).await;
        }
        Self(newest(db).await)
    }

    /// The target as it was, its sequence with it.
    async fn restore(&self, db: &TestDb) {
        let then = self.0;
        db.tgt(&format!(
            "delete from dwh_control.extract_runs where run_id > {then}; delete from dwh_control.extract_watermarks;
             insert into dwh_control.extract_watermarks table kept.watermarks;
             select setval(pg_get_serial_sequence('dwh_control.extract_runs', 'run_id'), {then})"
        ))
        .await;
        for name in ["trips", "cars", "drivers"] {
            db.tgt(&format!("delete from bronze.{name}; insert into bronze.{name} table kept.{name}")).await;
        }
    }
}

/// A reseed that was cut off after three windows.
async fn cut_off(db: &TestDb, project: &Project) {
    project.ok(&["reseed", "trips"]);
    let third =
        number(db, "select run_id from dwh_control.extract_runs where kind = 'reseed' order by 1 offset 2 limit 1")
            .await;
    db.tgt(&format!("delete from dwh_control.extract_runs where kind = 'reseed' and run_id > {third}")).await;
}

#[tokio::test]
async fn a_reseed_after_a_truncate_skips_no_window() {
    let (db, project) = fleet("chain_truncate", "").await;
    cut_off(&db, &project).await;
    let went_on = project.json(&["reseed", "trips"])["tables"][0].clone();
    assert_eq!(went_on["windows_skipped"], 3, "a call that was cut off goes on: {went_on:#}");
    cut_off(&db, &project).await;
    db.tgt("truncate bronze.trips; insert into bronze.trips select * from bronze.trips limit 0").await;
    db.tgt("insert into bronze.trips (id, code, state, at) values (7, 'c7', 'x', '2000-01-02Z')").await;
    db.src("update app.trips set at = '2000-01-02Z' where id = 7").await;
    let report = project.json(&["reseed", "trips"])["tables"][0].clone();
    assert_eq!(report["windows_skipped"], 0, "what was loaded before the truncate is gone: {report:#}");
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_reseed_of_an_emptied_table_begins_with_the_first_row() {
    let (db, project) = fleet("chain_emptied", "").await;
    db.tgt("truncate bronze.trips").await;
    insert(&db, 1001).await;
    let report = project.json(&["reseed", "trips"])["tables"][0].clone();
    assert_eq!(report["kind"], "run", "{report:#}");
    assert_equal(&db).await;
    nothing(&project);
    insert(&db, 1002).await;
    assert_eq!(total(&project.json(&["run", "trips"]), "trips", "rows_loaded"), 1, "it goes on from there");
}

#[tokio::test]
async fn a_reseed_with_another_expression_skips_no_window() {
    let (db, project) = fleet("chain_expression", "on_conflict = \"update\"").await;
    cut_off(&db, &project).await;
    let other = "on_conflict = \"update\"\n[table.select]\nstate = \"upper(state)\"";
    let project = project.config_with("on_conflict = \"update\"", other);
    let report = project.json(&["reseed", "trips"])["tables"][0].clone();
    assert_eq!(report["windows_skipped"], 0, "{report:#}");
    assert_eq!(number(&db, "select count(*) from bronze.trips where state = 'X'").await, 240);
}

#[tokio::test]
async fn path_manifest_and_run_must_agree_before_anything_moves() {
    let (db, project) = fleet("chain_agree", "").await;
    insert(&db, 1001).await;
    let a = project.json(&["extract", "trips"]);
    project.ok(&["load", "--params", &a.to_string()]);
    insert(&db, 1002).await;
    let b = project.json(&["extract", "trips"]);
    let (run_a, path_b) = (a["run_id"].to_string(), b["csv_path"].as_str().expect("path"));
    let wrong = project.fails(4, &["load", "--table", "trips", "--run-id", &run_a, "--csv-path", path_b]);
    assert!(wrong.stderr.contains("run number"), "{}", wrong.all());
    assert_eq!(folder(&db, "exports", "trips").len(), 2, "B waits as before");
    let mut stale = b.clone();
    stale["run_started_at"] = a["run_started_at"].clone();
    assert_eq!(project.dwh(&["load", "--params", &stale.to_string()]).code, 4, "another start is another run");
    project.ok(&["load", "--params", &b.to_string()]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn an_empty_run_is_told_from_a_lost_csv() {
    let (db, project) = fleet("chain_empty", "").await;
    insert(&db, 1001).await;
    project.ok(&["run", "trips"]);
    let lost = newest(&db).await;
    project.ok(&["run", "trips"]);
    project.ok(&["run", "trips"]);
    insert(&db, 1002).await;
    project.ok(&["run", "trips"]);
    db.tgt(LOSE).await;
    let whole = project.json(&["rebuild"]);
    assert_eq!(whole["tables"][0]["gaps"], Value::Array(Vec::new()), "nothing was there to read: {whole:#}");
    assert_eq!(whole["tables"][0]["notes"], Value::Array(Vec::new()), "{whole:#}");
    nothing(&project);
    assert_equal(&db).await;
    project.ok(&["replay", "trips"]);

    let gone = csv_of(&db, lost);
    fs::remove_file(&gone).expect("gone");
    fs::remove_file(gone.with_extension("manifest.json")).expect("gone");
    let refused = project.fails(4, &["replay", "trips"]);
    assert!(refused.stderr.contains(&format!("the CSV of run {lost}")), "{}", refused.all());
    assert!(refused.stderr.contains("--accept-gaps"), "{}", refused.all());
    db.tgt(LOSE).await;
    let planned = project.fails(4, &["rebuild", "trips", "--dry-run"]).json();
    assert_eq!(planned["tables"][0]["gaps"][0]["run_id"], lost, "{planned:#}");
    let refused = project.fails(4, &["rebuild"]);
    assert!(refused.stderr.contains(&format!("the CSV of run {lost}")), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from pg_namespace where nspname = 'bronze'").await, 0, "nothing was made");
    let accepted = project.json(&["rebuild", "--accept-gaps"]);
    assert_eq!(accepted["tables"][0]["gaps"][0]["run_id"], lost, "{accepted:#}");
    assert_eq!(number(&db, "select count(*) from bronze.trips where id = 1001").await, 0);
    // The gap is one in the run log too, and its remedy works.
    let found = project.fails(4, &["recover", "trips"]).json();
    assert_eq!(found["found"][0]["state"], "gap_in_windows", "{found:#}");
    let hint = found["found"][0]["hint"].as_str().expect("hint");
    let command = hint.split('`').nth(1).expect("a command").strip_prefix("dwh ").expect("dwh");
    project.ok(&command.split(' ').collect::<Vec<_>>());
    assert_equal(&db).await;
    nothing(&project);
    // What was read again is in the archive, so nothing is missing any more.
    db.tgt(LOSE).await;
    project.ok(&["rebuild"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_key_that_changed_keeps_no_csv_from_being_loaded_again() {
    let (db, project) = fleet("chain_key", "on_conflict = \"update\"").await;
    insert(&db, 1001).await;
    project.ok(&["run", "trips"]);
    let project = project.config_with("key = [\"id\"]", "key = [\"code\"]");
    db.tgt("alter table bronze.trips drop constraint trips_pkey, add primary key (code); delete from bronze.trips where id < 9").await;
    let report = project.json(&["replay", "trips"]);
    assert_eq!(total(&report, "trips", "rows_loaded"), 8, "{report:#}");
    assert_equal(&db).await;
    project.ok(&["rebuild", "trips", "--reset"]);
    assert_equal(&db).await;
    let keyed = "select count(*) from pg_index i join pg_attribute a on a.attrelid = indrelid and a.attnum = indkey[0]
        where indrelid = 'bronze.trips'::regclass and indisprimary and attname = 'code'";
    assert_eq!(number(&db, keyed).await, 1, "the key is the one of today");
}

#[tokio::test]
async fn a_replay_brings_the_last_version_of_each_row() {
    let (db, project) = fleet("chain_versions", "on_conflict = \"update\"").await;
    // A writer holds the bound, so each run reads the row again; its stamps are equal: only the order of the runs tells.
    let held = db.another_source().await;
    held.batch_execute("begin; insert into app.cars values (2, 'b')").await.expect("held");
    db.src("update app.trips set at = now() where id = 240").await;
    for state in ["first", "second", "third"] {
        db.src(&format!("update app.trips set state = '{state}' where id = 240")).await;
        project.ok(&["run", "trips"]);
    }
    held.batch_execute("rollback").await.expect("over");
    assert_equal(&db).await;
    db.tgt("delete from bronze.trips").await;
    project.ok(&["replay", "trips"]);
    assert_equal(&db).await;
    db.tgt(LOSE).await;
    project.ok(&["rebuild"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn an_older_copy_of_the_whole_blocks_nothing() {
    let (db, project) = fleet("chain_superseded", "").await;
    for name in ["cars", "drivers"] {
        let first = project.json(&["extract", name]);
        db.src(&format!("update app.{name} set name = name || '!'")).await;
        let second = project.json(&["extract", name]);
        project.ok(&["load", "--params", &second.to_string()]);
        let late = project.json(&["load", "--params", &first.to_string()]);
        assert_eq!(late["status"], "loaded", "{late:#}");
        assert_eq!(folder(&db, "exports", name), Vec::<PathBuf>::new());
        let kept = late["rows_kept_newer"].as_i64().expect("count");
        assert_eq!(kept, i64::from(name == "cars"), "a snapshot is superseded, a dated copy is history: {late:#}");
    }
    assert_equal(&db).await;
    assert_eq!(number(&db, "select count(*) from bronze.drivers").await, 3, "every copy is there");
    project.ok(&["run"]);
    nothing(&project);
}

#[tokio::test]
async fn a_name_that_a_person_gave_is_no_run_number() {
    let (db, project) = fleet("chain_names", "").await;
    let before = newest(&db).await;
    let csv = "id,code,state,at\n5001,h,x,2026-01-01 00:00:00+00\n";
    fs::write(db.blobs().join("test/exports/trips/trips_20260424.csv"), csv).expect("written");
    project.ok(&[
        "load",
        "--table",
        "trips",
        "--csv-path",
        "test/exports/trips/trips_20260424.csv",
        "--accept-unverified",
    ]);
    nothing(&project);
    db.src("insert into app.trips values (5001, 'h', 'x', '2026-01-01Z')").await;
    project.ok(&["run", "trips"]);
    assert_eq!(newest(&db).await, before + 2, "numbers go on by one");
}

#[tokio::test]
async fn a_file_made_by_hand_never_moves_the_watermark() {
    let db = TestDb::new("chain_by_hand").await;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    let project = Project::new(&db, &config(""));
    project.ok(&["migrate"]);
    fs::create_dir_all(db.blobs().join("test/exports/trips")).expect("folder");
    let csv = "id,code,state,at\n240,c240,x,2026-01-01 00:00:00+00\n";
    fs::write(db.blobs().join("test/exports/trips/first.csv"), csv).expect("written");
    let path = "test/exports/trips/first.csv";
    let args = [
        "load",
        "--table",
        "trips",
        "--csv-path",
        path,
        "--accept-unverified",
        "--run-started-at",
        "2099-01-01T00:00:00Z",
    ];
    let loaded = project.json(&args);
    assert_eq!(loaded["watermark"], Value::Null, "{loaded:#}");
    db.tgt("delete from bronze.trips").await;
    project.ok(&["run"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn extracts_that_wait_while_the_target_is_restored_are_loaded() {
    let (db, project) = fleet("chain_waiting", "").await;
    let backup = Backup::of(&db).await;
    insert(&db, 1001).await;
    let first = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run");
    insert(&db, 1002).await;
    let second = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run");
    backup.restore(&db).await;
    insert(&db, 1003).await;
    let run = project.ok(&["run"]);
    assert!(run.stderr.contains("restored from a backup"), "{}", run.all());
    assert_equal(&db).await;
    let loaded = format!(
        "select count(*) from dwh_control.extract_runs where run_id in ({first}, {second}) and status = 'loaded'"
    );
    assert_eq!(number(&db, &loaded).await, 2, "they are in the log again, and loaded");
    assert_eq!(number(&db, &format!("select count(*) from dwh_control.extract_runs where run_id > {second}")).await, 3);
    assert_eq!(folder(&db, "exports", "trips"), Vec::<PathBuf>::new());
    nothing(&project);
    db.tgt(LOSE).await;
    project.ok(&["rebuild"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_csv_whose_number_was_given_again_is_never_moved_as_if_it_were_loaded() {
    let (db, project) = fleet("chain_again", "").await;
    insert(&db, 1001).await;
    let waits = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run");
    // A release that did not look gave the number to another run, which was loaded.
    db.tgt(&format!(
        "update dwh_control.extract_runs set status = 'loaded', run_started_at = run_started_at + interval '1 hour', sha256 = null,
             csv_path = null, rows_loaded = 1, rows_inserted = 1, rows_updated = 0, rows_identical = 0, rows_different = 0,
             rows_kept_newer = 0, run_finished_at = now() where run_id = {waits}"
    ))
    .await;
    let run = project.ok(&["run", "trips"]);
    assert!(run.stderr.contains("another") || run.stderr.contains("given again"), "{}", run.all());
    assert_equal(&db).await;
    assert!(csv_of(&db, waits).to_string_lossy().contains("/exports/"), "it stays where it is");
    let found = project.fails(4, &["recover", "trips"]).json();
    let stuck = found["found"].as_array().expect("found").iter().find(|f| f["state"] == "csv_of_unknown_run");
    let hint = stuck.expect("it is told")["hint"].as_str().expect("hint").to_owned();
    let command = hint.split('`').find_map(|part| part.strip_prefix("dwh ")).expect("a command");
    project.ok(&command.split(' ').collect::<Vec<_>>());
    assert!(csv_of(&db, waits).to_string_lossy().contains("/set_aside/"));
}

#[tokio::test]
async fn a_run_after_a_restore_takes_no_number_that_a_file_of_any_table_bears() {
    let (db, project) = fleet("chain_numbers", "").await;
    let backup = Backup::of(&db).await;
    insert(&db, 1001).await;
    db.src("update app.cars set name = 'b'").await;
    project.ok(&["run"]);
    let highest = newest(&db).await;
    backup.restore(&db).await;
    let run = project.ok(&["run", "cars"]);
    assert!(run.stderr.contains("restored from a backup"), "{}", run.all());
    assert!(newest(&db).await > highest, "above the files of all tables");
    project.ok(&["run"]);
    assert_equal(&db).await;
    project.ok(&["recover"]);
    db.tgt(LOSE).await;
    project.ok(&["rebuild"]);
    project.ok(&["verify", "--blobs"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn dated_copies_made_after_the_backup_come_back() {
    let (db, project) = fleet("chain_copies", "").await;
    let backup = Backup::of(&db).await;
    db.src("update app.drivers set name = 'Anna'").await;
    project.ok(&["run", "drivers"]);
    db.tgt("create table kept.all_drivers as table bronze.drivers").await;
    backup.restore(&db).await;
    project.ok(&["run", "cars"]);
    let report = project.json(&["recover"]);
    assert_eq!(report["found"][0]["state"], "copy_not_loaded", "{report:#}");
    let missing = "select count(*) from (table kept.all_drivers except all table bronze.drivers) x";
    assert_eq!(number(&db, missing).await, 0);
    nothing(&project);
    project.ok(&["run"]);
    project.ok(&["verify", "--blobs"]);
}

#[tokio::test]
async fn a_run_that_the_log_had_not_heard_of_leaves_no_empty_row() {
    let (db, project) = fleet("chain_unheard", "").await;
    insert(&db, 1001).await;
    let run_id = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run");
    db.tgt(&format!(
        "update dwh_control.extract_runs set status = 'failed', error_message = 'connection reset', csv_path = null, sha256 = null,
             bytes = null, rows_extracted = null, rows_late = null, window_low = null, window_high = null, watermark = null,
             bound = null, run_finished_at = now() where run_id = {run_id}"
    ))
    .await;
    insert(&db, 1002).await;
    project.ok(&["run", "trips"]);
    let filled = format!(
        "select count(*) from dwh_control.extract_runs where run_id = {run_id} and csv_path is not null
        and sha256 is not null and watermark is not null and window_low is not null"
    );
    assert_eq!(number(&db, &filled).await, 1);
    nothing(&project);
    // A row that an earlier release left empty is no gap either.
    db.tgt(&format!("update dwh_control.extract_runs set window_low = null, window_high = null, watermark = null, csv_path = null where run_id = {run_id}")).await;
    nothing(&project);
}

#[tokio::test]
async fn a_foreign_manifest_stops_nothing_and_its_way_out_works() {
    let (db, project) = fleet("chain_foreign", "").await;
    let manifest =
        folder(&db, "processed", "trips").into_iter().find(|file| file.extension().is_some_and(|e| e == "json"));
    let text = fs::read_to_string(manifest.expect("a manifest")).expect("text");
    let foreign = db.blobs().join("test/exports/trips/20260101_0000_UTC_98.manifest.json");
    fs::write(&foreign, text).expect("written");
    insert(&db, 1001).await;
    let run = project.ok(&["run", "trips"]);
    assert!(run.stderr.contains("_98.manifest.json"), "{}", run.all());
    assert_equal(&db).await;
    let found = project.fails(4, &["recover", "trips"]).json();
    assert_eq!(found["found"][0]["state"], "foreign_manifest", "{found:#}");
    let hint = found["found"][0]["hint"].as_str().expect("hint").to_owned();
    let command = hint.split('`').find_map(|part| part.strip_prefix("dwh ")).expect("a command");
    project.ok(&command.split(' ').collect::<Vec<_>>());
    assert!(!foreign.exists() && db.blobs().join("test/set_aside/trips/20260101_0000_UTC_98.manifest.json").exists());
    nothing(&project);
}

#[tokio::test]
async fn a_run_that_cannot_begin_is_a_failed_run_in_the_log() {
    let (db, project) = fleet("chain_unbegun", "").await;
    insert(&db, 1001).await;
    project.ok(&["extract", "trips"]);
    let manifest =
        folder(&db, "exports", "trips").into_iter().find(|file| file.extension().is_some_and(|e| e == "json"));
    let manifest = manifest.expect("a manifest");
    fs::write(&manifest, "{").expect("broken");
    let failed = project.fails(4, &["run", "trips"]);
    let failure = failed.failure("trips");
    failure.names(&["manifest"]);
    let row =
        "select count(*) from dwh_control.extract_runs where status = 'failed' and error_message like '%manifest%'";
    assert_eq!(number(&db, row).await, 1, "who watches the log sees it");
    let command = failure.hint.split('`').find_map(|part| part.strip_prefix("dwh ")).expect("a command");
    project.ok(&command.split(' ').collect::<Vec<_>>());
    project.ok(&["run", "trips"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn a_prune_that_was_cut_off_makes_nobody_cry() {
    let (db, project) = fleet("chain_prune", "").await;
    db.tgt("select setval(pg_get_serial_sequence('dwh_control.extract_runs', 'run_id'), 96)").await;
    for id in 1001..1007 {
        insert(&db, id).await;
        project.ok(&["run", "trips"]);
    }
    let text = fs::read_to_string(project.folder().join("dwh.toml")).expect("dwh.toml");
    let project = Project::written(text + "\n[retention]\nprocessed = \"1s\"\nexports = \"1s\"\n", Vec::new());
    let mut planned: Vec<String> = Vec::new();
    while !planned.iter().any(|file| file.ends_with("_101.csv")) {
        let report = project.json(&["prune", "trips", "--dry-run"]);
        let listed = report["tables"][0]["files"].as_array().expect("files").clone();
        planned = listed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    let at = |run: &str| planned.iter().position(|file| file.ends_with(&format!("_{run}.csv"))).expect("listed");
    assert!(at("97") < at("99") && at("99") < at("100") && at("100") < at("101"), "{planned:#?}");
    // Killed after run 99.
    for file in &planned[..=at("99")] {
        let path = file.strip_prefix("file://").expect("a file");
        fs::remove_file(path).expect("removed");
    }
    nothing(&project);
    project.ok(&["verify", "trips", "--blobs"]);
    project.ok(&["prune", "trips"]);
    nothing(&project);
}
