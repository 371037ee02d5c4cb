//! `docs/runbook.md`, followed word for word: each section has a scenario that brings its symptom about and then runs
//! the section's own blocks, in their order, taken out of the page.

mod blobs;
mod daily;
mod data;
mod examples;
mod night;
pub mod page;
mod pages;
mod schema;
mod services;
mod stuck;

use night::Night;
use page::{PAGE, Section};

fn section(title: &str) -> Section {
    let mut sections = Section::all(PAGE);
    sections.retain(|section| section.title == title);
    sections.pop().unwrap_or_else(|| panic!("docs/runbook.md has no section `{title}`"))
}

/// The scenario of each section, as a test, and the list of the sections that have one.
macro_rules! scenarios {
    ($($place:ident::$test:ident: $title:literal,)*) => {
        const TITLES: &[&str] = &[$($title),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let mut night = Night::of(section($title)).await;
                $place::$test(&mut night).await;
                night.finish();
            }
        )*
    };
}

scenarios! {
    daily::the_morning_check: "The morning check",
    daily::a_table_is_stale: "A table is stale",
    services::the_source_is_away: "The source cannot be reached",
    services::the_target_is_away: "The target cannot be reached",
    services::the_blob_store_is_away: "The blob store cannot be reached",
    services::a_password_is_refused: "A password is refused",
    services::a_password_is_rotated: "Rotate a password",
    schema::a_column_came: "A column was added at the source",
    schema::a_column_went: "A column was removed at the source",
    schema::a_column_changed_its_type: "A column has another type",
    schema::a_table_is_added: "Add a table",
    schema::an_excluded_column_is_wanted: "Add a column",
    stuck::a_csv_waits: "A CSV is stuck in exports/",
    stuck::bronze_refuses_a_csv: "Bronze refuses a CSV",
    stuck::another_run_holds_the_table: "A run hangs, or holds the table",
    stuck::a_run_was_killed: "A run was killed",
    stuck::an_open_transaction_holds_the_watermark: "The watermark does not move: an open transaction",
    stuck::a_prepared_transaction_holds_the_watermark: "The watermark does not move: a prepared transaction",
    data::rows_are_missing: "Rows are missing in bronze",
    data::rows_differ: "Rows differ, or bronze has more",
    data::a_unit_is_wrong: "Geometry is NULL, or a unit is wrong",
    data::a_window_is_read_again: "Read a window again",
    data::everything_is_read_again: "Read everything again",
    data::one_table_is_corrupt: "One bronze table is corrupt",
    data::a_bronze_table_lost_its_rows: "A bronze table lost its rows",
    data::the_watermark_is_of_something_else: "The watermark belongs to something else",
    data::what_reset_put_aside_comes_back: "Put back what `--reset` put aside",
    blobs::the_warehouse_is_lost: "The warehouse is lost",
    blobs::the_target_is_from_an_old_backup: "The target was restored from a backup",
    blobs::the_source_is_another: "The source failed over, or was restored",
    blobs::a_file_is_damaged: "A file in the blob store is damaged or lost",
    blobs::the_disk_is_full: "The disk is full",
    daily::every_week: "Every week",
    daily::every_month: "Every month",
    daily::before_production: "Before production: the three gates",
}

#[test]
fn every_section_has_a_scenario() {
    let sections: Vec<String> = Section::all(PAGE).into_iter().map(|section| section.title).collect();
    assert_eq!(sections, TITLES, "the sections of docs/runbook.md with commands, and the scenarios");
}

#[test]
fn the_table_at_the_top_leads_to_every_section() {
    let (top, _) = PAGE.split_once(&format!("\n## {}\n", TITLES[0])).expect("sections");
    for title in TITLES {
        let anchor: String = title
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        assert!(top.contains(&format!("(#{anchor})")), "nothing leads to `{title}`: #{anchor}");
    }
}
