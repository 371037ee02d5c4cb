//! Each version of a row stays, and none is added twice.

use super::{contract_load, counted, load_as};
use crate::config::{Mode, OnConflict};
use crate::plan::LoadPlan;
use crate::run::RunKind;
use crate::schema::TableRef;
use crate::sink::Sink;

/// The load of [`versions_contract`], into `bronze.contract_append`.
#[must_use]
pub fn contract_append() -> LoadPlan {
    let dated = contract_load(Mode::Scd);
    let table = "contract_append".to_owned();
    let target = TableRef::new("bronze", &table);
    let key = vec!["id".to_owned()];
    LoadPlan { table, target, mode: Mode::Incremental, key, on_conflict: OnConflict::Append, ..dated }
}

/// Asserts what `on_conflict = "append"` promises. `sink` has the table of [`contract_append`], empty, with a watermark row
/// as seeded.
///
/// # Panics
/// If the sink breaks a promise.
pub async fn versions_contract(sink: &dyn Sink) {
    let load = contract_append();
    let row = |id: u8, note: &str, day: u8| format!("{id},{note},2026-01-01 00:00:00+00,2026-03-0{day} 00:00:00+00");
    let csv = |rows: &[(u8, &str)], day| rows.iter().map(|(id, note)| row(*id, note, day)).collect::<Vec<_>>();
    let load_csv = async |rows: &[(u8, &str)], day, kind| {
        let rows = csv(rows, day);
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        load_as(sink, &load, kind, &rows).await.expect("loads")
    };
    let [first, second, third]: [&[(u8, &str)]; 3] =
        [&[(1, "a"), (2, "b")], &[(1, "a"), (2, "c"), (3, "d")], &[(2, "b"), (3, "d")]];
    assert_eq!(load_csv(first, 1, RunKind::Run).await, counted(2, 2, 0, 0, 0));
    // Read again without a change: not added again.
    assert_eq!(load_csv(second, 2, RunKind::Run).await, counted(3, 2, 0, 1, 0));
    // A row that goes back to what it was is a version of its own.
    assert_eq!(load_csv(third, 3, RunKind::Run).await, counted(2, 1, 0, 1, 0));
    for (rows, day) in [(third, 3), (first, 1), (second, 2)] {
        let count = rows.len() as u64;
        assert_eq!(load_csv(rows, day, RunKind::Replay).await, counted(count, 0, 0, count, 0), "day {day} again");
    }
    // A key that the source has twice is two rows.
    assert_eq!(load_csv(&[(4, "x"), (4, "y")], 4, RunKind::Run).await, counted(2, 2, 0, 0, 0));
    assert_eq!(load_csv(&[(4, "x"), (4, "y")], 5, RunKind::Run).await, counted(2, 0, 0, 2, 0));
    assert_eq!(load_csv(&[], 6, RunKind::Run).await, counted(0, 0, 0, 0, 0));
}
