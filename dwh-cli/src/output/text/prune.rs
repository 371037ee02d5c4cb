//! What `prune` removed, or would remove.

use dwh_core::pipeline::PruneReport;

use super::plain;
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, human};

impl Show for PruneReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut table = Table::new(&["~table", ">files", ">size", ">runs", "status"], paint);
        for told in &self.tables {
            let status = if told.error.is_some() {
                ("FAILED".to_owned(), Tone::Bad)
            } else {
                plain(if self.dry_run { "planned" } else { "done" })
            };
            table.row([
                plain(&told.table),
                plain(human::count(told.files.len() as u64)),
                plain(human::bytes(told.bytes)),
                plain(human::count(told.runs)),
                status,
            ]);
        }
        let word = if self.dry_run { "would remove" } else { "removed" };
        format!("{}\n{word} {}\n", table.text(), freed(self))
    }
}

/// `12 files (3.4 MB) and 5 rows of the run log`.
pub fn freed(report: &PruneReport) -> String {
    let (files, bytes, runs) = report.totals();
    let count =
        |number: u64, noun: &str| format!("{} {noun}{}", human::count(number), if number == 1 { "" } else { "s" });
    format!("{} ({}) and {} of the run log", count(files, "file"), human::bytes(bytes), count(runs, "row"))
}
