//! What `rebuild` did, or would do.

use dwh_core::pipeline::{RebuildReport, RebuiltTable};

use super::plain;
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, human, printable};

impl Show for RebuildReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let columns = [
            "table",
            "bronze",
            ">files",
            ">rows",
            ">size",
            ">loaded files",
            ">loaded rows",
            ">waiting",
            "watermark",
            "status",
        ];
        let mut table = Table::new(&columns, paint);
        for told in &self.tables {
            table.row([
                plain(&told.table),
                plain(&told.target),
                plain(human::count(told.csvs)),
                plain(human::count(told.rows)),
                plain(human::bytes(told.bytes)),
                plain(human::count(told.csvs_loaded)),
                plain(human::count(told.rows_loaded)),
                plain(human::count(told.waiting)),
                plain(paint.ago(told.watermark)),
                status(told, self.dry_run),
            ]);
        }
        let mut text = table.text();
        for told in &self.tables {
            for gap in &told.gaps {
                text.push_str(&format!("gap: table `{}`: {}\n", printable(&told.table), printable(&gap.message)));
            }
            for note in &told.notes {
                text.push_str(&format!("note: table `{}`: {}\n", printable(&told.table), printable(note)));
            }
        }
        if self.dry_run && !self.in_the_way.is_empty() {
            let list: String = self.in_the_way.iter().map(|what| format!("  - {}\n", printable(what))).collect();
            text.push_str(&format!("\nin the way, unless `--reset` puts it aside:\n{list}"));
        }
        if let Some(backup) = &self.backup {
            text.push_str(&format!("\nwhat was there before is in schema `{}`:\n", printable(backup)));
            self.backup_tables.iter().for_each(|table| text.push_str(&format!("  - {}\n", printable(table))));
        }
        if !self.views_left_behind.is_empty() {
            text.push_str(match self.backup {
                Some(_) => "\nthese go on reading what was put aside:\n",
                None => "\nthese would go on reading what `--reset` puts aside:\n",
            });
        }
        for left in &self.views_left_behind {
            let [kind, view, remedy] = [&left.kind, &left.view, &left.remedy].map(|word| printable(word));
            text.push_str(&format!("  - {kind} `{view}`: {remedy}\n"));
            let sql = left.sql.iter().filter(|_| self.backup.is_some());
            sql.for_each(|sql| text.push_str(&format!("{}\n", printable(sql))));
        }
        if let Some(sql) = &self.restore_sql {
            text.push_str(&format!("to go back to it:\n{}", printable(sql)));
        }
        text
    }
}

fn status(told: &RebuiltTable, dry_run: bool) -> (String, Tone) {
    match told.error {
        Some(_) => ("FAILED".to_owned(), Tone::Bad),
        None if told.csvs + told.waiting == 0 => ("no CSV".to_owned(), Tone::Warn),
        None if dry_run => plain("planned"),
        None if !told.made => ("not made".to_owned(), Tone::Warn),
        None => ("rebuilt".to_owned(), Tone::Good),
    }
}
