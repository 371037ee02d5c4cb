//! `dwh alert`: what is wrong is told once, by one machine, to servers that are there, and its end once.

mod servers;
mod tls;

use serde_json::Value;
use std::fs;

use crate::support::{EVENTS, Output, Project, number, table};
use dwh_core::testing::TestDb;
use servers::{Answer, Server};

/// Two tables that were never loaded, and the alerts given.
async fn fleet(test: &str, alerts: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(EVENTS).await;
    let config = table("events", "app.events", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]")
        + &table("other", "app.other", "snapshot", "allow_empty = true")
        + alerts;
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    (db, project)
}

fn webhook(name: &str, server: &Server) -> String {
    format!("[[alert]]\nname = \"{name}\"\nwebhook = \"http://127.0.0.1:{}/canary\"\ntimeout = \"1s\"\n", server.port)
}

/// No address, no secret, nothing of what a server says.
fn discreet(output: &Output, server: &Server) {
    let all = output.all();
    assert!(!all.contains("canary") && !all.contains(&server.port.to_string()), "{all}");
}

/// What an alert says of itself in the report.
fn of<'a>(report: &'a Value, alert: &str) -> &'a Value {
    let alerts = report["alerts"].as_array().expect("alerts");
    alerts.iter().find(|told| told["alert"] == alert).expect("the alert")
}

#[tokio::test]
async fn a_thing_is_told_once_by_every_way_and_again_and_its_end_once() {
    let (http, smtp) = (Server::http(), Server::smtp());
    let mail = format!(
        "[[alert]]\nname = \"mail\"\nsmtp = \"smtp://me:canary@127.0.0.1:{}\"\nfrom = \"dwh <dwh@example.org>\"\n\
         to = [\"a@example.org\", \"b@example.org\"]\n",
        smtp.port
    );
    let own = "[[alert]]\nname = \"own\"\ncommand = [\"cp\", \"/dev/stdin\", \"told.json\"]\n";
    let (db, project) = fleet("alert_once", &(webhook("team", &http) + &mail + own)).await;
    let told = || fs::read_to_string(project.folder().join("told.json")).ok();
    let nothing = |output: &Output| {
        assert_eq!((http.take().len(), smtp.take().len()), (0, 0), "{}", output.all());
    };

    project.ok(&["alert", "--test"]);
    assert!(http.texts()[0].contains("test of alert `team`"));
    let mails = smtp.take();
    assert!(
        mails.len() == 1 && mails[0].contains("AUTH PLAIN") && mails[0].contains("RCPT TO:<b@example.org>"),
        "{mails:?}"
    );
    assert!(told().is_some_and(|json| json.contains("test of alert `own`")));

    let dry = project.ok(&["alert", "--dry-run"]);
    assert!(
        dry.stdout.contains("alert `team` (webhook): would send") && dry.stdout.contains("`other`"),
        "{}",
        dry.all()
    );
    nothing(&dry);
    assert_eq!(number(&db, "select count(*) from dwh_control.alerts_sent").await, 0);

    let output = project.ok(&["alert"]);
    assert!(output.stdout.contains("alert `mail` (smtp): sent: dwh `"), "{}", output.all());
    discreet(&output, &http);
    let texts = http.texts();
    assert!(texts.len() == 1 && texts[0].contains(": 2 things need attention\n"), "{texts:?}");
    assert!(texts[0].contains("- 2 tables, `events`, `other`: ") && texts[0].contains("\n  → dwh "), "{texts:?}");
    let mails = smtp.take();
    assert!(mails.len() == 1 && mails[0].contains("2 things need attention"), "{mails:?}");
    let json: Value = serde_json::from_str(&told().expect("told")).expect("JSON");
    assert_eq!((json["things"].as_array().map(Vec::len), &json["things"][0]["due"]), (Some(2), &"new".into()));
    nothing(&project.ok(&["alert"]));

    db.tgt("update dwh_control.alerts_sent set sent_at = sent_at - interval '7 hours' where subject = 'table other'")
        .await;
    let report = project.json(&["alert"]);
    assert_eq!(of(&report, "mail")["things"][0]["due"], "again", "{report:#}");
    assert!(http.texts()[0].contains("- table `other`: ") && smtp.take().len() == 1);
    nothing(&project.ok(&["alert"]));

    project.ok(&["run"]);
    project.ok(&["alert", "events"]);
    assert!(http.texts()[0].contains(": 1 is over\n\nOver:\n- table `events`: "), "of what was looked at");
    project.ok(&["alert"]);
    assert!(http.texts()[0].contains("- table `other`: "), "the rest");
    assert_eq!(smtp.take().len(), 2);
    nothing(&project.ok(&["alert"]));
}

#[tokio::test]
async fn of_two_commands_one_sends_and_a_dead_one_is_replaced() {
    let http = Server::http();
    let (db, project) = fleet("alert_two", &webhook("team", &http).replace("1s", "60s")).await;
    http.answers(Answer::Silence);
    let mut first = project.spawn(&["alert"]);
    http.wait_for(1);
    let second = project.ok(&["alert"]);
    assert!(second.stdout.contains("nothing to tell"), "{}", second.all());
    http.answers(Answer::Code(200));
    assert!(first.wait().expect("ends").success());
    assert_eq!(http.take().len(), 1);

    // All at once: who comes first is no matter.
    db.tgt("update dwh_control.alerts_sent set sent_at = sent_at - interval '7 hours'").await;
    let mut many: Vec<_> = (0..4).map(|_| project.spawn(&["alert"])).collect();
    for child in &mut many {
        assert!(child.wait().expect("ends").success());
    }
    assert_eq!(http.take().len(), 1);

    db.tgt("update dwh_control.alerts_sent set sent_at = sent_at - interval '7 hours'").await;
    http.answers(Answer::Silence);
    let mut dies = project.spawn(&["alert"]);
    http.wait_for(1);
    dies.kill().expect("kill -9");
    dies.wait().expect("dead");
    http.answers(Answer::Code(200));
    http.take();
    project.ok(&["alert"]);
    assert_eq!(http.take().len(), 0, "it may be sending still");
    db.tgt("update dwh_control.alerts_sent set claimed_at = claimed_at - interval '5 minutes'").await;
    project.ok(&["alert"]);
    assert_eq!(http.take().len(), 1, "taken over");
    assert_eq!(number(&db, "select count(*) from dwh_control.alerts_sent where claim is not null").await, 0);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_and_due_again_and_fails_no_run() {
    let (http, smtp) = (Server::http(), Server::smtp());
    let mail = format!(
        "[[alert]]\nname = \"mail\"\nsmtp = \"smtp://127.0.0.1:{}\"\nfrom = \"d@example.org\"\nto = [\"a@example.org\"]\ntimeout = \"1s\"\n",
        smtp.port
    );
    let others = "[[alert]]\nname = \"down\"\nwebhook = \"http://127.0.0.1:1/canary\"\n\
        [[alert]]\nname = \"fails\"\ncommand = [\"false\", \"canary\"]\n\
        [[alert]]\nname = \"hangs\"\ncommand = [\"sleep\", \"600\"]\ntimeout = \"1s\"\n\
        [[alert]]\nname = \"none\"\ncommand = [\"/nowhere/canary\"]\n";
    let (db, project) = fleet("alert_down", &(webhook("team", &http) + &mail + others)).await;
    http.answers(Answer::Code(500));
    smtp.answers(Answer::Code(550));
    let why =
        |report: &Value, alert: &str| of(report, alert)["error"]["message"].as_str().unwrap_or_default().to_owned();
    let output = project.fails(3, &["alert"]);
    let report = output.json();
    for (alert, words) in [
        ("team", "alert `team`: not sent by `webhook`: the server answered 500"),
        ("mail", "alert `mail`: not sent by `smtp`: the server answered 550"),
        ("down", "no connection to the server"),
        ("fails", "the program ended with exit status: 1"),
        ("hangs", "nothing came of it within 1.0 s"),
        ("none", "the program cannot be started"),
    ] {
        assert!(why(&report, alert).contains(words), "{alert}: {report:#}");
        assert_eq!(of(&report, alert)["sent"], false);
    }
    discreet(&output, &http);
    discreet(&project.dwh(&["alert"]), &http);
    http.answers(Answer::Silence);
    smtp.answers(Answer::Silence);
    let report = project.fails(3, &["alert", "--test"]).json();
    assert!(["team", "mail"].iter().all(|alert| why(&report, alert).contains("within 1.0 s")), "{report:#}");
    http.answers(Answer::Code(302));
    let report = project.fails(3, &["alert"]).json();
    assert!(why(&report, "team").contains("answered 302"), "nobody is followed: {report:#}");
    http.answers(Answer::Code(204));
    smtp.answers(Answer::Code(200));
    http.take();
    smtp.take();
    project.fails(3, &["alert"]);
    assert_eq!((http.take().len(), smtp.take().len()), (1, 1), "due as before, whatever the others do");

    // A run tells at its end, and is what it was.
    let runs = project.config_with("[project]\n", "[project]\nalert_after_run = true\n");
    let run = runs.ok(&["run"]);
    assert!(http.texts()[0].contains("2 are over"), "{}", run.all());
    db.src("alter table app.other rename to gone").await;
    http.answers(Answer::Code(500));
    let run = runs.dwh(&["run"]);
    assert_eq!(run.code, project.dwh(&["run"]).code, "{}", run.all());
    assert!(
        run.code != 0 && run.stderr.contains("warning: ") && run.stderr.contains("alert `team`: not sent"),
        "{}",
        run.all()
    );
    discreet(&run, &http);
    http.answers(Answer::Code(200));
    http.take();
    project.dwh(&["alert"]);
    let texts = http.texts();
    assert!(texts.len() == 1 && texts[0].contains("→ dwh runs show "), "{texts:?}");

    // What grew old is not mended.
    let old = "update dwh_control.extract_runs set run_started_at = run_started_at - interval '25 hours',
        run_finished_at = run_finished_at - interval '25 hours' where table_name = 'other'";
    db.tgt(old).await;
    let lag = "update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at - interval '25 hours'";
    db.tgt(&format!("{lag} where table_name = 'other'")).await;
    project.dwh(&["alert"]);
    let texts = http.texts();
    assert!(texts.len() == 1 && !texts[0].contains("Over:") && texts[0].contains("last loaded"), "{texts:?}");
    db.src("alter table app.gone rename to other").await;
    project.ok(&["run", "other"]);
    project.dwh(&["alert"]);
    assert!(http.texts()[0].contains(": 2 are over\n"), "failure and age");
}

#[tokio::test]
async fn what_was_not_looked_at_is_not_over() {
    let http = Server::http();
    let (_db, project) = fleet("alert_part", &(webhook("team", &http) + "[models]\ndir = \"models\"\n")).await;
    project.ok(&["run"]);
    project.ok(&["alert"]);
    let texts = http.texts();
    assert!(texts.len() == 1 && texts[0].contains(": 1 thing needs attention\n- machine "), "{texts:?}");
    // Of one table: nobody looked for the models.
    project.ok(&["alert", "events"]);
    project.ok(&["alert"]);
    assert_eq!(http.take().len(), 0);
    fs::create_dir(project.folder().join("models")).expect("the folder of the models");
    project.ok(&["alert"]);
    assert!(http.texts()[0].contains(": 1 is over\n"), "once it was looked for");
}

#[tokio::test]
async fn a_clock_that_was_set_back_silences_nobody() {
    let http = Server::http();
    let (db, project) = fleet("alert_clock", &webhook("team", &http)).await;
    project.ok(&["alert"]);
    assert_eq!(http.take().len(), 1);
    // As it stands after a server that was a year ahead.
    let ahead = "update dwh_control.alerts_sent set seen_at = seen_at + interval '1 year', sent_at = sent_at + interval '1 year',
        since = since + interval '1 year'";
    db.tgt(&format!("{ahead}, claim = 'nobody', claimed_at = now() + interval '1 year' where subject = 'table other'"))
        .await;
    db.tgt(&format!("{ahead} where subject = 'table events'")).await;
    let report = project.json(&["alert"]);
    let due: Vec<&Value> =
        of(&report, "team")["things"].as_array().expect("things").iter().map(|one| &one["due"]).collect();
    assert_eq!(due, ["again", "again"], "{report:#}");
    db.tgt(&format!("{ahead} where subject = 'table events'")).await;
    project.ok(&["run"]);
    project.ok(&["alert"]);
    assert!(http.texts().last().is_some_and(|text| text.contains(": 2 are over\n")), "what is over is told");
}

#[tokio::test]
async fn without_alerts_nobody_is_told() {
    let (_db, project) = fleet("alert_none", "").await;
    let output = project.fails(2, &["alert"]);
    assert!(output.stdout.contains("has no `[[alert]]`"), "{}", output.all());
}
