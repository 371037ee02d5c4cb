//! What is said is so, and what is advised can be done.

use crate::support::{Project, READABLE, events, table};
use dwh_core::testing::TestDb;
use serde_json::Value;
use std::fs;

fn finding(report: &Value, word: &str) -> (String, String) {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|found| found["check"] == word && found["severity"] != "ok");
    let found = found.unwrap_or_else(|| panic!("no {word}: {report:#}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("message"), text("remedy"))
}

#[tokio::test]
async fn a_trigger_that_changes_values_is_found_by_verify() {
    let (db, project) = events("words_trigger").await;
    db.tgt(
        "create function bronze.shout() returns trigger language plpgsql as 'begin new.note := upper(new.note); return new; end';
         create trigger shout before insert on bronze.events for each row execute function bronze.shout()",
    )
    .await;
    let (message, _) = finding(&project.json(&["check", "events"]), "trigger");
    assert!(message.contains("change their values, which `dwh verify` finds and a load does not"), "{message}");
    project.ok(&["run", "events"]);
    let verified = project.fails(4, &["verify", "events"]);
    assert_eq!(verified.json()["tables"][0]["different"], 100, "{}", verified.all());
}

#[tokio::test]
async fn a_key_that_is_left_out_is_said_to_be_left_out() {
    let db = TestDb::new("words_key").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.t (id int, g int generated always as (id * 3) stored, at timestamptz not null default now(), primary key (g))"
    ))
    .await;
    let more = "watermark = \"at\"\nkey = [\"g\"]\nexclude = [\"g\"]";
    let project = Project::new(&db, &table("t", "app.t", "incremental", more));
    let output = project.dwh(&["migrate"]);
    assert_eq!(output.code, 2, "{}", output.all());
    assert!(output.stderr.contains("exclude") && !output.stderr.contains("not among"), "{}", output.all());
}

#[tokio::test]
async fn a_generated_watermark_is_not_told_to_have_a_default() {
    let db = TestDb::new("words_generated").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.t (id int primary key, taken timestamptz, at timestamptz generated always as (taken) stored);
         create index on app.t (at); insert into app.t (id) values (1)"
    ))
    .await;
    let more = "watermark = \"at\"\nkey = [\"id\"]";
    let project = Project::new(&db, &table("t", "app.t", "incremental", more));
    project.ok(&["migrate"]);
    let report = project.fails(4, &["check"]).json();
    let (message, remedy) = finding(&report, "watermark_default");
    assert!(message.contains("is generated") && !remedy.contains("set default"), "{message}: {remedy}");
    let (_, remedy) = finding(&report, "watermark_rows");
    assert!(remedy.contains("generated from") && !remedy.contains("update"), "{remedy}");
    let failure = project.fails(4, &["run"]).failure("t");
    assert!(failure.hint.contains("generated from") && !failure.hint.contains("default"), "{failure:?}");
}

#[tokio::test]
async fn the_rows_of_an_infinite_watermark_are_shown_by_the_hint() {
    let (db, project) = events("words_infinite").await;
    db.src("insert into app.events values (999, 'x', 'infinity')").await;
    let failure = project.fails(4, &["run", "events"]).failure("events");
    let sql = failure.hint.split('`').find(|part| part.starts_with("select")).expect("a statement");
    assert_eq!(db.source().query(sql, &[]).await.expect("it works").len(), 1, "{failure:?}");
}

#[tokio::test]
async fn a_file_without_a_manifest_promises_nothing() {
    let (db, project) = events("words_rows").await;
    let folder = db.blobs().join("test/exports/events");
    fs::create_dir_all(&folder).expect("folder");
    fs::write(
        folder.join("hand.csv"),
        "id,note,recorded_at\n5,x,2026-01-01 00:00:00+00\n\\.\n6,x,2026-01-01 00:00:00+00\n",
    )
    .expect("written");
    let path = "test/exports/events/hand.csv";
    let args = ["load", "--table", "events", "--csv-path", path, "--accept-unverified"];
    let output = project.dwh(&args);
    // From version 18 on the server takes the line that ended a CSV before for a row, and refuses it.
    assert_eq!(output.code, 4, "{}", output.all());
    assert!(!output.stderr.contains("manifest promises"), "{}", output.all());
}

#[tokio::test]
async fn who_finds_a_table_held_is_told_what_can_be_typed() {
    let (db, project) = events("words_held").await;
    project.ok(&["extract", "events"]);
    db.tgt("begin; select pg_advisory_xact_lock(hashtextextended('dwh dwh_control events', 0))").await;
    for (verb, way) in [
        (&["recover", "events"][..], "dwh run --wait"),
        (&["run", "events"], "dwh run --wait"),
        (&["rebuild", "events", "--reset"], "call it again"),
    ] {
        let output = project.dwh(verb);
        assert_eq!(output.code, 5, "{}", output.all());
        let told = output.stdout + &output.stderr;
        assert!(told.contains(way) && !told.contains("call with `--wait`"), "{verb:?}: {told}");
    }
}
