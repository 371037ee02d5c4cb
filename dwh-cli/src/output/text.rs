//! The reports as people read them.

mod backfill;
mod check;
mod init;
mod load;
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
use dwh_core::operate::MigrateReport;
use dwh_core::pipeline::{RunReport, TableRun};

use super::table::{Table, Tone, plain};
use super::{Paint, Show, human, printable};

pub use plan::Plans;
pub use prune::freed;
pub use runs::Runs;

impl Show for RunReport {
    fn text(&self, paint: Paint) -> String {
        if self.runs.is_empty() {
            return "nothing to do\n".to_owned();
        }
        let mut text = runs_table(&self.runs, self.preview, paint);
        if self.preview {
            text.push_str("\npreview: counted in the target and rolled back, nothing is kept\n");
            for run in &self.runs {
                let window = run.window.as_ref().map(plan::window_text);
                let read = window.unwrap_or_else(|| "the whole table".to_owned());
                text.push_str(&format!("  {}: {read}\n", printable(&run.table)));
            }
        }
        text
    }
}

impl Show for TableRun {
    fn text(&self, paint: Paint) -> String {
        runs_table(std::slice::from_ref(self), false, paint)
    }
}

fn runs_table(runs: &[TableRun], preview: bool, paint: Paint) -> String {
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
            if preview && run.error.is_none() { plain("preview") } else { state(run.status, run.error.is_some()) },
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

impl Show for MigrateReport {
    fn text(&self, _: Paint) -> String {
        let mut text = String::new();
        let (apply, create) = if self.dry_run { ("would apply", "would create") } else { ("applied", "created") };
        let parts = [
            (apply, &self.applied),
            ("there already", &self.present),
            (create, &self.tables_created),
            ("there already", &self.tables_present),
        ];
        for (word, names) in parts {
            names.iter().for_each(|name| text.push_str(&format!("{word:<13}  {name}\n")));
        }
        let (applied, created) = (self.applied.len(), self.tables_created.len());
        let (applied, created) = (human::many(applied, "migration"), human::many(created, "table"));
        let to_be = if self.dry_run { "to be " } else { "" };
        text.push_str(&format!("\n{applied} {to_be}applied, {created} {to_be}created\n"));
        for conflict in &self.conflicts {
            text.push_str(&format!("\nATTENTION  {}\n  {}\n", conflict.message, conflict.hint.replace('\n', "\n  ")));
        }
        text
    }
}
