//! `extract` and `load` called in turn, as an orchestrator does: `more` says when to stop.

use crate::files::Raw;
use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::TestDb;
use serde_json::Value;

/// Extracts and loads until there is no more; returns how often.
fn all(project: &Project, table: &str) -> usize {
    for times in 1..=20 {
        let printed = project.ok(&["extract", table]).stdout;
        let params: Value = serde_json::from_str(&printed).expect("one line");
        project.ok(&["load", "--params", printed.trim()]);
        if params["more"] != true {
            return times;
        }
    }
    panic!("`{table}` never ended");
}

#[tokio::test]
async fn more_follows_until_all_windows_are_read() {
    let db = TestDb::new("more_windows").await;
    db.src(&format!("create schema app; {READABLE}")).await;
    db.src(
        "create table app.t (id int primary key, at timestamptz not null default now());
         create table app.few (id int primary key);
         insert into app.t select i, now() - interval '10 days' + i * interval '6 hours' from generate_series(1, 40) i",
    )
    .await;
    let windows = "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"2d\"\n";
    let tables = table("t", "app.t", "incremental", windows) + &table("few", "app.few", "snapshot", "");
    let project = Project::new(&db, &tables);
    project.ok(&["migrate"]);
    assert!(all(&project, "t") >= 5);
    assert_eq!(number(&db, "select count(*) from bronze.t").await, 40);
    assert_eq!((all(&project, "t"), all(&project, "few")), (1, 1), "there was nothing new");

    // An open transaction holds the watermark: rows above it are read again and again, and the loop ends all the same.
    let writer = db.another_source().await;
    writer.batch_execute("begin; insert into app.t values (100)").await.expect("open");
    db.src("insert into app.t values (101)").await;
    assert!(all(&project, "t") <= 3 && all(&project, "t") <= 3);
    assert_eq!(number(&db, "select count(*) from bronze.t").await, 41);
    writer.batch_execute("commit").await.expect("commit");
    all(&project, "t");
    assert_eq!(number(&db, "select count(*) from bronze.t").await, 42);
}

#[tokio::test]
async fn more_follows_until_all_files_are_read() {
    let tables = "[[table]]\nname = \"t\"\nsource = \"raw\"\nfiles = \"*.jsonl\"\nmode = \"files\"\n\
        [table.columns]\nv = { type = \"integer\" }\n";
    let raw = Raw::new("more_files", tables).await;
    for name in ["a", "b", "c"] {
        raw.write(&format!("{name}.jsonl"), "{\"v\": 1}\n");
    }
    assert_eq!(all(&raw.project, "t"), 3);
    assert_eq!(number(&raw.db, "select count(*) from bronze.t").await, 3);
    let said = raw.project.fails(4, &["extract", "t"]).all();
    assert!(said.contains("no file is new"), "{said}");
}
