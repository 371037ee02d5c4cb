//! `dwh recover --set-aside`: a CSV that bronze refuses is out of the way of its table, and its rows come again.

use std::fs;

use crate::support::{Project, READABLE, files, number, table};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const TABLE: &str = "create table app.trips (id int primary key, km int, at timestamptz not null default now());
    create index on app.trips (at); insert into app.trips select i, i from generate_series(1, 50) i;";

async fn trips(db: &TestDb, blobs: &TestBlobs, more: &str) -> Project {
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(TABLE).await;
    let config = table(
        "trips",
        "app.trips",
        "incremental",
        "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"1d\"\nlate_window = \"0\"",
    ) + more;
    let project = Project::over(db, &config, blobs);
    project.ok(&["migrate"]);
    project
}

async fn assert_equal(db: &TestDb) {
    assert_equal_tables(db, "select * from app.trips", "select * from bronze.trips").await;
}

/// Bronze refuses one row; returns the run that fails for it.
async fn refused(db: &TestDb, project: &Project) -> i64 {
    project.ok(&["run"]);
    db.tgt("alter table bronze.trips add constraint far check (km >= 0)").await;
    db.src("insert into app.trips values (51, 51), (52, -1)").await;
    let failed = project.fails(4, &["run"]);
    let run_id = failed.json()["runs"][0]["run_id"].as_i64().expect("run_id");
    let failure = failed.failure("trips");
    failure.names(&["trips", "far"]);
    assert!(failure.hint.contains(&format!("dwh recover --set-aside {run_id}")), "{failure:?}");
    // The next one fails in the same way, for the same CSV.
    let again = project.fails(4, &["run"]);
    assert_eq!(again.json()["runs"].as_array().map(Vec::len), Some(1), "{}", again.all());
    assert_eq!(again.json()["runs"][0]["run_id"], run_id);
    assert!(again.failure("trips").hint.contains("--set-aside"), "{}", again.all());
    let told = project.json(&["recover", "--dry-run"]);
    assert_eq!(told["found"][0]["state"], "failed_with_csv");
    assert!(told["found"][0]["hint"].as_str().is_some_and(|hint| hint.contains("--set-aside")), "{told:#}");
    let failed = project.fails(4, &["recover"]).json();
    assert_eq!(failed["found"][0]["outcome"], "failed");
    assert_eq!(number(db, "select count(*) from bronze.trips").await, 50, "nothing of it was loaded");
    run_id
}

#[tokio::test]
async fn without_the_constraint_the_csv_is_loaded() {
    let db = TestDb::new("aside_constraint").await;
    let project = trips(&db, &TestBlobs::local(&db), "").await;
    refused(&db, &project).await;
    db.tgt("alter table bronze.trips drop constraint far").await;
    project.ok(&["recover"]);
    project.ok(&["run"]);
    assert_equal(&db).await;
}

async fn aside_and_again(db: TestDb, blobs: TestBlobs) {
    let project = trips(&db, &blobs, "").await;
    let run_id = refused(&db, &project).await.to_string();
    let exports = blobs.list("test/exports/").await;
    assert_eq!(exports.len(), 2);
    let bytes = blobs.read(&exports[0]).await;
    let planned = project.json(&["recover", "--set-aside", &run_id, "--dry-run"]);
    assert_eq!(
        (&planned["found"][0]["outcome"], &planned["found"][0]["action"]),
        (&"planned".into(), &"set_aside".into())
    );
    assert_eq!(blobs.list("test/set_aside/").await, [""; 0], "a dry run moved something");
    let done = project.json(&["recover", "--set-aside", &run_id]);
    assert_eq!(done["found"][0]["outcome"], "mended");
    assert!(done["found"][0]["hint"].as_str().is_some_and(|hint| hint.contains("dwh run trips")), "{done:#}");
    assert_eq!(blobs.list("test/exports/").await, [""; 0]);
    let aside: Vec<String> = exports.iter().map(|name| name.replace("/exports/", "/set_aside/")).collect();
    assert_eq!(blobs.list("test/set_aside/").await, aside);
    assert_eq!(blobs.read(&aside[0]).await, bytes, "as it was, byte for byte");
    let row = "select count(*) from dwh_control.extract_runs where status = 'failed'
        and error_message like 'set aside by hand: %' and csv_path like '%/set_aside/trips/%.csv'";
    assert_eq!(number(&db, row).await, 1, "the run log follows");
    assert_eq!(project.json(&["recover"])["found"].as_array().map(Vec::len), Some(0), "nothing to do");
    let again = project.dwh(&["recover", "--set-aside", &run_id]);
    assert!(again.code == 4 && again.stderr.contains("already"), "{}", again.all());
    // The row is mended at the source; the watermark never moved, so both come.
    db.src("update app.trips set km = 1 where id = 52").await;
    project.ok(&["run"]);
    assert_equal(&db).await;
    project.ok(&["verify", "--blobs"]);
}

#[tokio::test]
async fn set_aside_the_rows_come_again() {
    let db = TestDb::new("aside_local").await;
    let blobs = TestBlobs::local(&db);
    aside_and_again(db, blobs).await;
}

#[tokio::test]
async fn set_aside_in_a_bucket_the_rows_come_again() {
    let db = TestDb::new("aside_s3").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    aside_and_again(db, blobs).await;
}

#[tokio::test]
async fn a_csv_that_was_damaged_is_set_aside_as_it_is() {
    let db = TestDb::new("aside_damaged").await;
    let blobs = TestBlobs::local(&db);
    let project = trips(&db, &blobs, "").await;
    let run_id = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run_id").to_string();
    let csv = blobs.list("test/exports/trips/").await.remove(0);
    let mut bytes = blobs.read(&csv).await;
    bytes[20] ^= 1;
    blobs.write(&csv, bytes.clone()).await;
    project.fails(4, &["run"]);
    project.ok(&["recover", "--set-aside", &run_id]);
    assert_eq!(blobs.read(&csv.replace("/exports/", "/set_aside/")).await, bytes);
    project.ok(&["run"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn what_is_loaded_held_or_unknown_is_refused() {
    let db = TestDb::new("aside_refused").await;
    let blobs = TestBlobs::local(&db);
    let project = trips(&db, &blobs, "").await;
    project.ok(&["run"]);
    let loaded = project.dwh(&["recover", "--set-aside", "1"]);
    assert_eq!(loaded.code, 2, "{}", loaded.all());
    assert!(loaded.stderr.contains("run 1 is loaded"), "{}", loaded.all());
    assert_eq!(project.dwh(&["recover", "--set-aside", "999"]).code, 4);
    assert_eq!(project.dwh(&["recover", "--set-aside", "test/processed/other/x.csv"]).code, 2);
    assert_eq!(project.dwh(&["recover", "--set-aside", "test/exports/trips/x.csv"]).code, 4);
    db.tgt("delete from bronze.trips where km = 7; alter table bronze.trips add constraint far check (km <> 7)").await;
    project.fails(4, &["replay", "trips"]);
    let replay = project.dwh(&["recover", "--set-aside", "2"]);
    assert!(replay.code == 2 && replay.stderr.contains("dwh replay"), "{}", replay.all());
    db.src("insert into app.trips values (51, 51)").await;
    let run_id = project.json(&["extract", "trips"])["run_id"].as_i64().expect("run_id").to_string();
    let holder = db.another_target().await;
    let lock = "begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control trips', 0))";
    holder.batch_execute(lock).await.expect("held");
    assert_eq!(project.dwh(&["recover", "--set-aside", &run_id]).code, 5);
    holder.batch_execute("rollback").await.expect("given free");
    project.ok(&["recover", "--set-aside", &run_id]);
    // A person who thinks better of it moves both files back.
    for file in blobs.list("test/set_aside/").await {
        blobs.copy(&file, &file.replace("/set_aside/", "/exports/")).await;
        blobs.delete(&file).await;
    }
    assert_eq!(project.json(&["recover"])["found"][0]["state"], "failed_with_csv");
    assert_eq!(number(&db, "select count(*) from bronze.trips where id = 51").await, 1);
}

#[tokio::test]
async fn a_manifest_that_was_garbled_and_a_copy_that_is_too_old() {
    let db = TestDb::new("aside_garbled").await;
    let blobs = TestBlobs::local(&db);
    let project = trips(&db, &blobs, &table("copies", "app.trips", "snapshot", "")).await;
    project.ok(&["extract", "trips"]);
    let manifest = blobs.list("test/exports/trips/").await.remove(1);
    blobs.write(&manifest, b"{".to_vec()).await;
    let failed = project.fails(4, &["run", "trips"]).failure("trips");
    let command =
        failed.hint.split('`').find(|part| part.starts_with("dwh recover")).unwrap_or_else(|| panic!("{failed:?}"));
    project.ok(&command.split(' ').skip(1).collect::<Vec<_>>());
    project.ok(&["run", "trips"]);
    assert_equal(&db).await;

    // Of two copies the newer one was loaded first.
    project.ok(&["extract", "copies"]);
    let newer = project.json(&["extract", "copies"]).to_string();
    project.ok(&["load", "--params", &newer]);
    // The older one is archived, and stands in nobody's way.
    let run = project.ok(&["run", "copies"]);
    assert!(run.stderr.contains("older than the copy that bronze holds"), "{}", run.all());
    assert!(blobs.list("test/exports/copies/").await.is_empty());
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.copies").await;
}

#[tokio::test]
async fn a_window_of_a_backfill_and_a_file_made_by_hand() {
    let db = TestDb::new("aside_others").await;
    let blobs = TestBlobs::local(&db);
    let project = trips(&db, &blobs, "[retention]\nset_aside = \"30d\"\n").await;
    project.ok(&["run"]);
    db.tgt("delete from bronze.trips where id in (7, 8); alter table bronze.trips add constraint far check (km <> 7) not valid").await;
    let failed = project.fails(4, &["backfill", "trips", "--from", "2020-01-01T00:00:00Z"]);
    let run_id = failed.json()["runs"][0]["run_id"].as_i64().expect("run_id").to_string();
    let done = project.json(&["recover", "--set-aside", &run_id]);
    let hint = done["found"][0]["hint"].as_str().expect("hint").to_owned();
    db.tgt("alter table bronze.trips drop constraint far").await;
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.trips where id = 7").await, 0, "a run does not bring it");
    // What the hint says brings it.
    let command = hint.split('`').find(|part| part.starts_with("dwh backfill")).unwrap_or_else(|| panic!("{hint}"));
    project.ok(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert_equal(&db).await;

    let mended = "test/exports/trips/mended.csv";
    blobs.write(mended, b"id,km\n90,oops\n".to_vec()).await;
    project.fails(4, &["load", "--table", "trips", "--csv-path", mended, "--accept-unverified"]);
    project.ok(&["recover", "--set-aside", mended]);
    assert_eq!(blobs.read("test/set_aside/trips/mended.csv").await, b"id,km\n90,oops\n");
    assert_eq!(project.json(&["recover"])["found"].as_array().map(Vec::len), Some(0));

    // Retention takes what is old: the file by its run, the other one by the store's clock.
    db.tgt("update dwh_control.extract_runs set run_started_at = run_started_at - interval '40 days'").await;
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(40 * 86_400);
    fs::File::options()
        .append(true)
        .open(db.blobs().join("test/set_aside/trips/mended.csv"))
        .and_then(|file| file.set_modified(old))
        .expect("old");
    let pruned = project.json(&["prune"]);
    assert_eq!(pruned["tables"][0]["files"].as_array().map(Vec::len), Some(3), "{pruned:#}");
    assert!(files(&db.blobs().join("test/set_aside")).is_empty());
}

#[tokio::test]
async fn a_file_of_a_person_never_replaces_another_one() {
    let db = TestDb::new("by_hand_twice").await;
    let blobs = TestBlobs::local(&db);
    let project = trips(&db, &blobs, "").await;
    project.ok(&["run"]);
    for id in [901, 902] {
        blobs.write("test/exports/trips/mended.csv", format!("id,km,at\n{id},1,2026-01-01Z\n").into_bytes()).await;
        project.ok(&["load", "--table", "trips", "--csv-path", "test/exports/trips/mended.csv", "--accept-unverified"]);
        assert_eq!(project.json(&["recover"])["found"].as_array().map(Vec::len), Some(0), "it is not missed");
    }
    let made: Vec<String> =
        blobs.list("test/processed/trips/").await.into_iter().filter(|name| name.contains("mended")).collect();
    assert_eq!(made.len(), 2, "{made:?}");
    assert!(String::from_utf8_lossy(&blobs.read("test/processed/trips/mended.csv").await).contains("901"));
}
