//! `dwh runs`: its filters, and everything that is known of one run.

use serde_json::Value;
use std::fs;

use crate::support::{events, files, quoted};

fn ids(report: &Value) -> Vec<i64> {
    report["runs"].as_array().expect("runs").iter().map(|run| run["run_id"].as_i64().expect("run_id")).collect()
}

#[tokio::test]
async fn filters_take_what_they_say() {
    let (db, project) = events("runs_filters").await;
    project.ok(&["run", "events"]);
    project.ok(&["run", "other"]);
    db.src("alter table app.other rename to gone").await;
    assert_ne!(project.dwh(&["run", "other"]).code, 0);
    project.ok(&["replay", "events"]);
    let log = project.json(&["runs"]);
    let all = ids(&log);
    assert_eq!(all.len(), 4, "{log:#}");
    let began = |at: usize| log["runs"][at]["run_started_at"].as_str().expect("a moment").to_owned();
    for (args, expected) in [
        (vec!["--table", "other"], &[all[1], all[2]][..]),
        (vec!["--table", "oth*"], &[all[1], all[2]]),
        (vec!["--table", "events", "--table", "other"], &all),
        (vec!["--failed"], &[all[1]]),
        (vec!["--status", "failed"], &[all[1]]),
        (vec!["--status", "loaded", "--status", "failed"], &all),
        (vec!["--status", "extracting"], &[]),
        (vec!["--kind", "replay"], &[all[0]]),
        (vec!["--kind", "run", "--limit", "1"], &[all[1]]),
        (vec!["--since", &began(1)], &[all[0], all[1]]),
        (vec!["--until", &began(2)], &[all[2], all[3]]),
        (vec!["--since", &began(2), "--until", &began(1)], &[all[1], all[2]]),
        (vec!["--table", "events", "--failed"], &[]),
    ] {
        let args = [&["runs"], args.as_slice()].concat();
        assert_eq!(ids(&project.json(&args)), expected, "{args:?}");
    }
    assert_eq!(project.dwh(&["runs", "--table", "nothing*"]).code, 2);
    assert_eq!(project.dwh(&["runs", "--failed", "--status", "loaded"]).code, 2);
    assert_eq!(project.dwh(&["runs", "--limit", "1", "show", "1"]).code, 2);
}

#[tokio::test]
async fn one_run_names_what_held_its_bound_and_where_its_csv_is() {
    let (db, project) = events("runs_show").await;
    project.ok(&["run", "events"]);
    let first = ids(&project.json(&["runs"]))[0];
    // A transaction that is open while the next run looks.
    let writer = db.another_source().await;
    writer.batch_execute("begin; insert into app.events (id) values (1001)").await.expect("an open transaction");
    let pid: i32 = writer.query_one("select pg_backend_pid()", &[]).await.expect("pid").get(0);
    db.src("insert into app.events (id) values (1002)").await;
    project.ok(&["run", "events"]);
    writer.batch_execute("commit").await.expect("commit");
    project.ok(&["run", "events"]);
    let third = ids(&project.json(&["runs", "--limit", "1"]))[0];
    let second = third - 1;

    let show = |run_id: i64| project.json(&["runs", "show", &run_id.to_string()]);
    let report = show(second);
    assert_eq!(report["run"]["run_id"], second);
    let bound = report["bound"].as_str().expect("a sentence");
    assert!(bound.contains(&format!("a transaction of pid {pid}, ")) && bound.ends_with("was still open"), "{bound}");
    assert_eq!((&report["previous"]["run_id"], &report["previous"]["joins"]), (&first.into(), &true.into()));
    assert_eq!((&report["next"]["run_id"], &report["next"]["joins"]), (&third.into(), &true.into()));
    assert_eq!((&show(first)["previous"], &show(third)["next"]), (&Value::Null, &Value::Null));
    assert_eq!(report["manifest"]["columns"], 3);
    assert_eq!(report["manifest"]["snapshot"]["database"], db.name());
    assert_eq!((&report["csv"]["place"], &report["advice"]), (&"processed".into(), &Value::Null));
    let path = report["csv"]["path"].as_str().and_then(|path| path.strip_prefix("file://")).expect("a file");
    assert_eq!(fs::metadata(path).expect("it is there").len(), report["csv"]["stored_bytes"].as_u64().expect("bytes"));
    let text = project.ok(&["runs", "show", &second.to_string()]).stdout;
    assert!(text.contains(&format!("previous   run {first}, the windows join\n")), "{text}");

    // Time that no run has read.
    db.tgt(&format!(
        "update dwh_control.extract_runs set window_low = window_low + interval '1 us' where run_id = {third}"
    ))
    .await;
    assert_eq!((&show(second)["next"]["joins"], &show(third)["previous"]["joins"]), (&false.into(), &false.into()));

    for file in files(&db.blobs().join("test/processed/events")) {
        fs::remove_file(file).expect("removed");
    }
    let report = show(second);
    assert_eq!((&report["csv"]["place"], &report["manifest"]), (&"gone".into(), &Value::Null));
}

#[tokio::test]
async fn one_run_that_is_not_over_or_went_wrong_says_what_to_do() {
    let (db, project) = events("runs_show_open").await;
    let run_id = project.json(&["extract", "events"])["run_id"].to_string();
    let report = project.json(&["runs", "show", &run_id]);
    assert_eq!((&report["csv"]["place"], &report["csv"]["complete"]), (&"exports".into(), &true.into()));
    assert!(report["advice"].as_str().is_some_and(|advice| advice.contains("`dwh recover`")), "{report:#}");
    assert_eq!(report["seconds"], Value::Null);
    // The store that it names is another one, and the new one does not have it: that is no error.
    let moved = project.config_with(&quoted(&db.blob_url()), &quoted(&format!("{}/elsewhere", db.blob_url())));
    assert_eq!(moved.json(&["runs", "show", &run_id])["csv"]["place"], "gone");

    project.ok(&["recover", "--set-aside", &run_id]);
    let report = project.json(&["runs", "show", &run_id]);
    assert_eq!((&report["run"]["status"], &report["csv"]["place"]), (&"failed".into(), &"set_aside".into()));
    assert_eq!(report["manifest"]["rows"], 100);

    db.src("alter table app.other rename to gone").await;
    assert_ne!(project.dwh(&["run", "other"]).code, 0);
    let failed = ids(&project.json(&["runs", "--failed"]))[0].to_string();
    let report = project.json(&["runs", "show", &failed]);
    assert_eq!((&report["csv"]["place"], &report["bound"]), (&"none".into(), &Value::Null));
    assert!(report["advice"].as_str().is_some_and(|advice| advice.contains("the next `dwh run`")), "{report:#}");
    assert!(report["run"]["error_message"].as_str().is_some_and(|message| message.contains("app.other")), "{report:#}");

    let error = &project.fails(4, &["runs", "show", "4711"]).json()["error"];
    assert_eq!((&error["code"], &error["message"]), (&"not_found".into(), &"run 4711 is not in the run log".into()));
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("`dwh runs`")), "{error:#}");
}
