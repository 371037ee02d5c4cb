//! The other pages whose commands can be followed from the top to the bottom.

use super::night::Night;
use super::page::Section;

/// The blocks of a whole page, one after another.
async fn follow(name: &str, page: &str) -> Night {
    let sections = Section::all(page).into_iter();
    let blocks = sections.flat_map(|section| section.blocks).collect();
    let mut night = Night::of(Section { title: name.to_owned(), blocks, seen: Vec::new() }).await;
    night.follow_all();
    night
}

#[tokio::test]
async fn run_and_its_halves() {
    follow("run", include_str!("../../../../docs/run.md")).await.finish();
    follow("extract", include_str!("../../../../docs/extract.md")).await.finish();
}

#[tokio::test]
async fn a_file_made_by_hand() {
    let night = follow("load", include_str!("../../../../docs/load.md")).await;
    let mended = "select count(*) from bronze.trips where trip_id = 77 and distance_km = 12.5";
    assert_eq!(crate::support::number(&night.db, mended).await, 1);
    night.finish();
}

#[tokio::test]
async fn migrate_and_schedules() {
    follow("migrate", include_str!("../../../../docs/migrate.md")).await.finish();
    follow("schedules", include_str!("../../../../docs/schedules.md")).await.finish();
    follow("scale out", include_str!("../../../../docs/scale-out.md")).await.finish();
}
