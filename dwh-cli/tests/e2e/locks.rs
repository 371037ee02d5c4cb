//! A lock that is not granted in time: who holds it is told; and how a snapshot replaces rows without one.

use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::{TestDb, assert_equal_tables};
use tokio_postgres::Client;

const TABLE: &str = "create table app.t (id int primary key, v text); insert into app.t values (1, 'a'), (2, 'b');";

async fn snapshot(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE} {TABLE}")).await;
    let project = Project::new(&db, &table("t", "app.t", "snapshot", more))
        .config_with("[target]", "[target]\nlock_timeout = \"300ms\"");
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

async fn begin(client: &Client, application: &str, sql: &str) -> String {
    let sql = format!("begin; set application_name = '{application}'; {sql}");
    client.batch_execute(&sql).await.expect("statement");
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.expect("pid").get(0);
    pid.to_string()
}

#[tokio::test]
async fn a_truncate_behind_a_reader_names_the_reader() {
    let (db, project) = snapshot("behind_a_reader", "").await;
    // As the loader itself: what others run is hidden from it.
    let (reader, connection) =
        tokio_postgres::connect(&db.target_url_as("dwh_loader"), tokio_postgres::NoTls).await.expect("login");
    tokio::spawn(connection);
    let pid = begin(&reader, "grafana", "select * from bronze.t where v = 'geheim'").await;
    let output = project.fails(3, &["run"]);
    let failure = output.failure("t");
    failure.names(&[&format!("session {pid}"), "(application `grafana`)", "idle in transaction", "began at 20"]);
    assert!(failure.hint.contains(&format!("pg_terminate_backend({pid})")), "{failure:?}");
    assert!(failure.hint.contains("replace = \"delete\""), "{failure:?}");
    assert!(!output.all().contains("geheim"), "{}", output.all());
    reader.batch_execute("rollback").await.expect("rollback");
    project.ok(&["run"]);
}

#[tokio::test]
async fn a_held_row_of_the_watermarks_names_who_holds_it() {
    let (db, project) = snapshot("held_row", "").await;
    let pid = begin(db.target(), "by hand", "select from dwh_control.extract_watermarks for update").await;
    let failure = project.fails(3, &["run"]);
    assert!(failure.failure("t").message.contains(&format!("session {pid}")), "{}", failure.all());
    db.tgt("rollback").await;
}

#[tokio::test]
async fn every_write_that_waits_in_vain_names_who_holds_it() {
    let (db, project) = snapshot("held_writes", "on_new_column = \"add\"").await;
    // As the loader itself: what others do is hidden from it.
    let holder = crate::drift::connect_as_loader(&db).await;
    let told = |args: &[&str], pid: &str| {
        let said = project.fails(3, args);
        let all = said.all();
        assert!(all.contains(&format!("session {pid} of `")) && all.contains("began at 20"), "{all}");
        assert!(all.contains(&format!("pg_terminate_backend({pid})")), "{all}");
    };
    // The run log.
    let pid = begin(&holder, "by hand", "lock table dwh_control.extract_runs in share mode").await;
    told(&["run"], &pid);
    told(&["extract", "t"], &pid);
    holder.batch_execute("rollback").await.expect("rollback");
    // Bronze, where it is changed and where it is moved away.
    db.src("alter table app.t add column n int").await;
    let pid = begin(&holder, "grafana", "select * from bronze.t").await;
    told(&["run"], &pid);
    told(&["migrate", "--apply-drift"], &pid);
    told(&["rebuild", "--reset"], &pid);
    holder.batch_execute("rollback").await.expect("rollback");
    // The tables that `migrate` writes to.
    let pid = begin(&holder, "by hand", "lock table dwh_control.extract_watermarks in access exclusive mode").await;
    told(&["migrate"], &pid);
    holder.batch_execute("rollback").await.expect("rollback");
    project.ok(&["run"]);
}

#[tokio::test]
async fn a_locked_source_names_who_holds_it() {
    let (db, project) = snapshot("locked_source", "").await;
    let project = project.config_with("[source.app]", "[source.app]\nlock_timeout = \"300ms\"");
    let pid = begin(db.source(), "release", "alter table app.t add column more int").await;
    let failure = project.fails(3, &["run"]).failure("t");
    failure.names(&[&format!("session {pid}"), "(application `release`)", "locked"]);
    assert!(failure.hint.contains("at the source: select pg_terminate_backend"), "{failure:?}");
    db.src("rollback").await;
    project.ok(&["run"]);
}

#[tokio::test]
async fn delete_replaces_behind_a_reader_and_under_a_foreign_key() {
    let (db, project) = snapshot("delete_replaces", "").await;
    db.tgt("alter table bronze.t add primary key (id); create table public.hangs (t int references bronze.t); insert into public.hangs values (1);").await;
    let refused = project.fails(4, &["run"]).failure("t");
    assert!(refused.hint.contains("replace = \"delete\""), "{refused:?}");
    let project = project.config_with("mode = \"snapshot\"", "mode = \"snapshot\"\nreplace = \"delete\"");
    let refused = project.fails(4, &["run"]).failure("t");
    assert!(refused.hint.contains("deferrable"), "{refused:?}");
    db.tgt("alter table public.hangs alter constraint hangs_t_fkey deferrable").await;
    db.src("update app.t set v = 'new'; insert into app.t values (3, 'c')").await;
    begin(db.target(), "reader", "select * from bronze.t").await;
    project.ok(&["run"]);
    db.tgt("commit").await;
    assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
    assert_eq!(number(&db, "select count(*) from public.hangs").await, 1);
}

#[tokio::test]
async fn a_trigger_that_keeps_old_rows_stops_the_snapshot() {
    let (db, project) = snapshot("delete_kept", "replace = \"delete\"\n").await;
    db.src("update app.t set v = 'new'").await;
    for keeps in [
        "create function public.keeps() returns trigger language plpgsql as 'begin return null; end';
         create trigger keeps before delete on bronze.t for each row execute function public.keeps()",
        "drop trigger keeps on bronze.t; create rule keeps as on delete to bronze.t do instead nothing",
    ] {
        db.tgt(keeps).await;
        let refused = project.fails(4, &["run"]).failure("t");
        refused.names(&["keeps rows that were deleted", "bronze.t"]);
        assert!(refused.hint.contains("trigger"), "{refused:?}");
        assert_eq!(number(&db, "select count(*) from bronze.t where v <> 'new'").await, 2);
    }
    db.tgt("drop rule keeps on bronze.t").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.t", "select * from bronze.t").await;
}
