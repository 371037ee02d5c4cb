//! Columns that the source loses, and columns that it begins to compute: what bronze has of them is never erased unasked.

use crate::support::{Output, Project, READABLE, number, table, total};
use dwh_core::testing::{TestDb, assert_equal_tables};

const INCREMENTAL: &str = "watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\"";

/// Ten tracks with their composers, loaded once.
async fn loaded(test: &str, mode: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.track (id int primary key, at timestamptz not null default now(), name text, composer text);
         create index on app.track (at);
         insert into app.track (id, name, composer) select i, 'track ' || i, 'composer ' || i from generate_series(1, 10) i"
    ))
    .await;
    let project = Project::new(&db, &table("track", "app.track", mode, more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

/// The same project with one more line in its table.
fn with(project: &Project, line: &str) -> Project {
    project.config_with("relation = ", &format!("{line}\nrelation = "))
}

async fn composers(db: &TestDb) -> i64 {
    number(db, "select count(composer) from bronze.track").await
}

fn refused(output: &Output) {
    let failure = output.failure("track");
    assert_eq!(failure.code, "drift", "{failure:?}");
    failure.names(&["column `composer` exists in bronze but not in the source"]);
    for way in ["on_missing_column = \"keep\"", "\"null\"", "(this deletes what bronze has in it)"] {
        assert!(failure.hint.contains(way), "{failure:?}");
    }
}

#[tokio::test]
async fn a_snapshot_stops_before_it_erases_a_column_that_the_source_lost() {
    let (db, project) = loaded("lost_snapshot", "snapshot", "").await;
    db.src("alter table app.track drop column composer").await;
    refused(&project.fails(4, &["run"]));
    assert_eq!(composers(&db).await, 10);
    for verb in [&["check"][..], &["verify"], &["run", "--dry-run"], &["extract", "track"]] {
        let said = project.dwh(verb);
        assert_eq!(said.code, 4, "{}", said.all());
        assert!(said.all().contains("column `composer` exists in bronze but not in the source"), "{}", said.all());
    }
    assert_eq!(crate::support::files(&db_exports(&db)).len(), 0, "nothing was extracted");
}

fn db_exports(db: &TestDb) -> std::path::PathBuf {
    std::path::Path::new(db.blob_url().trim_start_matches("file://")).join("test/exports")
}

#[tokio::test]
async fn a_snapshot_keeps_old_values_by_key_run_after_run() {
    let (db, project) = loaded("lost_kept", "snapshot", "").await;
    db.src(
        "alter table app.track drop column composer; delete from app.track where id = 1;
            insert into app.track values (11, now(), 'new'); update app.track set name = 'renamed' where id = 2",
    )
    .await;
    let without_key = with(&project, "on_missing_column = \"keep\"").dwh(&["run"]);
    assert_eq!(without_key.code, 2, "{}", without_key.all());
    assert!(without_key.stderr.contains("needs `key`"), "{}", without_key.all());
    let project = with(&project, "on_missing_column = \"keep\"\nkey = [\"id\"]");
    for rows in [10, 11] {
        project.ok(&["run"]);
        let kept = "select count(*) from bronze.track where composer = 'composer ' || id";
        assert_eq!(number(&db, kept).await, 9, "all but the one that is gone");
        assert_eq!(number(&db, "select count(*) from bronze.track").await, rows);
        assert_equal_tables(&db, "select * from app.track", "select id, at, name from bronze.track").await;
        db.src("insert into app.track values (12, now(), 'newer') on conflict do nothing").await;
    }
    // The word taken back, the column is as lost as before.
    refused(&project.config_with("on_missing_column = \"keep\"", "").fails(4, &["run"]));
    assert_eq!(composers(&db).await, 9);
}

#[tokio::test]
async fn keys_that_are_there_twice_keep_nothing_and_change_nothing() {
    let (db, project) = loaded("lost_twice", "snapshot", "").await;
    db.src("update app.track set name = 'same'").await;
    project.ok(&["run"]);
    db.src("alter table app.track drop column composer").await;
    let project = with(&project, "on_missing_column = \"keep\"\nkey = [\"name\"]");
    let failure = project.fails(4, &["run"]).failure("track");
    failure.names(&["keys more than once"]);
    assert_eq!(composers(&db).await, 10);
}

#[tokio::test]
async fn a_snapshot_loses_the_values_only_when_it_is_told_to() {
    let (db, project) = loaded("lost_null", "snapshot", "").await;
    db.src("alter table app.track drop column composer").await;
    let project = with(&project, "on_missing_column = \"null\"");
    let checked = project.ok(&["check"]);
    assert!(checked.all().contains("`composer` is NULL in every row"), "{}", checked.all());
    let ran = project.ok(&["run"]);
    assert_eq!(ran.stderr.matches("`composer` is NULL in every row").count(), 1, "{}", ran.all());
    assert_eq!(composers(&db).await, 0);
}

#[tokio::test]
async fn an_excluded_column_of_a_snapshot_is_warned_of() {
    let (_db, project) = loaded("lost_excluded", "snapshot", "").await;
    let project = with(&project, "exclude = [\"composer\"]");
    let checked = project.ok(&["check"]);
    assert!(checked.all().contains("`composer` is NULL in every row"), "{}", checked.all());
    let ran = project.ok(&["run"]);
    assert!(ran.stderr.contains("`composer` is NULL in every row"), "{}", ran.all());
}

#[tokio::test]
async fn an_incremental_table_stops_and_keeps_what_it_has() {
    let (db, project) = loaded("lost_incremental", "incremental", INCREMENTAL).await;
    db.src(
        "alter table app.track drop column composer; insert into app.track values (11, now(), 'new');
            update app.track set name = 'renamed', at = now() where id = 2",
    )
    .await;
    refused(&project.fails(4, &["run"]));
    assert_eq!(number(&db, "select count(*) from bronze.track").await, 10);
    let report = with(&project, "on_missing_column = \"keep\"").json(&["run"]);
    assert_eq!(total(&report, "track", "rows_updated"), 1, "{report:#}");
    assert_equal_tables(&db, "select * from app.track", "select id, at, name from bronze.track").await;
    assert_eq!(composers(&db).await, 10, "an update never touches it");
}

#[tokio::test]
async fn a_required_column_is_never_emptied_by_following_the_hint() {
    let (db, project) = loaded("lost_required", "snapshot", "").await;
    db.tgt("alter table bronze.track alter column composer set not null").await;
    db.src("alter table app.track drop column composer").await;
    refused(&project.fails(4, &["run"]));
    // The one statement of the hint that is safe by itself, without the word in the configuration.
    db.tgt("alter table bronze.track alter column composer drop not null").await;
    refused(&project.fails(4, &["run"]));
    assert_eq!(composers(&db).await, 10);
}

#[tokio::test]
async fn a_column_that_a_person_added_to_bronze_is_no_drift() {
    let (db, project) = loaded("lost_by_hand", "incremental", INCREMENTAL).await;
    db.tgt("alter table bronze.track add column mine text; update bronze.track set mine = 'x'").await;
    db.src("insert into app.track values (11, now(), 'new', 'c')").await;
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(mine) from bronze.track").await, 10);
}

#[tokio::test]
async fn a_row_of_release_0_1_is_judged_by_what_bronze_has() {
    let (db, project) = loaded("lost_unknown", "snapshot", "").await;
    db.tgt(
        "update dwh_control.extract_watermarks set delivered = null;
            alter table bronze.track add column mine text default 'x'",
    )
    .await;
    db.src("alter table app.track drop column composer").await;
    let output = project.fails(4, &["run"]);
    refused(&output);
    assert!(!output.failure("track").message.contains("mine"), "it has a default: a person added it");
    let project = with(&project, "on_missing_column = \"keep\"\nkey = [\"id\"]");
    project.ok(&["run"]);
    project.ok(&["run"]);
    assert_eq!(composers(&db).await, 10, "it is remembered, run after run");
}

#[tokio::test]
async fn a_waiting_snapshot_without_the_column_erases_nothing() {
    let (db, project) = loaded("lost_waiting", "snapshot", "").await;
    db.src("alter table app.track drop column composer").await;
    let waiting = with(&project, "on_missing_column = \"null\"").ok(&["extract", "track", "--output", "json"]);
    let refused = project.dwh(&["load", "--params", waiting.stdout.trim()]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(refused.all().contains("column `composer` exists in bronze but not in the source"), "{}", refused.all());
    assert_eq!(composers(&db).await, 10);
    with(&project, "on_missing_column = \"keep\"\nkey = [\"id\"]").ok(&["run"]);
    assert_eq!(composers(&db).await, 10);
}

#[tokio::test]
async fn files_from_before_a_column_came_still_load() {
    let (db, project) = loaded("lost_older", "incremental", INCREMENTAL).await;
    db.src("alter table app.track add column label text; insert into app.track values (11, now(), 'n', 'c', 'l')")
        .await;
    db.tgt("alter table bronze.track add column label text").await;
    project.ok(&["run"]);
    project.ok(&["replay", "track"]);
    project.ok(&["rebuild", "track", "--reset"]);
    assert_equal_tables(&db, "select * from app.track", "select * from bronze.track").await;
    project.ok(&["run"]);
}

#[tokio::test]
async fn a_column_that_the_source_begins_to_compute_keeps_its_values() {
    let db = TestDb::new("generated_later").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.t (id int primary key, n int); insert into app.t values (1, 3), (2, 6)"
    ))
    .await;
    let project = Project::new(&db, &table("t", "app.t", "snapshot", ""));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src(
        "alter table app.t drop column n; alter table app.t add column n int generated always as (id * 3) stored;
            insert into app.t values (3)",
    )
    .await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
    project.ok(&["verify"]);
}

#[tokio::test]
async fn a_generated_column_that_comes_later_is_a_new_column() {
    let (db, project) = loaded("generated_later_on", "incremental", INCREMENTAL).await;
    db.src("alter table app.track add column size int generated always as (length(name)) stored").await;
    let failure = project.fails(4, &["run"]).failure("track");
    failure.names(&["column `size` (integer) exists in the source but not in bronze"]);
    let sql = failure.hint.lines().find_map(|line| line.strip_prefix("in the target: ")).expect("a statement");
    assert!(failure.hint.contains("`dwh reseed track`"), "{failure:?}");
    db.tgt(sql).await;
    project.ok(&["reseed", "track"]);
    assert_equal_tables(&db, "select * from app.track", "select * from bronze.track").await;
    // A run adds it where it may, as a plain column.
    db.src("alter table app.track add column half int generated always as (length(name) / 2) stored").await;
    let adding = project.config_with("mode = \"incremental\"", "mode = \"incremental\"\non_new_column = \"add\"");
    let ran = adding.ok(&["run"]);
    assert!(
        ran.stderr.contains("column `half` (integer)") && ran.stderr.contains("`dwh reseed track`"),
        "{}",
        ran.all()
    );
    adding.ok(&["reseed", "track"]);
    assert_equal_tables(&db, "select * from app.track", "select * from bronze.track").await;
}
