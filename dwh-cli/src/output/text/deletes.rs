//! What `deletes` found, and did.

use dwh_core::config::Deletes;
use dwh_core::pipeline::{DeletesReport, TableDeletes};

use super::{Tone, plain};
use crate::output::table::Table;
use crate::output::{Paint, Show, human, printable};

impl Show for DeletesReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut table = Table::new(
            &["~table", "up to/4", ">keys/2", ">compared/3", ">gone", ">back/1", "gone are/2", "status"],
            paint,
        );
        for told in &self.tables {
            let status = match (&told.error, self.dry_run) {
                (Some(_), _) => ("FAILED".to_owned(), Tone::Bad),
                (None, true) => plain("planned"),
                (None, false) => ("done".to_owned(), Tone::Good),
            };
            let mut row = vec![plain(&told.table), plain(paint.ago(told.up_to))];
            let counts = [told.keys, told.rows_compared, told.rows_gone, told.rows_back];
            row.extend(counts.map(|rows| plain(human::count(rows))));
            row.extend([plain(word(told)), status]);
            table.row(row);
        }
        let mut text = table.text();
        for told in self.tables.iter().filter(|told| !told.first_keys.is_empty()) {
            text.push_str(&format!("\nnot at the source any more, of `{}`, the first keys:\n", printable(&told.table)));
            for key in &told.first_keys {
                let values: Vec<&str> = key.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                text.push_str(&format!("  {}\n", printable(&values.join(", "))));
            }
        }
        text
    }
}

fn word(told: &TableDeletes) -> &'static str {
    match told.deletes {
        Deletes::Keep => "kept",
        Deletes::Mark => "marked",
        Deletes::Remove => "removed",
    }
}
