//! The modes from end to end: windows of a first load, update-if-newer, snapshot, scd, the two halves, a second project.

use crate::support::{Project, number};
use dwh_core::testing::{TestDb, assert_equal_tables};
use serde_json::Value;

const SCHEMA: &str = "create schema fleet; grant usage on schema fleet to app_ro;
    alter default privileges in schema fleet grant select on tables to app_ro;";

async fn fleet(test: &str, tables: &str, config: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(SCHEMA).await;
    db.src(tables).await;
    let project = Project::new(&db, config);
    project.ok(&["migrate"]);
    (db, project)
}

fn runs(report: &Value) -> &Vec<Value> {
    report["runs"].as_array().expect("runs")
}

const PINGS: &str = "create table fleet.pings (
        imei text, gps_time timestamptz, recorded_at timestamptz not null default now(), geom geometry(Point, 4326),
        primary key (imei, gps_time));
    create index on fleet.pings (recorded_at);
    insert into fleet.pings select 'd' || i % 7, t, t, st_setsrid(st_makepoint(36.8 + i / 77777.0, -1.3 + i / 33333.0), 4326)
    from generate_series(1, 5000) i, lateral (select timestamptz '2026-09-01Z' + i * interval '8 minutes' t) x;
    -- years before and after without a row, which no window should be spent on
    insert into fleet.pings values ('old', '1999-12-31Z', '1999-12-31Z', null), ('bc', '0044-03-15Z BC', '0044-03-15Z BC', null);";

const PINGS_CONFIG: &str = r#"
[[table]]
name = "pings"
relation = "fleet.pings"
mode = "incremental"
watermark = "recorded_at"
key = ["imei", "gps_time"]
window = "1d"
"#;

#[tokio::test]
async fn rows_that_no_window_would_contain_are_refused_with_and_without_windows() {
    let nullable = PINGS.replacen("timestamptz not null default", "timestamptz default", 1);
    let (db, project) = fleet("unreachable_rows", &nullable, PINGS_CONFIG).await;
    db.src("insert into fleet.pings values ('lost', now(), null, null)").await;
    for window in ["1d", "0"] {
        let project = project.config_with("window = \"1d\"", &format!("window = \"{window}\""));
        let failure = project.fails(4, &["run"]).failure("pings");
        assert_eq!(failure.code, "data", "{failure:?}");
        assert!(failure.message.contains("NULL in 1 row;"), "{failure:?}");
    }
    assert_eq!(number(&db, "select count(*) from bronze.pings").await, 0);
}

#[tokio::test]
async fn a_first_load_goes_in_windows_and_resumes() {
    let (db, project) = fleet("windows", PINGS, PINGS_CONFIG).await;
    let report = project.json(&["run"]);
    let windows = runs(&report).len();
    // 5,000 pings over 28 days, two lone ones long before, and the way up to now.
    assert!((29..=33).contains(&windows), "{windows} windows: {report:#}");
    let total: u64 = runs(&report).iter().map(|run| run["rows_loaded"].as_u64().expect("count")).sum();
    assert_eq!(total, 5002);
    assert!(runs(&report)[0]["window"]["from"].is_null());
    for pair in runs(&report).windows(2) {
        assert_eq!(pair[0]["watermark"], pair[1]["window"]["from"], "one window ends where the next begins");
    }
    assert_equal_tables(&db, "select * from fleet.pings", "select * from bronze.pings").await;
    let again = project.json(&["run"]);
    assert_eq!(runs(&again).len(), 1);
    assert_eq!(runs(&again)[0]["rows_extracted"], 0);
    assert_eq!(runs(&again)[0]["csv_path"], Value::Null, "a run that finds nothing writes no file");
}

#[tokio::test]
async fn a_killed_first_load_loses_one_window_at_most() {
    let (db, project) = fleet("windows_killed", PINGS, PINGS_CONFIG).await;
    let mut first = project.spawn(&["run"]);
    let loaded = "select count(*) from dwh_control.extract_runs where status = 'loaded'";
    while number(&db, loaded).await < 5 {
        tokio::task::yield_now().await;
    }
    first.kill().expect("kill -9");
    first.wait().expect("dead");
    let before = number(&db, loaded).await;
    let kept = number(
        &db,
        "select coalesce(sum(rows_loaded), 0)::bigint from dwh_control.extract_runs where status = 'loaded'",
    )
    .await;
    project.ok(&["run"]);
    assert!(number(&db, loaded).await > before);
    let total =
        number(&db, "select sum(rows_loaded)::bigint from dwh_control.extract_runs where status = 'loaded'").await;
    assert_eq!(total, 5002, "{kept} rows were loaded before the kill, and none of them again");
    assert_equal_tables(&db, "select * from fleet.pings", "select * from bronze.pings").await;
}

#[tokio::test]
async fn newer_wins_and_an_older_csv_does_not() {
    let (db, project) = fleet(
        "newer_wins",
        "create table fleet.trips (id int primary key, state text, updated_at timestamptz not null default now());
         create index on fleet.trips (updated_at);
         insert into fleet.trips (id, state) values (1, 'planned'), (2, 'planned');",
        r#"
[[table]]
name = "trips"
relation = "fleet.trips"
mode = "incremental"
watermark = "updated_at"
key = ["id"]
on_conflict = "update"
"#,
    )
    .await;
    project.ok(&["run"]);
    db.src("update fleet.trips set state = 'driving', updated_at = now() where id = 1; insert into fleet.trips values (3, 'planned')").await;
    let older = project.dwh(&["extract", "trips", "--output", "json"]);
    db.src("update fleet.trips set state = 'done', updated_at = now() where id = 1").await;
    let newer = project.dwh(&["extract", "trips", "--output", "json"]);
    let load = |params: &str| project.json(&["load", "--params", params]);
    let done = load(newer.stdout.trim());
    assert_eq!(done["rows_loaded"], 2, "one updated, one inserted: {done}");
    assert_eq!((&done["rows_inserted"], &done["rows_updated"]), (&1.into(), &1.into()), "{done}");
    let late = load(older.stdout.trim());
    assert_eq!(late["rows_loaded"], 0, "the older CSV changes nothing: {late}");
    assert_eq!(late["rows_kept_newer"], 1, "{late}");
    assert_equal_tables(&db, "select * from fleet.trips", "select * from bronze.trips").await;
}

#[tokio::test]
async fn a_snapshot_replaces_and_keeps_what_hangs_on_it() {
    let (db, project) = fleet(
        "snapshot",
        "create table fleet.devices (imei text primary key, name text); insert into fleet.devices values ('1', 'a'), ('2', '');",
        "[[table]]\nname = \"devices\"\nrelation = \"fleet.devices\"\nmode = \"snapshot\"\n",
    )
    .await;
    project.ok(&["run"]);
    db.tgt("create view public.named as select * from bronze.devices where name <> ''; grant select on bronze.devices to grafana_ro").await;
    db.src("delete from fleet.devices where imei = '1'; update fleet.devices set name = 'b'").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from fleet.devices", "select * from bronze.devices").await;
    assert_eq!(number(&db, "select count(*) from public.named").await, 1, "the view is still there");
    db.src("truncate fleet.devices").await;
    let refused = project.dwh(&["run"]);
    assert_eq!(refused.code, 4, "{}", refused.all());
    assert!(refused.all().contains("--allow-empty"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.devices").await, 1, "nothing was emptied");
}

#[tokio::test]
async fn an_empty_snapshot_goes_through_when_told() {
    let (db, project) = fleet(
        "snapshot_empty",
        "create table fleet.devices (imei text primary key); insert into fleet.devices values ('1');",
        "[[table]]\nname = \"devices\"\nrelation = \"fleet.devices\"\nmode = \"snapshot\"\n",
    )
    .await;
    project.ok(&["run"]);
    db.src("truncate fleet.devices").await;
    project.ok(&["run", "--allow-empty"]);
    assert_eq!(number(&db, "select count(*) from bronze.devices").await, 0);
}

#[tokio::test]
async fn scd_appends_dated_copies() {
    let (db, project) = fleet(
        "scd",
        "create table fleet.drivers (id int primary key, name text); insert into fleet.drivers values (1, 'Ann'), (2, 'Ben');",
        "[[table]]\nname = \"drivers\"\nrelation = \"fleet.drivers\"\nmode = \"scd\"\n",
    )
    .await;
    project.ok(&["run"]);
    db.src("update fleet.drivers set name = 'Bob' where id = 2").await;
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.drivers").await, 4);
    assert_eq!(number(&db, "select count(distinct _uploaded_at) from bronze.drivers").await, 2);
    assert_eq!(number(&db, "select count(*) from bronze.drivers where name = 'Bob'").await, 1);
}

#[tokio::test]
async fn a_version_is_newer_than_those_before_whatever_the_clock_says() {
    let (db, project) = fleet(
        "dated",
        "create table fleet.drivers (id int primary key, name text, updated_at timestamptz default now());
         insert into fleet.drivers (id, name) values (1, 'Ann'), (2, 'Ben');",
        "[[table]]\nname = \"whole\"\nrelation = \"fleet.drivers\"\nmode = \"scd\"\n
         [[table]]\nname = \"changed\"\nrelation = \"fleet.drivers\"\nmode = \"incremental\"\nwatermark = \"updated_at\"\nkey = [\"id\"]\non_conflict = \"append\"\n",
    )
    .await;
    project.ok(&["run"]);
    // As if the target's clock had been set back by a day since.
    db.tgt(
        "update dwh_control.extract_runs set run_started_at = run_started_at + interval '1 day', run_finished_at = run_finished_at + interval '1 day';
         update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at + interval '1 day';
         update bronze.whole set _uploaded_at = _uploaded_at + interval '1 day';
         update bronze.changed set _uploaded_at = _uploaded_at + interval '1 day'",
    )
    .await;
    db.src("update fleet.drivers set name = 'Bob', updated_at = now() where id = 2").await;
    let ran = project.ok(&["run"]);
    assert!(ran.stderr.contains("table `whole`: the target's clock went back"), "{}", ran.stderr);
    assert!(ran.stderr.contains("table `changed`: the target's clock went back"), "{}", ran.stderr);
    for table in ["whole", "changed"] {
        let newest = format!(
            "select count(*) from (select distinct on (id) name from bronze.{table} order by id, _uploaded_at desc) n
             where name in ('Ann', 'Bob')"
        );
        assert_eq!(number(&db, &newest).await, 2, "{table}");
    }
    // Read once more, it is no version of its own.
    project.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from bronze.changed").await, 3);
}

#[tokio::test]
async fn extract_prints_what_load_takes() {
    let (db, project) = fleet("halves", PINGS, &PINGS_CONFIG.replace("1d", "0")).await;
    let params = project.dwh(&["extract", "pings", "--output", "json"]);
    assert_eq!(params.code, 0, "{}", params.all());
    let fields: Value = serde_json::from_str(&params.stdout).expect("one JSON document");
    let mut names: Vec<&str> = fields.as_object().expect("object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["csv_path", "run_id", "run_started_at", "table"]);
    assert_eq!(number(&db, "select count(*) from bronze.pings").await, 0, "extract loads nothing");
    let loaded = project.json(&["load", "--params", params.stdout.trim()]);
    assert_eq!((loaded["status"].as_str(), loaded["rows_loaded"].as_u64()), (Some("loaded"), Some(5002)), "{loaded}");
    let again = project.json(&["load", "--params", params.stdout.trim()]);
    assert_eq!(again["status"], "loaded", "a retry of the orchestrator is no error");
    assert_equal_tables(&db, "select * from fleet.pings", "select * from bronze.pings").await;
}

#[tokio::test]
async fn a_second_run_of_a_table_is_turned_away_and_says_who_holds_it() {
    let (db, project) = fleet("locked", PINGS, PINGS_CONFIG).await;
    // Holds the source's lock queue: the run that goes first stands still behind it, with its lease taken.
    db.src("begin; lock table fleet.pings in access exclusive mode").await;
    let mut first = project.spawn(&["run"]);
    let held = "select count(*) from dwh_control.extract_watermarks where lease_holder is not null";
    while number(&db, held).await == 0 {
        tokio::task::yield_now().await;
    }
    let second = project.dwh(&["run"]);
    assert_eq!(second.code, 5, "{}", second.all());
    assert!(second.all().contains("pid"), "{}", second.all());
    db.src("commit").await;
    assert!(first.wait().expect("first").success());
    assert_equal_tables(&db, "select * from fleet.pings", "select * from bronze.pings").await;
}

#[tokio::test]
async fn one_failing_table_stops_no_other() {
    let (db, project) = fleet(
        "one_fails",
        "create table fleet.a (id int primary key); create table fleet.b (id int primary key); create table fleet.c (id int primary key);
         insert into fleet.a values (1); insert into fleet.b values (1); insert into fleet.c values (1);",
        "[[table]]\nname = \"a\"\nrelation = \"fleet.a\"\nmode = \"snapshot\"\n
[[table]]\nname = \"b\"\nrelation = \"fleet.b\"\nmode = \"snapshot\"\n
[[table]]\nname = \"c\"\nrelation = \"fleet.c\"\nmode = \"snapshot\"\n",
    )
    .await;
    db.src("drop table fleet.b").await;
    let output = project.dwh(&["run"]);
    assert_eq!(output.code, 4, "{}", output.all());
    assert!(output.all().contains("fleet.b"), "{}", output.all());
    for table in ["a", "c"] {
        assert_eq!(number(&db, &format!("select count(*) from bronze.{table}")).await, 1);
    }
}

#[tokio::test]
async fn a_second_project_lives_in_the_same_databases() {
    let (db, project) = fleet(
        "second_project",
        "create table fleet.a (id int primary key); insert into fleet.a values (1);",
        "[[table]]\nname = \"a\"\nrelation = \"fleet.a\"\nmode = \"snapshot\"\n",
    )
    .await;
    project.ok(&["run"]);
    db.tgt("create role other_owner nologin; create role other_ro nologin; grant other_owner to dwh_loader").await;
    db.tgt(&format!("grant create on database \"{}\" to other_owner", db.name())).await;
    let other = project.config_with("name = \"test\"", "name = \"other\"").config_with(
        "[target]",
        "[target]\nbronze_schema = \"other_bronze\"\ncontrol_schema = \"other_control\"\nowner_role = \"other_owner\"\nreader_role = \"other_ro\"",
    );
    other.ok(&["migrate"]);
    other.ok(&["run"]);
    assert_eq!(number(&db, "select count(*) from other_bronze.a").await, 1);
    assert_eq!(number(&db, "select count(*) from other_control.extract_runs").await, 1);
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_runs").await, 1);
}
