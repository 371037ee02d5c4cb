//! What `tap` did with the tables of a manifest.

use dwh_core::operate::TapReport;
use dwh_core::pipeline::TableTrial;

use super::backfill::from;
use super::{Tone, plain, runs_table};
use crate::output::table::Table;
use crate::output::{Paint, Show, human, printable};

impl Show for TapReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = format!("{} of `{}`", self.load_type.as_str(), self.manifest);
        if let Some(window) = &self.window {
            let begins = window.from.map_or_else(String::new, |_| format!(" from {}", from(window, paint)));
            text.push_str(&format!("{begins} up to {}", paint.moment(window.to)));
        }
        text.push('\n');
        if self.dry_run {
            text.push_str("nothing is done; these tables would be worked on:\n");
            self.tables.iter().for_each(|name| text.push_str(&format!("  {}\n", printable(name))));
            return text;
        }
        if !self.skipped.is_empty() {
            let tables = human::many(self.skipped.len(), "table");
            text.push_str(&format!("left to other load types: {tables}\n"));
        }
        if !self.runs.is_empty() {
            text.push_str(&format!("\n{}", runs_table(&self.runs, false, paint)));
        }
        if !self.tests.is_empty() {
            text.push_str(&format!("\n{}", trials(&self.tests, paint)));
        }
        if let Some(found) = &self.verify {
            text.push_str(&format!("\n{}", found.text(paint)));
        }
        if self.runs.is_empty() && self.tests.is_empty() && self.verify.is_none() {
            text.push_str("nothing to do\n");
        }
        text
    }
}

/// A line a table, then the rows that bronze would refuse.
fn trials(tests: &[TableTrial], paint: Paint<'_>) -> String {
    let mut table = Table::new(&["~table", ">rows", ">refused", ">time", "result"], paint);
    for found in tests {
        let refused = found.refused.len().to_string() + if found.more { " or more" } else { "" };
        let result = match (&found.error, found.refused.is_empty()) {
            (Some(_), _) => ("FAILED".to_owned(), Tone::Bad),
            (None, true) => ("fits".to_owned(), Tone::Good),
            (None, false) => ("REFUSED".to_owned(), Tone::Bad),
        };
        let rows = plain(human::count(found.rows));
        table.row([plain(&found.table), rows, plain(refused), plain(human::seconds(found.seconds)), result]);
    }
    let mut text = table.text();
    for found in tests {
        for row in &found.refused {
            let key: Vec<String> = row.key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text.push_str(&format!("  {}: {}: {}\n", printable(&found.table), printable(&key.join(", ")), row.message));
        }
    }
    text
}
