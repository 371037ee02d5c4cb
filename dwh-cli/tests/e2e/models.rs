//! `dwh models`: SELECTs in files become tables and views, in their order; what is there is replaced whole, or not at all.

mod bound;

use serde_json::Value;
use std::fs;

use crate::support::{Project, events, killed_at, number};
use dwh_core::testing::TestDb;

const DAYS: &str = "-- Events by day\n-- key: day\n-- index: n\n\
     select recorded_at::date as day, count(*) as n, '${SHOP}'::text as shop from events group by 1;\n";
const TOTAL: &str = "-- kind: view\nselect sum(d.n) as n from marts.days d";
const TOP: &str = "-- kind: materialized view\n-- key: n\nselect n from marts.total";
const SOLO: &str = "-- key: id\n-- index: note\nselect id, note from bronze.events";
const OF_SOLO: &str = "-- kind: view\nselect note from marts.solo";

/// A loaded project with five models.
async fn with_models(test: &str) -> (TestDb, Project) {
    let (db, project) = events(test).await;
    let project = project
        .config_with("[target]", "[models]\ndir = \"models\"\n[retention]\nruns = \"10d\"\n[target]")
        .env("SHOP", "north");
    project.ok(&["run", "events"]);
    for (name, text) in [("days", DAYS), ("total", TOTAL), ("top", TOP), ("solo", SOLO), ("of_solo", OF_SOLO)] {
        write(&project, name, text);
    }
    (db, project)
}

fn write(project: &Project, name: &str, text: &str) {
    let folder = project.folder().join("models/marts");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{name}.sql")), text).expect("written");
}

/// Name, step and status of each, in their order.
fn told(report: &Value) -> Vec<String> {
    let models = report["models"].as_array().unwrap_or_else(|| panic!("no models: {report:#}"));
    let word = |model: &Value, key: &str| model[key].as_str().unwrap_or("-").to_owned();
    let line = |model: &Value| ["model", "step", "status"].map(|key| word(model, key)).join(" ");
    models.iter().map(line).collect()
}

async fn text(db: &TestDb, sql: &str) -> String {
    db.target().query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

const INDEXES: &str = "select string_agg(indexname::text, ' ' order by indexname) from pg_indexes
    where schemaname = 'marts' and tablename = 'solo'";
const SOLO_ROWS: &str = "select count(*) from marts.solo";

#[tokio::test]
async fn models_are_built_in_their_order_and_replaced_with_all_that_hangs_on_them() {
    let (db, project) = with_models("models").await;
    db.tgt("insert into dwh_control.extract_runs (table_name, status, kind) values ('marts.solo', 'loading', 'model')")
        .await;
    let planned = project.json(&["models", "run", "--dry-run"]);
    assert_eq!(told(&planned)[0], "marts.days create planned");
    assert_eq!(number(&db, "select count(*) from pg_namespace where nspname = 'marts'").await, 0, "nothing was done");

    let built = project.json(&["models", "run"]);
    assert_eq!(
        told(&built),
        [
            "marts.days create built",
            "marts.solo create built",
            "marts.of_solo create built",
            "marts.total create built",
            "marts.top create built"
        ]
    );
    assert_eq!((&built["models"][1]["rows"], &built["models"][2]["rows"]), (&100.into(), &Value::Null), "{built:#}");
    assert_eq!(text(&db, "select shop || ' ' || n from marts.days").await, "north 100");
    assert_eq!(text(&db, INDEXES).await, "solo_note_idx solo_pkey");
    assert_eq!(number(&db, "select has_table_privilege('grafana_ro', 'marts.top', 'select')::int::int8").await, 1);
    let left =
        "select count(*) from dwh_control.v_recent_failures where error_message like 'the command ended before%'";
    assert_eq!(number(&db, left).await, 1, "what a killed command left is settled, and has failed");

    db.tgt(
        "set role dwh_owner; revoke select on marts.solo from grafana_ro; grant insert on marts.solo to pg_monitor;
         grant select (note) on marts.solo to pg_monitor; comment on table marts.solo is 'it''s mine';
         comment on column marts.solo.note is 'noted';
         create view marts.by_hand as select count(*) as n from marts.solo; reset role",
    )
    .await;
    db.src("insert into app.events (id, note) values (1001, 'y')").await;
    let ran = project.json(&["run", "events", "--models"]);
    assert_eq!(
        told(&ran),
        [
            // A materialized view holds on to the table.
            "marts.days refill built",
            "marts.solo swap built",
            "marts.of_solo replace built",
            "marts.total replace built",
            "marts.top refresh built"
        ]
    );
    assert_eq!(number(&db, "select n::int8 from marts.top").await, 101);
    assert_eq!(number(&db, "select n from marts.by_hand").await, 101, "the view over it is there again");
    assert_eq!(text(&db, INDEXES).await, "solo_note_idx solo_pkey");
    let grants = "select concat_ws(' ', has_table_privilege('grafana_ro', 'marts.solo', 'select'),
        has_table_privilege('pg_monitor', 'marts.solo', 'insert'), has_column_privilege('pg_monitor', 'marts.solo', 'note', 'select'),
        obj_description('marts.solo'::regclass), col_description('marts.solo'::regclass, 2))";
    assert_eq!(text(&db, grants).await, "f t t it's mine noted");
    let log = "select count(*) from dwh_control.extract_runs where kind = 'model' and status = 'loaded' and rows_loaded = 101";
    assert_eq!(number(&db, log).await, 1);
    let listed = project.json(&["models", "list", "marts.t*"]);
    assert_eq!(listed["models"][1]["last_run"]["status"], "loaded", "{listed:#}");
    assert_eq!(listed["models"][1]["reads"], serde_json::json!(["marts.total"]));

    // Other columns of a view, another SELECT of a materialized view.
    write(&project, "of_solo", "-- kind: view\nselect id::text as x from marts.solo");
    write(&project, "top", &TOP.replace("select n ", "select n + 1 as n "));
    let changed = project.json(&["models", "run", "marts.of_solo", "marts.top"]);
    assert_eq!(told(&changed), ["marts.of_solo swap built", "marts.top swap built"]);
    assert_eq!(number(&db, "select n::int8 from marts.top").await, 102);
    let kinds = project.json(&["runs", "--kind", "model", "--limit", "1"]);
    assert_eq!(kinds["runs"][0]["table_name"], "marts.top", "{kinds:#}");

    db.tgt(
        "update dwh_control.extract_runs set run_started_at = run_started_at - interval '11 days' where kind = 'model'",
    )
    .await;
    project.ok(&["prune"]);
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs where kind = 'model'").await, 5);
    project.ok(&["models", "run"]);
    write(&project, "top", "select (1");
    let checked = project.fails(2, &["check", "events"]);
    assert!(checked.stdout.contains("marts/top.sql"), "{}", checked.all());
}

#[tokio::test]
async fn a_model_that_fails_is_as_it_was_and_stops_only_what_reads_it() {
    let (db, project) = with_models("models_fail").await;
    project.ok(&["models", "run"]);
    write(&project, "solo", &SOLO.replace("select id,", "select 1 as id,"));
    let output = project.fails(4, &["models", "run"]);
    let report = output.json();
    assert_eq!(
        told(&report)[..3],
        ["marts.days refill built", "marts.solo swap failed", "marts.of_solo - skipped"],
        "{}",
        output.all()
    );
    assert_eq!(report["models"][2]["because"], "model `marts.solo` failed");
    assert!(output.stderr.contains("model `marts.solo`: its key `id` is not unique"), "{}", output.all());
    for line in [
        "model `marts.days` (1 of 5): built, ",
        "model `marts.solo` (2 of 5): FAILED, ",
        "model `marts.of_solo` (3 of 5): skipped, 0.0 s, model `marts.solo` failed",
    ] {
        assert!(output.stderr.contains(line), "{line}: {}", output.all());
    }
    assert_eq!(number(&db, SOLO_ROWS).await, 100);
    let failed = "select count(*) from dwh_control.v_recent_failures where table_name = 'marts.solo'";
    assert_eq!(number(&db, failed).await, 1);
    let people = project.dwh(&["models", "run"]);
    assert!(people.stdout.contains("\n\n5 models: 3 built, 1 FAILED, 1 skipped, "), "{}", people.all());

    let status = project.fails(4, &["status", "--check"]).json();
    let of_solo = |status: &Value| {
        let breaches = status["breaches"].as_array().expect("breaches");
        breaches.iter().find(|breach| breach["table"] == "marts.solo").cloned().unwrap_or_default()
    };
    assert_eq!(of_solo(&status)["check"], "failure", "{status:#}");
    // Neither a build that somebody stopped nor many runs of others hide it.
    db.tgt(
        "insert into dwh_control.extract_runs (table_name, status, kind, run_finished_at, error_message, error_code)
         values ('marts.solo', 'failed', 'model', now(), 'stopped', 'interrupted');
         insert into dwh_control.extract_runs (table_name, status, kind, run_finished_at)
         select 'marts.often', 'loaded', 'model', now() from generate_series(1, 2100)",
    )
    .await;
    let later = project.fails(4, &["status", "--check"]).json();
    assert_eq!(of_solo(&later), of_solo(&status), "{later:#}");

    // What dwh did not make stays, until it is told otherwise.
    db.tgt("set role dwh_owner; create table marts.mine as select 1 as a; reset role").await;
    write(&project, "solo", SOLO);
    write(&project, "mine", "select 2 as b");
    let refused = project.fails(4, &["models", "run", "marts.mine"]);
    assert!(refused.stderr.contains("no run of it made") && refused.stderr.contains("--replace"), "{}", refused.all());
    project.ok(&["models", "run", "marts.mine", "--replace"]);
    assert_eq!(number(&db, "select b::int8 from marts.mine").await, 2);

    // A table that fails stops the models that read it.
    db.tgt("alter table bronze.events drop column note").await;
    let output = project.fails(4, &["run", "--models"]);
    let models = told(&output.json());
    assert!(
        models.iter().all(|line| line.ends_with("- skipped") || line.starts_with("marts.mine")),
        "{}",
        output.all()
    );
    assert_eq!(output.json()["models"][0]["because"], "table `events` failed", "{}", output.all());

    assert_eq!(project.dwh(&["models", "run", "nothing.*"]).code, 2);
    write(&project, "solo", "select * from marts.of_solo");
    let circle = project.dwh(&["models", "list"]);
    assert_eq!(circle.code, 2, "{}", circle.all());
    assert!(circle.stderr.contains("`marts.of_solo` after `marts.solo` after `marts.of_solo`"), "{}", circle.all());
    assert_eq!(project.dwh(&["run", "--models"]).code, 2, "told before anything moves");
}

#[tokio::test]
async fn a_prefix_builds_beside_and_dbt_gets_its_sources() {
    let (db, project) = with_models("models_prefix").await;
    project.ok(&["models", "run"]);
    write(&project, "days", &DAYS.replace("count(*)", "count(*) * 2"));
    let built = project.json(&["models", "run", "-p", "wip", "marts.total", "--upstream"]);
    assert_eq!(told(&built), ["wip_marts.days create built", "wip_marts.total create built"]);
    let both = "select (select n from wip_marts.total) || ' ' || (select n from marts.total)";
    assert_eq!(text(&db, both).await, "200 100");
    let below = project.json(&["models", "run", "-p", "wip", "marts.total", "--downstream"]);
    assert_eq!(told(&below), ["wip_marts.total replace built", "wip_marts.top create built"]);
    assert_eq!(
        number(&db, "select n::int8 from wip_marts.top").await,
        100,
        "what is not built here is read where it is"
    );

    let sources = project.ok(&["models", "dbt-sources", "events", "-o", "-"]).stdout;
    for line in ["  - name: \"bronze\"", "loaded_at_query: \"select max(run_finished_at)", "              - unique"] {
        assert!(sources.contains(line), "{line}: {sources}");
    }
    let query = sources.lines().find_map(|line| line.trim().strip_prefix("loaded_at_query: ")).expect("a query");
    let query: String = serde_json::from_str(query).expect("a string");
    let fresh = format!("select count(*) from ({query}) q(at) where at > now() - interval '1 hour'");
    assert_eq!(number(&db, &fresh).await, 1);
    project.ok(&["models", "dbt-sources"]);
    project.ok(&["models", "dbt-sources", "-o", "dbt/models/sources.yml"]);
    assert!(project.folder().join("dbt/models/sources.yml").exists(), "the folder is made");
    assert!(project.folder().join("sources.yml").exists());
}

#[tokio::test]
async fn one_command_builds_a_model_and_a_killed_one_leaves_it_as_it_was() {
    let (db, project) = with_models("models_killed").await;
    project.ok(&["models", "run"]);
    write(&project, "solo", "select 1 as id, 'slow'::text as note from pg_sleep(60)");
    let mut slow = project.spawn(&["models", "run", "marts.solo"]);
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and query like '%pg_sleep(60)%'
        and datname = current_database()";
    while number(&db, sleeps).await == 0 {
        assert!(slow.try_wait().expect("waits").is_none(), "it ended before it slept");
    }
    let second = project.fails(5, &["models", "run", "marts.solo"]);
    assert!(second.stderr.contains("model `marts.solo`: another command builds it"), "{}", second.all());
    assert_eq!(number(&db, SOLO_ROWS).await, 100, "readers do not wait");
    assert_eq!(killed_at(&db, &mut slow, sleeps, 1).await, 1);

    assert_eq!(number(&db, SOLO_ROWS).await, 100, "it is as it was");
    write(&project, "solo", SOLO);
    let killed = std::time::Instant::now();
    // The lock on the model is another session's, which ends by itself.
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
        and database = (select oid from pg_database where datname = current_database())";
    while number(&db, sleeps).await + number(&db, locks).await > 0 {}
    assert!(killed.elapsed().as_secs() < 30, "the server builds on for nobody");
    assert_eq!(told(&project.json(&["models", "run", "marts.solo"])), ["marts.solo swap built"]);
    assert_eq!(text(&db, INDEXES).await, "solo_note_idx solo_pkey");
    let left = "select count(*) from pg_class where relname like '%dwh\\_build%'";
    assert_eq!(number(&db, left).await, 0);
    let log = "select string_agg(status || coalesce(' ' || error_code, ''), ', ' order by run_id)
        from dwh_control.extract_runs where table_name = 'marts.solo'";
    assert_eq!(text(&db, log).await, "loaded, failed, loaded");

    write(&project, "solo", "-- Odd\nselect id\nform x y z");
    let odd = project.fails(2, &["models", "run", "marts.total", "--upstream"]);
    assert!(odd.stderr.contains("models/marts/solo.sql:3: select: cannot be read"), "{}", odd.all());
}
