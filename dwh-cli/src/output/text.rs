//! The reports as people read them.

mod backfill;
mod check;
mod init;
mod load;
mod migrate;
mod plan;
mod prune;
mod rebuild;
mod recover;
mod replay;
mod runs;
mod schedule;
mod status;
mod verify;

use dwh_core::RunState;
use dwh_core::pipeline::{RunReport, TableRun};

use super::table::{Table, Tone, plain};
use super::{Paint, Show, human};

pub use plan::Plans;
pub use prune::freed;
pub use runs::Runs;

impl Show for RunReport {
    fn text(&self, paint: Paint) -> String {
        if self.runs.is_empty() { "nothing to do\n".to_owned() } else { runs_table(&self.runs, paint) }
    }
}

impl Show for TableRun {
    fn text(&self, paint: Paint) -> String {
        runs_table(std::slice::from_ref(self), paint)
    }
}

fn runs_table(runs: &[TableRun], paint: Paint) -> String {
    let stayed = Stayed::of(runs.iter().map(|run| (run.rows_different, run.rows_kept_newer)));
    let mut columns = vec!["table", ">run", "mode", ">extracted", ">inserted", ">updated", ">identical"];
    columns.extend(stayed.columns());
    columns.extend([">size", ">time", "watermark", "status"]);
    let mut table = Table::new(&columns, paint);
    for run in runs {
        let mut row = vec![
            plain(&run.table),
            plain(run.run_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            plain(run.mode.as_str()),
        ];
        let counts = [run.rows_extracted, run.rows_inserted, run.rows_updated, run.rows_identical];
        row.extend(counts.map(|rows| plain(human::count(rows))));
        row.extend(stayed.cells(Some(run.rows_different), Some(run.rows_kept_newer)));
        row.extend([
            plain(human::bytes(run.bytes)),
            plain(human::seconds(run.seconds.total)),
            plain(human::moment(run.watermark)),
            state(run.status, run.error.is_some()),
        ]);
        table.row(row);
    }
    table.text()
}

/// Which columns a table needs for rows of the CSV that did not get into bronze: most have none of them.
struct Stayed {
    different: bool,
    kept_newer: bool,
}

impl Stayed {
    /// For runs with these counts: different, kept because newer.
    fn of(runs: impl Iterator<Item = (u64, u64)>) -> Self {
        runs.fold(Self { different: false, kept_newer: false }, |found, (different, kept_newer)| Self {
            different: found.different || different > 0,
            kept_newer: found.kept_newer || kept_newer > 0,
        })
    }

    fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.different.then_some(">different").into_iter().chain(self.kept_newer.then_some(">kept newer"))
    }

    fn cells(&self, different: Option<u64>, kept_newer: Option<u64>) -> impl Iterator<Item = (String, Tone)> {
        let told = |rows: Option<u64>, tone| match rows {
            Some(rows) if rows > 0 => (human::count(rows), tone),
            rows => plain(rows.map_or_else(|| "-".to_owned(), human::count)),
        };
        let different = self.different.then(|| told(different, Tone::Warn));
        different.into_iter().chain(self.kept_newer.then(|| told(kept_newer, Tone::Plain)))
    }
}

/// A run that ended with an error failed, wherever it stood then.
fn state(state: RunState, failed: bool) -> (String, Tone) {
    match state {
        _ if failed => ("FAILED".to_owned(), Tone::Bad),
        RunState::Failed => ("FAILED".to_owned(), Tone::Bad),
        RunState::Loaded => (state.to_string(), Tone::Good),
        _ => plain(state.as_str()),
    }
}
