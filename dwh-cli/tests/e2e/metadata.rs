//! Columns that dwh adds, and who asks for what came since: he gets every row, however late.

use crate::files::Raw;
use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::{TestDb, assert_equal_tables};

const SOURCE: &str = "create table app.t (id int primary key, v text, at timestamptz not null default now());
    create index on app.t (at); create table app.s (id int primary key); create table app.d (id int primary key);
    insert into app.t select i, 'old', now() - interval '5 days' + i * interval '1 hour' from generate_series(1, 100) i;
    insert into app.s values (1); insert into app.d values (1)";

const ADDED: &str = "metadata = [\"_uploaded_at\", \"_task_instance\"]\n";

async fn project(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src("create schema app").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    let keyed = format!("watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\"\n{more}");
    let tables = table("t", "app.t", "incremental", &keyed)
        + &table("s", "app.s", "snapshot", more)
        + &table("d", "app.d", "scd", more);
    let project = Project::new(&db, &tables).env("DWH_TASK_INSTANCE", "dag.one");
    (db, project)
}

/// Takes what came since the last time, as an incremental model does.
async fn consume(db: &TestDb) {
    db.tgt(
        "create table if not exists public.seen (like bronze.t, primary key (id));
         insert into public.seen select * from bronze.t
            where _uploaded_at > (select coalesce(max(_uploaded_at), '-infinity') from public.seen)
            on conflict (id) do update set v = excluded.v, at = excluded.at, _uploaded_at = excluded._uploaded_at",
    )
    .await;
    assert_equal_tables(db, "select id, v, at from app.t", "select id, v, at from public.seen").await;
}

async fn assert_stamped(db: &TestDb) {
    for name in ["t", "s", "d"] {
        let strange = format!(
            "select count(*) from bronze.{name} b where b._task_instance is distinct from 'dag.one' or not exists (
                select from dwh_control.extract_runs r where r.table_name = '{name}' and r.run_started_at = b._uploaded_at)"
        );
        assert_eq!(number(db, &strange).await, 0, "{name}");
    }
}

#[tokio::test]
async fn who_asks_for_what_came_since_gets_every_row() {
    let (db, project) = project("metadata", ADDED).await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    consume(&db).await;

    // Its row has an older stamp than the one that is loaded before it.
    let writer = db.another_source().await;
    writer.batch_execute("begin; insert into app.t values (1000, 'late')").await.expect("open");
    db.src("insert into app.t values (1001, 'early'); update app.t set v = 'new', at = now() where id = 7").await;
    project.ok(&["run"]);
    writer.batch_execute("commit").await.expect("commit");
    project.ok(&["run"]);
    consume(&db).await;

    let kept = "select count(*) from bronze.t where _uploaded_at = (select min(_uploaded_at) from bronze.t)";
    let before = number(&db, kept).await;
    project.ok(&["backfill", "t", "--from", "2020-01-01T00:00:00Z"]);
    assert_eq!(number(&db, kept).await, before, "rows that are the same keep what they have");
    // What no run finds: the stamp stays.
    db.src("update app.t set v = 'silent' where id = 50").await;
    project.ok(&["reseed", "t", "--replace"]);
    consume(&db).await;
    db.src("update app.t set v = 'again' where id = 51").await;
    project.ok(&["resync", "t"]);
    consume(&db).await;
    assert_stamped(&db).await;
    project.ok(&["verify"]);

    project.ok(&["rebuild", "--reset"]);
    assert_stamped(&db).await;
    consume(&db).await;
    project.ok(&["verify"]);
    db.src("insert into app.t values (2000, 'after')").await;
    project.ok(&["run"]);
    consume(&db).await;
}

#[tokio::test]
async fn a_table_that_is_there_gets_the_columns() {
    let (db, project) = project("metadata_later", "").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let project = project.config_with("on_conflict", &format!("{ADDED}on_conflict"));
    let said = project.fails(4, &["run", "t"]).all();
    assert!(said.contains("`_uploaded_at` is a column that dwh adds") && !said.contains("reseed"), "{said}");
    project.ok(&["migrate", "--apply-drift"]);
    db.src("insert into app.t values (1001, 'new')").await;
    project.ok(&["run"]);
    let stamped = "select count(*) from bronze.t where _uploaded_at is not null and _task_instance = 'dag.one'";
    assert_eq!(number(&db, stamped).await, 1);
    project.ok(&["verify"]);

    for (word, told) in [("_load_at", "`_loaded_at`"), ("_uploaded_at\", \"x", "`_task_instance`")] {
        let said = project.config_with("_task_instance", word).fails(2, &["status"]).all();
        assert!(said.contains("metadata") && said.contains(told), "{said}");
    }
}

const STAMPED: &str = "create table app.t (id int primary key, v text, at timestamptz not null default now());
    create index on app.t (at); create table app.a (like app.t including all);
    create table app.w (id int primary key, v text, at timestamptz not null default now());
    create table app.s (id int primary key, v text); create table app.d (id int primary key);
    insert into app.t select i, 'old', now() - interval '5 days' + i * interval '1 hour' from generate_series(1, 100) i;
    insert into app.a select * from app.t; insert into app.d values (1);
    insert into app.w select i, repeat('w', 100), now() - interval '1 hour' from generate_series(1, 20000) i;
    insert into app.s select i, repeat('s', 100) from generate_series(1, 20000) i";

/// All ways into bronze: `w` is large enough for a bronze table that is emptied of its key first, `s` for one that is
/// replaced.
async fn stamped(test: &str, metadata: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src("create schema app").await;
    db.src(READABLE).await;
    db.src(STAMPED).await;
    let keyed = |more: &str| format!("watermark = \"at\"\nkey = [\"id\"]\n{more}");
    let tables = table("t", "app.t", "incremental", &keyed("on_conflict = \"update\"\ndeletes = \"mark\""))
        + &table("a", "app.a", "incremental", &keyed("on_conflict = \"append\""))
        + &table("w", "app.w", "incremental", &keyed("window = \"0\""))
        + &table("s", "app.s", "snapshot", "")
        + &table("d", "app.d", "scd", "");
    let project = Project::new(&db, &tables).config_with("[project]\n", &format!("[project]\n{metadata}"));
    (db, project)
}

/// Takes what was written since the last time, as an incremental model does.
async fn follow(db: &TestDb) {
    db.tgt(
        "create table if not exists public.seen (like bronze.t, primary key (id));
         insert into public.seen select * from bronze.t
            where _loaded_at > (select coalesce(max(_loaded_at), '-infinity') from public.seen)
            on conflict (id) do update set v = excluded.v, at = excluded.at, _run_id = excluded._run_id,
                _loaded_at = excluded._loaded_at, _deleted_at = excluded._deleted_at",
    )
    .await;
    let same = "select count(*) from (table bronze.t except table public.seen) x";
    assert_eq!(number(db, same).await, 0, "rows that the model did not see");
}

/// Each row names the run that read it, and came after that had begun.
async fn assert_traced(db: &TestDb) {
    for name in ["t", "a", "w", "s", "d"] {
        let strange = format!(
            "select count(*) from bronze.{name} b where b._loaded_at is null or b._loaded_at > now() or not exists (
                select from dwh_control.extract_runs r where r.table_name = '{name}' and r.run_id = b._run_id
                and r.kind <> 'replay' and r.run_started_at < b._loaded_at)"
        );
        assert_eq!(number(db, &strange).await, 0, "{name}");
    }
}

async fn runs_of_rows(db: &TestDb) -> i64 {
    number(db, "select sum(hashtext((id, _run_id)::text))::bigint from bronze.t").await
}

#[tokio::test]
async fn every_way_into_bronze_says_when_and_by_which_run() {
    let (db, project) = stamped("loaded_at", "metadata = [\"_loaded_at\", \"_run_id\"]\n").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    assert_traced(&db).await;
    let routes =
        "select count(distinct route) from dwh_control.extract_runs where route in ('fresh', 'replace', 'direct')";
    assert_eq!(number(&db, routes).await, 3, "all ways were taken");
    follow(&db).await;

    // A row that the sweep brings later, below the watermark, and rows that are read again and are the same.
    let writer = db.another_source().await;
    writer.batch_execute("begin; insert into app.t values (1000, 'late')").await.expect("open");
    db.src(
        "insert into app.t values (1001, 'early'); insert into app.a values (1001, 'early');
            update app.t set v = 'new', at = now() where id = 7; delete from app.t where id = 8",
    )
    .await;
    project.ok(&["run"]);
    follow(&db).await;
    writer.batch_execute("commit").await.expect("commit");
    project.ok(&["run"]);
    follow(&db).await;
    assert_eq!(number(&db, "select count(*) from public.seen where id = 1000").await, 1);
    let before = runs_of_rows(&db).await;
    project.ok(&["backfill", "t", "--from", "2020-01-01T00:00:00Z"]);
    assert_eq!(runs_of_rows(&db).await, before, "rows that are the same keep what they have");
    project.ok(&["deletes", "t", "--force"]);
    follow(&db).await;
    assert_eq!(number(&db, "select count(*) from public.seen where _deleted_at is not null").await, 1);
    db.src("update app.t set v = 'silent' where id = 50").await;
    project.ok(&["reseed", "t", "--replace"]);
    follow(&db).await;

    let before = runs_of_rows(&db).await;
    db.tgt("delete from bronze.t where id = 50").await;
    project.ok(&["replay", "t"]);
    assert_eq!(runs_of_rows(&db).await, before, "the run that read it");
    follow(&db).await;
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(runs_of_rows(&db).await, before, "the run that read it");
    assert_traced(&db).await;
    follow(&db).await;

    db.src("update app.t set v = 'again' where id = 51").await;
    project.ok(&["resync", "t"]);
    follow(&db).await;
    assert_eq!(number(&db, "select count(*) from bronze.t where _deleted_at is not null").await, 1);
    project.ok(&["verify"]);
    assert_traced(&db).await;
}

#[tokio::test]
async fn a_table_that_is_there_gets_the_column_that_bronze_fills() {
    let (db, project) = stamped("loaded_at_later", "").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let with = project.config_with("[project]\n", "[project]\nmetadata = [\"_loaded_at\"]\n");
    let said = with.fails(4, &["run", "t"]).all();
    assert!(said.contains("bronze.t has no column `_loaded_at`") && said.contains("hint: run `dwh migrate`"), "{said}");
    assert!(with.fails(4, &["check", "t"]).all().contains("`_loaded_at`"));
    let told = with.ok(&["migrate", "--dry-run"]).all();
    assert!(told.contains("column `_loaded_at` is not in bronze, and `metadata` needs it"), "{told}");
    with.ok(&["migrate"]);
    db.src("insert into app.t values (1001, 'new'); update app.t set v = 'newer', at = now() where id = 7").await;
    with.ok(&["run"]);
    let stamped = "select count(*) from bronze.t where _loaded_at is not null";
    assert_eq!(number(&db, stamped).await, 2, "rows that were there have none");
    with.ok(&["verify"]);

    // Nobody fills it any more, or asks for it any more: its values would say what is not so.
    let said = project.fails(4, &["run", "t"]).all();
    assert!(said.contains("`metadata` does not ask for it any more") && said.contains("drop column"), "{said}");
    db.tgt("alter table bronze.t alter column _loaded_at drop default").await;
    let said = with.fails(4, &["run", "t"]).all();
    let said = said.replace("\\\"", "\"");
    let remedy = said.split_once("in the target: ").and_then(|(_, rest)| rest.split(';').next()).expect("a remedy");
    db.tgt(remedy).await;
    with.ok(&["run", "t"]);
    // A table has the last word.
    let without = with.config_with("name = \"t\"\n", "name = \"t\"\nmetadata = []\n");
    assert!(without.fails(4, &["run", "t"]).all().contains("does not ask for it any more"));
    db.tgt("alter table bronze.t drop column _loaded_at").await;
    without.ok(&["run"]);

    // A column of the source has the name.
    db.src("alter table app.s add column _loaded_at timestamptz").await;
    let said = with.fails(4, &["run", "s"]).all();
    assert!(said.contains("app.s has a column `_loaded_at`") && said.contains("`exclude`"), "{said}");
    with.config_with("name = \"s\"\n", "name = \"s\"\nexclude = [\"_loaded_at\"]\n").ok(&["run", "s"]);
}

#[tokio::test]
async fn rows_of_files_say_when_they_came_and_have_no_run_in_their_csv() {
    let tables = "[[table]]\nname = \"f\"\nsource = \"raw\"\nfiles = \"*.json\"\nmode = \"files\"\nkey = [\"id\"]\n\
        metadata = [\"_loaded_at\"]\n[table.columns]\nid = { type = \"text\" }\nv = { type = \"text\" }\n";
    let raw = Raw::new("loaded_at_files", tables).await;
    let rows = |two: &str| format!("[{{\"id\":\"1\",\"v\":\"a\"}},{{\"id\":\"2\",\"v\":\"{two}\"}}]");
    for two in ["b", "changed"] {
        std::fs::write(raw.folder.join("one.json"), rows(two)).expect("a file");
        raw.project.ok(&["run"]);
    }
    let newer =
        "select count(*) from bronze.f a, bronze.f b where a.id = '1' and b.id = '2' and b._loaded_at > a._loaded_at";
    assert_eq!(number(&raw.db, newer).await, 1, "the row that was updated");
    let said = raw.project.config_with("[\"_loaded_at\"]", "[\"_run_id\"]").fails(2, &["status"]).all();
    assert!(said.contains("metadata") && said.contains("of files can be `_loaded_at` alone"), "{said}");
    // What all tables have, files have as far as they can.
    let all = "[project]\nmetadata = [\"_loaded_at\", \"_run_id\", \"_uploaded_at\"]\n";
    let project =
        raw.project.config_with("[project]\n", all).config_with("metadata = [\"_loaded_at\"]\n[table", "[table");
    std::fs::write(raw.folder.join("one.json"), rows("again")).expect("a file");
    project.ok(&["run"]);
    assert_eq!(number(&raw.db, newer).await, 1);
}
