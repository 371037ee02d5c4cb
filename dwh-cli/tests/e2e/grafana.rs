//! `examples/grafana`: every query runs as the reader role, and each alert speaks when its case is there, and not before.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Project, events};
use dwh_core::testing::TestDb;
use tokio_postgres::{Row, types::Type};

/// The file as a value.
fn example(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/grafana").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} of {value:#}"))
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).unwrap_or_else(|| panic!("{pointer} of {value:#}"))
}

/// What Grafana makes of its variables and macros.
fn rendered(sql: &str) -> String {
    let mut sql = sql.replace("${table:sqlstring}", "'events','other'").replace("${late}", "4 hours");
    while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
        let (column, after) = rest.split_once(')').expect("the macro ends");
        sql = format!("{before}{column} between now() - interval '7 days' and now(){after}");
    }
    assert!(!sql.contains('$'), "a variable that the dashboard does not have: {sql}");
    sql
}

async fn as_reader(db: &TestDb, sql: &str) -> Vec<Row> {
    db.tgt("begin read only; set local role grafana_ro").await;
    let rows = db.target().query(&rendered(sql), &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    db.tgt("commit").await;
    rows
}

/// The panels that ask something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(dashboard, "/panels").iter().filter(|panel| panel["type"] != "row").collect()
}

async fn panel(db: &TestDb, dashboard: &Value, title: &str) -> Vec<Row> {
    let panel = panels(dashboard).into_iter().find(|panel| panel["title"] == title).expect("the panel");
    as_reader(db, text(panel, "/targets/0/rawSql")).await
}

/// Titles of the alerts that speak, with the table.
async fn alerts(db: &TestDb) -> BTreeSet<(String, String)> {
    let mut speak = BTreeSet::new();
    for rule in list(&example("provisioning/alerting/dwh.json"), "/groups/0/rules") {
        let limit =
            rule.pointer("/data/1/model/conditions/0/evaluator/params/0").and_then(Value::as_f64).expect("limit");
        assert_eq!(text(rule, "/data/1/model/conditions/0/evaluator/type"), "gt", "{rule:#}");
        for row in as_reader(db, text(rule, "/data/0/model/rawSql")).await {
            // Grafana makes a series of each row: one number, and texts as labels.
            let value: f64 = row.get(1);
            if value > limit {
                speak.insert((text(rule, "/title").to_owned(), row.get(0)));
            }
        }
    }
    speak
}

async fn first_run(test: &str) -> (TestDb, Project) {
    let (db, project) = events(test).await;
    project.ok(&["run"]);
    (db, project)
}

#[tokio::test]
async fn every_panel_shows_what_happened() {
    let dashboard = example("dashboard.json");
    let (db, project) = first_run("grafana_panels").await;
    db.src("drop table app.other").await;
    project.fails(4, &["run", "other"]);

    let mut taken = BTreeSet::new();
    for asked in list(&dashboard, "/panels") {
        assert!(taken.insert(asked["id"].as_u64()), "two panels have the id of {}", asked["title"]);
    }
    for asked in panels(&dashboard) {
        assert!(!text(asked, "/title").is_empty() && !text(asked, "/description").is_empty(), "{asked:#}");
        let rows = as_reader(&db, text(asked, "/targets/0/rawSql")).await;
        assert!(!rows.is_empty(), "{} is empty", asked["title"]);
        if text(asked, "/targets/0/format") == "time_series" {
            assert_eq!(rows[0].columns()[0].name(), "time");
            assert_eq!(*rows[0].columns()[0].type_(), Type::TIMESTAMPTZ);
        }
    }
    let tables = as_reader(&db, text(&dashboard, "/templating/list/1/query")).await;
    assert_eq!(tables.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), ["events", "other"]);

    let one = |rows: Vec<Row>| rows[0].get::<_, i64>(0);
    assert_eq!(one(panel(&db, &dashboard, "Late tables").await), 0);
    assert_eq!(one(panel(&db, &dashboard, "Failed runs, last 24 hours").await), 1);
    assert_eq!(panel(&db, &dashboard, "Freshness").await.len(), 2);
    let failures = panel(&db, &dashboard, "Failures of the last 24 hours").await;
    assert_eq!((failures.len(), failures[0].get::<_, &str>("table")), (1, "other"));
    let behind = panel(&db, &dashboard, "Extract lag, the 20 largest").await;
    assert_eq!((behind.len(), behind[0].get::<_, &str>("table")), (1, "events"), "a snapshot has no watermark");
}

#[tokio::test]
async fn every_alert_speaks_when_its_case_is_there() {
    let said = |alerts: &[(&str, &str)]| -> BTreeSet<(String, String)> {
        alerts.iter().map(|(title, table)| ((*title).to_owned(), (*table).to_owned())).collect()
    };
    let (db, project) = events("grafana_alerts").await;
    let never = said(&[("A table is late", "events"), ("A table is late", "other")]);
    assert_eq!(alerts(&db).await, never, "tables that were never loaded");
    let ended = async |table: &str, kind: &str, status: &str| {
        db.tgt(&format!(
            "insert into dwh_control.extract_runs (table_name, status, kind, run_finished_at, error_message)
             values ('{table}', '{status}', '{kind}', now(), case when '{status}' = 'failed' then 'no' end)"
        ))
        .await;
    };
    // So is a table of files loaded, and one that was read anew.
    for (table, kind, late) in [("other", "file", &["events"][..]), ("events", "resync", &[])] {
        ended(table, kind, "loaded").await;
        let late: Vec<(&str, &str)> = late.iter().map(|table| ("A table is late", *table)).collect();
        assert_eq!(alerts(&db).await, said(&late), "{kind}");
    }
    db.tgt("delete from dwh_control.extract_runs").await;
    project.ok(&["run"]);
    assert_eq!(alerts(&db).await, said(&[]));

    db.src("drop table app.other").await;
    project.fails(4, &["run", "other"]);
    assert_eq!(alerts(&db).await, said(&[("Runs failed", "other")]));
    let failed_runs = async || {
        let rows = panel(&db, &example("dashboard.json"), "Failed runs, last 24 hours").await;
        rows[0].get::<_, i64>(0)
    };
    assert_eq!(failed_runs().await, 1);
    // What was loaded since is over; but no load of rows mends a look for deletes, nor the other way round.
    for kind in ["backfill", "keys"] {
        ended("other", kind, "loaded").await;
        assert_eq!(alerts(&db).await, said(&[("Runs failed", "other")]), "{kind}");
    }
    ended("other", "run", "loaded").await;
    assert_eq!((alerts(&db).await, failed_runs().await), (said(&[]), 0));
    for (table, kind) in [("other", "keys"), ("marts.days", "model")] {
        ended(table, kind, "failed").await;
        assert_eq!(alerts(&db).await, said(&[("Runs failed", table)]), "{kind}");
        ended(table, kind, "loaded").await;
        assert_eq!(alerts(&db).await, said(&[]), "{kind}");
    }
    ended("other", "run", "failed").await;
    assert_eq!(alerts(&db).await, said(&[("Runs failed", "other")]));

    db.tgt(
        "update dwh_control.extract_runs set run_started_at = run_started_at - interval '2 days',
            run_finished_at = run_finished_at - interval '2 days';
         update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at - interval '2 days',
            last_extracted_at = last_extracted_at - interval '2 days' where table_name = 'events'",
    )
    .await;
    let late = [("A table is late", "events"), ("A table is late", "other"), ("A watermark is stuck", "events")];
    assert_eq!(alerts(&db).await, said(&late), "the failure is older than a day");
    // The page has what ends it for a table that is not copied any more.
    let page = include_str!("../../../docs/grafana.md");
    let sql =
        page.lines().find(|line| line.trim().starts_with("delete from dwh_control.table_contracts")).expect("SQL");
    for table in ["events", "other"] {
        db.tgt(&format!("set role dwh_owner; {}; reset role", sql.replace("'trips'", &format!("'{table}'")))).await;
    }
    assert_eq!(alerts(&db).await, said(&[]));
}
