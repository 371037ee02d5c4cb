//! Every state that a crash can leave, made on purpose, and a process killed at every moment: one clean run later
//! source and bronze are equal, `exports/` is empty and every run is final. One test for each row of the crash table.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Project, number};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const TABLE: &str = "create schema app;
    create table app.events (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create index on app.events (recorded_at);
    grant usage on schema app to app_ro;
    grant select on app.events to app_ro;
    insert into app.events (id, note) select i, repeat('x', 500) from generate_series(1, 1000) i;";

const CONFIG: &str = r#"
[[table]]
name = "events"
relation = "app.events"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]
"#;

async fn events(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(TABLE).await;
    let project = Project::new(&db, CONFIG);
    project.ok(&["migrate"]);
    (db, project)
}

/// The files of a folder of the table, in order. What a killed upload was writing under a `~` name does not count: the
/// store never lists it, and `dwh recover` sweeps it.
fn files(db: &TestDb, folder: &str) -> Vec<PathBuf> {
    let path = db.blobs().join("test").join(folder).join("events");
    let mut files: Vec<PathBuf> =
        fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    files.retain(|file| !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('~')));
    files.sort();
    files
}

fn back_to_exports(db: &TestDb, file: &Path) -> PathBuf {
    db.blobs().join("test/exports/events").join(file.file_name().expect("name"))
}

/// The check after each case: one clean run, then everything is as if nothing had happened.
async fn assert_whole(db: &TestDb, project: &Project) {
    // The server gives the lease of a killed process free as soon as it notices that the connection is gone.
    project.ok(&["run", "--wait"]);
    assert_equal_tables(db, "select * from app.events", "select * from bronze.events").await;
    assert!(files(db, "exports").is_empty(), "exports/ is not empty: {:?}", files(db, "exports"));
    let open = "select count(*) from dwh_control.extract_runs where status not in ('loaded', 'failed')";
    let open: i64 = db.target().query_one(open, &[]).await.expect("run log").get(0);
    assert_eq!(open, 0, "every run is final");
    let doubled = "select count(*) from (select csv_path from dwh_control.extract_runs
        where status = 'loaded' and csv_path is not null group by 1 having count(*) > 1) x";
    let doubled: i64 = db.target().query_one(doubled, &[]).await.expect("run log").get(0);
    assert_eq!(doubled, 0, "no CSV is loaded by two runs");
}

async fn status_of(db: &TestDb, run_id: i64) -> (String, Option<i64>) {
    let sql = "select status, rows_loaded from dwh_control.extract_runs where run_id = $1";
    let row = db.target().query_one(sql, &[&run_id]).await.expect("run log");
    (row.get(0), row.get(1))
}

fn extracted(project: &Project) -> i64 {
    project.json(&["extract", "events"])["run_id"].as_i64().expect("run_id")
}

#[tokio::test]
async fn died_while_extracting() {
    let (db, project) = events("died_extracting").await;
    db.tgt("insert into dwh_control.extract_runs (table_name, run_started_at, status) values ('events', now(), 'extracting')").await;
    assert_whole(&db, &project).await;
    assert_eq!(status_of(&db, 1).await.0, "failed");
}

#[tokio::test]
async fn csv_without_manifest_is_not_there() {
    let (db, project) = events("csv_without_manifest").await;
    let run_id = extracted(&project);
    let manifest = files(&db, "exports").into_iter().find(|file| file.to_string_lossy().ends_with("json"));
    fs::remove_file(manifest.expect("manifest")).expect("removed");
    db.tgt("update dwh_control.extract_runs set status = 'extracting', csv_path = null, sha256 = null, rows_extracted = null, bytes = null").await;
    assert_whole(&db, &project).await;
    assert_eq!(status_of(&db, run_id).await.0, "failed");
    assert_eq!(files(&db, "processed").len(), 2, "one CSV and its manifest");
}

#[tokio::test]
async fn manifest_written_before_the_log_knew() {
    let (db, project) = events("manifest_before_log").await;
    let run_id = extracted(&project);
    db.tgt("update dwh_control.extract_runs set status = 'extracting', csv_path = null, sha256 = null, rows_extracted = null, bytes = null").await;
    assert_whole(&db, &project).await;
    assert_eq!(status_of(&db, run_id).await, ("loaded".to_owned(), Some(1000)));
}

#[tokio::test]
async fn uploaded_and_not_loaded() {
    let (db, project) = events("uploaded").await;
    let run_id = extracted(&project);
    db.src("insert into app.events (id) values (2000)").await;
    assert_whole(&db, &project).await;
    assert_eq!(status_of(&db, run_id).await, ("loaded".to_owned(), Some(1000)));
}

#[tokio::test]
async fn died_while_loading_and_failed_loads() {
    let (db, project) = events("died_loading").await;
    let run_id = extracted(&project);
    db.tgt("update dwh_control.extract_runs set status = 'loading'").await;
    assert_whole(&db, &project).await;
    assert_eq!(status_of(&db, run_id).await, ("loaded".to_owned(), Some(1000)));
    db.src("insert into app.events (id) values (2000)").await;
    let run_id = extracted(&project);
    db.tgt(&format!(
        "update dwh_control.extract_runs set status = 'failed', run_finished_at = now(), error_message = 'x' where run_id = {run_id}"
    ))
    .await;
    assert_whole(&db, &project).await;
    assert_eq!(status_of(&db, run_id).await, ("loaded".to_owned(), Some(1)));
}

#[tokio::test]
async fn loaded_and_not_moved() {
    let (db, project) = events("not_moved").await;
    project.ok(&["run"]);
    for file in files(&db, "processed") {
        fs::rename(&file, back_to_exports(&db, &file)).expect("moved back");
    }
    let before = db.target().query_one("select max(run_id) from dwh_control.extract_runs", &[]).await.expect("log");
    assert_whole(&db, &project).await;
    let before: i64 = before.get(0);
    assert_eq!(status_of(&db, before).await, ("loaded".to_owned(), Some(1000)), "not loaded again");
    assert_eq!(files(&db, "processed").len(), 2);
}

#[tokio::test]
async fn moved_and_not_deleted() {
    let (db, project) = events("not_deleted").await;
    project.ok(&["run"]);
    for file in files(&db, "processed") {
        fs::copy(&file, back_to_exports(&db, &file)).expect("copied back");
    }
    assert_whole(&db, &project).await;
    // Only the manifest was left behind.
    let manifest =
        files(&db, "processed").into_iter().find(|file| file.to_string_lossy().ends_with("json")).expect("it");
    fs::copy(&manifest, back_to_exports(&db, &manifest)).expect("copied back");
    assert_whole(&db, &project).await;
}

#[tokio::test]
async fn a_tampered_copy_is_never_the_reason_to_delete() {
    let (db, project) = events("tampered").await;
    project.ok(&["run"]);
    let csv = files(&db, "processed").into_iter().find(|file| file.to_string_lossy().ends_with("csv")).expect("csv");
    for file in files(&db, "processed") {
        fs::copy(&file, back_to_exports(&db, &file)).expect("copied back");
    }
    let mut bytes = fs::read(&csv).expect("read");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&csv, bytes).expect("written");
    let output = project.dwh(&["run"]);
    assert_eq!(output.code, 4, "{}", output.all());
    assert!(back_to_exports(&db, &csv).exists(), "the good file stays");
    assert!(csv.exists(), "the other file stays as evidence");
}

#[tokio::test]
async fn a_flipped_byte_is_not_loaded() {
    let (db, project) = events("flipped").await;
    extracted(&project);
    let csv = files(&db, "exports").into_iter().find(|file| file.to_string_lossy().ends_with("csv")).expect("csv");
    let mut bytes = fs::read(&csv).expect("read");
    let at = bytes.iter().position(|byte| *byte == b'x').expect("a note");
    bytes[at] = b'y';
    fs::write(&csv, bytes).expect("written");
    let output = project.dwh(&["run"]);
    assert_eq!(output.code, 4, "{}", output.all());
    let rows: i64 = db.target().query_one("select count(*) from bronze.events", &[]).await.expect("count").get(0);
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_target_that_is_away_at_the_load() {
    let (db, project) = events("target_away").await;
    let params = project.json(&["extract", "events"]).to_string();
    let away = project.config_with(&db.target_url_as("dwh_loader"), "postgresql://nobody@127.0.0.1:1/nowhere");
    for args in [&["load", "--params", &params][..], &["run"], &["recover"], &["recover", "--set-aside", "1"]] {
        assert_eq!(away.dwh(args).code, 3, "{args:?}");
    }
    assert_eq!(files(&db, "exports").len(), 2, "the CSV waits");
    db.src("insert into app.events (id) values (2000)").await;
    assert_whole(&db, &project).await;
}

/// Kills runs at `moments` moments of their length, each followed by a clean one; once more where most runs were quicker
/// than the one that was measured.
async fn killed(db: &TestDb, project: &Project, moments: u64, whole: impl AsyncFn()) -> u64 {
    let mut killed = 0;
    for _ in 0..5 {
        let started = std::time::Instant::now();
        project.ok(&["run"]);
        let length = u64::try_from(started.elapsed().as_millis()).expect("short");
        for moment in (0..length + 20).step_by(usize::try_from(length / moments).expect("small").max(1)) {
            db.src("insert into app.events (id, note) select max(id) + i, 'k' from app.events, generate_series(1, 50) i group by i").await;
            let mut run = project.spawn(&["run"]);
            // The moment of death is the point of the test, not a wait for something to happen.
            tokio::time::sleep(Duration::from_millis(moment)).await;
            run.kill().expect("kill -9");
            killed += u64::from(!run.wait().expect("dead").success());
            whole().await;
        }
        if killed > moments / 3 {
            break;
        }
    }
    killed
}

#[tokio::test]
async fn killed_at_any_moment() {
    let (db, project) = events("killed").await;
    let killed = killed(&db, &project, 40, async || assert_whole(&db, &project).await).await;
    assert!(killed > 10, "only {killed} runs died: the moments do not cover a run");
}

/// A first load of forty windows, which dies again and again while one is loaded and others are read.
#[tokio::test]
async fn killed_with_windows_in_flight() {
    let (db, project) = events("killed_windows").await;
    db.src("update app.events set recorded_at = now() - id / 25 * interval '1 day'").await;
    let project = project.config_with("key = [\"id\"]", "key = [\"id\"]\nwindow = \"20h\"");
    let loaded = "select count(*) from dwh_control.extract_runs where status = 'loaded'";
    let open = "select count(*) from dwh_control.extract_runs where status not in ('loaded', 'failed')";
    let (mut killed, mut in_flight) = (0, 0);
    for moment in 0..12 {
        let jobs = ["1", "3"][moment % 2];
        let mut run = project.spawn(&["run", "--wait", "--jobs", jobs]);
        let before = number(&db, loaded).await;
        while number(&db, loaded).await == before {
            assert!(run.try_wait().expect("waits").is_none(), "it ended before it was killed");
            tokio::task::yield_now().await;
        }
        // The moment of death is the point of the test, not a wait for something to happen.
        tokio::time::sleep(Duration::from_millis(2 * moment as u64)).await;
        run.kill().expect("kill -9");
        killed += u64::from(!run.wait().expect("dead").success());
        in_flight += u64::from(number(&db, open).await > 1);
    }
    assert!(killed == 12 && in_flight > 3, "{killed} runs died, {in_flight} of them with several windows in flight");
    assert_whole(&db, &project).await;
    let rows = number(&db, "select sum(rows_inserted)::bigint from dwh_control.extract_runs").await;
    assert_eq!(rows, 1000, "each row is loaded once");
    project.ok(&["verify", "--blobs"]);
    let found = project.json(&["recover", "--dry-run"]);
    assert_eq!(found["found"].as_array().map(Vec::len), Some(0), "{found:#}");
}

#[tokio::test]
async fn killed_at_any_moment_over_a_bucket() {
    let db = TestDb::new("killed_s3").await;
    db.src(TABLE).await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    let project = Project::over(&db, CONFIG, &blobs);
    project.ok(&["migrate"]);
    let whole = async || {
        assert_whole(&db, &project).await;
        assert_eq!(blobs.list("test/exports/").await, [""; 0]);
    };
    let killed = killed(&db, &project, 15, whole).await;
    assert!(killed > 5, "only {killed} runs died: the moments do not cover a run");
    project.ok(&["verify", "--blobs"]);
}
