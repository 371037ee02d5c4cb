//! `dwh design`: files that say how tables are made, what `migrate` makes of them, and how they differ from what is there.

use crate::support::{EVENTS, Project, number, table};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A partitioned table with a column and an index of its own.
const PARTITIONED: &str = "-- by hand
    create table bronze.events (
        id bigint not null, note text, recorded_at timestamp with time zone not null,
        day date generated always as ((recorded_at at time zone 'UTC')::date) stored,
        primary key (id)
    ) partition by range (id);
    create table bronze.events_low partition of bronze.events for values from (minvalue) to (51);
    create table bronze.events_rest partition of bronze.events default;
    create index events_note on bronze.events (note);
    comment on column bronze.events.day is 'ours; not the source''s'";

async fn scene(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(EVENTS).await;
    db.src("comment on table app.events is 'it''s one'; comment on column app.events.note is 'what -- happened'").await;
    let tables = table("events", "app.events", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]")
        + &table("other", "app.other", "snapshot", "");
    let project = Project::new(&db, &tables);
    (db, project)
}

/// The file of the design of `events`, with this text.
fn by_hand(project: &Project, sql: &str) -> PathBuf {
    let file = project.folder().join("designs/bronze/events.sql");
    fs::create_dir_all(file.parent().expect("folder")).expect("folder");
    fs::write(&file, sql).expect("design");
    file
}

fn states(report: &Value) -> Vec<(&str, &str)> {
    let tables = report["tables"].as_array().expect("tables");
    tables.iter().map(|one| (one["table"].as_str().expect("table"), one["state"].as_str().expect("state"))).collect()
}

#[tokio::test]
async fn a_pull_writes_what_migrate_would_make_and_leaves_files_alone() {
    let (db, project) = scene("design_pull").await;
    let file = project.folder().join("designs/bronze/events.sql");
    let planned = project.json(&["design", "pull", "--dry-run"]);
    assert_eq!(states(&planned), [("events", "written"), ("other", "written")]);
    assert!(!file.exists());

    assert_eq!(states(&project.json(&["design", "pull", "ev*"])), [("events", "written")]);
    let text = fs::read_to_string(&file).expect("design");
    for line in [
        "create table if not exists \"bronze\".\"events\" (\n    \"id\" bigint not null,",
        "primary key (\"id\")",
        "comment on table \"bronze\".\"events\" is 'it''s one';",
        "comment on column \"bronze\".\"events\".\"note\" is 'what -- happened';",
        "-- create index on \"bronze\".\"events\" USING btree (recorded_at);",
    ] {
        assert!(text.contains(line), "`{line}` is not in {text}");
    }
    fs::write(&file, format!("-- mine\n{text}")).expect("edited");
    assert_eq!(states(&project.json(&["design", "pull"])), [("events", "kept"), ("other", "written")]);
    assert!(fs::read_to_string(&file).expect("design").starts_with("-- mine"));

    // What is pulled makes the same table.
    let made = project.json(&["migrate"]);
    assert_eq!(made["designs"].as_array().map(Vec::len), Some(2), "{made:#}");
    assert_eq!(states(&project.json(&["design", "diff"])), [("events", "same"), ("other", "same")]);
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
    let comments = "select count(*) from pg_description where objoid = 'bronze.events'::regclass";
    assert_eq!(number(&db, comments).await, 2);

    assert_eq!(states(&project.json(&["design", "pull", "events", "--force"])), [("events", "written")]);
    assert!(!fs::read_to_string(&file).expect("design").starts_with("-- mine"));
    let elsewhere = project.json(&["design", "pull", "events", "--dir", "elsewhere"]);
    assert_eq!(elsewhere["tables"][0]["file"], "elsewhere/bronze/events.sql");
}

#[tokio::test]
async fn migrate_makes_a_table_from_its_design_and_diff_says_what_changed_since() {
    let (db, project) = scene("design_migrate").await;
    by_hand(&project, PARTITIONED);
    let sql = project.ok(&["migrate", "--print-sql"]).stdout;
    assert!(
        sql.contains("partition by range (id)") && !sql.contains("create table if not exists \"bronze\".\"events\""),
        "{sql}"
    );
    assert_eq!(states(&project.json(&["design", "diff"])), [("events", "not_made"), ("other", "missing")]);
    let planned = project.json(&["migrate", "--dry-run"]);
    let made = project.json(&["migrate"]);
    for report in [&planned, &made] {
        assert_eq!(report["designs"], serde_json::json!(["designs/bronze/events.sql"]), "{report:#}");
    }
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.events_low").await, 50);
    assert_eq!(
        number(&db, "select count(*) from bronze.events where day = (recorded_at at time zone 'UTC')::date").await,
        100
    );
    project.ok(&["verify", "events"]);
    assert_eq!(states(&project.json(&["design", "diff"])), [("events", "same"), ("other", "missing")]);

    db.tgt("alter table bronze.events add column extra int; drop index bronze.events_note").await;
    let differs = project.fails(4, &["design", "diff", "events"]).json();
    assert_eq!(differs["tables"][0]["only_live"], serde_json::json!(["column extra integer"]), "{differs:#}");
    assert_eq!(differs["tables"][0]["only_in_design"], serde_json::json!(["index USING btree (note)"]), "{differs:#}");
    let told = project.dwh(&["design", "diff"]).stdout;
    assert!(told.contains("bronze.events is not as designs/bronze/events.sql says\n"), "{told}");
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 100, "nothing was changed");
}

#[tokio::test]
async fn a_design_that_lacks_what_is_copied_is_refused_and_named() {
    let (db, project) = scene("design_refused").await;
    for (sql, code, word) in [
        ("create table bronze.events (id bigint primary key, recorded_at timestamptz not null)", 4, "`note`"),
        (
            "create table bronze.events (id bigint not null, note text, recorded_at timestamptz not null)",
            4,
            "PRIMARY KEY",
        ),
        ("create table bronze.events (id int primary key, note text, recorded_at timestamptz not null)", 4, "bigint"),
        ("create table bronze.events (id bigint primary key, nothing.at_all)", 2, "syntax error"),
        ("create table bronze.events (id bigint primary key); commit", 2, "`commit`"),
        ("create table bronze.events (id bigint primary key references app.other (id))", 2, "foreign key to app.other"),
    ] {
        by_hand(&project, sql);
        let refused = project.fails(code, &["migrate"]).json()["refused"][0].clone();
        let cause = refused["cause"].as_str().expect("a cause");
        assert!(cause.contains("designs/bronze/events.sql") && cause.contains(word), "{sql}: {refused:#}");
        assert!(refused["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{refused:#}");
        let checked = project.dwh(&["check", "events", "--output", "json"]).json();
        let findings = checked["findings"].as_array().expect("findings");
        let found =
            findings.iter().find(|one| one["check"] == "design").unwrap_or_else(|| panic!("{sql}: {checked:#}"));
        assert!(found["severity"] == "failure" && found["message"].to_string().contains(word), "{sql}: {found:#}");
        assert_eq!(number(&db, "select count(*) from pg_class where relname = 'events'").await, 0);
    }
    assert_eq!(number(&db, "select count(*) from pg_class where relname = 'other'").await, 1, "the others are made");
    fs::remove_file(by_hand(&project, "")).expect("removed");
    project.ok(&["migrate"]);
    // What is there is loaded whatever a design says; `check` warns.
    by_hand(&project, "create table bronze.events (id bigint primary key)");
    project.ok(&["run"]);
    let checked = project.json(&["check", "events"]);
    let findings = checked["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|one| one["check"] == "design" && one["severity"] == "warning"), "{checked:#}");
    // A rebuild would make it anew: what cannot be made again is not put aside.
    let refused = project.fails(4, &["rebuild", "events", "--reset"]);
    assert!(refused.stderr.contains("designs/bronze/events.sql"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 100);
    assert_eq!(number(&db, "select count(*) from pg_namespace where nspname like 'dwh_backup%'").await, 0);
}
