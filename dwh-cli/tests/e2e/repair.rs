//! Bronze made equal to the source, window by window: what differs is overwritten, what the source has no more is removed,
//! and no row vanishes that is there.

use std::time::Duration;

use crate::support::{Project, READABLE, files, killed_at, number, table, total, until_old};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::{Value, json};

/// A row an hour through September, and one stamped `-infinity`.
const EVENTS: &str = "create schema app;
    create table app.events (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create index on app.events (recorded_at);
    insert into app.events select i, 'x', timestamptz '2026-09-01Z' + i * interval '1 hour' from generate_series(1, 240) i;
    insert into app.events values (0, 'x', '-infinity');";

const INCREMENTAL: &str = "watermark = \"recorded_at\"\nkey = [\"id\"]\nwindow = \"1d\"\n";

async fn events(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("{EVENTS}{READABLE} grant select on all tables in schema app to app_ro")).await;
    let project = Project::new(&db, &table("events", "app.events", "incremental", &format!("{INCREMENTAL}{more}")));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

async fn assert_equal(db: &TestDb) {
    assert_equal_tables(db, "select * from app.events", "select * from bronze.events").await;
}

const WATERMARK: &str =
    "select (extract(epoch from last_extracted_at) * 1000000)::bigint from dwh_control.extract_watermarks";

/// Every way in which bronze may differ: values, stamps that are another window's, rows that are gone, rows too many.
const DAMAGE: &str = "update bronze.events set note = 'y' where id in (5, 100, 0);
    update bronze.events set recorded_at = recorded_at + interval '3 days', note = 'moved up' where id = 30;
    update bronze.events set recorded_at = recorded_at - interval '3 days', note = 'moved down' where id = 130;
    update bronze.events set recorded_at = '-infinity' where id = 131;
    delete from bronze.events where id in (50, 51, 240);
    insert into bronze.events values (9001, 'extra', '2026-09-02Z'), (9002, 'extra', '-infinity'), (9003, 'extra', '2026-08-01Z');";

#[tokio::test]
async fn reseed_replace_makes_bronze_equal() {
    for mode in ["nothing", "update"] {
        let (db, project) = events(&format!("replace_{mode}"), &format!("on_conflict = \"{mode}\"\n")).await;
        db.tgt(DAMAGE).await;
        db.src("delete from app.events where id between 200 and 210").await;
        let before = number(&db, WATERMARK).await;
        // The stretch before the first time at the source, where bronze has rows.
        let refused = project.dwh(&["reseed", "events", "--replace"]);
        assert_eq!(refused.code, 4, "{}", refused.all());
        let report = project.json(&["reseed", "events", "--replace", "--allow-empty"])["tables"][0].clone();
        assert_eq!(report["kind"], "repair");
        assert_eq!(total(&report, "events", "rows_removed"), 14, "{report:#}");
        assert_eq!(total(&report, "events", "rows_inserted"), 3, "{report:#}");
        assert_equal(&db).await;
        project.ok(&["verify"]);
        assert_eq!(number(&db, WATERMARK).await, before);
        let shown = project.ok(&["runs", "--limit", "20"]).stdout;
        assert!(shown.contains("repair") && shown.contains("removed"), "{shown}");
        assert_archive_gives_the_same(&db, &project).await;
        // Once more there is nothing to do.
        let again = project.json(&["reseed", "events", "--replace"])["tables"][0].clone();
        assert_eq!(
            (total(&again, "events", "rows_loaded"), total(&again, "events", "rows_removed")),
            (0, 0),
            "{again:#}"
        );
    }
}

/// `replay` into an empty table and `rebuild` into an empty database end with the rows that bronze has now.
async fn assert_archive_gives_the_same(db: &TestDb, project: &Project) {
    db.tgt("create table public.kept as select * from bronze.events").await;
    let same = "select count(*) from ((select * from bronze.events except all select * from public.kept)
        union all (select * from public.kept except all select * from bronze.events)) d";
    project.ok(&["replay", "events"]);
    assert_eq!(number(db, same).await, 0, "a replay into the full table changes nothing");
    db.tgt("truncate bronze.events").await;
    project.ok(&["replay", "events"]);
    assert_eq!(number(db, same).await, 0, "replayed into an empty table");
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(db, same).await, 0, "rebuilt");
    project.ok(&["run"]);
    project.ok(&["verify", "--blobs"]);
    db.tgt("drop table public.kept").await;
}

#[tokio::test]
async fn a_window_that_is_empty_at_the_source_needs_a_word() {
    let (db, project) = events("replace_empty", "").await;
    // The source keeps ten days, the warehouse everything: two windows and more are gone there.
    db.src("delete from app.events where id between 1 and 100").await;
    let refused = project.dwh(&["reseed", "events", "--replace"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(refused.stderr.contains("no row") && refused.stderr.contains("--allow-empty"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 241);
    // It holds up no other run, and leaves nothing behind.
    db.src("insert into app.events values (1000)").await;
    assert_eq!(total(&project.json(&["run"]), "events", "rows_loaded"), 1);
    assert!(!db.blobs().join("test/exports/events").read_dir().is_ok_and(|mut files| files.next().is_some()));
    project.ok(&["reseed", "events", "--replace", "--allow-empty"]);
    assert_equal(&db).await;
    assert_archive_gives_the_same(&db, &project).await;
}

/// Keys that bronze had once and has not at this moment, or has twice, while the source has them all.
const GONE: &str =
    "select count(*) from generate_series(1, 240) i where (select count(*) from bronze.events where id = i) <> 1";

#[tokio::test(flavor = "multi_thread")]
async fn no_row_vanishes_while_writers_go_on() {
    let (db, project) = events("replace_writers", "on_conflict = \"update\"\n").await;
    let writer = db.another_source().await;
    let writing = tokio::spawn(async move {
        for round in 0.. {
            // Rows leave their windows for the newest, and some go from one old window to another.
            let moved = format!(
                "update app.events set note = 'w{round}', recorded_at = now() where id % 40 = {round} % 40 and id > 0;
                 update app.events set note = 'b{round}', recorded_at = recorded_at - interval '2 days'
                     where id % 50 = {round} % 50 and recorded_at > '2026-09-05Z'"
            );
            if writer.batch_execute(&moved).await.is_err() {
                break;
            }
        }
    });
    let mut child = project.spawn(&["reseed", "events", "--replace"]);
    while child.try_wait().expect("waits").is_none() {
        assert_eq!(number(&db, GONE).await, 0);
    }
    assert!(child.wait().expect("ended").success());
    writing.abort();
    assert!(writing.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(number(&db, GONE).await, 0);
    project.ok(&["run"]);
    project.ok(&["reseed", "events", "--replace"]);
    assert_equal(&db).await;
    assert_archive_gives_the_same(&db, &project).await;
}

#[tokio::test]
async fn a_killed_reseed_replace_goes_on() {
    let (db, project) = events("replace_killed", "").await;
    db.tgt(DAMAGE).await;
    let loaded = "select count(*) from dwh_control.extract_runs where kind = 'repair' and status = 'loaded'";
    let mut child = project.spawn(&["reseed", "events", "--replace", "--allow-empty"]);
    let done = killed_at(&db, &mut child, loaded, 3).await;
    // A scheduled run in between loads what the killed one had uploaded.
    db.src("insert into app.events values (1000)").await;
    project.ok(&["run"]);
    let report = project.json(&["reseed", "events", "--replace"])["tables"][0].clone();
    assert!(report["windows_skipped"].as_i64().expect("count") >= done, "{report:#}");
    assert_equal(&db).await;
    assert_archive_gives_the_same(&db, &project).await;
}

#[tokio::test]
async fn a_row_that_is_on_its_way_stays() {
    for mode in ["nothing", "update"] {
        let (db, project) = events(&format!("replace_moved_{mode}"), &format!("on_conflict = \"{mode}\"\n")).await;
        // One was changed since the last run, one lies in another old window, which the sweep never saw.
        db.src("update app.events set note = 'new', recorded_at = now() where id = 30").await;
        db.tgt("update bronze.events set recorded_at = '2026-09-02 12:00Z', note = 'stale' where id = 200").await;
        project.ok(&["reseed", "events", "--replace"]);
        db.tgt("create table public.moved as select clock_timestamp() as taken").await;
        let there = "select count(*) from bronze.events where id = 30 or (id = 200 and note = 'x')";
        assert_eq!(number(&db, there).await, 2);
        assert_archive_gives_the_same_before_a_run(&db, &project).await;
        project.ok(&["run"]);
        assert_eq!(number(&db, "select count(*) from bronze.events").await, 241);
        if mode == "nothing" {
            // Transactions of other tests may hold the watermark below the row for a while.
            let passed =
                "select count(*) from dwh_control.extract_watermarks, public.moved where last_extracted_at >= taken";
            while number(&db, passed).await == 0 {
                project.ok(&["run"]);
            }
            project.ok(&["reseed", "events", "--replace"]);
        }
        assert_equal(&db).await;
        assert_archive_gives_the_same(&db, &project).await;
    }
}

/// The same with rows that are still on their way to bronze.
async fn assert_archive_gives_the_same_before_a_run(db: &TestDb, project: &Project) {
    let keys = "select count(*) from bronze.events";
    let before = number(db, keys).await;
    db.tgt("truncate bronze.events").await;
    project.ok(&["replay", "events"]);
    assert_eq!(number(db, keys).await, before, "replayed");
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(number(db, keys).await, before, "rebuilt");
}

/// The command that the report of `verify` names for a table, run as it is printed; then all is equal.
fn assert_remedy_mends(project: &Project, name: &str, wanted: &str) {
    let text = project.dwh(&["verify"]);
    assert_eq!(text.code, 4, "{}", text.all());
    let line = format!("to mend it: {wanted}\n");
    assert!(text.stdout.contains(&line), "`{line}` is not in {}", text.all());
    let tells = text.stdout.contains("a repair removes what bronze alone has (");
    assert_eq!(tells, wanted.contains("--repair") && text.stdout.contains("(only in bronze)"), "{}", text.stdout);
    let report = project.fails(4, &["verify"]).json();
    let tables = report["tables"].as_array().expect("tables");
    let table = tables.iter().find(|table| table["table"] == name).expect("table");
    assert_eq!(table["remedy"], wanted, "{table:#}");
    let words: Vec<&str> = wanted.split_whitespace().skip(1).collect();
    project.ok(&words);
    let clean = project.json(&["verify"]);
    assert!(clean["tables"].as_array().expect("tables").iter().all(|table| table["remedy"].is_null()), "{clean:#}");
}

fn counts(table: &Value) -> [&Value; 3] {
    ["missing", "extra", "different"].map(|name| &table[name])
}

#[tokio::test]
async fn every_difference_is_printed_with_the_command_that_mends_it() {
    for mode in ["nothing", "update"] {
        let (db, project) = events(&format!("remedy_{mode}"), &format!("on_conflict = \"{mode}\"\n")).await;
        // Missing, extra, changed, of another window, without a time, deleted at the source: each alone, then all at once.
        let damages = [
            "delete from bronze.events where id in (50, 51)",
            "insert into bronze.events values (9001, 'extra', '2026-09-02Z')",
            "update bronze.events set note = 'y' where id = 100",
            "update bronze.events set recorded_at = recorded_at + interval '3 days' where id = 30",
            "update bronze.events set recorded_at = recorded_at - interval '3 days' where id = 130",
            "update bronze.events set recorded_at = null where id = 131",
            "update bronze.events set recorded_at = '-infinity' where id = 132",
            "update bronze.events set note = 'y' where id = 0",
            "delete from bronze.events where id = 0",
            "insert into bronze.events values (9002, 'extra', '-infinity')",
            DAMAGE,
        ];
        db.tgt("alter table bronze.events alter recorded_at drop not null").await;
        for damage in damages {
            db.tgt(&damage.replace(", (9003, 'extra', '2026-08-01Z')", "")).await;
            assert_remedy_mends(&project, "events", "dwh verify --repair events");
            assert_equal(&db).await;
        }
        db.src("delete from app.events where id = 77; update app.events set note = 'changed' where id = 78").await;
        let report = project.json(&["verify", "--repair"]);
        let repair = &report["tables"][0]["repair"];
        assert_eq!(repair["extra"], 1, "{report:#}");
        assert_archive_gives_the_same(&db, &project).await;
        // Bronze was emptied: the watermark means nothing any more.
        db.tgt("truncate bronze.events").await;
        assert_remedy_mends(&project, "events", "dwh reseed events");
        db.tgt("truncate bronze.events").await;
        project.ok(&["verify", "--repair"]);
        assert_equal(&db).await;
    }
}

#[tokio::test]
async fn a_repair_reads_only_what_differs() {
    let (db, project) = events("repair_windows", "").await;
    db.tgt(DAMAGE).await;
    let before = number(&db, WATERMARK).await;
    let plan = project.fails(4, &["verify", "--repair", "--dry-run"]).json();
    let repair = &plan["tables"][0]["repair"];
    assert_eq!((&repair["dry_run"], &repair["runs"]), (&json!(true), &json!([])));
    // Where bronze alone has rows, somebody must say that they may go.
    let refused = project.fails(4, &["verify", "--repair"]);
    assert!(refused.json()["tables"][0]["error"]["hint"].as_str().is_some_and(|hint| hint.contains("--allow-empty")));
    let report = project.json(&["verify", "--repair", "--allow-empty"]);
    let table = &report["tables"][0];
    assert_eq!(counts(table), [&json!(0); 3]);
    assert!(table["repair"]["windows"].as_array().expect("windows").len() < 8, "{table:#}");
    assert_equal(&db).await;
    assert_eq!(number(&db, WATERMARK).await, before);
    let kinds = "select count(*) from dwh_control.extract_runs where kind = 'repair' and status = 'loaded' and csv_path is null";
    assert_eq!(number(&db, kinds).await, 0, "each has its CSV");
    let text = project.ok(&["verify", "--repair", "--wait"]).stdout;
    assert!(text.contains("equal"), "{text}");
    assert_archive_gives_the_same(&db, &project).await;
    let holder = db.another_target().await;
    let lock = "begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control events', 0))";
    db.tgt("update bronze.events set note = 'y' where id = 5").await;
    holder.batch_execute(lock).await.expect("held");
    project.fails(5, &["verify", "--repair"]);
    project.fails(5, &["reseed", "events", "--replace"]);
}

#[tokio::test]
async fn tables_that_are_read_whole_are_run() {
    let db = TestDb::new("repair_whole").await;
    db.src(&format!(
        "create schema app; create table app.cities (id int primary key, name text);
         insert into app.cities select i, 'c' || i from generate_series(1, 50) i;
         create table app.log (line text); insert into app.log values ('a'), ('a'), (null);
         {READABLE} grant select on all tables in schema app to app_ro"
    ))
    .await;
    let config = table("cities", "app.cities", "snapshot", "")
        + &table("dated", "app.cities", "scd", "")
        + &table("log", "app.log", "snapshot", "");
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    until_old(&db, "app.cities").await;
    until_old(&db, "app.log").await;
    project.ok(&["run"]);
    let refused = project.dwh(&["reseed", "dated", "--replace"]);
    assert!(refused.code == 2 && refused.stderr.contains("scd"), "{}", refused.all());
    for (damage, name) in [
        ("update bronze.cities set name = 'x' where id = 1", "cities"),
        ("insert into bronze.log values ('a')", "log"),
        ("delete from bronze.log where line is null", "log"),
        ("delete from bronze.dated where id = 2", "dated"),
    ] {
        db.tgt(damage).await;
        assert_remedy_mends(&project, name, &format!("dwh run {name}"));
        db.tgt(damage).await;
        project.ok(&["verify", "--repair"]);
    }
    db.tgt("delete from bronze.cities where id = 3").await;
    assert_eq!(project.json(&["reseed", "cities", "--replace"])["tables"][0]["kind"], "run");
    project.ok(&["verify"]);
}

#[tokio::test]
async fn windows_of_a_column_without_a_zone() {
    // Both turns of the clock, and rows in the hour that is there twice.
    let db = TestDb::new("repair_zone").await;
    db.src(&format!(
        "create schema app; create table app.pings (id text, part int, at timestamp(3) not null, primary key (id, part));
         create index on app.pings (at);
         insert into app.pings select 'a\"b' || i, i % 3, timestamp '2025-10-25' + i * interval '17 min' from generate_series(1, 600) i;
         insert into app.pings select 'm' || i, i % 3, timestamp '2026-03-07' + i * interval '17 min' from generate_series(1, 300) i;
         {READABLE} grant select on all tables in schema app to app_ro"
    ))
    .await;
    let more =
        "watermark = \"at\"\nwatermark_timezone = \"America/New_York\"\nkey = [\"id\", \"part\"]\nwindow = \"1d\"\n";
    let project = Project::new(&db, &table("pings", "app.pings", "incremental", more));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    project.ok(&["verify"]);
    for verb in [&["verify", "--repair"][..], &["reseed", "pings", "--replace"]] {
        db.tgt(
            "update bronze.pings set part = part + 10 where right(id, 1) = '3';
             delete from bronze.pings where right(id, 1) = '5';
             update bronze.pings set at = at + interval '1 day' where right(id, 1) = '7'",
        )
        .await;
        project.fails(4, &["verify"]);
        project.ok(verb);
        project.ok(&["verify"]);
        assert_equal_tables(&db, "select * from app.pings", "select * from bronze.pings").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_killed_at_any_moment_leaves_nothing_behind() {
    let (db, project) = events("repair_killed", "on_conflict = \"update\"\n").await;
    let repair = ["verify", "--repair", "--allow-empty"];
    let started = std::time::Instant::now();
    db.tgt(DAMAGE).await;
    project.ok(&repair);
    let length = u64::try_from(started.elapsed().as_millis()).expect("short");
    let mut killed = 0;
    for moment in (0..length).step_by(usize::try_from(length / 12).expect("small").max(1)) {
        db.tgt(DAMAGE).await;
        db.src("insert into app.events (id) select max(id) + 1 from app.events").await;
        let mut child = project.spawn(&repair);
        // The moment of death is the point of the test, not a wait for something to happen.
        tokio::time::sleep(Duration::from_millis(moment)).await;
        child.kill().expect("kill -9");
        killed += u64::from(!child.wait().expect("dead").success());
        project.ok(&["run", "--wait"]);
        project.ok(&repair);
        assert_equal(&db).await;
        // A part of an upload stays for a day.
        let left = files(&db.blobs().join("test/exports"));
        assert!(left.iter().all(|file| file.extension().is_some_and(|end| end == "part")), "{left:?}");
    }
    assert!(killed > 3, "only {killed} of them died");
    project.ok(&["verify", "--blobs"]);
    assert_archive_gives_the_same(&db, &project).await;
}

#[tokio::test]
async fn nothing_is_gone_on_with_after_a_rebuild() {
    let (db, project) = events("repair_rebuilt", "on_conflict = \"update\"\n").await;
    for verb in [&["reseed", "events"][..], &["reseed", "events", "--replace"]] {
        project.ok(verb);
        project.ok(&["rebuild", "--reset"]);
        db.tgt("update bronze.events set note = 'y' where id in (5, 100, 240)").await;
        let report = project.json(verb)["tables"][0].clone();
        assert_eq!(
            (&report["windows_skipped"], total(&report, "events", "rows_updated")),
            (&json!(0), 3),
            "{report:#}"
        );
        assert_equal(&db).await;
    }
}
