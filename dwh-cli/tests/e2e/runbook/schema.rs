//! Columns and tables that come, go and change.

use dwh_core::testing::assert_equal_tables;

use super::Night;

async fn equal(night: &Night) {
    assert_equal_tables(&night.db, "select * from fleet.trips", "select * from bronze.trips").await;
}

pub async fn a_column_came(night: &mut Night) {
    night.db.src("alter table fleet.trips add column driver text; insert into fleet.trips values (901, 'd1', 1, now(), 'Ann')").await;
    night.dwh(4, &["run"]);
    night.follow_all();
    equal(night).await;
}

pub async fn a_column_went(night: &mut Night) {
    // Bronze has what the source had: the column may not be NULL.
    night.db.tgt("alter table bronze.trips alter column distance_km set not null").await;
    night.db.src("alter table fleet.trips drop column distance_km; insert into fleet.trips values (901, 'd1')").await;
    night.dwh(4, &["run"]);
    night.edit("on_conflict = \"update\"", "on_conflict = \"update\"\non_missing_column = \"keep\"");
    night.follow_all();
    let kept = "select count(*) from bronze.trips where distance_km is not null";
    assert_eq!(crate::support::number(&night.db, kept).await, 30, "what was loaded stays");
}

pub async fn a_column_changed_its_type(night: &mut Night) {
    night.db.src("alter table fleet.trips alter column distance_km type double precision; insert into fleet.trips values (901, 'd1', 1)").await;
    night.dwh(4, &["run"]);
    night.follow_all();
    equal(night).await;
}

pub async fn a_table_is_added(night: &mut Night) {
    night
        .db
        .src(
            "create table fleet.alarms (alarm_id bigint primary key, recorded_at timestamptz not null default now());
             create index on fleet.alarms (recorded_at);
             revoke select on fleet.alarms from dwh_reader;
             insert into fleet.alarms select generate_series(1, 5)",
        )
        .await;
    let table =
        super::page::PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the table");
    night.edit("[[table]]", &format!("{table}\n[[table]]"));
    night.follow_all();
    assert_equal_tables(&night.db, "select * from fleet.alarms", "select * from bronze.alarms").await;
}

pub async fn an_excluded_column_is_wanted(night: &mut Night) {
    night.edit("on_conflict = \"update\"", "on_conflict = \"update\"\nexclude = [\"imei\"]");
    night.db.tgt("alter table bronze.trips drop column imei").await;
    night.project.ok(&["run"]);
    night.edit("exclude = [\"imei\"]", "");
    night.follow_all();
    assert_equal_tables(&night.db, "select trip_id, imei from fleet.trips", "select trip_id, imei from bronze.trips")
        .await;
}
