//! A watermark that is held, and rows that appear by DDL: the run goes on, and says so.

use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;

use crate::support::{Project, READABLE, number, table, total};

const EVENTS: &str = "create schema app;
    create table app.events (id bigint primary key, note text, at timestamptz not null default now());
    create index on app.events (at);
    insert into app.events select n, 'old', now() - n * interval '6 hours' from generate_series(1, 40) n;";

async fn events(test: &str, sql: &str, relation: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("{sql}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let config = table("events", relation, "incremental", "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"1d\"");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    (db, project)
}

async fn assert_equal(db: &TestDb, relation: &str) {
    assert_equal_tables(db, &format!("select * from {relation}"), "select * from bronze.events").await;
}

fn runs(report: &Value) -> &Vec<Value> {
    report["runs"].as_array().expect("runs")
}

#[tokio::test]
async fn a_first_load_under_a_held_bound_goes_on_in_pieces() {
    let (db, project) = events("held_first", EVENTS, "app.events").await;
    let (name, writer) = (db.name(), db.another_source().await);
    let prepare = format!("begin; insert into app.events values (999, 'prepared'); prepare transaction '{name}'");
    writer.batch_execute(&prepare).await.expect("prepared");

    let report = project.json(&["run"]);
    assert!(runs(&report).len() > 8, "a piece for each day: {report:#}");
    for run in runs(&report) {
        assert!(run["held_by"].as_str().is_some_and(|by| by.contains(name)), "{run:#}");
    }
    assert_eq!(total(&report, "events", "rows_extracted"), 40, "each row once");
    let held = "select count(*) from dwh_control.extract_watermarks where last_extracted_at > '2000-01-01Z'";
    assert_eq!(number(&db, held).await, 0, "nothing is proven");

    // The next run begins where this one ended, and takes late rows below.
    db.src("insert into app.events values (100, 'new', default), (101, 'late', now() - interval '3 days')").await;
    let report = project.json(&["run"]);
    assert!(total(&report, "events", "rows_extracted") < 40, "history is not read again: {report:#}");
    assert_equal(&db, "app.events").await;
    let output = project.ok(&["run"]);
    assert!(
        output.stderr.contains("the watermark is held before the first row by prepared transaction"),
        "{}",
        output.all()
    );

    db.src(&format!("commit prepared '{name}'")).await;
    let report = project.json(&["run"]);
    assert_equal(&db, "app.events").await;
    assert!(runs(&report).iter().all(|run| run.get("held_by").is_none()), "{report:#}");
    assert_eq!(number(&db, held).await, 1);
}

#[tokio::test]
async fn a_held_watermark_goes_on_for_a_view_too() {
    let sql = format!("{EVENTS} create view app.shown as select * from app.events;");
    let (db, project) = events("held_view", &sql, "app.shown").await;
    let (name, writer) = (db.name(), db.another_source().await);
    let prepare = format!("begin; insert into app.events values (999, 'prepared'); prepare transaction '{name}'");
    writer.batch_execute(&prepare).await.expect("prepared");
    for more in ["", "insert into app.events values (101, 'late', now() - interval '3 days')"] {
        db.src(more).await;
        let report = project.json(&["run"]);
        assert!(runs(&report).len() > 8, "a piece for each day, from the first on: {report:#}");
        assert_equal(&db, "app.shown").await;
    }
    db.src(&format!("commit prepared '{name}'")).await;
    project.ok(&["run"]);
    assert_equal(&db, "app.shown").await;
}

#[tokio::test]
async fn rows_that_appear_by_ddl_are_loaded_by_the_next_run() {
    let sql = "create schema app;
        create table app.events (id bigint, note text, at timestamptz not null default now(), primary key (id, at))
            partition by range (at);
        create table app.now partition of app.events for values from ('2026-01-01') to ('2200-01-01');
        create table app.old (like app.events including all);
        insert into app.events values (1, 'a', now() - interval '1 hour');
        insert into app.old values (2, 'b', '2020-05-05Z'), (3, 'c', '2021-05-05Z');";
    let (db, project) = events("ddl_rows", sql, "app.events").await;
    project.ok(&["run"]);
    project.ok(&["run"]);
    let attach = "alter table app.events attach partition app.old for values from ('2020-01-01') to ('2022-01-01')";
    db.src(attach).await;
    let report = project.json(&["run"]);
    assert_equal(&db, "app.events").await;
    assert_eq!(total(&report, "events", "rows_inserted"), 2, "{report:#}");
    // A neighbour that holds the horizon lets a row of the last hours come once more.
    let late = number(&db, "select coalesce(sum(rows_late), 0)::int8 from dwh_control.extract_runs").await;
    assert!(late >= 2, "{late} late rows: {report:#}");
    db.src(&format!(
        "begin; alter table app.events detach partition app.old; truncate app.old;
         insert into app.old values (4, 'd', '2020-06-05Z'); {attach}; commit"
    ))
    .await;
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.events where id = 4").await, 1);
}

#[tokio::test]
async fn a_foreign_partition_is_told_in_check_run_and_log() {
    let sql = "create schema app;
        create table app.events (id bigint, note text, at timestamptz not null) partition by range (at);
        create table app.now partition of app.events for values from ('2026-01-01') to ('2200-01-01');
        create extension file_fdw; create server files foreign data wrapper file_fdw;
        create foreign table app.far partition of app.events for values from ('2020-01-01') to ('2021-01-01')
            server files options (program 'true', format 'csv');
        grant pg_execute_server_program to app_ro;
        insert into app.events values (1, 'a', now() - interval '1 hour');";
    let (db, project) = events("far_rows", sql, "app.events").await;
    let output = project.ok(&["run"]);
    let told = "rows of `app.far` are written on another server";
    assert!(output.stderr.contains(&format!("{told}: nothing proves")), "{}", output.all());
    let log = format!("select count(*) from dwh_control.extract_runs r where r::text like '%unproven%{told}%'");
    assert_eq!(number(&db, &log).await, 1);
    assert!(project.dwh(&["check"]).all().contains(told));
    // Without a proof the look-back is read again each time.
    let report = project.json(&["run"]);
    assert_eq!(total(&report, "events", "rows_extracted"), 1, "{report:#}");
    assert_equal(&db, "app.events").await;
}
