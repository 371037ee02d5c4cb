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
fn worker(project: &Project) -> Child {
    let dwh = Path::new(env!("CARGO_BIN_EXE_dwh")).parent().expect("folder");
    let path = format!("{}:{}", dwh.display(), env::var("PATH").unwrap_or_default());
    Command::new("sh")
        .arg(format!("{}/../examples/workers/worker.sh", env!("CARGO_MANIFEST_DIR")))
        .current_dir(project.folder())
        .env("PATH", path)
        .env("DWH_WORKER_PAUSE", "0.2")
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

    let mut workers: Vec<Child> = (0..4).map(|_| worker(&project)).collect();
    let shared = "select count(*) from (select from dwh_control.extract_runs having count(distinct host) filter
        (where status = 'loaded') = 4 and count(*) filter (where status <> 'loaded') > 0) x";
    until(&db, shared).await;
    let mut killed = workers.swap_remove(0);
    let group = format!("-{}", killed.id());
    assert!(Command::new("kill").args(["-9", "--", &group]).status().expect("kill").success());
    killed.wait().expect("dead");
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
