//! What a watermark belongs to: a project, a source, a relation, a column. It is used for nothing else.

use crate::support::{Failure, Output, Project, READABLE, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};

const INCREMENTAL: &str = "watermark = \"created_at\"\nkey = [\"id\"]\non_conflict = \"update\"";

/// Ten orders, loaded once.
async fn loaded(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.orders (id int primary key, note text, created_at timestamptz not null default now(),
             updated_at timestamptz not null default now());
         create index on app.orders (created_at); create index on app.orders (updated_at);
         create table app.other (like app.orders including all);
         insert into app.orders (id, note) select i, 'note ' || i from generate_series(1, 10) i"
    ))
    .await;
    let project = Project::new(&db, &table("orders", "app.orders", "incremental", INCREMENTAL));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

/// Asserts that every verb which would use the watermark refuses it with these words, and returns the run's error.
fn refused(project: &Project, words: &[&str]) -> Failure {
    let failure = project.fails(4, &["run"]).failure("orders");
    assert_eq!(failure.code, "contract", "{failure:?}");
    failure.names(words);
    let verbs = [&["extract", "orders"][..], &["run", "--dry-run"], &["check"], &["status", "--check"]];
    for verb in verbs.into_iter().chain([&["backfill", "orders", "--from", "2026-01-01T00:00:00Z"][..]]) {
        let said = project.dwh(verb);
        assert_eq!(said.code, 4, "{}", said.all());
        assert!(words.iter().all(|word| said.all().contains(word)), "{words:?} in {}", said.all());
    }
    failure
}

fn contains(output: &Output, words: &[&str]) {
    for word in words {
        assert!(output.all().contains(word), "`{word}` is not in {}", output.all());
    }
}

#[tokio::test]
async fn another_watermark_column_is_named_and_reseeded() {
    let (db, project) = loaded("owner_column").await;
    // Stamped below the watermark of `created_at`, so no run would look there.
    db.src("update app.orders set note = 'changed', updated_at = now() - interval '2 days' where id < 4").await;
    let project = project.config_with("watermark = \"created_at\"", "watermark = \"updated_at\"");
    let failure = refused(&project, &["`created_at`", "`updated_at`"]);
    assert!(failure.hint.contains("dwh reseed orders"), "{failure:?}");
    project.ok(&["reseed", "orders"]);
    assert_equal_tables(&db, "select * from app.orders", "select * from bronze.orders").await;
    project.ok(&["run"]);
    project.ok(&["status"]);
}

#[tokio::test]
async fn another_relation_is_named() {
    let (db, project) = loaded("owner_relation").await;
    let project = project.config_with("app.orders", "app.other");
    refused(&project, &["`app.orders`", "`app.other`"]);
    db.src("insert into app.other (id, note, created_at) values (77, 'old', now() - interval '1 year')").await;
    project.ok(&["reseed", "orders"]);
    assert_eq!(number(&db, "select count(*) from bronze.orders").await, 11, "what bronze had stays");
}

#[tokio::test]
async fn a_csv_of_the_old_relation_is_not_loaded_under_the_new_one() {
    let (db, project) = loaded("owner_waiting").await;
    db.src("insert into app.orders (id) values (11)").await;
    project.ok(&["extract", "orders"]);
    let other = project.config_with("app.orders", "app.other");
    other.dwh(&["reseed", "orders"]);
    assert_eq!(number(&db, "select count(*) from bronze.orders where id = 11").await, 0);
    contains(&other.dwh(&["run"]), &["`app.orders`", "`app.other`", "--set-aside"]);
}

#[tokio::test]
async fn a_second_project_in_one_control_schema_is_refused_with_the_keys_to_change() {
    let (db, project) = loaded("owner_project").await;
    let second = project.config_with("name = \"test\"", "name = \"second\"");
    let words = ["belong to project `test`", "control_schema", "bronze_schema", "[project] name"];
    for verb in [&["migrate"][..], &["migrate", "--dry-run"], &["run"], &["check"], &["status", "--check"]] {
        let said = second.dwh(verb);
        assert_eq!(said.code, 4, "{}", said.all());
        contains(&said, &words);
    }
    let reseed = second.dwh(&["reseed", "orders"]);
    assert_eq!(reseed.code, 4, "{}", reseed.all());
    assert_eq!(number(&db, "select count(*) from bronze.orders").await, 10);
    project.ok(&["run"]);
}

#[tokio::test]
async fn another_database_is_refused_for_snapshots_as_well() {
    let (db, project) = loaded("owner_database").await;
    let snapshot = "[[table]]\nname = \"copy\"\nrelation = \"app.orders\"\nmode = \"snapshot\"\n\n[[table]]";
    let project = project.config_with("[[table]]", snapshot);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    // As the watermarks know it, the rows came from elsewhere.
    db.tgt("update dwh_control.extract_watermarks set origin = jsonb_set(origin, '{database}', '\"elsewhere\"')").await;
    db.src("delete from app.orders").await;
    let report = project.fails(4, &["run"]);
    for name in ["orders", "copy"] {
        report.failure(name).names(&["database `elsewhere`"]);
    }
    contains(&project.dwh(&["check"]), &["database `elsewhere`"]);
    assert_eq!(number(&db, "select count(*) from bronze.copy").await, 10, "the snapshot stands");
    assert_eq!(project.dwh(&["run", "orders", "--accept-source"]).code, 4, "a watermark means nothing there");
    project.ok(&["run", "copy", "--accept-source", "--allow-empty"]);
    project.ok(&["reseed", "orders"]);
}

#[tokio::test]
async fn the_same_database_on_another_server_is_accepted_on_request() {
    let (db, project) = loaded("owner_server").await;
    db.tgt(
        "update dwh_control.extract_watermarks set source_system_identifier = '1',
            origin = jsonb_set(origin, '{system_identifier}', '\"1\"')",
    )
    .await;
    db.src("insert into app.orders (id, created_at) values (11, now() - interval '1 hour')").await;
    let failure = project.fails(4, &["run"]).failure("orders");
    failure.names(&["server 1"]);
    assert!(failure.hint.contains("dwh run orders --accept-source"), "{failure:?}");
    assert_eq!(number(&db, "select count(*) from bronze.orders").await, 10);
    let report = project.json(&["run", "orders", "--accept-source"]);
    assert_eq!(total(&report, "orders", "rows_inserted"), 1, "`late_window` is read again: {report:#}");
    project.ok(&["run"]);
}

#[tokio::test]
async fn a_row_of_release_0_1_is_adopted_by_the_next_load() {
    let (db, project) = loaded("owner_unknown").await;
    db.tgt("update dwh_control.extract_watermarks set origin = null, bronze = null, delivered = null").await;
    project.ok(&["status"]);
    // A load without rows says nothing of the table that it did not touch.
    db.src("insert into app.orders (id) values (12)").await;
    project.ok(&["run"]);
    let filled = "select count(*) from dwh_control.extract_watermarks
        where origin ->> 'relation' = 'app.orders' and bronze ->> 'table' = 'bronze.orders' and delivered ? 'note'";
    assert_eq!(number(&db, filled).await, 1);
}

#[tokio::test]
async fn a_table_that_was_read_whole_begins_anew_when_it_becomes_incremental() {
    let (db, project) = loaded("owner_mode").await;
    let whole = project.config_with(&format!("mode = \"incremental\"\n{INCREMENTAL}"), "mode = \"snapshot\"");
    whole.ok(&["run"]);
    db.src("update app.orders set note = 'changed', created_at = now() - interval '2 days' where id = 1").await;
    let failure = project.fails(4, &["run"]).failure("orders");
    failure.names(&["the table was read whole until now"]);
    project.ok(&["reseed", "orders"]);
    assert_equal_tables(&db, "select * from app.orders", "select * from bronze.orders").await;
}
