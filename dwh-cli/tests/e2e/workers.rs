//! Four processes share the first load of six tables; one is killed, and the others do its work.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::{TestDb, assert_equal_tables};

const TABLES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Runs as one of several workers, in a process group of its own.
fn worker(project: &Project, script: &str, args: &[&str]) -> Child {
    worker_of(project, script, args, "")
}

/// The same with a list of work that was made before.
fn worker_of(project: &Project, script: &str, args: &[&str], plan: &str) -> Child {
    let dwh = Path::new(env!("CARGO_BIN_EXE_dwh")).parent().expect("folder");
    let path = format!("{}:{}", dwh.display(), env::var("PATH").unwrap_or_default());
    Command::new("sh")
        .arg(format!("{}/../examples/workers/{script}", env!("CARGO_MANIFEST_DIR")))
        .args(args)
        .current_dir(project.folder())
        .env("PATH", path)
        .env("DWH_WORKER_PAUSE", "0.2")
        .env("DWH_WORKER_PLAN", plan)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a worker starts")
}

async fn until(db: &TestDb, sql: &str) {
    for _ in 0..1500 {
        if number(db, sql).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came true: {sql}");
}

fn kill(mut worker: Child) {
    let group = format!("-{}", worker.id());
    assert!(Command::new("kill").args(["-9", "--", &group]).status().expect("kill").success());
    worker.wait().expect("dead");
}

#[tokio::test]
async fn four_workers_drain_all_history_though_one_is_killed() {
    let db = TestDb::new("workers").await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let mut tables = String::new();
    for name in TABLES {
        db.src(&format!(
            "create table app.{name} (id int primary key, v text, at timestamptz not null default now());
             insert into app.{name} select i, 'x', now() - interval '12 days' + i * interval '6 hours' from generate_series(1, 40) i"
        ))
        .await;
        let slowly = "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"1d\"\n[table.select]\n\
            v = \"case when pg_sleep(0.03) is null then t.v else t.v end\"\n";
        tables += &table(name, &format!("app.{name}"), "incremental", slowly);
    }
    let project = Project::new(&db, &tables);
    project.ok(&["migrate"]);

    let mut workers: Vec<Child> = (0..4).map(|_| worker(&project, "worker.sh", &[])).collect();
    let shared = "select count(*) from (select from dwh_control.extract_runs having count(distinct host) filter
        (where status = 'loaded') = 4 and count(*) filter (where status <> 'loaded') > 0) x";
    until(&db, shared).await;
    kill(workers.swap_remove(0));
    let left = number(
        &db,
        "select count(*) from dwh_control.extract_watermarks where last_extracted_at < now() - interval '1 day'",
    )
    .await;
    assert!(left > 0, "it was killed after all was done");

    for mut worker in workers {
        assert!(worker.wait().expect("a worker ends").success());
    }
    for name in TABLES {
        assert_equal_tables(
            &db,
            &format!("select id, at from app.{name}"),
            &format!("select id, at from bronze.{name}"),
        )
        .await;
    }
    let loaded = "select sum(rows_inserted)::bigint from dwh_control.extract_runs where status = 'loaded'";
    assert_eq!(number(&db, loaded).await, 240, "each row once");
}

const FROM: &str = "2026-03-01T00:00:00Z";
const TO: &str = "2026-03-13T00:00:00Z";

/// A row every six hours from the first of March on; a row takes `pause` seconds to be read.
async fn march(test: &str, names: &[&str], pause: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE}")).await;
    let mut tables = String::new();
    for name in names {
        db.src(&format!(
            "create table app.{name} (id int primary key, v text, at timestamptz not null default now());
             create index on app.{name} (at);
             insert into app.{name} select i, 'x', '2026-03-01Z'::timestamptz + i * interval '6 hours' from generate_series(1, 60) i"
        ))
        .await;
        let slowly = format!(
            "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"1d\"\n[table.select]\n\
            v = \"case when pg_sleep({pause}) is null then t.v else t.v end\"\n"
        );
        tables += &table(name, &format!("app.{name}"), "incremental", &slowly);
    }
    let project = Project::new(&db, &tables);
    project.ok(&["migrate"]);
    project.config_with("window = \"1d\"", "window = \"0\"").ok(&["run"]);
    (db, project)
}

/// Each window of the range was loaded, and none twice.
async fn assert_once(db: &TestDb, names: &[&str]) {
    for name in names {
        let runs = |what: &str| {
            format!(
                "select {what}::bigint from dwh_control.extract_runs where table_name = '{name}' and kind = 'backfill' \
                 and status = 'loaded'"
            )
        };
        assert_eq!(number(db, &runs("sum(rows_extracted)")).await, 47, "{name}: rows of the range");
        assert_eq!(number(db, &runs("count(*) - count(distinct window_low)")).await, 0, "{name}: no window twice");
    }
}

#[tokio::test]
async fn four_workers_drain_a_back_fill_though_one_is_killed() {
    let names = ["a", "b", "c"];
    let (db, project) = march("workers_backfill", &names, "0.02").await;
    let args = ["--from", FROM, "--to", TO];
    let mut workers: Vec<Child> = (0..4).map(|_| worker(&project, "drain.sh", &args)).collect();
    let begun =
        "select count(*) from (select from dwh_control.extract_runs where kind = 'backfill' and status = 'loaded'
        having count(distinct table_name) = 3 and count(*) >= 4) x";
    until(&db, begun).await;
    kill(workers.swap_remove(0));
    for mut worker in workers {
        assert!(worker.wait().expect("a worker ends").success());
    }
    assert_once(&db, &names).await;
}

#[tokio::test]
async fn processes_share_the_windows_of_one_table() {
    let (db, project) = march("workers_share", &["a"], "0.02").await;
    let call = ["backfill", "a", "--from", FROM, "--to", TO, "--wait"];
    let mut children: Vec<Child> = (0..4).map(|_| project.spawn(&call)).collect();
    // Who is at work is killed, twice: each time another one goes on. Of the two that are left one comes to the end, and the
    // other one finds nothing left.
    for windows in [2, 5] {
        let loaded = "select count(*) from dwh_control.extract_runs where kind = 'backfill' and status = 'loaded'";
        until(&db, &format!("select count(*) from ({loaded} having count(*) >= {windows}) x")).await;
        let newest =
            "select split_part(host, ' pid ', 2)::bigint from dwh_control.extract_runs order by run_id desc limit 1";
        let at_work = number(&db, newest).await;
        let place = children.iter().position(|child| i64::from(child.id()) == at_work).expect("one of them");
        let mut killed = children.swap_remove(place);
        killed.kill().expect("kill");
        assert!(!killed.wait().expect("dead").success(), "it was at work");
    }
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert_once(&db, &["a"]).await;
}

#[tokio::test]
async fn a_table_that_fails_stops_no_other_of_a_worker() {
    let names = ["a", "b"];
    let (db, project) = march("workers_fail", &names, "0").await;
    // Bronze refuses the rows that it lacks.
    db.tgt("delete from bronze.a where id < 10; alter table bronze.a add check (id > 10) not valid").await;
    let mut worker = worker(&project, "drain.sh", &["--from", FROM, "--to", TO]);
    assert_eq!(worker.wait().expect("it ends").code(), Some(4));
    assert_once(&db, &["b"]).await;
}

#[tokio::test]
async fn a_worker_that_joins_late_reads_nothing_again_if_all_have_one_list() {
    let names = ["a", "b"];
    let (db, project) = march("workers_late", &names, "0").await;
    let range = ["--from", FROM, "--to", TO];
    let list = project.ok(&[&["plan", "--output", "json"], &range[..]].concat()).stdout;
    std::fs::write(project.folder().join("work.json"), list).expect("written");
    let done = |args: &[&str], plan: &str| worker_of(&project, "drain.sh", args, plan).wait().expect("it ends").code();
    for _ in ["the first", "a late one"] {
        assert_eq!(done(&[], "work.json"), Some(0));
        assert_once(&db, &names).await;
    }
    assert_eq!((done(&range, "work.json"), done(&[], "no.json")), (Some(2), Some(1)));
    assert_once(&db, &names).await;
    // With a list of its own it does the work once more, and no row is there twice.
    assert_eq!(done(&range, ""), Some(0));
    let windows = "select (count(*) - count(distinct window_low)) from dwh_control.extract_runs where kind = 'backfill' and table_name = 'a'";
    assert!(number(&db, windows).await > 0, "docs/scale-out.md says that it reads them again");
    for name in names {
        let rows = |table: &str| format!("select id, at from {table}.{name}");
        assert_equal_tables(&db, &rows("app"), &rows("bronze")).await;
    }
}
