//! What a first-time user meets in the first ten minutes: one clear sentence, a hint that works, the right exit code.

use crate::support::{Output, Project};
use dwh_core::testing::TestDb;

const TRIPS: &str = "create schema fleet;
    create table fleet.trips (id bigint primary key, recorded_at timestamptz not null default now());
    create index on fleet.trips (recorded_at);
    grant usage on schema fleet to app_ro;
    grant select on fleet.trips to app_ro;
    insert into fleet.trips select generate_series(1, 10);";

const CONFIG: &str = r#"
[[table]]
name = "trips"
relation = "fleet.trips"
mode = "incremental"
watermark = "recorded_at"
key = ["id"]
"#;

/// Nobody listens there: the port of the discard service, on loopback.
const NOBODY: &str = "127.0.0.1:9";

async fn fleet(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(TRIPS).await;
    let project = Project::new(&db, CONFIG);
    (db, project)
}

/// The one error of a command: its exit code, the words that its sentence must have, and those of its hint.
fn assert_error(output: &Output, code: i32, sentence: &[&str], hint: &[&str]) {
    let text = output.all();
    assert_eq!(output.code, code, "{text}");
    let said = output.stderr.clone() + &output.stdout;
    let errors: Vec<&str> = said.split("hint:").collect();
    assert!(errors.len() >= 2, "no hint in:\n{text}");
    for word in sentence {
        assert!(errors[0].contains(word), "`{word}` is not in the sentence:\n{text}");
    }
    for word in hint {
        assert!(errors[1..].iter().any(|part| part.contains(word)), "`{word}` is not in the hint:\n{text}");
    }
    assert!(!said.contains("it's 50%") && !said.contains("it%27s"), "the password is printed:\n{text}");
    assert!(!said.contains("panicked"), "{text}");
}

#[tokio::test]
async fn no_server() {
    let (db, project) = fleet("no_server").await;
    let source = project.config_with(&db.source_url_as("app_ro"), &format!("postgresql://x@{NOBODY}/y"));
    project.ok(&["migrate"]);
    assert_error(&source.dwh(&["run"]), 3, &["trips", "source `app`", NOBODY], &["pg_isready", "host and port"]);
    let target = project.config_with(&db.target_url_as("dwh_loader"), &format!("postgresql://x@{NOBODY}/y"));
    assert_error(&target.dwh(&["run"]), 3, &["target", NOBODY], &["pg_isready", "host and port"]);
    assert_error(&target.dwh(&["status"]), 3, &["target", NOBODY], &["pg_isready", "host and port"]);
}

#[tokio::test]
async fn wrong_password() {
    let (db, project) = fleet("wrong_password").await;
    project.ok(&["migrate"]);
    let url = db.source_url_as("app_ro");
    let wrong = url.replacen(":it", ":wrong", 1);
    assert_error(&project.config_with(&url, &wrong).dwh(&["run"]), 3, &["password", "app_ro"], &["password"]);
    let url = db.target_url_as("dwh_loader");
    let wrong = url.replacen(":it", ":wrong", 1);
    assert_error(&project.config_with(&url, &wrong).dwh(&["run"]), 3, &["password", "dwh_loader"], &["password"]);
}

#[tokio::test]
async fn missing_database() {
    let (db, project) = fleet("missing_database").await;
    let url = db.target_url_as("dwh_loader");
    let project = project.config_with(&url, &url.replace(db.name(), "nowhere"));
    assert_error(&project.dwh(&["run"]), 4, &["target", "nowhere"], &[]);
}

#[tokio::test]
async fn before_migrate() {
    let (_db, project) = fleet("before_migrate").await;
    assert_error(&project.dwh(&["run"]), 4, &["control"], &["dwh migrate"]);
    assert_error(&project.dwh(&["status"]), 4, &["control"], &["dwh migrate"]);
}

#[tokio::test]
async fn missing_bronze_table() {
    let (db, project) = fleet("missing_bronze_table").await;
    project.ok(&["migrate"]);
    db.tgt("drop table bronze.trips").await;
    assert_error(&project.dwh(&["run"]), 4, &["trips", "bronze"], &["dwh migrate"]);
}

#[tokio::test]
async fn missing_relation_and_schema() {
    let (_db, project) = fleet("missing_relation").await;
    let typo = project.config_with("fleet.trips", "fleet.tripz");
    assert_error(&typo.dwh(&["migrate"]), 4, &["fleet.tripz"], &["fleet.trips"]);
    let typo = project.config_with("fleet.trips", "flet.trips");
    assert_error(&typo.dwh(&["migrate"]), 4, &["flet"], &[]);
}

#[tokio::test]
async fn missing_watermark_column() {
    let (_db, project) = fleet("missing_watermark").await;
    let typo = project.config_with("watermark = \"recorded_at\"", "watermark = \"recorded\"");
    assert_error(&typo.dwh(&["migrate"]), 2, &["trips", "`recorded`"], &["recorded_at"]);
}

#[tokio::test]
async fn missing_key() {
    let (db, project) = fleet("missing_key").await;
    project.ok(&["migrate"]);
    db.tgt("alter table bronze.trips drop constraint trips_pkey").await;
    assert_error(&project.dwh(&["run"]), 4, &["trips", "PRIMARY KEY"], &["alter table", "add primary key"]);
}

#[tokio::test]
async fn missing_privilege() {
    let (db, project) = fleet("missing_privilege").await;
    db.src("revoke select on fleet.trips from app_ro").await;
    assert_error(&project.dwh(&["migrate"]), 4, &["fleet.trips"], &["grant select"]);
}

#[tokio::test]
async fn unknown_table() {
    let (_db, project) = fleet("unknown_table").await;
    assert_error(&project.dwh(&["run", "tripz"]), 2, &["tripz"], &["trips"]);
    assert_error(&project.dwh(&["extract", "tripz"]), 2, &["tripz"], &["trips"]);
}

#[tokio::test]
async fn unreachable_bucket() {
    let (db, project) = fleet("unreachable_bucket").await;
    project.ok(&["migrate"]);
    let s3 = project.config_with(
        &format!("url = \"{}\"", db.blob_url()),
        &format!("url = \"s3://bucket\"\nendpoint = \"http://{NOBODY}\""),
    );
    let s3 = s3.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "canary-secret");
    let output = s3.dwh(&["run"]);
    assert_error(&output, 3, &["trips", NOBODY], &["endpoint"]);
    assert!(!output.all().contains("canary-secret"));
    let rows: i64 = db.target().query_one("select count(*) from bronze.trips", &[]).await.expect("count").get(0);
    assert_eq!(rows, 0, "nothing is loaded without its CSV");
}

#[tokio::test]
async fn typo_in_the_file() {
    let (_db, project) = fleet("typo_in_the_file").await;
    let typo = project.config_with("watermark =", "watermrk =").config_with("[[table]]", "[[table]]\nmod = \"x\"");
    let output = typo.dwh(&["run"]);
    assert_error(&output, 2, &["watermrk", "mod", "dwh.toml"], &["dwh config schema"]);
    assert!(output.all().contains("watermark"), "{}", output.all());
}

#[tokio::test]
async fn missing_file_and_variable() {
    let (_db, project) = fleet("missing_file").await;
    assert_error(&project.dwh(&["--config", "nowhere.toml", "run"]), 2, &["nowhere.toml"], &["--config"]);
    let unset = project
        .config_with("[project]", "[project]\ncadence = \"${DWH_TEST_UNSET}\"")
        .config_with("cadence = \"3h\"\n", "");
    assert_error(&unset.dwh(&["run"]), 2, &["DWH_TEST_UNSET"], &[]);
}

#[tokio::test]
async fn a_superuser_is_warned_of_and_works() {
    let (db, project) = fleet("superuser").await;
    project.ok(&["migrate"]);
    assert!(!project.ok(&["run"]).stderr.contains("superuser"));
    let superuser = project.config_with(&db.target_url_as("dwh_loader"), &db.target_url());
    let output = superuser.ok(&["run"]);
    assert_eq!(output.stderr.matches("superuser").count(), 1, "{}", output.all());
    let check = superuser.dwh(&["check"]);
    assert_eq!(check.code, 4, "{}", check.all());
    assert!(check.stdout.contains("superuser"), "{}", check.all());
}

#[tokio::test]
async fn a_key_that_was_changed() {
    let (db, project) = fleet("changed_key").await;
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    // Bronze has a primary key already, and a table has one at most.
    let changed = project.config_with("key = [\"id\"]", "key = [\"id\", \"recorded_at\"]");
    let refused = changed.dwh(&["run"]);
    assert_error(&refused, 4, &["trips", "(id, recorded_at)"], &["create unique index"]);
    let sql =
        refused.stderr.split("hint: in the target: ").nth(1).expect("a statement").lines().next().expect("a line");
    db.tgt(sql).await;
    changed.ok(&["run"]);
}
