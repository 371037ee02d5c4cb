//! `dwh prune`: removes what is loaded and old enough, says how much, and never what is still needed.

use serde_json::Value;
use std::fs;

use crate::support::{Project, READABLE, age, files, number, table};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const RETENTION: &str = "[retention]\nprocessed = \"10d\"\nexports = \"5d\"\nruns = \"10d\"\n";

async fn trips(test: &str, retention: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src("create table app.trips (id int primary key, at timestamptz not null default now()); create index on app.trips (at)").await;
    let config = table("trips", "app.trips", "incremental", "watermark = \"at\"\nkey = [\"id\"]") + retention;
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    (db, project)
}

fn of_run(db: &TestDb, folder: &str, run_id: i64) -> usize {
    let all = files(&db.blobs().join("test").join(folder).join("trips"));
    all.iter().filter(|file| file.to_string_lossy().contains(&format!("_{run_id}."))).count()
}

#[tokio::test]
async fn old_and_loaded_goes_and_the_rest_stays() {
    let (db, project) = trips("prune", RETENTION).await;
    for id in 1..=4 {
        db.src(&format!("insert into app.trips values ({id})")).await;
        project.ok(&["run"]);
    }
    db.src("insert into app.trips values (5)").await;
    project.ok(&["extract", "trips"]);
    // All but run 3 are old; run 4 is the newest that is loaded, run 5 waits to be loaded.
    age(&db, &TestBlobs::local(&db), "run_id <> 3", "20 days").await;
    for file in files(&db.blobs().join("test/processed/trips")) {
        if file.to_string_lossy().contains("_4.") {
            fs::copy(&file, db.blobs().join("test/exports/trips").join(file.file_name().expect("name")))
                .expect("copied back");
        }
    }
    let planned = project.json(&["prune", "--dry-run"]);
    assert_eq!(planned["tables"][0]["files"].as_array().map(Vec::len), Some(6), "{planned:#}");
    assert_eq!((of_run(&db, "processed", 1), of_run(&db, "exports", 4)), (2, 2), "a dry run removed something");
    let done = project.dwh(&["prune"]);
    assert_eq!(done.code, 0, "{}", done.all());
    assert!(done.stderr.contains("removing 6 files"), "it says first how much it removes: {}", done.all());
    assert_eq!([1, 2, 3, 4].map(|run| of_run(&db, "processed", run)), [0, 0, 2, 2]);
    assert_eq!([4, 5].map(|run| of_run(&db, "exports", run)), [0, 2], "the copy goes, what is not loaded stays");
    assert_eq!(number(&db, "select min(run_id) from dwh_control.extract_runs").await, 3);
    assert_eq!(
        number(&db, "select count(*) from dwh_control.extract_runs").await,
        3,
        "3, 4 (newest loaded) and 5 (waits)"
    );
    let again = project.json(&["prune"]);
    assert_eq!(again["tables"][0]["files"], Value::Array(Vec::new()));
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    assert_eq!(project.json(&["recover"])["found"], Value::Array(Vec::new()), "what was pruned is not missed");
}

#[tokio::test]
async fn without_retention_nothing_is_ever_removed() {
    let (_db, project) = trips("prune_none", "").await;
    let refused = project.fails(2, &["prune"]);
    assert!(refused.all().contains("[retention]"), "{}", refused.all());
}

#[tokio::test]
async fn archives_are_kept_at_least_as_long_as_exports() {
    let (db, project) = trips("prune_order", RETENTION).await;
    let wrong = project.config_with("processed = \"10d\"", "processed = \"1d\"");
    let refused = wrong.dwh(&["prune"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.stderr.contains("at least as long as `exports`"), "{}", refused.all());
    drop(db);
}
