//! History read again: what is missing comes back, what was cut off goes on, and scheduled runs are not in the way.

use crate::support::{Project, killed_at, number, total};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;

const TABLE: &str = "create schema app; grant usage on schema app to app_ro;
    create table app.events (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create index on app.events (recorded_at);
    grant select on app.events to app_ro;
    insert into app.events select i, repeat('x', 300), timestamptz '2026-09-01Z' + i * interval '1 hour'
        from generate_series(1, 720) i;";

const CONFIG: &str = r#"
[[table]]
name = "events"
relation = "app.events"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]
window = "1d"
"#;

const SEPTEMBER: [&str; 6] = ["backfill", "events", "--from", "2026-09-01T00:00:00Z", "--to", "2026-09-30T00:00:00Z"];

async fn events(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(TABLE).await;
    let project = Project::new(&db, &format!("{CONFIG}{more}"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

const WATERMARK: &str =
    "select extract(epoch from last_extracted_at)::numeric::text from dwh_control.extract_watermarks";

async fn watermark(db: &TestDb) -> String {
    db.target().query_one(WATERMARK, &[]).await.expect("watermark").get(0)
}

fn runs(report: &Value) -> &Vec<Value> {
    report["runs"].as_array().expect("runs")
}

async fn assert_equal(db: &TestDb) {
    assert_equal_tables(db, "select * from app.events", "select * from bronze.events").await;
}

#[tokio::test]
async fn lost_rows_come_back_and_the_watermark_stays() {
    let (db, project) = events("backfill_rows", "").await;
    let before = watermark(&db).await;
    db.tgt("delete from bronze.events where id in (30, 31, 400); update bronze.events set note = 'y' where id = 32")
        .await;
    let report = project.json(&SEPTEMBER);
    assert_eq!(report["kind"], "backfill");
    assert_eq!(total(&report, "events", "rows_loaded"), 3);
    assert_eq!(total(&report, "events", "rows_different"), 1, "the changed row is told, and stays");
    assert_eq!(runs(&report).len(), 29);
    assert_eq!(runs(&report)[0]["window"]["from"], "2026-08-31T23:59:59.999999Z");
    assert_eq!(watermark(&db).await, before);
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 720);
    assert_eq!(
        number(&db, "select count(*) from dwh_control.extract_runs where kind = 'backfill' and status = 'loaded'")
            .await,
        29
    );
    assert!(!db.blobs().join("test/exports/events").read_dir().is_ok_and(|mut files| files.next().is_some()));
    // A range that came to its end begins anew.
    db.tgt("delete from bronze.events where id = 30").await;
    assert_eq!(total(&project.json(&SEPTEMBER), "events", "rows_loaded"), 1);
    // And a scheduled run goes on from where the watermark stood.
    db.src("insert into app.events (id) values (9000)").await;
    assert_eq!(total(&project.json(&["run"]), "events", "rows_loaded"), 1);
}

#[tokio::test]
async fn a_killed_backfill_goes_on() {
    let (db, project) = events("backfill_killed", "").await;
    // All that the range has; a table that was emptied begins anew instead.
    db.tgt("delete from bronze.events where id <> 720").await;
    let mut child = project.spawn(&SEPTEMBER);
    let loaded = "select count(*) from dwh_control.extract_runs where kind = 'backfill' and status = 'loaded'";
    let done = killed_at(&db, &mut child, loaded, 3).await;
    assert!((3..29).contains(&done), "{done}");
    // A scheduled run in between loads what the killed one had uploaded, and moves the watermark for its own rows only.
    db.src("insert into app.events (id) values (9000)").await;
    project.ok(&["run"]);
    let before = watermark(&db).await;
    let report = project.json(&SEPTEMBER);
    let skipped = report["windows_skipped"].as_i64().expect("count");
    assert!(skipped >= done, "{skipped} of {done} windows skipped");
    assert_eq!(runs(&report).len() as i64, 29 - skipped);
    assert_eq!(watermark(&db).await, before);
    // What was not in the range is still missing: 695 hours before the 30th, the row that stayed, and the new one.
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 697);
    project.ok(&["reseed", "events"]);
    assert_equal(&db).await;
}

#[tokio::test]
async fn an_uploaded_window_is_loaded_without_moving_the_watermark() {
    let (db, project) = events("backfill_uploaded", "").await;
    db.tgt("delete from bronze.events where id between 24 and 47").await;
    // The load of the second window fails, its CSV is complete.
    db.tgt(
        "create function public.no() returns trigger language plpgsql as $$ begin
            if new.id = 30 then raise exception 'not now'; end if; return new; end $$;
         create trigger no before insert on bronze.events for each row execute function public.no()",
    )
    .await;
    let before = watermark(&db).await;
    let output = project.dwh(&SEPTEMBER);
    assert_ne!(output.code, 0, "{}", output.all());
    let uploaded = "select count(*) from dwh_control.extract_runs where kind = 'backfill' and status = 'failed' and csv_path is not null";
    assert_eq!(number(&db, uploaded).await, 1);
    db.tgt("drop trigger no on bronze.events").await;
    project.ok(&["run"]);
    assert_equal(&db).await;
    assert_eq!(number(&db, uploaded).await, 0, "the scheduled run loaded it");
    let report = project.json(&SEPTEMBER);
    assert_eq!(report["windows_skipped"], 2);
    // The scheduled run moved the watermark for itself, never back to the window.
    assert!(watermark(&db).await >= before);
}

#[tokio::test]
async fn scheduled_runs_slip_in_and_a_held_table_is_told() {
    let (db, project) = events("backfill_between", "").await;
    db.tgt("delete from bronze.events where id <> 720").await;
    let mut child = project.spawn(&[&SEPTEMBER[..], &["--wait"]].concat());
    let mut slipped = 0;
    while child.try_wait().expect("waits").is_none() {
        db.src("insert into app.events (id) select max(id) + 1 from app.events").await;
        project.ok(&["run", "--wait"]);
        slipped += 1;
    }
    assert!(child.wait().expect("ended").success());
    assert!(slipped > 0);
    project.ok(&["run"]);
    project.ok(&["reseed", "events"]);
    assert_equal(&db).await;
    let holder = db.another_target().await;
    holder
        .batch_execute("begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control events', 0))")
        .await
        .expect("held");
    assert_eq!(project.dwh(&SEPTEMBER).code, 5);
    holder.batch_execute("rollback").await.expect("given free");
    project.ok(&SEPTEMBER);
}

#[tokio::test]
async fn update_tables_take_what_the_source_has_now() {
    let (db, project) = events("backfill_update", "on_conflict = \"update\"\n").await;
    // Bronze has lost an update; a backfill of the row's new time brings it.
    db.tgt("update bronze.events set note = 'old', recorded_at = recorded_at - interval '1 minute' where id = 100")
        .await;
    // A row of bronze with a later stamp than the source's: its clock stepped back, and what it has now is the truth.
    db.tgt("update bronze.events set note = 'stale', recorded_at = recorded_at + interval '1 minute' where id = 200")
        .await;
    let report = project.json(&SEPTEMBER);
    assert_eq!(total(&report, "events", "rows_updated"), 2);
    assert_eq!(total(&report, "events", "rows_inserted"), 0);
    assert_eq!(number(&db, "select count(*) from bronze.events where note in ('old', 'stale')").await, 0);
}

#[tokio::test]
async fn dry_run_and_refusals() {
    let (db, project) = events("backfill_refusals", &["copy", "dated"].map(more).concat()).await;
    let report = project.json(&[&SEPTEMBER[..], &["--dry-run"]].concat());
    assert_eq!(report["windows"].as_array().expect("windows").len(), 29);
    assert_eq!(report["windows"][1]["to"], "2026-09-02T23:59:59.999999Z");
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs where kind <> 'run'").await, 0);
    let refused = project.dwh(&["backfill", "copy", "--from", "2026-09-01T00:00:00Z"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.stderr.contains("snapshot") && refused.stderr.contains("dwh run"), "{}", refused.all());
    let late = project.dwh(&["backfill", "events", "--from", "2126-01-01T00:00:00Z"]);
    assert_eq!(late.code, 2, "{}", late.all());
    let backwards =
        project.dwh(&["backfill", "events", "--from", "2026-09-05T00:00:00Z", "--to", "2026-09-04T00:00:00Z"]);
    assert_eq!(backwards.code, 2, "{}", backwards.all());
    // The reseed of a snapshot table is a run.
    db.tgt("delete from bronze.copy").await;
    let report = project.json(&["reseed", "copy"])["tables"][0].clone();
    assert_eq!(report["kind"], "run");
    assert_eq!(total(&report, "copy", "rows_loaded"), 720);
    // Of several tables none is begun unless each of them can be.
    let runs = "select count(*) from dwh_control.extract_runs";
    let before = number(&db, runs).await;
    let refused = project.dwh(&["reseed", "events", "c*", "dated"]);
    assert_eq!(refused.code, 2, "{}", refused.all());
    assert!(refused.stderr.contains("table `dated`: mode `scd`"), "{}", refused.all());
    assert!(refused.stderr.contains("nothing was read"), "{}", refused.all());
    assert_eq!(number(&db, runs).await, before);
    db.tgt("delete from bronze.copy; delete from bronze.events where id > 700").await;
    let report = project.json(&["reseed", "events", "c*"]);
    let tables = report["tables"].as_array().expect("tables");
    let told: Vec<_> = tables.iter().map(|table| (table["table"].as_str(), table["kind"].as_str())).collect();
    assert_eq!(told, [(Some("events"), Some("reseed")), (Some("copy"), Some("run"))]);
    assert_eq!((total(&tables[0], "events", "rows_inserted"), total(&tables[1], "copy", "rows_loaded")), (20, 720));
    assert_eq!(project.dwh(&["reseed"]).code, 2, "all tables only by `*`");
}

fn more(name: &str) -> String {
    let mode = if name == "copy" { "snapshot" } else { "scd" };
    format!("[[table]]\nname = \"{name}\"\nrelation = \"app.events\"\nmode = \"{mode}\"\n")
}
