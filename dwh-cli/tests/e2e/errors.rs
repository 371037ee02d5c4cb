//! What a server refuses ends with the code of its kind and with something to do, not with "report it".

use crate::support::{Failure, Project, READABLE, number, table};
use dwh_core::testing::TestDb;

/// A project of one table `t` over `app.t`, which `sql` makes; `sql` speaks as a superuser.
async fn project(test: &str, sql: &str, mode: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE} {sql}; grant select on all tables in schema app to app_ro")).await;
    let project = Project::new(&db, &table("t", "app.t", mode, more));
    (db, project)
}

/// The run fails with 4, and its error tells what to do.
fn refused(project: &Project, code: &str, words: &[&str], hint: &str) -> Failure {
    let failure = project.fails(4, &["run"]).failure("t");
    assert_eq!(failure.code, code, "{failure:?}");
    failure.names(words);
    assert!(failure.hint.contains(hint) && !failure.hint.contains("report it"), "{failure:?}");
    failure
}

#[tokio::test]
async fn a_value_that_is_too_long_to_be_written_as_text() {
    let view = "create view app.t as select 1 as id, convert_to(repeat('x', 600000000), 'UTF8') as body";
    let (_db, project) = project("errors_long", view, "snapshot", "").await;
    project.ok(&["migrate"]);
    refused(&project, "data", &["SQLSTATE XX000"], "`exclude`");
}

#[tokio::test]
async fn a_foreign_key_that_leads_to_a_snapshot() {
    let rows = "create table app.t (id int primary key); insert into app.t values (1)";
    let (db, project) = project("errors_foreign_key", rows, "snapshot", "key = [\"id\"]").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.tgt(
        "alter table bronze.t add primary key (id); create table public.mine (t int references bronze.t (id)); \
         insert into public.mine values (1)",
    )
    .await;
    refused(&project, "contract", &["SQLSTATE 0A000"], "replace = \"delete\"");
    let report = project.fails(4, &["check"]).json();
    let remedy = report["findings"].as_array().expect("findings").iter().find(|f| f["check"] == "constraint");
    let remedy = remedy.and_then(|f| f["remedy"].as_str()).expect("remedy").to_owned();
    db.tgt(remedy.strip_prefix("in the target: ").expect("a statement")).await;
    project.ok(&["run"]);
}

#[tokio::test]
async fn text_of_a_geometry_that_cannot_be_read_again() {
    for (name, value) in
        [("infinite", "st_makepoint('infinity', 1)"), ("empty", "st_geomfromtext('MULTIPOINT Z(1 2 3, EMPTY)')")]
    {
        let rows =
            format!("create table app.t (id int primary key, g geometry); insert into app.t values (1, {value})");
        let (db, project) = project(&format!("errors_{name}"), &rows, "snapshot", "").await;
        project.ok(&["migrate"]);
        let output = project.dwh(&["run", "--output", "json"]);
        // A release of PostGIS that reads what it wrote has nothing to refuse.
        if output.code != 0 {
            refused(&project, "data", &["column g"], "geometry = \"ewkb\"");
            project.ok(&["recover", "--set-aside", "1"]);
            project.config_with("mode = \"snapshot\"", "mode = \"snapshot\"\ngeometry = \"ewkb\"").ok(&["run"]);
            let same = format!("select count(*) from bronze.t where g::text = ({value})::text");
            assert_eq!(number(&db, &same).await, 1);
        }
    }
}

#[tokio::test]
async fn a_coordinate_system_that_the_target_does_not_know() {
    let rows = "insert into spatial_ref_sys (srid, auth_name, auth_srid, proj4text, srtext)
            select 990001, auth_name, 990001, proj4text, srtext from spatial_ref_sys where srid = 4326;
        create table app.t (id int primary key, g geography);
        insert into app.t values (1, st_setsrid(st_makepoint(36, -1), 990001)::geography)";
    let (db, project) = project("errors_srid", rows, "snapshot", "").await;
    project.ok(&["migrate"]);
    refused(&project, "contract", &["column g"], "spatial_ref_sys");
    db.tgt(
        "insert into spatial_ref_sys (srid, auth_name, auth_srid, proj4text, srtext)
         select 990001, auth_name, 990001, proj4text, srtext from spatial_ref_sys where srid = 4326",
    )
    .await;
    project.ok(&["run"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_dropped_while_a_run_waits_for_it() {
    let rows = "create table app.t (id int primary key); insert into app.t values (1)";
    let (db, project) = project("errors_dropped", rows, "snapshot", "").await;
    project.ok(&["migrate"]);
    let dropper = db.another_source().await;
    dropper.batch_execute("begin; drop table app.t").await.expect("dropped");
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| project.fails(4, &["run"]).failure("t"));
        let waits = "select count(*) from pg_locks l join pg_stat_activity a using (pid) \
                     where not l.granted and a.datname = current_database() and a.usename = 'app_ro'";
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                while db.source().query_one(waits, &[]).await.expect("locks").get::<_, i64>(0) == 0 {
                    tokio::task::yield_now().await;
                }
                dropper.batch_execute("commit").await.expect("gone");
            });
        });
        run.join().expect("the run ended")
    });
    assert_eq!(run.code, "not_found", "{run:?}");
    assert!(!run.hint.contains("report it"), "{run:?}");
}

#[tokio::test]
async fn a_foreign_table_without_its_file() {
    let sql = "create extension file_fdw; create server files foreign data wrapper file_fdw;
        create foreign table app.t (id int) server files options (filename '/nowhere/t.csv', format 'csv')";
    let (db, project) = project("errors_file", sql, "snapshot", "").await;
    project.ok(&["migrate"]);
    refused(&project, "not_found", &["SQLSTATE 58P01"], "put it");
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs where error_code = 'not_found'").await, 1);
}
