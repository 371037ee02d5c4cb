//! Bronze follows its sources: `migrate --apply-drift`, and `on_new_column = "add"`.

use crate::drift::{Drifted, MODES, kinds};
use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;

/// The tables of a list in the report of `migrate`, sorted.
fn tables(report: &Value, list: &str) -> Vec<String> {
    let entries = report[list].as_array().expect("a list");
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry["table"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

fn both(kinds: &[&str]) -> Vec<String> {
    let mut names: Vec<String> =
        kinds.iter().flat_map(|kind| MODES.map(|mode| format!("{kind}_{}", &mode[..3]))).collect();
    names.sort();
    names
}

const SAFE: [&str; 7] = [
    "const_text",
    "const_mood",
    "plain",
    "nullable",
    "int__bigint",
    "varchar_5___varchar_10_",
    "numeric_6_2___numeric",
];
const LEFT: [&str; 4] = ["text__int", "bigint__int", "renamed", "lost"];

#[tokio::test]
async fn what_loses_nothing_is_done_and_the_rest_is_told() {
    let chosen = |name: &str| SAFE.contains(&name) || LEFT.contains(&name) || name == "uuid";
    let kinds = kinds::columns().into_iter().chain(kinds::numbers()).filter(|kind| chosen(&kind.name)).collect();
    let drifted = Drifted::new("adapt", kinds).await;
    let (db, project) = (&drifted.db, &drifted.project);
    let columns = "select count(*) from information_schema.columns where table_schema = 'bronze'";
    let before = number(db, columns).await;
    let planned = project.fails(4, &["migrate", "--apply-drift", "--dry-run"]).json();
    assert_eq!(number(db, columns).await, before, "a dry run changes nothing");
    assert!(project.json(&["migrate"])["drift_applied"].as_array().expect("a list").is_empty(), "unasked");
    let text = project.dwh(&["migrate", "--apply-drift", "--dry-run"]);
    assert!(
        text.stdout.contains("would change  table `int__bigint_inc`") && text.stdout.contains("LEFT  table `lost_sna`"),
        "{}",
        text.all()
    );
    // What it does is what it said; the rows of the column with a value of its own for each row are left.
    let done = project.fails(4, &["migrate", "--apply-drift"]).json();
    assert_eq!((&done["drift_applied"], &done["drift_left"]), (&planned["drift_applied"], &planned["drift_left"]));
    assert_eq!(tables(&done, "drift_applied"), both(&[&SAFE[..], &["uuid"]].concat()));
    let mut left = both(&LEFT);
    // A lost column and the one that came in its place are told apart.
    left.extend(both(&["renamed"]).into_iter().chain(["uuid_inc", "uuid_not"].map(str::to_owned)));
    left.sort();
    assert_eq!(tables(&done, "drift_left"), left);
    let again = project.fails(4, &["migrate", "--apply-drift"]).json();
    assert!(again["drift_applied"].as_array().expect("a list").is_empty(), "{again:#}");
    let owner = "select count(*) from pg_tables where schemaname = 'bronze' and tableowner <> 'dwh_owner'";
    assert_eq!(number(db, owner).await, 0);
    let rows =
        done["drift_left"].as_array().expect("a list").iter().filter(|left| left["table"].as_str() > Some("uuid"));
    let commands: Vec<String> =
        rows.map(|left| left["remedy"].as_str().expect("a text").trim_matches('`').to_owned()).collect();
    assert_eq!(commands, ["dwh reseed uuid_inc", "dwh reseed --replace uuid_not"]);
    drifted.follow_these(&drifted.hints(), commands).await;
}

#[tokio::test]
async fn a_dba_gets_the_sql_of_what_loses_nothing() {
    let kinds =
        kinds::columns().into_iter().chain(kinds::numbers()).filter(|kind| SAFE.contains(&&*kind.name)).collect();
    let drifted = Drifted::new("adapt_sql", kinds).await;
    let printed = drifted.project.ok(&["migrate", "--apply-drift", "--print-sql"]).stdout;
    let session = drifted.db.another_target().await;
    session.batch_execute(crate::drift::ODD).await.expect("odd settings");
    session.batch_execute(&printed).await.expect("the SQL runs as it is");
    let report = drifted.project.json(&["migrate", "--apply-drift"]);
    assert!(report["drift_applied"].as_array().expect("a list").is_empty(), "{report:#}");
    drifted.project.ok(&["run"]);
    drifted.is_equal(&drifted.project);
}

/// A table of three rows in each mode, loaded once, whose new columns are added by runs.
async fn adding(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    let mut config = String::new();
    db.src(&format!("create schema app; {READABLE}")).await;
    for (name, mode) in [("inc", "incremental"), ("sna", "snapshot")] {
        db.src(&format!(
            "create table app.{name} (id int primary key, at timestamptz not null default now(), v text);
             create index on app.{name} (at); insert into app.{name} (id) select generate_series(1, 3)"
        ))
        .await;
        let own = if mode == "incremental" { "watermark = \"at\"\nkey = [\"id\"]\n" } else { "" };
        config += &table(name, &format!("app.{name}"), mode, &format!("{own}on_new_column = \"add\""));
    }
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    (db, project)
}

async fn both_tables(db: &TestDb, sql: &str) {
    for name in ["inc", "sna"] {
        db.src(&sql.replace("{t}", &format!("app.{name}"))).await;
    }
}

#[tokio::test]
async fn a_run_adds_a_column_with_the_value_of_old_rows() {
    let (db, project) = adding("add_constant").await;
    both_tables(&db, "alter table {t} add column n text not null default 'it''s', add column m int; insert into {t} (id, n, m) values (4, 'new', 4)").await;
    let checked = project.ok(&["check"]);
    assert!(
        checked.all().contains("`n` (text) exists in the source but not in bronze: it is added by the next run"),
        "{}",
        checked.all()
    );
    let planned = project.json(&["run", "--dry-run"]);
    assert!(planned.to_string().contains("add column"), "{planned:#}");
    assert_eq!(
        number(
            &db,
            "select count(*) from information_schema.columns where column_name = 'n' and table_schema = 'bronze'"
        )
        .await,
        0
    );
    let ran = project.ok(&["run", "--output", "json"]);
    for name in ["inc", "sna"] {
        assert!(
            ran.stderr.contains(&format!("{name}: column `n` (text)")) || ran.stderr.contains("column `n` (text)"),
            "{}",
            ran.all()
        );
        let runs = ran.json();
        let run =
            runs["runs"].as_array().expect("runs").iter().find(|run| run["table"] == name).expect("a run").clone();
        assert_eq!(run["columns_added"], serde_json::json!(["n", "m"]), "{run:#}");
        assert_equal_tables(&db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}")).await;
    }
    project.ok(&["verify"]);
    assert!(!project.ok(&["run"]).stderr.contains("column"), "told once");
}

#[tokio::test]
async fn an_added_column_of_which_old_rows_have_their_own_values_names_the_reseed() {
    let (db, project) = adding("add_volatile").await;
    both_tables(&db, "alter table {t} add column n uuid default gen_random_uuid(); insert into {t} (id) values (4)")
        .await;
    let ran = project.ok(&["run"]);
    assert!(ran.stderr.contains("`dwh reseed --replace inc`"), "{}", ran.all());
    assert!(!ran.stderr.contains("reseed --replace sna") && !ran.stderr.contains("reseed sna"), "{}", ran.all());
    assert_equal_tables(&db, "select * from app.sna", "select * from bronze.sna").await;
    assert_eq!(number(&db, "select count(n) from bronze.inc").await, 1, "NULL, and told");
}

#[tokio::test]
async fn a_run_adds_nothing_where_more_than_that_is_wrong() {
    let (db, project) = adding("add_nothing").await;
    both_tables(&db, "alter table {t} rename column v to w").await;
    let failure = project.fails(4, &["run"]).failure("inc");
    assert!(failure.hint.starts_with("if `w` is `v` under a new name"), "{failure:?}");
    assert_eq!(
        number(
            &db,
            "select count(*) from information_schema.columns where column_name = 'w' and table_schema = 'bronze'"
        )
        .await,
        0
    );
    let extracted = project.dwh(&["extract", "inc"]);
    assert_eq!(extracted.code, 4, "{}", extracted.all());
}

#[tokio::test]
async fn an_extract_adds_too_and_a_load_brings_the_rows() {
    let (db, project) = adding("add_extract").await;
    both_tables(&db, "alter table {t} add column n int default 7; insert into {t} (id, n) values (4, 4)").await;
    let params = project.ok(&["extract", "inc", "--output", "json"]);
    project.ok(&["load", "--params", params.stdout.trim()]);
    assert_equal_tables(&db, "select * from app.inc", "select * from bronze.inc").await;
}
