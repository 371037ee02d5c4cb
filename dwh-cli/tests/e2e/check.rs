//! `check` and its gates from end to end: what people see, what programs read, and how it ends.

use crate::support::{Project, READABLE, table};
use dwh_core::testing::{S3Server, TestDb};
use serde_json::Value;

const TABLES: &str = "
    create table app.trips (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create index on app.trips (recorded_at);
    insert into app.trips select i, 'x', now() - i * interval '1 minute' from generate_series(1, 300) i;
    create table app.zones (id int primary key, name text, area geometry(polygon, 4326));
    insert into app.zones select i, 'z' || i, st_buffer(st_setsrid(st_makepoint(36.8, -1.3 + i / 100.0), 4326), 0.01)
        from generate_series(1, 8) i;";

async fn project(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(&format!("create schema app; {READABLE} {TABLES}")).await;
    let trips = table("trips", "app.trips", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]");
    let project = Project::new(&db, &format!("{trips}{}", table("zones", "app.zones", "snapshot", "")));
    (db, project)
}

/// The findings that are not well: subject, word, severity. A full disk or an open file of the test say nothing.
fn problems(report: &Value) -> Vec<(String, String, String)> {
    let findings = report["findings"].as_array().expect("findings");
    let text = |finding: &Value, key: &str| finding[key].as_str().expect(key).to_owned();
    findings
        .iter()
        .map(|finding| (text(finding, "subject"), text(finding, "check"), text(finding, "severity")))
        .filter(|(_, word, severity)| severity != "ok" && word != "space" && word != "secrets")
        .collect()
}

fn told<'a>(report: &'a Value, subject: &str, word: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["subject"] == subject && finding["check"] == word);
    found.unwrap_or_else(|| panic!("no {word} of {subject}: {report:#}"))
}

#[tokio::test]
async fn the_gates_are_passed_one_after_the_other() {
    let (db, project) = project("check_gates").await;
    // Nothing is migrated yet.
    let report = project.fails(4, &["check", "--gate", "deploy"]).json();
    assert_eq!(told(&report, "target", "control_schema")["remedy"], "dwh migrate");
    project.ok(&["migrate"]);
    let report = project.fails(4, &["check", "--gate", "deploy"]).json();
    assert_eq!(report["gate"], "deploy");
    assert_eq!(problems(&report), [("gate".into(), "manual_run".into(), "failure".into())]);
    assert_eq!(told(&report, "gate", "manual_run")["remedy"], "dwh run trips");
    let text = project.dwh(&["check", "--gate", "deploy"]);
    assert_eq!(text.code, 4, "{}", text.all());
    assert!(text.stdout.starts_with("FAILURE  gate, manual_run\n"), "{}", text.all());
    assert!(text.stdout.trim_end().ends_with("1 failure; gate deploy: not passed"), "{}", text.all());

    project.ok(&["run", "trips"]);
    let report = project.json(&["check", "--gate", "deploy"]);
    assert!(problems(&report).is_empty(), "{report:#}");
    assert!(project.json(&["check"])["gate"].is_null());

    let report = project.fails(4, &["check", "--gate", "first-run"]).json();
    assert_eq!(problems(&report), [("table `zones`".into(), "loaded_run".into(), "failure".into())]);
    project.ok(&["run"]);
    let text = project.ok(&["check", "--gate", "first-run"]);
    assert!(text.stdout.contains("300 rows in the source, 300 in bronze"), "{}", text.all());
    assert!(text.stdout.contains("8 of 8 geometries of `area`"), "{}", text.all());
    assert!(text.stdout.trim_end().ends_with("0 warnings, 0 failures; gate first-run: passed"), "{}", text.all());
    db.tgt("delete from bronze.zones where id = 3").await;
    let report = project.fails(4, &["check", "--gate", "first-run"]).json();
    assert_eq!(problems(&report), [("table `zones`".into(), "row_count".into(), "failure".into())]);

    let report = project.fails(4, &["check", "--gate", "steady"]).json();
    assert!(
        problems(&report).iter().all(|(_, word, severity)| word == "history" && severity == "failure"),
        "{report:#}"
    );
    db.tgt("update dwh_control.extract_runs set run_started_at = run_started_at - interval '8 hours'").await;
    let report = project.json(&["check", "--gate", "steady"]);
    assert!(problems(&report).is_empty(), "{report:#}");
    db.tgt(
        "update dwh_control.extract_runs set run_finished_at = run_finished_at - interval '8 hours'; \
            update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at - interval '8 hours'",
    )
    .await;
    let report = project.fails(4, &["check", "--gate", "steady"]).json();
    assert_eq!(told(&report, "table `trips`", "fresh")["severity"], "failure");
}

// The server is in this process, and the command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_tried_out_like_a_folder() {
    let (db, project) = project("check_s3").await;
    let server = S3Server::start_in_process().await;
    let folder = format!("url = \"{}\"", db.blob_url());
    let bucket = format!("url = \"s3://{}/wip\"\nendpoint = \"{}\"", server.bucket, server.endpoint);
    let project = project
        .config_with(&folder, &bucket)
        .env("AWS_ACCESS_KEY_ID", &server.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &server.secret_key);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    for args in [&["check"][..], &["check", "--gate", "deploy"], &["check", "--gate", "first-run"]] {
        let report = project.json(args);
        // s3s-fs does not list uploads.
        let found: Vec<_> = problems(&report).into_iter().filter(|(_, word, _)| word != "uploads").collect();
        assert!(found.is_empty(), "{report:#}");
    }
    let report = project.json(&["check"]);
    for word in ["tls", "write", "conditional_put", "server_copy", "paging", "multipart", "uploads"] {
        told(&report, "blob", word);
    }
}

#[tokio::test]
async fn a_gate_that_there_is_not_is_a_mistake() {
    let (_db, project) = project("check_mistake").await;
    let output = project.dwh(&["check", "--gate", "prod"]);
    assert_eq!(output.code, 2, "{}", output.all());
    assert!(output.stderr.contains("first-run"), "{}", output.all());
}

#[tokio::test]
async fn relations_that_nobody_copies_are_named_and_can_be_added() {
    let (db, project) = project("check_not_copied").await;
    project.ok(&["migrate"]);
    let none = project.json(&["check"]);
    assert!(none["findings"].as_array().expect("findings").iter().all(|one| one["check"] != "not_copied"), "{none:#}");
    db.src(
        "create view app.seen as select 1 as one;
         do $$ begin for i in 1..7 loop execute format('create table app.new_%s (id int primary key)', i); end loop; end $$",
    )
    .await;
    let report = project.json(&["check"]);
    let found = told(&report, "source app", "not_copied");
    assert_eq!(found["severity"], "ok");
    assert_eq!(
        found["message"],
        "7 relations are in no table of the configuration: app.new_1, app.new_2, app.new_3, app.new_4, app.new_5, and 2 more"
    );
    let text = project.ok(&["check"]).stdout;
    assert!(text.contains("note     source app, not_copied\n") && text.contains("app.new_1, app.new_2"), "{text}");
    let one = project.json(&["check", "trips"]);
    assert!(one["findings"].as_array().expect("findings").iter().all(|one| one["check"] != "not_copied"), "{one:#}");

    let remedy: Vec<&str> = found["remedy"].as_str().expect("a remedy").split(' ').collect();
    assert_eq!(remedy[0], "dwh");
    project.ok(&remedy[1..]);
    project.ok(&["migrate"]);
    let after = project.json(&["check"]);
    assert!(
        after["findings"].as_array().expect("findings").iter().all(|one| one["check"] != "not_copied"),
        "{after:#}"
    );
}
