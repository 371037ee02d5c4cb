//! What `export` wrote, or would write.

use dwh_core::operate::ExportReport;

use super::plain;
use crate::output::table::Table;
use crate::output::{Paint, Show, human, printable};

impl Show for ExportReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = String::new();
        if self.dry_run {
            let mut table = Table::new(&["~column", "~type", "parquet"], paint);
            for column in &self.columns {
                table.row([plain(&column.name), plain(&column.type_name), plain(&column.parquet)]);
            }
            text = table.text() + "\n";
        }
        let mut table = Table::new(&[">run", "~file", ">rows of the csv", ">rows", ">size"], paint);
        for file in &self.files {
            table.row([
                plain(file.run_id.to_string()),
                plain(&file.file),
                plain(human::count(file.rows_csv)),
                plain(file.rows.map_or_else(|| "-".to_owned(), human::count)),
                plain(file.bytes.map_or_else(|| "-".to_owned(), human::bytes)),
            ]);
        }
        text.push_str(&table.text());
        for gap in &self.gaps {
            text.push_str(&format!("gap: {}\n", printable(&gap.message)));
        }
        let (rows, to) = (human::count(self.rows), printable(&self.to));
        text + &if self.dry_run { format!("would go to {to}\n") } else { format!("{rows} rows in {to}\n") }
    }
}
