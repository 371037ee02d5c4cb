//! Bronze made equal to the source, window by window: what differs is overwritten, what the source has no more is removed,
//! and no row vanishes that is there.

use std::time::Duration;

use crate::support::{Project, READABLE, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};

/// A row an hour through September, and one stamped `-infinity`.
const EVENTS: &str = "create schema app;
    create table app.events (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create index on app.events (recorded_at);
    insert into app.events select i, 'x', timestamptz '2026-09-01Z' + i * interval '1 hour' from generate_series(1, 240) i;
    insert into app.events values (0, 'x', '-infinity');";

const INCREMENTAL: &str = "watermark = \"recorded_at\"\nkey = [\"id\"]\nwindow = \"1d\"\n";

async fn events(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("{EVENTS}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let project = Project::new(&db, &table("events", "app.events", "incremental", &format!("{INCREMENTAL}{more}")));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

async fn assert_equal(db: &TestDb) {
    assert_equal_tables(db, "select * from app.events", "select * from bronze.events").await;
}

const WATERMARK: &str =
    "select (extract(epoch from last_extracted_at) * 1000000)::bigint from dwh_control.extract_watermarks";

/// Every way in which bronze may differ: values, stamps that are another window's, rows that are gone, rows too many.
const DAMAGE: &str = "update bronze.events set note = 'y' where id in (5, 100, 0);
    update bronze.events set recorded_at = recorded_at + interval '3 days', note = 'moved up' where id = 30;
    update bronze.events set recorded_at = recorded_at - interval '3 days', note = 'moved down' where id = 130;
    update bronze.events set recorded_at = '-infinity' where id = 131;
    delete from bronze.events where id in (50, 51, 240);
    insert into bronze.events values (9001, 'extra', '2026-09-02Z'), (9002, 'extra', '-infinity'), (9003, 'extra', '2026-08-01Z');";

#[tokio::test]
async fn reseed_replace_makes_bronze_equal() {
    for mode in ["nothing", "update"] {
        let (db, project) = events(&format!("replace_{mode}"), &format!("on_conflict = \"{mode}\"\n")).await;
        db.tgt(DAMAGE).await;
        db.src("delete from app.events where id between 200 and 210").await;
        let before = number(&db, WATERMARK).await;
        // The stretch before the first time at the source, where bronze has rows.
        let refused = project.dwh(&["reseed", "events", "--replace"]);
        assert_eq!(refused.code, 4, "{}", refused.all());
        let report = project.json(&["reseed", "events", "--replace", "--allow-empty"]);
        assert_eq!(report["kind"], "repair");
        assert_eq!(total(&report, "events", "rows_removed"), 14, "{report:#}");
        assert_eq!(total(&report, "events", "rows_inserted"), 3, "{report:#}");
        assert_equal(&db).await;
        project.ok(&["verify"]);
        assert_eq!(number(&db, WATERMARK).await, before);
        let shown = project.ok(&["runs", "--limit", "20"]).stdout;
        assert!(shown.contains("repair") && shown.contains("removed"), "{shown}");
        assert_archive_gives_the_same(&db, &project).await;
        // Once more there is nothing to do.
        let again = project.json(&["reseed", "events", "--replace"]);
        assert_eq!(
            (total(&again, "events", "rows_loaded"), total(&again, "events", "rows_removed")),
            (0, 0),
            "{again:#}"
        );
    }
}

/// `replay` into an empty table and `rebuild` into an empty database end with the rows that bronze has now.
async fn assert_archive_gives_the_same(db: &TestDb, project: &Project) {
    db.tgt("create table public.kept as select * from bronze.events").await;
    let same = "select count(*) from ((select * from bronze.events except all select * from public.kept)
        union all (select * from public.kept except all select * from bronze.events)) d";
    project.ok(&["replay", "events"]);
    assert_eq!(number(db, same).await, 0, "a replay into the full table changes nothing");
    db.tgt("truncate bronze.events").await;
    project.ok(&["replay", "events"]);
    assert_eq!(number(db, same).await, 0, "replayed into an empty table");
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(db, same).await, 0, "rebuilt");
    project.ok(&["run"]);
    project.ok(&["verify", "--blobs"]);
    db.tgt("drop table public.kept").await;
}

#[tokio::test]
async fn a_window_that_is_empty_at_the_source_needs_a_word() {
    let (db, project) = events("replace_empty", "").await;
    // The source keeps ten days, the warehouse everything: two windows and more are gone there.
    db.src("delete from app.events where id between 1 and 100").await;
    let refused = project.dwh(&["reseed", "events", "--replace"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(refused.stderr.contains("no row") && refused.stderr.contains("--allow-empty"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 241);
    // It holds up no other run, and leaves nothing behind.
    db.src("insert into app.events values (1000)").await;
    assert_eq!(total(&project.json(&["run"]), "events", "rows_loaded"), 1);
    assert!(!db.blobs().join("test/exports/events").read_dir().is_ok_and(|mut files| files.next().is_some()));
    project.ok(&["reseed", "events", "--replace", "--allow-empty"]);
    assert_equal(&db).await;
    assert_archive_gives_the_same(&db, &project).await;
}

/// Keys that bronze had once and has not at this moment, or has twice, while the source has them all.
const GONE: &str =
    "select count(*) from generate_series(1, 240) i where (select count(*) from bronze.events where id = i) <> 1";

#[tokio::test(flavor = "multi_thread")]
async fn no_row_vanishes_while_writers_go_on() {
    let (db, project) = events("replace_writers", "on_conflict = \"update\"\n").await;
    let writer = db.another_source().await;
    let writing = tokio::spawn(async move {
        for round in 0.. {
            // Rows leave their windows for the newest, and some go from one old window to another.
            let moved = format!(
                "update app.events set note = 'w{round}', recorded_at = now() where id % 40 = {round} % 40 and id > 0;
                 update app.events set note = 'b{round}', recorded_at = recorded_at - interval '2 days'
                     where id % 50 = {round} % 50 and recorded_at > '2026-09-05Z'"
            );
            if writer.batch_execute(&moved).await.is_err() {
                break;
            }
        }
    });
    let mut child = project.spawn(&["reseed", "events", "--replace"]);
    while child.try_wait().expect("waits").is_none() {
        assert_eq!(number(&db, GONE).await, 0);
    }
    assert!(child.wait().expect("ended").success());
    writing.abort();
    assert!(writing.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(number(&db, GONE).await, 0);
    project.ok(&["run"]);
    project.ok(&["reseed", "events", "--replace"]);
    assert_equal(&db).await;
    assert_archive_gives_the_same(&db, &project).await;
}

#[tokio::test]
async fn a_killed_reseed_replace_goes_on() {
    let (db, project) = events("replace_killed", "").await;
    db.tgt(DAMAGE).await;
    let loaded = "select count(*) from dwh_control.extract_runs where kind = 'repair' and status = 'loaded'";
    let mut child = project.spawn(&["reseed", "events", "--replace", "--allow-empty"]);
    while number(&db, loaded).await < 3 {
        assert!(child.try_wait().expect("waits").is_none(), "it ended before it was killed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().expect("kill -9");
    child.wait().expect("dead");
    let done = number(&db, loaded).await;
    // A scheduled run in between loads what the killed one had uploaded.
    db.src("insert into app.events values (1000)").await;
    project.ok(&["run"]);
    let report = project.json(&["reseed", "events", "--replace"]);
    assert!(report["windows_skipped"].as_i64().expect("count") >= done, "{report:#}");
    assert_equal(&db).await;
    assert_archive_gives_the_same(&db, &project).await;
}

#[tokio::test]
async fn a_row_that_is_on_its_way_stays() {
    for mode in ["nothing", "update"] {
        let (db, project) = events(&format!("replace_moved_{mode}"), &format!("on_conflict = \"{mode}\"\n")).await;
        // One was changed since the last run, one lies in another old window, which the sweep never saw.
        db.src("update app.events set note = 'new', recorded_at = now() where id = 30").await;
        db.tgt("update bronze.events set recorded_at = '2026-09-02 12:00Z', note = 'stale' where id = 200").await;
        project.ok(&["reseed", "events", "--replace"]);
        let there = "select count(*) from bronze.events where id = 30 or (id = 200 and note = 'x')";
        assert_eq!(number(&db, there).await, 2);
        assert_archive_gives_the_same_before_a_run(&db, &project).await;
        project.ok(&["run"]);
        assert_eq!(number(&db, "select count(*) from bronze.events").await, 241);
        if mode == "nothing" {
            project.ok(&["reseed", "events", "--replace"]);
        }
        assert_equal(&db).await;
        assert_archive_gives_the_same(&db, &project).await;
    }
}

/// The same with rows that are still on their way to bronze.
async fn assert_archive_gives_the_same_before_a_run(db: &TestDb, project: &Project) {
    let keys = "select count(*) from bronze.events";
    let before = number(db, keys).await;
    db.tgt("truncate bronze.events").await;
    project.ok(&["replay", "events"]);
    assert_eq!(number(db, keys).await, before, "replayed");
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(db, keys).await, before, "rebuilt");
}
