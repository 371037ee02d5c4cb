//! `dwh status`: each thing that goes wrong is seen, named with its remedy, and gone once it is mended.

use serde_json::Value;
use std::io::{BufRead, BufReader};

use crate::support::{EVENTS, Project, age, number, table};
use dwh_core::testing::{TestBlobs, TestDb, signal};

/// Two tables; `more` stands in the section of `events`.
async fn fleet(test: &str, more: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(EVENTS).await;
    db.src("insert into app.other values (1)").await;
    let config = table("other", "app.other", "snapshot", "")
        + &table(
            "events",
            "app.events",
            "incremental",
            &format!("watermark = \"recorded_at\"\nkey = [\"id\"]\n{more}"),
        );
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    (db, project)
}

/// Check and table of each breach; each says what to do.
fn breaches(report: &Value) -> Vec<(&str, &str)> {
    let breaches = report["breaches"].as_array().expect("breaches");
    assert_eq!(report["healthy"], breaches.is_empty(), "{report:#}");
    let of = |breach: &'_ Value| {
        for key in ["message", "remedy"] {
            assert!(breach[key].as_str().is_some_and(|text| !text.is_empty()), "{breach:#}");
        }
    };
    breaches.iter().for_each(of);
    breaches
        .iter()
        .map(|breach| (breach["check"].as_str().expect("check"), breach["table"].as_str().unwrap_or("-")))
        .collect()
}

fn of_table<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["tables"]
        .as_array()
        .and_then(|tables| tables.iter().find(|table| table["table"] == name))
        .expect("the table")
}

#[tokio::test]
async fn a_failure_is_seen_until_it_is_mended() {
    let (db, project) = fleet("status_failure", "").await;
    let report = project.fails(4, &["status", "--check"]).json();
    assert_eq!(breaches(&report), [("never_loaded", "other"), ("never_loaded", "events")]);
    project.ok(&["run"]);
    let report = project.json(&["status", "--check"]);
    assert_eq!(breaches(&report), []);
    let events = of_table(&report, "events");
    assert_eq!((events["rows_last_24h"].as_u64(), events["loads_last_24h"].as_u64()), (Some(100), Some(1)));
    assert_eq!(
        (&events["fresh"], &events["success_rate_7d"], &events["running"]),
        (&true.into(), &100.0.into(), &Value::Null)
    );
    assert!(events["extract_lag_seconds"].as_f64().is_some_and(|lag| lag > 0.0), "{events:#}");
    assert_eq!(events["waiting"]["files"], 0);
    let text = project.ok(&["status"]);
    assert!(text.stdout.starts_with("healthy: 2 tables, all fresh\n"), "{}", text.all());

    // The source has lost the table: the run that could not be planned is in the log too.
    db.src("alter table app.other rename to gone").await;
    assert_ne!(project.dwh(&["run"]).code, 0);
    let report = project.fails(4, &["status", "--check"]).json();
    assert_eq!(breaches(&report), [("failure", "other")]);
    let failed = &of_table(&report, "other")["unresolved_failure"];
    let breach = &report["breaches"][0];
    assert_eq!(breach["remedy"], format!("dwh runs show {}", failed["run_id"]));
    assert!(breach["message"].as_str().is_some_and(|message| message.contains("app.other")), "{breach:#}");
    project.ok(&breach["remedy"].as_str().expect("a command").split(' ').skip(1).collect::<Vec<_>>());
    let text = project.ok(&["status"]);
    assert!(text.stdout.starts_with("1 thing needs attention\n"), "{}", text.all());
    assert!(text.stdout.contains("ATTENTION  table `other`: run "), "{}", text.all());

    db.src("alter table app.gone rename to other").await;
    project.ok(&["run"]);
    assert_eq!(breaches(&project.json(&["status", "--check"])), []);
}

#[tokio::test]
async fn a_csv_that_waits_is_seen_and_a_loaded_one_is_not() {
    let (db, project) = fleet("status_waiting", "").await;
    project.ok(&["run"]);
    db.src("insert into app.events (id) values (1001)").await;
    let run_id = project.json(&["extract", "events"])["run_id"].clone();
    let waiting = |report: &Value| of_table(report, "events")["waiting"]["files"].clone();
    let report = project.json(&["status", "--check"]);
    assert_eq!((waiting(&report), breaches(&report)), (1.into(), vec![]), "it has not waited long");
    age(&db, &TestBlobs::local(&db), &format!("run_id = {run_id}"), "7 hours").await;
    let report = project.fails(4, &["status", "--check"]).json();
    assert_eq!(breaches(&report), [("waiting", "events")]);
    assert_eq!(report["breaches"][0]["remedy"], "dwh recover events");
    project.ok(&["recover", "events"]);
    let report = project.json(&["status", "--check"]);
    assert_eq!((waiting(&report), breaches(&report)), (0.into(), vec![]));
}

#[tokio::test]
async fn rows_durations_and_ages_are_judged_by_the_thresholds_of_the_table() {
    let (db, project) =
        fleet("status_thresholds", "[table.thresholds]\nmin_rows_per_day = 100\nmax_rows_per_day = 100").await;
    project.ok(&["run"]);
    assert_eq!(breaches(&project.json(&["status", "--check"])), []);
    for (from, to, check) in [
        ("min_rows_per_day = 100\nmax_rows_per_day = 100", "min_rows_per_day = 101", "too_few_rows"),
        ("min_rows_per_day = 100\nmax_rows_per_day = 100", "max_rows_per_day = 99", "too_many_rows"),
        ("min_rows_per_day = 100", "max_duration = \"1us\"", "duration"),
    ] {
        let report = project.config_with(from, to).fails(4, &["status", "--check"]).json();
        assert_eq!(breaches(&report), [(check, "events")]);
    }
    // The target's clock judges, by the stamps of the target.
    db.tgt(
        "update dwh_control.extract_runs set run_started_at = run_started_at - interval '6 hours',
            run_finished_at = run_finished_at - interval '6 hours';
        update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at - interval '6 hours'",
    )
    .await;
    let report = project.fails(4, &["status", "--check"]).json();
    assert_eq!(breaches(&report), [("stale", "other"), ("stale", "events")]);
    assert_eq!(report["breaches"][1]["remedy"], "dwh run events");
}

#[tokio::test]
async fn a_store_that_does_not_answer_hides_nothing_else() {
    let (db, project) = fleet("status_store", "").await;
    project.ok(&["run"]);
    let knot = project.folder().join("knot");
    std::os::unix::fs::symlink(&knot, &knot).expect("a link to itself");
    let broken = project.config_with(&db.blob_url(), &format!("file://{}", knot.display()));
    let report = broken.fails(4, &["status", "--check"]).json();
    assert_eq!(breaches(&report), [("store", "-")]);
    let events = of_table(&report, "events");
    assert_eq!((&events["fresh"], &events["waiting"]), (&true.into(), &Value::Null));
    // A target that does not answer is the end: nothing is known without it.
    let away = project.config_with(&db.target_url_as("dwh_loader"), "postgresql://x@127.0.0.1:1/x?sslmode=disable");
    assert_eq!(away.fails(3, &["status", "--check"]).json()["error"]["code"], "unreachable");
}

#[tokio::test]
async fn a_table_that_is_held_is_told_and_a_dead_holder_is_not() {
    let (db, project) = fleet("status_running", "").await;
    project.ok(&["run"]);
    // What a killed run leaves behind: its note, and no lock.
    db.tgt(
        "update dwh_control.extract_watermarks set lease_holder = 'etl pid 7', lease_since = now() - interval '1 hour'",
    )
    .await;
    assert_eq!(of_table(&project.json(&["status"]), "events")["running"], Value::Null);
    db.tgt("begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control events', 0))").await;
    let report = project.json(&["status"]);
    let running = &of_table(&report, "events")["running"];
    assert_eq!(running["host"], "etl pid 7", "{report:#}");
    assert!(running["seconds"].as_f64().is_some_and(|seconds| seconds >= 3600.0), "{running:#}");
    assert_eq!(of_table(&report, "other")["running"], Value::Null);
    let text = project.ok(&["status"]).stdout;
    assert!(text.contains(" - held for 1 h 0 min"), "{text}");
    db.tgt("rollback").await;
}

#[tokio::test]
async fn watching_prints_a_line_a_round_goes_on_after_an_error_and_ends_well() {
    let (db, project) = fleet("status_watch", "").await;
    project.ok(&["run"]);
    let mut child = project.follow(&["status", "--watch", "1", "--output", "json"]);
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("another round").expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    };
    assert_eq!(next()["healthy"], true);
    assert_eq!(next()["healthy"], true);
    db.tgt("alter schema dwh_control rename to away").await;
    while next()["error"]["code"] != "contract" {}
    db.tgt("alter schema away rename to dwh_control").await;
    while next()["healthy"] != true {}
    assert!(signal("INT", &[child.id()]));
    for line in lines {
        line.expect("text");
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn watching_ends_when_nobody_reads_any_more() {
    let (_db, project) = fleet("status_watch_gone", "").await;
    let mut child = project.follow(&["status", "--watch", "1"]);
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut first).expect("text");
    assert_eq!(first, "2 things need attention\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[tokio::test]
async fn a_run_that_somebody_stopped_is_interrupted_and_no_failure() {
    let (db, project) = fleet("status_stopped", "").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.src(
        "alter table app.other rename to kept; create view app.other as select id from app.kept, pg_sleep(600); \
         grant select on app.other to app_ro",
    )
    .await;
    db.tgt("alter table bronze.other alter column id drop not null").await;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut run = project.spawn(&["run", "other"]);
        let extracting = "select count(*) from dwh_control.extract_runs where status = 'extracting'";
        while number(&db, extracting).await == 0 {
            assert!(run.try_wait().expect("waits").is_none(), "it ended before it was stopped");
        }
        assert!(signal(name, &[run.id()]));
        assert_eq!(run.wait().expect("ended").code(), Some(code), "as shells have it");
    }
    let rows = "select count(*) from dwh_control.extract_runs where status = 'failed' and error_code = 'interrupted'";
    let all = db.target().query("select r::text from dwh_control.extract_runs r", &[]).await.expect("runs");
    let all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
    assert_eq!(number(&db, rows).await, 2, "{all:#?}");
    assert_eq!(number(&db, "select count(*) from dwh_control.v_recent_failures").await, 0);
    let report = project.json(&["status", "--check"]);
    let other = of_table(&report, "other");
    assert_eq!((&other["failures_last_24h"], &other["interruptions_last_24h"]), (&0.into(), &2.into()), "{report:#}");
    assert_eq!(report["healthy"], true, "{report:#}");
    let runs = project.ok(&["runs", "--table", "other"]);
    assert!(runs.stdout.contains("interrupted") && !runs.stdout.contains("FAILED"), "{}", runs.all());
    let runs = project.json(&["runs", "--failed"]);
    assert_eq!(runs["runs"][0]["error_code"], "interrupted", "{runs:#}");
    assert!(project.ok(&["status"]).stdout.contains("interrupted"));
}
