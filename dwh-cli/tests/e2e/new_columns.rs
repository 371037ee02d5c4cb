//! A column that comes later, with `on_new_column = "add"`: whatever loads rows adds it first, whatever only looks says that it
//! waits, and a rebuild gives old rows the value that bronze gave them.

use crate::support::{Project, READABLE, files, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::{Value, json};
use std::fs;

const RANGE: [&str; 4] = ["backfill", "inc", "--from", "2020-01-01T00:00:00Z"];

/// A table of three rows, incremental and whole, loaded once.
async fn loaded(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let mut config = String::new();
    for (name, mode) in [("inc", "incremental"), ("sna", "snapshot")] {
        db.src(&format!(
            "create table app.{name} (id int primary key, at timestamptz not null default now(), v text);
             create index on app.{name} (at); insert into app.{name} (id) select generate_series(1, 3)"
        ))
        .await;
        let own = if mode == "incremental" { "watermark = \"at\"\nkey = [\"id\"]\n" } else { "" };
        config += &table(name, &format!("app.{name}"), mode, &format!("{own}on_new_column = \"add\""));
    }
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

/// How many columns of this name bronze has.
async fn columns(db: &TestDb, name: &str) -> i64 {
    let sql = "select count(*) from information_schema.columns where table_schema = 'bronze' and column_name =";
    number(db, &format!("{sql} '{name}'")).await
}

async fn equal(db: &TestDb, name: &str) {
    assert_equal_tables(db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}")).await;
}

fn waiting(report: &Value, name: &str) -> Value {
    let tables = report["tables"].as_array().expect("tables");
    tables.iter().find(|found| found["table"] == name).expect(name)["columns_waiting"].clone()
}

#[tokio::test]
async fn what_only_looks_says_that_a_column_waits() {
    let (db, project) = loaded("waits_looks").await;
    for name in ["inc", "sna"] {
        db.src(&format!(
            "alter table app.{name} add column n text default 'it''s'; insert into app.{name} (id, n) values (4, 'new');
             update app.{name} set at = clock_timestamp() where id = 1"
        ))
        .await;
    }
    let verified = project.dwh(&["verify", "inc", "--output", "json"]);
    assert_eq!((verified.code, waiting(&verified.json(), "inc")), (0, json!(["n"])), "{}", verified.all());
    assert!(verified.stderr.contains("`n` (text)") && verified.stderr.contains("not compared"), "{}", verified.all());
    let planned = project.json(&[&RANGE[..], &["--dry-run"]].concat());
    assert_eq!(planned["windows"].as_array().expect("windows").len(), 1, "{planned:#}");
    // A load is tried though the column is not there yet.
    let checked = project.json(&["check"]);
    let tried = |finding: &&Value| {
        let message = finding["message"].as_str().expect("a message");
        finding["check"] == "rehearsal" && message.starts_with("a load without a row was made")
    };
    assert_eq!(checked["findings"].as_array().expect("findings").iter().filter(tried).count(), 2, "{checked:#}");
    let preview = project.json(&["run", "--preview"]);
    assert_eq!(columns(&db, "n").await, 0, "nothing was added");
    let ran = project.json(&["run"]);
    for count in ["rows_extracted", "rows_inserted", "rows_updated", "rows_identical", "rows_different"] {
        for name in ["inc", "sna"] {
            assert_eq!(total(&preview, name, count), total(&ran, name, count), "{name} {count}: {preview:#}");
        }
    }
    assert_eq!(total(&preview, "inc", "rows_different"), 1, "{preview:#}");
    assert_eq!(columns(&db, "n").await, 2);
    equal(&db, "sna").await;
}

#[tokio::test]
async fn a_check_that_may_not_add_the_column_says_so() {
    let (db, project) = loaded("waits_owner").await;
    db.src("alter table app.inc add column n int").await;
    db.tgt("alter table bronze.inc owner to postgres; grant all on bronze.inc to dwh_owner").await;
    let checked = project.fails(4, &["check", "inc"]).json();
    let found = checked["findings"].as_array().expect("findings").iter().find(|found| found["severity"] == "failure");
    let found = found.expect("a failure");
    assert!(found["message"].as_str().expect("text").contains("may not add columns to bronze.inc"), "{found:#}");
    let remedy = found["remedy"].as_str().and_then(|text| text.strip_prefix("in the target: ")).expect("a statement");
    assert_eq!(project.dwh(&["run", "inc"]).code, 4, "as it was told");
    db.tgt(remedy).await;
    project.ok(&["check", "inc"]);
    project.ok(&["run", "inc"]);
}

#[tokio::test]
async fn what_loads_adds_the_column_first() {
    let (db, project) = loaded("waits_loads").await;
    db.src("alter table app.inc add column a int default 7").await;
    let report = project.json(&RANGE);
    assert_eq!(report["runs"][0]["columns_added"], json!(["a"]), "{report:#}");
    equal(&db, "inc").await;
    db.src("alter table app.inc add column b uuid default gen_random_uuid()").await;
    let report = project.json(&["reseed", "--replace", "inc"])["tables"][0].clone();
    assert_eq!(report["runs"][0]["columns_added"], json!(["b"]), "{report:#}");
    equal(&db, "inc").await;
    for name in ["inc", "sna"] {
        db.src(&format!("alter table app.{name} add column c uuid default gen_random_uuid()")).await;
    }
    project.ok(&["verify", "--repair"]);
    // The new column made each row of the source a young one, and a run brings those of a table that is read whole.
    project.ok(&["run", "sna"]);
    for name in ["inc", "sna"] {
        equal(&db, name).await;
    }
    assert_eq!(waiting(&project.json(&["verify"]), "inc"), json!([]));
}

#[tokio::test]
async fn a_rebuild_gives_old_rows_the_value_that_bronze_gave_them() {
    let (db, project) = loaded("later_rebuild").await;
    db.src(
        r"alter table app.inc add column n text default 'it''s \ “odd”'; alter table app.inc add column at2 timestamptz
            default '2026-02-03 04:05:06.7+03'; alter table app.inc add column plain int;
          insert into app.inc (id, n) values (4, 'new')",
    )
    .await;
    project.ok(&["run"]);
    equal(&db, "inc").await;
    // A row that is gone comes back with the value, too, though its CSV does not have the column.
    db.tgt("delete from bronze.inc where id = 2").await;
    project.ok(&["replay", "inc"]);
    equal(&db, "inc").await;
    project.ok(&["rebuild", "inc", "--reset"]);
    equal(&db, "inc").await;
    // A manifest that does not tell it says nothing of old rows.
    for path in files(db.blobs()).iter().filter(|path| path.to_string_lossy().ends_with(".manifest.json")) {
        let mut json: Value = serde_json::from_slice(&fs::read(path).expect("manifest")).expect("json");
        for column in json["columns"].as_array_mut().expect("columns") {
            column.as_object_mut().expect("object").remove("old_value");
        }
        fs::write(path, json.to_string()).expect("written");
    }
    project.ok(&["rebuild", "inc", "--reset"]);
    assert_eq!(number(&db, "select count(*) from bronze.inc where n is null").await, 3);
}

#[tokio::test]
async fn a_csv_that_waits_gets_what_a_column_gave_to_old_rows() {
    let (db, project) = loaded("later_waits").await;
    let add = |name: &str| format!("alter table app.inc add column {name} text default 'it''s'");
    for (name, adds) in [("n", &["migrate", "--apply-drift"][..]), ("m", &["extract", "inc"])] {
        db.src("insert into app.inc (id) select max(id) + 1 from app.inc").await;
        let first = project.ok(&["extract", "inc"]).stdout;
        db.src(&format!("{}; insert into app.inc (id, {name}) select max(id) + 1, 'new' from app.inc", add(name)))
            .await;
        let second = project.ok(adds).stdout;
        project.ok(&["load", "--params", first.trim()]);
        if name == "m" {
            project.ok(&["load", "--params", second.trim()]);
        }
        project.ok(&["run", "inc"]);
        equal(&db, "inc").await;
    }
    project.ok(&["rebuild", "inc", "--reset"]);
    equal(&db, "inc").await;
    // What bronze alone has is its own.
    db.tgt(
        "alter table bronze.inc add column own text default 'x'; alter table bronze.inc alter column own drop default",
    )
    .await;
    db.src("insert into app.inc (id) select max(id) + 1 from app.inc").await;
    let waits = project.ok(&["extract", "inc"]).stdout;
    project.ok(&["load", "--params", waits.trim()]);
    assert_eq!(number(&db, "select count(*) from bronze.inc where own is null").await, 1);
}
