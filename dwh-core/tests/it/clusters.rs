//! The throwaway clusters themselves.

use dwh_core::testing::{Clusters, TestDb, assert_equal_tables};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_test_gets_two_databases_and_roles_without_rights_too_many() {
    let db = TestDb::new("two_databases").await;
    db.src(
        "create schema app; create table app.t (id int, at point, g geometry(Point, 4326));
        insert into app.t values (1, '(1,2)', 'SRID=4326;POINT(1 2)'), (2, null, null)",
    )
    .await;
    db.tgt(
        "create table t (id int, at point, g geometry(Point, 4326));
        insert into t values (2, null, null), (1, '(1,2)', 'SRID=4326;POINT(1 2)')",
    )
    .await;
    assert_equal_tables(&db, "select * from app.t", "select * from t").await;

    let (client, connection) =
        tokio_postgres::connect(&db.source_url_as("app_ro"), tokio_postgres::NoTls).await.expect("app_ro");
    tokio::spawn(connection);
    assert_eq!(client.query("select * from app.t", &[]).await.expect("select").len(), 2);
    assert!(client.batch_execute("insert into app.t values (3)").await.is_err());
}

#[tokio::test]
#[should_panic(expected = "1 only in the source")]
async fn a_row_that_is_there_twice_is_not_there_once() {
    let db = TestDb::new("row_twice").await;
    assert_equal_tables(&db, "select 1 as a from generate_series(1, 2)", "select 1 as a").await;
}

/// Runs in a process of its own: see the next test.
#[test]
#[ignore = "started by the next test"]
fn start_and_be_killed() {
    let clusters = Clusters::shared();
    println!("{}\n{}", clusters.source.folder().display(), clusters.target.folder().display());
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn servers_die_with_a_process_that_is_killed() {
    use std::io::{BufRead, BufReader};
    let mut process = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "--nocapture", "clusters::start_and_be_killed"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let folders: Vec<String> =
        lines.map(|line| line.expect("line")).filter(|line| line.contains("/dwh-")).take(2).collect();
    // The test harness prints the test's name before the first of them.
    let folders: Vec<&str> = folders.iter().map(|line| &line[line.find('/').expect("path")..]).collect();
    let pids: Vec<String> = folders
        .iter()
        .map(|folder| std::fs::read_to_string(Path::new(folder).join("data/postmaster.pid")).expect("running"))
        .map(|text| text.lines().next().expect("pid").to_owned())
        .collect();
    process.kill().expect("kill -9");
    process.wait().expect("dead");
    let deadline = Instant::now() + Duration::from_secs(60);
    while pids.iter().any(|pid| Path::new("/proc").join(pid).exists())
        || folders.iter().any(|folder| Path::new(folder).exists())
    {
        assert!(Instant::now() < deadline, "still there: {folders:?} {pids:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
