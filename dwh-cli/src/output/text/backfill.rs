//! What `backfill` and `reseed` did, or would do.

use dwh_core::pipeline::{BackfillReport, ReseedReport, WindowReport};

use super::{plain, runs_table};
use crate::output::table::Table;
use crate::output::{Paint, Show, human};

impl Show for BackfillReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = String::new();
        if let Some(range) = &self.range {
            let to = paint.moment(range.to);
            text.push_str(&format!("{} of `{}`, after {} up to {to}\n", self.kind, self.table, from(range, paint)));
        }
        if self.windows_skipped > 0 {
            let skipped = human::many(usize::try_from(self.windows_skipped).unwrap_or(usize::MAX), "window");
            text.push_str(&format!("goes on where an earlier call was cut off: {skipped} loaded before\n"));
        }
        if self.dry_run {
            let mut table = Table::new(&[">window", "after", "up to"], paint);
            for (at, window) in self.windows.iter().enumerate() {
                table.row([plain((at + 1).to_string()), plain(from(window, paint)), plain(paint.moment(window.to))]);
            }
            text.push_str(&format!("\n{}", table.text()));
        } else if !self.runs.is_empty() {
            text.push_str(&format!("\n{}", runs_table(&self.runs, false, paint)));
        }
        text
    }
}

impl Show for ReseedReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let texts: Vec<String> = self.tables.iter().map(|table| table.text(paint)).collect();
        texts.join("\n")
    }
}

pub(super) fn from(window: &WindowReport, paint: Paint<'_>) -> String {
    window.from.map_or_else(|| "the beginning".to_owned(), |at| paint.moment(Some(at)))
}
