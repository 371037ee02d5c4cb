//! What `resync` did, or would do.

use dwh_core::pipeline::{ResyncReport, ResyncedTable};

use super::runs_table;
use crate::output::{Paint, Show, human, printable};

impl Show for ResyncReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let texts: Vec<String> = self.tables.iter().map(|table| told(table, self.dry_run, paint)).collect();
        texts.join("\n")
    }
}

fn told(table: &ResyncedTable, dry_run: bool, paint: Paint<'_>) -> String {
    let chunks = human::many(usize::try_from(table.chunks).unwrap_or(usize::MAX), "chunk");
    let name = printable(&table.table);
    if dry_run {
        return format!("`{name}` would be read in {chunks}\n");
    }
    {
        let read = if table.chunks > 0 { format!(", {chunks} read") } else { String::new() };
        format!("resync of `{name}`{read}\n\n{}", runs_table(&table.runs, false, paint))
    }
}
