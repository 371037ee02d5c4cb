//! Files, runs and watermarks that do not go on.

use dwh_core::testing::assert_equal_tables;

use super::Night;
use crate::support::files;

async fn equal(night: &Night) {
    assert_equal_tables(&night.db, "select * from fleet.trips", "select * from bronze.trips").await;
}

pub async fn a_csv_waits(night: &mut Night) {
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    night.project.ok(&["extract", "trips"]);
    assert!(!files(&night.files("exports", "trips")).is_empty());
    night.follow_all();
    assert!(files(&night.files("exports", "trips")).is_empty());
    equal(night).await;
}

pub async fn bronze_refuses_a_csv(night: &mut Night) {
    night.db.tgt("alter table bronze.trips add constraint distance_is_short check (distance_km < 100)").await;
    night.db.src("insert into fleet.trips values (901, 'd1', 900)").await;
    night.dwh(4, &["run", "trips"]);
    night.dwh(4, &["recover"]);
    night.follow();
    night.follow();
    night.follow();
    // The other way: this rule is right, the value was wrong, and was mended at the source.
    night.db.tgt("alter table bronze.trips add constraint distance_is_of_this_world check (distance_km < 1000)").await;
    night.db.src("insert into fleet.trips values (902, 'd1', 9000)").await;
    night.dwh(4, &["run", "trips"]);
    night.db.src("update fleet.trips set distance_km = 9, updated_at = now() where trip_id = 902").await;
    night.follow_all();
    equal(night).await;
}

pub async fn another_run_holds_the_table(night: &mut Night) {
    let blocker = night.db.another_source().await;
    blocker.batch_execute("begin; lock table fleet.trips in access exclusive mode").await.expect("lock");
    let mut hanging = night.project.spawn(&["run", "trips"]);
    let waits = "select from pg_stat_activity where usename = 'dwh_reader' and datname = current_database() and wait_event_type = 'Lock'";
    night.until(night.db.source(), waits).await;
    // A run of another machine, at another table.
    let other = night.db.another_source().await;
    other.batch_execute("begin; lock table fleet.devices in access exclusive mode").await.expect("lock");
    let mut healthy = night.project.spawn(&["run", "devices"]);
    let both = waits.replace("select from", "select count(*) from") + " having count(*) = 2";
    night.until(night.db.source(), &both).await;
    night.follow();
    night.follow();
    let seen = night.follow();
    let pid: i32 = blocker.query_one("select pg_backend_pid()", &[]).await.expect("pid").get(0);
    assert!(seen.contains(&format!("{{{pid}}}")), "who blocks is not named: {seen}");
    night.follow();
    // The session at the target is gone, the process finds out when it comes to it.
    blocker.batch_execute("rollback").await.expect("unlock");
    let ended = hanging.wait().expect("it ends");
    assert!(!ended.success(), "a run without its lease does not load");
    other.batch_execute("rollback").await.expect("unlock");
    assert!(healthy.wait().expect("it ends").success(), "a run of another table was ended");
    night.follow_all();
    equal(night).await;
}

pub async fn a_run_was_killed(night: &mut Night) {
    let reader = night.db.another_target().await;
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    reader.batch_execute("begin; lock table bronze.trips in share mode").await.expect("lock");
    let mut killed = night.project.spawn(&["run", "trips"]);
    // The log is told of the CSV while its rows wait.
    let loads = "select from pg_locks, dwh_control.extract_runs r where not granted \
                 and relation = 'bronze.trips'::regclass and r.table_name = 'trips' and r.status = 'loading'";
    night.until(night.db.target(), loads).await;
    killed.kill().and_then(|()| killed.wait()).expect("killed");
    reader.batch_execute("rollback").await.expect("unlock");
    night.follow_all();
    equal(night).await;
}

pub async fn an_open_transaction_holds_the_watermark(night: &mut Night) {
    let forgotten = night.db.another_source().await;
    let open = "set application_name = 'fleet-import'; begin; insert into fleet.trips values (950, 'd1', 1)";
    forgotten.batch_execute(open).await.expect("open");
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    night.project.ok(&["run", "trips"]);
    night.follow_all();
    assert!(forgotten.batch_execute("commit").await.is_err(), "its session was ended");
    equal(night).await;
    assert!(!night.project.ok(&["run", "trips", "--dry-run"]).stdout.contains("open transaction"));
}

pub async fn a_prepared_transaction_holds_the_watermark(night: &mut Night) {
    night.db.src("begin; insert into fleet.trips values (950, 'd1', 1); prepare transaction 'fleet-import-7'").await;
    night.project.ok(&["run", "trips"]);
    night.follow_all();
    equal(night).await;
    assert!(!night.project.ok(&["run", "trips", "--dry-run"]).stdout.contains("prepared transaction"));
}
