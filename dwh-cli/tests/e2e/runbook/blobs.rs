//! Databases and stores that are lost, restored or full.

use dwh_core::testing::{Clusters, TestBlobs, assert_equal_tables};
use std::fs;

use super::Night;
use crate::support::{age, files};

const TABLES: [&str; 3] = ["position_history", "trips", "devices"];

async fn equal(night: &Night) {
    for table in TABLES {
        let (source, bronze) = (format!("select * from fleet.{table}"), format!("select * from bronze.{table}"));
        assert_equal_tables(&night.db, &source, &bronze).await;
    }
}

pub async fn the_warehouse_is_lost(night: &mut Night) {
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    night.db.tgt("drop schema bronze cascade; drop schema dwh_control cascade; drop extension postgis").await;
    night.follow_all();
    equal(night).await;
}

/// The backup is a copy of the schemas, from before the newest runs.
pub async fn the_target_is_from_an_old_backup(night: &mut Night) {
    let target = &Clusters::shared().target;
    let dump = std::process::Command::new("pg_dump")
        .args(["-n", "bronze", "-n", "dwh_control", &night.db.target_url()])
        .output()
        .expect("pg_dump starts");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    night.db.src("insert into fleet.trips values (901, 'd1', 1); update fleet.devices set plate = 'new'").await;
    night.project.ok(&["run"]);
    night.db.src("insert into fleet.trips values (902, 'd1', 1)").await;
    night.project.ok(&["run"]);
    night.db.tgt("drop schema bronze cascade; drop schema dwh_control cascade").await;
    target.psql(night.db.name(), &String::from_utf8(dump.stdout).expect("text"));
    night.follow_all();
    equal(night).await;
}

pub async fn the_source_is_another(night: &mut Night) {
    // As the watermark knows it, the source was another server; and it lost its last rows.
    night.db.tgt("update dwh_control.extract_watermarks set source_system_identifier = '1', source_timeline = 7").await;
    night.db.src("delete from fleet.trips where trip_id > 25; insert into fleet.trips values (901, 'd1', 1)").await;
    night.follow_all();
    assert_equal_tables(
        &night.db,
        "select * from fleet.trips",
        "select * from bronze.trips where trip_id not between 26 and 30",
    )
    .await;
}

pub async fn a_file_is_damaged(night: &mut Night) {
    let all = files(&night.files("processed", "trips"));
    let csv = all.iter().find(|file| file.to_string_lossy().ends_with("_4.csv")).expect("the CSV of run 4");
    let mut bytes = fs::read(csv).expect("read");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(csv, bytes).expect("damaged");
    night.follow_all();
    equal(night).await;
}

pub async fn the_disk_is_full(night: &mut Night) {
    let full = night.project.config_with("[project]", "[project]").env("TMPDIR", "/proc/full");
    fs::copy(night.project.folder().join(".env"), full.folder().join(".env")).expect(".env");
    night.db.src("insert into fleet.trips values (901, 'd1', 1)").await;
    let failed = full.dwh(&["run"]);
    assert_eq!(failed.code, 1, "{}", failed.all());
    night.heard(&failed.all());
    age(&night.db, &TestBlobs::local(&night.db), "status = 'loaded'", "2 years").await;
    night.follow_all();
    equal(night).await;
}
