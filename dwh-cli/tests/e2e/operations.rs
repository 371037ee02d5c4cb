//! `docs/from-airflow-operations.md`: its blocks are run from the first to the last, in one project.

use crate::runbook::page::{Place, Section};
use crate::support::{Project, READABLE, is_said, quoted, shell, table};
use dwh_core::testing::TestDb;

const PAGE: &str = include_str!("../../../docs/from-airflow-operations.md");

#[tokio::test]
async fn the_page_is_followed_word_for_word() {
    let db = TestDb::new("operations").await;
    db.src(&format!(
        "create schema app; {READABLE}
         create table app.issues (id int primary key, state text, updated_at timestamptz not null default now());
         create index on app.issues (updated_at); create table app.agents (id int primary key, name text);
         insert into app.issues select i, 'open' from generate_series(1, 50) i; insert into app.agents values (1, 'a'), (2, 'b')"
    ))
    .await;
    let tables = table(
        "issues",
        "app.issues",
        "incremental",
        "watermark = \"updated_at\"\nkey = [\"id\"]\non_conflict = \"update\"",
    ) + &table("agents", "app.agents", "snapshot", "")
        + "[retention]\nprocessed = \"365d\"\nexports = \"30d\"\nruns = \"90d\"\n\n[[alert]]\nname = \"team\"\ncommand = [\"cat\"]\n";
    let toml = db.config(&tables);
    let target = db.target_url_as("dwh_loader");
    let toml = toml.replace(&quoted(&target), "\"${DWH_TARGET_URL}\"") + &thresholds();
    let project = Project::written(toml, vec![("DWH_TARGET_URL".to_owned(), target.clone())]);
    std::fs::write(project.folder().join(".env"), format!("DWH_TARGET_URL={target}\n")).expect(".env");
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    db.tgt("set role dwh_owner; create materialized view bronze.mart_issues as select state, count(*) from bronze.issues group by state; reset role").await;
    let drill_url = db.target_url_as("dwh_loader").replace(&format!("/{}", db.name()), "/dwh_drill");
    let environment = [("DRILL_URL", drill_url.as_str()), ("ADMIN_URL", &db.target_url())];

    for section in Section::all(PAGE) {
        let mut said = String::new();
        for block in &section.blocks {
            match block.place {
                Place::Shell => {
                    // The drill of the second month, too.
                    let times = if block.text.contains("dwh_drill") { 2 } else { 1 };
                    for _ in 0..times {
                        said.push_str(&shell(project.folder(), &block.script(), &environment));
                    }
                }
                Place::Target => db.tgt(&block.text).await,
                Place::Source => db.src(&block.text).await,
            }
        }
        for line in &section.seen {
            assert!(is_said(&said, line), "{}: nothing says `{line}`:\n{said}", section.title);
        }
    }
}

/// Those of the page.
fn thresholds() -> String {
    let from = PAGE.find("[thresholds]\n").expect("the thresholds");
    let length = PAGE[from..].find("```").expect("their end");
    PAGE[from..from + length].replace("disk_used = 85", "disk_used = 100")
}
