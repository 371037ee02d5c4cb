//! `dwh maintain`: tables that were written, views that read them, and what fails alone.

use serde_json::Value;

use crate::support::{Project, events, number};
use dwh_core::testing::TestDb;

/// Action and object of each step.
fn steps(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| (step["action"].as_str().expect("action"), step["object"].as_str().unwrap_or("-")))
        .collect()
}

const TABLES: [(&str, &str); 3] = [
    ("vacuum", "\"bronze\".\"events\""),
    ("vacuum", "\"dwh_control\".extract_watermarks"),
    ("vacuum", "\"dwh_control\".extract_runs"),
];

async fn loaded(test: &str) -> (TestDb, Project) {
    let (db, project) = events(test).await;
    db.tgt(
        "alter table dwh_control.extract_runs set (autovacuum_enabled = off);
        alter table dwh_control.extract_watermarks set (autovacuum_enabled = off);
        alter table bronze.events set (autovacuum_enabled = off)",
    )
    .await;
    project.ok(&["run", "events"]);
    (db, project)
}

#[tokio::test]
async fn what_was_written_is_vacuumed_and_views_are_refreshed_in_their_order() {
    let (db, project) = loaded("maintain").await;
    // By name the second one would come first.
    db.tgt(
        "set role dwh_owner; create materialized view bronze.b_counts as select count(*) as n from bronze.events;
        create view bronze.between as select n from bronze.b_counts;
        create materialized view bronze.a_more as select n from bronze.between;
        create unique index on bronze.a_more (n);
        create materialized view bronze.other_things as select count(*) from bronze.other; reset role",
    )
    .await;
    db.src("insert into app.events (id) values (1001)").await;
    project.ok(&["run", "events"]);
    let planned = project.json(&["maintain", "--dry-run"]);
    let views = [("refresh", "bronze.b_counts"), ("refresh", "bronze.other_things"), ("refresh", "bronze.a_more")];
    let mut found = steps(&planned);
    assert_eq!(found.pop(), Some(("alerts", "-")), "{planned:#}");
    let rest = found.split_off(found.len() - 3);
    assert!(TABLES.iter().all(|table| found.contains(table)), "{found:?}");
    let place = |name| rest.iter().position(|step| *step == ("refresh", name));
    assert!(
        views.iter().all(|view| rest.contains(view)) && place("bronze.b_counts") < place("bronze.a_more"),
        "{rest:?}"
    );
    let n = "select n from bronze.a_more";
    assert_eq!(number(&db, n).await, 100, "nothing was done");

    let done = project.json(&["maintain"]);
    assert_eq!(steps(&done), steps(&planned));
    let steps_done = done["steps"].as_array().expect("steps");
    assert!(steps_done.iter().all(|step| step["done"] == true && step["error"].is_null()), "{done:#}");
    assert!(
        steps_done.iter().any(|step| step["object"] == "bronze.a_more" && step["concurrently"] == true),
        "{done:#}"
    );
    assert_eq!(number(&db, n).await, 101);
    let dead = "select count(*) from pg_stat_user_tables where relname = 'events' and schemaname = 'bronze'
        and vacuum_count = 1 and n_mod_since_analyze = 0";
    assert_eq!(number(&db, dead).await, 1);
    let again = project.json(&["maintain"]);
    assert!(!steps(&again).contains(&TABLES[0]), "nothing was written since: {again:#}");
    // Of one table: its own, and those views that read it.
    let one = project.json(&["maintain", "events", "--dry-run"]);
    assert!(!steps(&one).contains(&("refresh", "bronze.other_things")), "{one:#}");
    assert!(steps(&one).contains(&("refresh", "bronze.a_more")), "{one:#}");
}

#[tokio::test]
async fn one_step_that_fails_stops_no_other() {
    let (db, project) = loaded("maintain_fails").await;
    db.tgt("set role dwh_owner; create materialized view bronze.breaks as select 1 / (count(*) - 101) from bronze.events;
        create materialized view bronze.stands as select count(*) as n from bronze.events; reset role;
        insert into dwh_control.alerts_sent (alert, project, check_name, subject, message, since, seen_at, over_at)
            select 'a', 'p', 'stale', n::text, 'm', now(), now(), now() - n * interval '60 days' from generate_series(1, 2) n").await;
    db.src("insert into app.events (id) values (1001)").await;
    project.ok(&["run", "events"]);
    let holder = db.another_target().await;
    holder.batch_execute("begin; lock table bronze.events in share update exclusive mode").await.expect("held");
    let output = project.dwh(&["maintain"]);
    assert_eq!(output.code, 1, "for different reasons: {}", output.all());
    assert!(
        output.stderr.contains("division by zero") && output.stderr.contains("was left out: somebody holds it"),
        "{}",
        output.all()
    );
    assert_eq!(number(&db, "select n from bronze.stands").await, 101);
    assert_eq!(number(&db, "select count(*) from dwh_control.alerts_sent").await, 1, "that of 120 days ago is gone");
    holder.batch_execute("commit").await.expect("free");
    assert_eq!(project.dwh(&["maintain"]).code, 4, "the view alone");
}
