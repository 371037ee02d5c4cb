//! Columns that dwh adds, and who asks for what came since: he gets every row, however late.

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

    for (word, told) in [("_loaded_at", "`_uploaded_at`"), ("_uploaded_at\", \"x", "`_task_instance`")] {
        let said = project.config_with("_task_instance", word).fails(2, &["status"]).all();
        assert!(said.contains("metadata") && said.contains(told), "{said}");
    }
}
