//! `dwh recover`: every named state made on purpose; a dry run changes nothing, the command mends what it can, and the
//! rest is left for a person with code 4.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::support::{Project, events, files, number};
use dwh_core::testing::{TestDb, assert_equal_tables};

fn folder(db: &TestDb, folder: &str) -> PathBuf {
    db.blobs().join("test").join(folder).join("events")
}

fn extracted(project: &Project) -> i64 {
    project.json(&["extract", "events"])["run_id"].as_i64().expect("run_id")
}

fn more(project: &Project) -> (i64, PathBuf) {
    let params = project.json(&["extract", "events"]);
    let csv = params["csv_path"].as_str().and_then(|path| path.strip_prefix("file://")).expect("path");
    (params["run_id"].as_i64().expect("run_id"), PathBuf::from(csv))
}

fn manifest(csv: &std::path::Path) -> PathBuf {
    csv.with_extension("manifest.json")
}

/// State, run and outcome of all that was found.
fn found(report: &Value) -> Vec<(String, Option<i64>, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let of = |found: &Value| (text(&found["state"]), found["run_id"].as_i64(), text(&found["outcome"]));
    report["found"].as_array().expect("found").iter().map(of).collect()
}

fn is(state: &str, run_id: i64, outcome: &str) -> (String, Option<i64>, String) {
    (state.to_owned(), Some(run_id), outcome.to_owned())
}

const LOG: &str = "select coalesce(sum(hashtext(r::text)::bigint), 0)::bigint from dwh_control.extract_runs r";

#[tokio::test]
async fn what_a_crash_leaves_is_named_and_mended_and_a_dry_run_changes_nothing() {
    let (db, project) = events("recover_mends").await;
    assert_eq!(found(&project.json(&["recover"])), [], "nothing is wrong with a new warehouse");
    project.ok(&["run", "events"]);
    // Run 1 is loaded: its files lie in both folders.
    for file in files(&folder(&db, "processed")) {
        fs::copy(&file, folder(&db, "exports").join(file.file_name().expect("name"))).expect("copied back");
    }
    db.src("insert into app.events (id) values (1001)").await;
    let (failed, _) = more(&project);
    db.tgt(&format!(
        "update dwh_control.extract_runs set status = 'failed', run_finished_at = now(), error_message = 'x' where run_id = {failed}"
    ))
    .await;
    db.src("insert into app.events (id) values (1002)").await;
    let uploaded = extracted(&project);
    // An extract that died before its manifest was written.
    let (unfinished, csv) = more(&project);
    fs::remove_file(manifest(&csv)).expect("manifest");
    db.tgt(&format!(
        "update dwh_control.extract_runs set status = 'extracting', csv_path = null, sha256 = null, rows_extracted = null,
         bytes = null where run_id = {unfinished}"
    ))
    .await;
    let orphan = folder(&db, "exports").join("~abc.part");
    let old = SystemTime::now() - Duration::from_secs(3 * 86_400);
    fs::File::create(&orphan).and_then(|file| file.set_modified(old)).expect("part of an upload");
    fs::write(folder(&db, "exports").join("~young.part"), "x").expect("an upload that goes on");
    // What a test of rows left that was killed, and one that goes on.
    let tried = db.blobs().join("test/.probe-1-2-trial.csv");
    fs::File::create(&tried).and_then(|file| file.set_modified(old)).expect("rows of a test");
    fs::write(db.blobs().join("test/.probe-3-4-trial.csv"), "x").expect("a test that goes on");

    let states = |outcome: &str| {
        vec![
            is("in_both_places", 1, outcome),
            is("failed_with_csv", failed, outcome),
            is("uploaded_not_loaded", uploaded, outcome),
            is("dead_run", unfinished, outcome),
            is("csv_without_manifest", unfinished, outcome),
            ("orphan_upload".to_owned(), None, outcome.to_owned()),
            ("orphan_upload".to_owned(), None, outcome.to_owned()),
        ]
    };
    let before = (files(&folder(&db, "exports")).len(), number(&db, LOG).await);
    assert_eq!(found(&project.json(&["recover", "--dry-run"])), states("planned"));
    assert_eq!((files(&folder(&db, "exports")).len(), number(&db, LOG).await), before, "a dry run changed something");
    let report = project.json(&["recover"]);
    assert_eq!(found(&report), states("mended"));
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(2), "{report:#}");
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
    assert_eq!(files(&folder(&db, "exports")), [folder(&db, "exports").join("~young.part")]);
    let again = project.json(&["recover"]);
    assert_eq!(found(&again), [], "the second time there is nothing left");
    let note = again["notes"][0].as_str().expect("the young upload is not passed over in silence");
    assert!(note.contains("younger than") && note.contains("--uploads-older-than 0"), "{note}");
    assert!(!tried.exists(), "an old test is over");
    assert!(note.contains(": 2;"), "{note}");
    assert_eq!(found(&project.json(&["recover", "--uploads-older-than", "0"])).len(), 2);
    assert!(files(&folder(&db, "exports")).is_empty() && !db.blobs().join("test/.probe-3-4-trial.csv").exists());
    assert_eq!(project.json(&["recover"])["notes"].as_array().map(Vec::len), Some(0));
    let failed_runs = "select count(*) from dwh_control.extract_runs where status = 'failed'";
    assert_eq!(number(&db, failed_runs).await, 1, "the dead one");
}

#[tokio::test]
async fn moves_that_were_cut_off_are_told_apart() {
    let (db, project) = events("recover_moves").await;
    project.ok(&["run", "events"]);
    let archived = files(&folder(&db, "processed"));
    let back = |file: &PathBuf| folder(&db, "exports").join(file.file_name().expect("name"));
    for file in &archived {
        fs::rename(file, back(file)).expect("moved back");
    }
    assert_eq!(found(&project.json(&["recover"])), [is("loaded_not_moved", 1, "mended")]);
    let manifest = archived.iter().find(|file| file.to_string_lossy().ends_with("json")).expect("manifest");
    fs::copy(manifest, back(manifest)).expect("copied back");
    assert_eq!(found(&project.json(&["recover"])), [is("manifest_left_behind", 1, "mended")]);
    assert!(files(&folder(&db, "exports")).is_empty());
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs").await, 1, "nothing was loaded again");
}

#[tokio::test]
async fn what_only_a_person_can_decide_stays_and_is_told() {
    let (db, project) = events("recover_person").await;
    for id in 1001..1004 {
        project.ok(&["run", "events"]);
        db.src(&format!("insert into app.events (id) values ({id})")).await;
    }
    let archived = |run_id: i64| {
        let mut of_run = files(&folder(&db, "processed"));
        of_run.retain(|file| file.to_string_lossy().contains(&format!("_{run_id}.")));
        of_run.sort();
        of_run
    };
    // Run 1: another copy. Run 2: gone from the log, its windows with it. Run 3: its CSV is lost.
    let copy = archived(1).remove(0);
    for file in archived(1) {
        fs::copy(&file, folder(&db, "exports").join(file.file_name().expect("name"))).expect("copied back");
    }
    let mut bytes = fs::read(&copy).expect("read");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&copy, bytes).expect("tampered");
    for file in archived(2) {
        fs::rename(&file, folder(&db, "exports").join(file.file_name().expect("name"))).expect("moved back");
    }
    db.tgt("delete from dwh_control.extract_runs where run_id = 2").await;
    fs::remove_file(archived(3).remove(0)).expect("lost");
    fs::write(folder(&db, "exports").join("mended.csv"), "id,note,recorded_at\n").expect("by hand");
    db.tgt("update dwh_control.extract_watermarks set last_extracted_at = last_extracted_at + interval '1 hour' where table_name = 'events'").await;

    let before = (files(&folder(&db, "exports")).len(), number(&db, LOG).await);
    let report = project.fails(4, &["recover"]).json();
    assert_eq!(
        found(&report),
        [
            is("copy_differs", 1, "person"),
            is("csv_of_unknown_run", 2, "person"),
            ("csv_without_manifest".to_owned(), None, "person".to_owned()),
            is("csv_missing", 3, "person"),
            is("gap_in_windows", 3, "person"),
            is("watermark_differs", 3, "person"),
        ]
    );
    for found in report["found"].as_array().expect("found") {
        assert!(found["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{found:#}");
    }
    assert_eq!((files(&folder(&db, "exports")).len(), number(&db, LOG).await), before, "nothing was touched");
    let text = project.dwh(&["recover"]);
    assert!(text.stdout.contains("dwh backfill events --from"), "{}", text.all());
}

#[tokio::test]
async fn a_run_whose_csv_is_gone_is_failed_and_its_rows_are_read_anew() {
    let (db, project) = events("recover_missing").await;
    let (run_id, csv) = more(&project);
    fs::remove_file(manifest(&csv)).expect("manifest");
    fs::remove_file(&csv).expect("csv");
    assert_eq!(found(&project.json(&["recover"])), [is("csv_missing", run_id, "mended")]);
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
}

#[tokio::test]
async fn a_table_that_a_run_holds_is_left_alone_and_the_others_go_on() {
    let (db, project) = events("recover_locked").await;
    let run_id = extracted(&project);
    db.tgt("begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control other', 0))").await;
    let report = project.fails(5, &["recover"]).json();
    assert_eq!(found(&report), [is("uploaded_not_loaded", run_id, "mended")]);
    assert_eq!(report["errors"][0]["table"], "other");
    db.tgt("commit").await;
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
}

#[tokio::test]
async fn what_a_person_decides_is_mended_by_what_the_hints_say() {
    let (db, project) = events("recover_hints").await;
    for id in 1001..1004 {
        project.ok(&["run", "events"]);
        db.src(&format!("insert into app.events (id) values ({id})")).await;
    }
    project.ok(&["run", "events"]);
    // A run, its rows and its files are gone.
    db.tgt("delete from dwh_control.extract_runs where run_id = 3; delete from bronze.events where id = 1002").await;
    for file in files(&folder(&db, "processed")).into_iter().filter(|file| file.to_string_lossy().contains("_3.")) {
        fs::remove_file(file).expect("removed");
    }
    let report = project.fails(4, &["recover"]).json();
    assert_eq!(found(&report), [is("gap_in_windows", 4, "person")]);
    let hint = report["found"][0]["hint"].as_str().expect("hint");
    let command = hint.split('`').nth(1).expect("a command");
    project.ok(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert_eq!(found(&project.json(&["recover"])), []);
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
    // A watermark that was set by hand, and set back.
    let by = |hours: i32| {
        format!(
            "update dwh_control.extract_watermarks set last_extracted_at = last_extracted_at + interval '{hours} hours' where table_name = 'events'"
        )
    };
    db.tgt(&by(-1)).await;
    assert_eq!(found(&project.fails(4, &["recover"]).json()), [is("watermark_differs", 4, "person")]);
    project.ok(&["run", "events"]);
    assert_eq!(found(&project.json(&["recover"])), [], "the next run reads from there again");
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
}
