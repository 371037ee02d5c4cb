//! Rows that are not what they should be.

use dwh_core::testing::assert_equal_tables;

use super::Night;
use crate::support::number;

async fn equal(night: &Night, table: &str) {
    let (source, bronze) = (format!("select * from fleet.{table}"), format!("select * from bronze.{table}"));
    assert_equal_tables(&night.db, &source, &bronze).await;
}

pub async fn rows_are_missing(night: &mut Night) {
    night.db.tgt("delete from bronze.position_history where imei = 'd3'").await;
    night.follow_all();
    equal(night, "position_history").await;
}

pub async fn rows_differ(night: &mut Night) {
    night.db.tgt("update bronze.trips set distance_km = 0 where trip_id = 3").await;
    night.db.tgt("insert into bronze.trips values (1003, 'd1', 1, '2026-03-01 04:00Z')").await;
    night.follow_all();
    equal(night, "trips").await;
}

pub async fn a_unit_is_wrong(night: &mut Night) {
    night.follow();
    let no_geometry = [night.follow(), night.follow()];
    assert_eq!(no_geometry[0].trim(), no_geometry[1].lines().next().unwrap_or_default().trim());
    night.edit(
        "on_conflict = \"update\"\n",
        "on_conflict = \"update\"\n[table.select]\ndistance_km = \"(t.distance_km / 1000)::numeric(8,3)\"\n",
    );
    night.follow_all();
    let kilometres = "select count(*) from bronze.trips where distance_km < 1";
    assert_eq!(number(&night.db, kilometres).await, 30);
}

pub async fn a_window_is_read_again(night: &mut Night) {
    night.db.tgt("delete from bronze.trips where trip_id < 5").await;
    night.follow_all();
    equal(night, "trips").await;
}

pub async fn everything_is_read_again(night: &mut Night) {
    night
        .db
        .src("delete from fleet.trips where trip_id = 7; update fleet.trips set distance_km = 1 where trip_id = 8")
        .await;
    night.follow_all();
    equal(night, "trips").await;
}

pub async fn one_table_is_corrupt(night: &mut Night) {
    night.db.tgt("update bronze.trips set imei = 'nonsense'; delete from bronze.trips where trip_id < 5").await;
    night.follow_all();
    equal(night, "trips").await;
}

pub async fn a_bronze_table_lost_its_rows(night: &mut Night) {
    night.db.tgt("truncate bronze.trips").await;
    night.dwh(4, &["run"]);
    night.follow_all();
    equal(night, "trips").await;
}

pub async fn the_watermark_is_of_something_else(night: &mut Night) {
    night.db.src("alter table fleet.trips rename to journeys").await;
    night.edit("relation = \"fleet.trips\"", "relation = \"fleet.journeys\"");
    night.dwh(4, &["run"]);
    night.follow_all();
    assert_equal_tables(&night.db, "select * from fleet.journeys", "select * from bronze.trips").await;
}

pub async fn what_reset_put_aside_comes_back(night: &mut Night) {
    night.db.tgt("insert into bronze.trips values (1003, 'd1', 1, '2026-03-01 04:00Z')").await;
    let rebuilt = night.project.json(&["rebuild", "trips", "--reset"]);
    let by_hand = "select count(*) from bronze.trips where trip_id = 1003";
    assert_eq!(number(&night.db, by_hand).await, 0);
    night.follow();
    night.db.tgt(rebuilt["restore_sql"].as_str().expect("the way back")).await;
    night.follow_all();
    assert_eq!(number(&night.db, by_hand).await, 1, "the old table is back");
}
