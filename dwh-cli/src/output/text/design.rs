//! `dwh design` as people read it: a line a file, and what differs below.

use dwh_core::operate::{DesignReport, DesignState};

use super::plain;
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, printable};

impl Show for DesignReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut table = Table::new(&["~table", "status", "~design"], paint);
        for one in &self.tables {
            let tone = match one.state {
                DesignState::Written | DesignState::Same => Tone::Good,
                DesignState::Different => Tone::Warn,
                DesignState::Failed => Tone::Bad,
                _ => Tone::Plain,
            };
            let status = match one.state {
                DesignState::Written if self.dry_run => "planned",
                DesignState::NotMade => "not made",
                DesignState::Failed => "FAILED",
                state => state.as_str(),
            };
            table.row([plain(&one.table), (status.to_owned(), tone), plain(&one.file)]);
        }
        let mut text = table.text();
        for one in self.tables.iter().filter(|one| one.state == DesignState::Different) {
            text.push_str(&format!("\n{} is not as {} says\n", printable(&one.target), printable(&one.file)));
            for (word, lines) in [("design", &one.only_in_design), ("table ", &one.only_live)] {
                lines.iter().for_each(|line| text.push_str(&format!("  {word}  {}\n", printable(line))));
            }
        }
        text
    }
}
