//! What is looked at when nothing seems wrong, and a table that nobody runs.

use super::Night;

pub async fn the_morning_check(night: &mut Night) {
    assert!(night.follow().contains("healthy"));
}

pub async fn a_table_is_stale(night: &mut Night) {
    // Nobody has called `dwh run` for a day.
    let day = "update dwh_control.extract_runs set run_started_at = run_started_at - interval '1 day',
            run_finished_at = run_finished_at - interval '1 day' where table_name = 'position_history';
        update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at - interval '1 day'
            where table_name = 'position_history'";
    night.db.tgt(day).await;
    night.dwh(0, &["status"]);
    night.follow_all();
}

pub async fn every_week(night: &mut Night) {
    night.follow_all();
}

pub async fn every_month(night: &mut Night) {
    night.follow_all();
}

pub async fn before_production(night: &mut Night) {
    night.follow();
    night.follow();
    // A cycle of the schedule goes by.
    night.db.tgt("update dwh_control.extract_runs set run_started_at = run_started_at - interval '7 hours'").await;
    night.follow_all();
}
