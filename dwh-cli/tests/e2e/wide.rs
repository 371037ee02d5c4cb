//! As many columns as the server takes, in every mode.

use crate::support::{Project, READABLE, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};

/// A table of so many columns: `c1` is the key, `c2` the watermark.
async fn wide(db: &TestDb, name: &str, columns: usize) {
    let more: String = (3..=columns).map(|at| format!(", c{at} int")).collect();
    db.src(&format!(
        "create table app.{name} (c1 int primary key, c2 timestamptz not null default now(){more});
         create index on app.{name} (c2);
         insert into app.{name} (c1, c3) select i, i from generate_series(1, 3) i;"
    ))
    .await;
}

#[tokio::test]
async fn the_widest_tables_pass_in_every_mode() {
    let db = TestDb::new("widest").await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let incremental = |more: &str| format!("watermark = \"c2\"\nkey = [\"c1\"]\n{more}");
    let tables = [
        ("append", "incremental", incremental(""), 1600),
        ("upsert", "incremental", incremental("on_conflict = \"update\""), 1600),
        ("whole", "snapshot", String::new(), 1600),
        ("keeps", "snapshot", "key = [\"c1\"]\non_missing_column = \"keep\"".to_owned(), 1600),
        ("dated", "scd", String::new(), 1599),
    ];
    let mut config = String::new();
    for (name, mode, more, columns) in &tables {
        wide(&db, name, *columns).await;
        config += &table(name, &format!("app.{name}"), mode, more);
    }
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["check"]);
    project.ok(&["run", "--dry-run"]);
    project.ok(&["run"]);
    project.ok(&["verify"]);
    for (name, ..) in tables {
        db.src(&format!("update app.{name} set c3 = 7, c2 = clock_timestamp() where c1 = 1")).await;
        db.src(&format!("insert into app.{name} (c1, c1600) values (4, 4)").replace("c1600", "c1599")).await;
    }
    db.src("alter table app.keeps drop column c1600").await;
    db.tgt("update bronze.keeps set c1600 = c1").await;
    let report = project.json(&["run"]);
    let counts =
        |name: &str| ["rows_inserted", "rows_updated", "rows_different"].map(|count| total(&report, name, count));
    assert_eq!(counts("append"), [1, 0, 1], "{report:#}");
    assert_eq!(counts("upsert"), [1, 1, 0], "{report:#}");
    assert_eq!(counts("whole"), [4, 0, 0], "{report:#}");
    assert_eq!(counts("keeps"), [4, 0, 0], "{report:#}");
    assert_eq!(counts("dated"), [4, 0, 0], "{report:#}");
    assert_equal_tables(&db, "select * from app.upsert", "select * from bronze.upsert").await;
    assert_eq!(number(&db, "select sum(c1600) from bronze.keeps").await, 6, "old values stay with their keys");
    for name in ["upsert", "whole", "keeps", "dated"] {
        project.ok(&["verify", name]);
    }
}
