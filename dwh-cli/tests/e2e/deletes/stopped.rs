//! What is stopped while a server waits for a lock: the command ends at once, and the count of a look for deletes there, too.

use std::process::Child;
use std::time::{Duration, Instant};

use super::{deletes, items};
use dwh_core::testing::signal;
use tokio_postgres::Client;

/// Far below what any of these statements waits for a lock, and far above what a request to end one takes.
const SOON: Duration = Duration::from_secs(10);

/// The statements of sessions that wait for a lock on this relation, in the database of this connection; autovacuum is none.
async fn waiting(client: &Client, relation: &str) -> Vec<String> {
    let sql = "select a.query from pg_locks l join pg_stat_activity a using (pid) \
               where a.datname = current_database() and a.backend_type = 'client backend' and l.relation = to_regclass($1) and not l.granted";
    client.query(sql, &[&relation]).await.expect("statements").iter().map(|row| row.get(0)).collect()
}

/// Until such a statement waits.
async fn waits(client: &Client, relation: &str, child: &mut Child) {
    while waiting(client, relation).await.is_empty() {
        assert!(child.try_wait().expect("waits").is_none(), "it ended before it was stopped: {relation}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn locked(client: &Client, relation: &str) {
    let sql = format!("begin; lock table {relation} in access exclusive mode");
    client.batch_execute(&sql).await.expect("locked");
}

#[tokio::test]
async fn a_look_that_is_stopped_ends_at_once_and_leaves_no_statement_behind() {
    let (db, project) = items("deletes_stopped", "deletes = \"mark\"\n").await;
    db.src("delete from app.items where id <= 10").await;
    // Whoever reads rows waits for these, and whoever reads catalogs or makes a staging table does not.
    db.src("create table app.more () inherits (app.items)").await;
    db.tgt("create table bronze.more () inherits (bronze.items)").await;
    let (source, target) = (db.another_source().await, db.another_target().await);
    for (more, name, code) in [(&[][..], "TERM", 143), (&["--dry-run"], "INT", 130)] {
        locked(&source, "app.more").await;
        let mut child = project.spawn(&[&["deletes", "items"], more].concat());
        waits(db.source(), "app.more", &mut child).await;
        // It has looked whether bronze has rows; what comes next are the keys, and then the count.
        locked(&target, "bronze.more").await;
        source.batch_execute("rollback").await.expect("unlocked");
        waits(db.target(), "bronze.more", &mut child).await;
        let asked = Instant::now();
        assert!(signal(name, &[child.id()]));
        loop {
            let ended = child.try_wait().expect("waits").is_some();
            let left = waiting(db.target(), "bronze.more").await;
            if ended && left.is_empty() {
                break;
            }
            assert!(asked.elapsed() < SOON, "{more:?}: dwh ended: {ended}; the server is at {left:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(child.wait().expect("ended").code(), Some(code), "{more:?}");
        target.batch_execute("rollback").await.expect("unlocked");
    }
    db.src("drop table app.more").await;
    db.tgt("drop table bronze.more").await;
    assert_eq!(deletes(&project, &[])["rows_gone"], 10);
}

#[tokio::test]
async fn a_run_that_waits_for_a_lock_before_it_begins_ends_when_it_is_stopped() {
    let (db, project) = items("stopped_early", "deletes = \"mark\"\n").await;
    project.ok(&["run", "items"]);
    let (source, target) = (db.another_source().await, db.another_target().await);
    for (at, by, relation) in [(db.target(), &target, "bronze.items"), (db.source(), &source, "app.items")] {
        for (verb, name, code) in [("run", "TERM", 143), ("deletes", "INT", 130)] {
            locked(by, relation).await;
            let mut child = project.spawn(&[verb, "items"]);
            waits(at, relation, &mut child).await;
            let asked = Instant::now();
            assert!(signal(name, &[child.id()]));
            while child.try_wait().expect("waits").is_none() {
                assert!(asked.elapsed() < SOON, "{verb}: it waits for {relation}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(child.wait().expect("ended").code(), Some(code), "{verb} {relation}");
            by.batch_execute("rollback").await.expect("unlocked");
            // The server's session of the one that was stopped may still have come to its turn.
            while !waiting(at, relation).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    project.ok(&["run", "items"]);
}
