//! What a run would do, counted: and nothing of it is kept.

use crate::support::{Project, READABLE, files, number, table, total};
use dwh_core::testing::TestDb;
use serde_json::Value;

const TABLES: &str = "
    create table app.adds (id int primary key, v text not null, at timestamptz not null default now());
    create table app.changes (like app.adds including all);
    create table app.whole (like app.adds including all);
    create table app.dated (like app.adds including all);
    create index on app.adds (at); create index on app.changes (at);
    insert into app.adds select i, 'x', now() - i * interval '30 hours' from generate_series(1, 5) i;
    insert into app.changes select * from app.adds; insert into app.whole select * from app.adds;
    insert into app.dated select * from app.adds;";

async fn project(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE} {TABLES}")).await;
    let incremental = "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"1d\"\n";
    let config = table("adds", "app.adds", "incremental", incremental)
        + &table("changes", "app.changes", "incremental", &format!("{incremental}on_conflict = \"update\""))
        + &table("whole", "app.whole", "snapshot", "")
        + &table("dated", "app.dated", "scd", "");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    (db, project)
}

/// All that a run would leave a trace in.
async fn traces(db: &TestDb) -> Vec<i64> {
    let mut found = vec![files(db.blobs()).len() as i64];
    for sql in [
        "select coalesce(sum(hashtext(concat(w.table_name, last_extracted_at, last_run_id, last_loaded_at, bronze))), 0)::bigint
         from dwh_control.extract_watermarks w",
        "select count(*) from dwh_control.extract_runs",
        "select coalesce(last_value, 0) from pg_sequences where schemaname = 'dwh_control' and sequencename like '%run_id%'",
        "select coalesce(sum(hashtext(t::text)), 0)::bigint from bronze.adds t",
        "select coalesce(sum(hashtext(t::text)), 0)::bigint from bronze.changes t",
        "select coalesce(sum(hashtext(t::text)), 0)::bigint from bronze.whole t",
        "select count(*) from bronze.dated",
        "select pg_relation_filenode('bronze.whole')::bigint",
        "select count(lease_holder) from dwh_control.extract_watermarks",
    ] {
        found.push(number(db, sql).await);
    }
    found
}

fn counts(report: &Value, name: &str) -> [u64; 5] {
    ["rows_extracted", "rows_inserted", "rows_updated", "rows_identical", "rows_different"]
        .map(|count| total(report, name, count))
}

#[tokio::test]
async fn a_first_load_is_counted_over_all_windows() {
    let (db, project) = project("preview_first").await;
    let before = traces(&db).await;
    let report = project.json(&["run", "--preview"]);
    assert_eq!(report["preview"], true);
    assert_eq!(report["runs"].as_array().expect("runs").len(), 4, "{report:#}");
    for name in ["adds", "changes", "whole", "dated"] {
        assert_eq!(counts(&report, name), [5, 5, 0, 0, 0], "{report:#}");
    }
    let run = report["runs"].as_array().expect("runs").iter().find(|run| run["table"] == "adds").expect("adds");
    assert!(run["run_id"].is_null() && run["csv_path"].is_null() && run["window"]["to"].is_string(), "{run:#}");
    assert_eq!(traces(&db).await, before);
    let told = project.ok(&["run", "--preview", "adds"]).stdout;
    assert!(told.contains("nothing is kept") && told.contains("adds: from the first row up to"), "{told}");
    let report = project.json(&["run"]);
    assert_eq!(report["preview"], false);
    assert_eq!(total(&report, "adds", "rows_inserted"), 5);
}

#[tokio::test]
async fn what_would_change_is_counted_as_the_run_then_counts_it() {
    let (db, project) = project("preview_changes").await;
    project.ok(&["run"]);
    for name in ["adds", "changes", "whole", "dated"] {
        db.src(&format!(
            "update app.{name} set v = 'new', at = clock_timestamp() where id = 1;
             update app.{name} set v = v where id = 2; insert into app.{name} values (6, 'y')"
        ))
        .await;
    }
    let before = traces(&db).await;
    // Readers are not kept waiting, and keep nobody waiting.
    db.tgt("begin; select * from bronze.whole").await;
    let preview = project.json(&["run", "--preview"]);
    db.tgt("commit").await;
    assert_eq!(traces(&db).await, before);
    let report = project.json(&["run"]);
    for name in ["adds", "changes", "whole", "dated"] {
        assert_eq!(counts(&preview, name), counts(&report, name), "{name}: {preview:#}");
    }
    assert_eq!(total(&preview, "adds", "rows_different"), 1);
    assert_eq!(total(&preview, "changes", "rows_updated"), 1);
}

#[tokio::test]
async fn what_bronze_would_refuse_is_refused() {
    let (db, project) = project("preview_refused").await;
    db.tgt("alter table bronze.whole add check (v <> 'x'); alter table bronze.adds add check (v <> 'x')").await;
    let before = traces(&db).await;
    let refused = project.fails(4, &["run", "--preview", "adds", "whole"]);
    refused.failure("adds").names(&["adds_v_check"]);
    refused.failure("whole").names(&["check"]);
    assert_eq!(traces(&db).await, before);
    let both = project.dwh(&["run", "--preview", "--dry-run"]);
    assert_eq!(both.code, 2, "{}", both.all());
}

#[tokio::test]
async fn a_waiting_csv_is_told_and_left() {
    let (db, project) = project("preview_waiting").await;
    project.ok(&["extract", "whole"]);
    let before = traces(&db).await;
    let output = project.ok(&["run", "--preview", "whole"]);
    assert!(output.stderr.contains("waits"), "{}", output.all());
    assert_eq!(traces(&db).await, before);
}
