//! `on_conflict = "update"`: the version that was read later is the one that bronze ends with, whatever its stamp says.

use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::{Project, READABLE, number, table, total};

/// A table whose every update is stamped with the time at which its transaction began.
const ORDERS: &str = "create schema app;
    create table app.orders (id int primary key, state text, updated_at timestamptz not null default now());
    create index on app.orders (updated_at);
    create function app.stamp() returns trigger language plpgsql as 'begin new.updated_at := now(); return new; end';
    create trigger stamp before update on app.orders for each row execute function app.stamp();
    insert into app.orders (id, state) select i, 'new' from generate_series(1, 20) i;";

async fn orders(test: &str) -> (TestDb, Project) {
    orders_with(test, "").await
}

/// The same after `change` was done at the source.
async fn orders_with(test: &str, change: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("{ORDERS}{READABLE} grant select on all tables in schema app to app_ro; {change}")).await;
    let more = "watermark = \"updated_at\"\nkey = [\"id\"]\non_conflict = \"update\"";
    let project = Project::new(&db, &table("orders", "app.orders", "incremental", more));
    project.ok(&["migrate"]);
    (db, project)
}

async fn assert_equal(db: &TestDb) {
    assert_equal_tables(db, "select * from app.orders", "select * from bronze.orders").await;
}

async fn does(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Two transactions change the same rows: the one that began first commits last, and so has the older stamp.
async fn overtaken(db: &TestDb, project: &Project) -> Value {
    let (first, second) = (db.another_source().await, db.another_source().await);
    does(&first, "begin; select now()").await;
    does(&second, "begin; update app.orders set state = 'by the second'; commit").await;
    assert_eq!(total(&project.json(&["run"]), "orders", "rows_updated"), 20);
    does(&first, "update app.orders set state = 'by the first'; commit").await;
    project.json(&["run"])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_began_first_and_committed_last_is_kept() {
    let (db, project) = orders("newer_overtaken").await;
    project.ok(&["run"]);
    let report = overtaken(&db, &project).await;
    assert_eq!(total(&report, "orders", "rows_updated"), 20, "{report:#}");
    assert_equal(&db).await;
    let shown = project.ok(&["runs", "--limit", "1"]).stdout;
    assert!(shown.contains("updated") && !shown.contains("different"), "{shown}");
    let log = "select count(*) from dwh_control.extract_runs where rows_updated = 20 and rows_different = 0
        and rows_kept_newer = 0 and rows_loaded = 20";
    assert_eq!(number(&db, log).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stamp_of_a_clock_that_stepped_back_loses_nothing() {
    let (db, project) = orders("newer_clock").await;
    project.ok(&["run"]);
    db.src(
        "create or replace function app.stamp() returns trigger language plpgsql as
        'begin new.updated_at := now() - interval ''1 hour''; return new; end'",
    )
    .await;
    db.src("update app.orders set state = 'with an older stamp' where id <= 5").await;
    let report = project.json(&["run"]);
    assert_eq!(total(&report, "orders", "rows_updated"), 5, "{report:#}");
    assert_equal(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_and_reseed_make_bronze_equal() {
    let (db, project) = orders("newer_heal").await;
    project.ok(&["run"]);
    for verb in [["backfill", "orders", "--from", "2000-01-01T00:00:00Z"].as_slice(), &["reseed", "orders"]] {
        // Stale rows, whose stamp in bronze is the later one or the same.
        db.tgt("update bronze.orders set state = 'stale', updated_at = updated_at + interval '1 day' where id <= 3")
            .await;
        db.tgt("update bronze.orders set state = 'stale' where id between 4 and 6").await;
        let report = project.json(verb);
        let report = report["tables"].get(0).unwrap_or(&report);
        assert_eq!(total(report, "orders", "rows_updated"), 6, "{report:#}");
        assert_equal(&db).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_versions_with_the_same_stamp_a_rebuild_ends_with_the_last() {
    // Stamps of whole seconds: three versions within one of them.
    let change = "drop trigger stamp on app.orders; alter table app.orders alter updated_at type timestamptz(0);
        update app.orders set updated_at = now() - interval '1 minute'";
    let (db, project) = orders_with("newer_equal", change).await;
    for state in ["one", "two", "three"] {
        db.src(&format!("update app.orders set state = '{state}'")).await;
        project.ok(&["run"]);
    }
    assert_equal(&db).await;
    let csvs = number(&db, "select count(*) from dwh_control.extract_runs where csv_path is not null").await;
    assert_eq!(csvs, 3);
    project.ok(&["rebuild", "--reset"]);
    assert_equal(&db).await;
    project.ok(&["run"]);
    assert_equal(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_that_was_read_before_a_back_fill_does_not_undo_it() {
    let (db, project) = orders("newer_waiting").await;
    project.ok(&["run"]);
    db.src("update app.orders set state = 'early' where id = 1").await;
    let early = project.ok(&["extract", "orders", "--output", "json"]);
    db.src("update app.orders set state = 'late' where id = 1").await;
    let late = project.ok(&["extract", "orders", "--output", "json"]);
    project.json(&["load", "--params", late.stdout.trim()]);
    let report = project.json(&["load", "--params", early.stdout.trim()]);
    assert_eq!((report["rows_updated"].as_u64(), report["rows_kept_newer"].as_u64()), (Some(0), Some(1)), "{report}");
    assert_equal(&db).await;
    let shown = project.ok(&["runs", "--limit", "5"]).stdout;
    assert!(shown.contains("kept newer"), "{shown}");
}
