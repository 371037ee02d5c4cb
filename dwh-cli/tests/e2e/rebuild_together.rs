//! `dwh rebuild` of CSV files that only add rows: they are loaded in one transaction, and nobody can tell it from the run log.

use crate::support::{Project, READABLE, killed_at, number, table};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const LOSE: &str = "drop schema bronze cascade; drop schema dwh_control cascade";

/// Some windows of rows, more than 1 MiB in all.
const SOURCE: &str =
    "create table app.trips (id int primary key, km int, text text, at timestamptz not null default now());
    create index on app.trips (at);
    insert into app.trips select i, i, repeat(i::text, 3000), now() - interval '20 days' + i * interval '1 hour'
    from generate_series(1, 240) i where i not between 90 and 150;";

async fn fleet(test: &str) -> (TestDb, TestBlobs, Project) {
    let db = TestDb::new(test).await;
    let blobs = TestBlobs::local(&db);
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(SOURCE).await;
    let more = "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"1d\"\nlate_window = \"0\"";
    let project = Project::over(&db, &table("trips", "app.trips", "incremental", more), &blobs);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    // Finds nothing.
    project.ok(&["run"]);
    db.src("insert into app.trips values (1000, 1, 'last')").await;
    project.ok(&["run"]);
    (db, blobs, project)
}

/// Keeps a copy of everything as `kept_…`, then loses it.
async fn lose(db: &TestDb, kept: &str) {
    db.tgt(&format!(
        "create schema {kept}; create table {kept}.watermarks as table dwh_control.extract_watermarks;
        create table {kept}.runs as table dwh_control.extract_runs; create table {kept}.trips as table bronze.trips; {LOSE}"
    ))
    .await;
}

/// Everything that a watermark row says, but for when it was loaded and which table bronze is.
const WATERMARK: &str = "to_jsonb(t) - '{last_loaded_at,lease_holder,lease_since,bronze}'::text[]";
/// The same of a run, and how the rows got into bronze.
const RUN: &str = "to_jsonb(t) - '{run_finished_at,bronze,route,route_reason,host}'::text[]";
/// Of a run as it was before the table was lost, a rebuild knows neither which plan it had, nor what it removed.
const RUN_OF_OLD: &str =
    "to_jsonb(t) - '{run_finished_at,bronze,route,route_reason,host,plan_sha256,rows_removed}'::text[]";

async fn assert_same(db: &TestDb, kept: &str, run: &str, which: &str) {
    for (what, now, then) in [
        (WATERMARK, "dwh_control.extract_watermarks t", format!("{kept}.watermarks t")),
        (run, "dwh_control.extract_runs t", format!("{kept}.runs t")),
        ("to_jsonb(t)", "bronze.trips t", format!("{kept}.trips t")),
    ] {
        let which = if what == run { which } else { "true" };
        let [now, then] = [now.to_owned(), then].map(|from| format!("select {what} as x from {from} where {which}"));
        let differ = format!(
            "select coalesce(string_agg(x::text, chr(10)), '') from (({now} except all {then}) union all ({then} except all {now})) d"
        );
        let differ: String = db.target().query_one(&differ, &[]).await.expect("compared").get(0);
        assert!(differ.is_empty(), "{differ}");
    }
    let other =
        "select count(*) from dwh_control.extract_runs r join dwh_control.extract_watermarks w using (table_name)
        where r.csv_path is not null and r.bronze is distinct from w.bronze";
    assert_eq!(number(db, other).await, 0, "each run says which table its rows are in");
}

/// Transactions that brought the rows of bronze.
async fn transactions(db: &TestDb) -> i64 {
    number(db, "select count(distinct xmin::text) from bronze.trips").await
}

async fn routes(db: &TestDb, route: &str) -> i64 {
    number(db, &format!("select count(*) from dwh_control.extract_runs where route = '{route}'")).await
}

const CSVS: &str = "select count(*) from dwh_control.extract_runs where csv_path is not null and status = 'loaded'";
const WITH_CSV: &str = "csv_path is not null";

#[tokio::test]
async fn files_that_only_add_rows_are_loaded_together_as_if_one_by_one() {
    let (db, _blobs, project) = fleet("together").await;
    let csvs = number(&db, CSVS).await;
    assert!(csvs > 7, "{csvs}");
    lose(&db, "first").await;

    // What stands in the way of the short ways into bronze makes it go one by one.
    project.ok(&["migrate"]);
    db.tgt(
        "create function bronze.nothing() returns trigger language plpgsql as 'begin return new; end';
        create trigger nothing before insert on bronze.trips for each row execute function bronze.nothing()",
    )
    .await;
    project.ok(&["rebuild"]);
    assert_eq!((transactions(&db).await, routes(&db, "staged").await), (csvs, csvs));
    assert_same(&db, "first", RUN_OF_OLD, WITH_CSV).await;
    let runs = number(&db, "select count(*) from dwh_control.extract_runs").await;
    assert!(runs > csvs, "a run that found nothing comes back too");
    lose(&db, "one_by_one").await;

    let report = project.json(&["rebuild"]);
    let rows = number(&db, "select count(*) from bronze.trips").await.cast_unsigned();
    let told = &report["tables"][0];
    assert_eq!((&told["csvs_loaded"], &told["rows_loaded"]), (&csvs.into(), &rows.into()), "{report:#}");
    assert_eq!((transactions(&db).await, routes(&db, "fresh").await), (1, csvs));
    assert_same(&db, "one_by_one", RUN, "true").await;
    assert_eq!(
        number(&db, "select count(*) from pg_index where indrelid = 'bronze.trips'::regclass and indisprimary").await,
        1
    );
    project.ok(&["verify", "--blobs"]);
    db.src("insert into app.trips values (1001, 1, 'new')").await;
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
}

#[tokio::test]
async fn a_row_that_is_in_two_files_makes_them_go_one_by_one() {
    let (db, _blobs, project) = fleet("together_twice").await;
    db.src("update app.trips set km = -1, at = now() where id = 7; insert into app.trips values (1001, 1, 'new')")
        .await;
    project.ok(&["run"]);
    let csvs = number(&db, CSVS).await;
    assert_eq!(number(&db, "select sum(rows_different)::bigint from dwh_control.extract_runs").await, 1);
    lose(&db, "first").await;
    project.ok(&["rebuild"]);
    assert_eq!(transactions(&db).await, csvs);
    assert_same(&db, "first", RUN_OF_OLD, WITH_CSV).await;
    assert_eq!(routes(&db, "staged").await, 1, "that one alone: nothing of the attempt is held while they are loaded");
    assert_eq!(number(&db, "select km::bigint from bronze.trips where id = 7").await, 7, "the first one stays");
}

#[tokio::test]
async fn a_file_with_wrong_bytes_among_them_is_refused_by_itself() {
    let (db, blobs, project) = fleet("together_damaged").await;
    let csv = blobs.list("test/processed/trips/").await.into_iter().filter(|name| name.ends_with(".csv")).nth(3);
    let csv = csv.expect("a CSV");
    let good = blobs.read(&csv).await;
    let mut bad = good.clone();
    *bad.last_mut().expect("bytes") = b' ';
    blobs.write(&csv, bad).await;
    let of_csv = format!(
        "select run_id from dwh_control.extract_runs where '{csv}' like '%' || substring(csv_path from '[^/]*$')"
    );
    let run_id = number(&db, &of_csv).await;
    let before = number(&db, &format!("{CSVS} and run_id < {run_id}")).await;
    assert!(before >= 2, "{before}");
    lose(&db, "first").await;
    let report = project.fails(4, &["rebuild"]).json();
    let error = report["tables"][0]["error"].to_string();
    let name = csv.rsplit('/').next().expect("a name");
    assert!(error.contains(name) && error.contains("not the file that was written"), "{report:#}");
    assert_eq!(report["tables"][0]["csvs_loaded"], before);
    let log = |status: &str, is: &str| {
        format!(
            "select count(*) from dwh_control.extract_runs where status = '{status}' and {WITH_CSV} and run_id {is} {run_id}"
        )
    };
    assert_eq!(number(&db, &log("loaded", "<")).await, before);
    assert_eq!(number(&db, &log("failed", "=")).await, 1);
    assert_eq!(
        number(&db, "select max(run_id) from dwh_control.extract_runs").await,
        run_id,
        "later ones are not reached"
    );
    blobs.write(&csv, good).await;
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(transactions(&db).await, 1);
    assert_same(&db, "first", RUN_OF_OLD, WITH_CSV).await;
}

#[tokio::test]
async fn files_of_other_columns_or_of_a_backfill_end_the_row_of_them() {
    let (db, _blobs, project) = fleet("together_columns").await;
    let csvs = number(&db, CSVS).await;
    db.src("alter table app.trips add column note text; insert into app.trips values (1001, 1, 'x', now(), 'new')")
        .await;
    db.tgt("alter table bronze.trips add column note text").await;
    project.ok(&["run"]);
    project.ok(&["backfill", "trips", "--from", "2020-01-01T00:00:00Z"]);
    db.src("insert into app.trips values (1002, 1, 'x', now(), 'new')").await;
    project.ok(&["run"]);
    lose(&db, "first").await;
    project.ok(&["rebuild"]);
    assert_eq!((transactions(&db).await, routes(&db, "fresh").await), (3, csvs));
    assert_same(&db, "first", RUN_OF_OLD, WITH_CSV).await;
    project.ok(&["verify", "--blobs"]);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
}

#[tokio::test]
async fn a_file_that_may_have_rows_of_those_before_it_ends_the_row_of_them() {
    let (db, _blobs, project) = fleet("together_late").await;
    let csvs = number(&db, CSVS).await;
    let sweeps = project.config_with("late_window = \"0\"", "late_window = \"2d\"");
    db.src("insert into app.trips values (1001, 1, 'late', now() - interval '1 hour')").await;
    sweeps.ok(&["run"]);
    assert_eq!(number(&db, "select sum(rows_late)::bigint from dwh_control.extract_runs").await, 1);
    lose(&db, "first").await;
    sweeps.ok(&["rebuild"]);
    assert_eq!((transactions(&db).await, routes(&db, "fresh").await, routes(&db, "direct").await), (2, csvs, 1));
    assert_same(&db, "first", RUN_OF_OLD, WITH_CSV).await;
}

#[tokio::test]
async fn a_rebuild_that_is_killed_while_they_are_loaded_together_is_made_again() {
    let (db, _blobs, project) = fleet("together_killed").await;
    lose(&db, "first").await;
    project.ok(&["migrate"]);
    let held = db.another_target().await;
    held.batch_execute("begin; lock table dwh_control.extract_runs in share row exclusive mode").await.expect("held");
    let mut child = project.spawn(&["rebuild"]);
    let waits = "select count(*) from pg_locks where not granted and relation = 'dwh_control.extract_runs'::regclass";
    killed_at(&db, &mut child, waits, 1).await;
    held.batch_execute("rollback").await.expect("given free");
    let refused = project.fails(4, &["run"]);
    assert!(refused.failure("trips").hint.contains("dwh rebuild trips"), "{}", refused.all());
    assert_eq!(number(&db, "select count(*) from bronze.trips").await, 0);
    project.ok(&["rebuild", "--reset"]);
    assert_eq!(transactions(&db).await, 1);
    assert_same(&db, "first", RUN_OF_OLD, WITH_CSV).await;
    project.ok(&["verify", "--blobs"]);
}
