//! What `replay` did, or would do.

use dwh_core::pipeline::ReplayReport;

use super::{plain, runs_table};
use crate::output::table::Table;
use crate::output::{Paint, Show, human};

impl Show for ReplayReport {
    fn text(&self, paint: Paint) -> String {
        if !self.dry_run {
            return runs_table(&self.runs, paint);
        }
        let mut table = Table::new(&[">run", "after", "up to", ">rows", ">size", "csv"], paint);
        for csv in &self.csvs {
            let (from, to) = csv.window.map_or((None, Some(csv.run_started_at)), |window| (window.from, window.to));
            table.row([
                plain(csv.run_id.to_string()),
                plain(human::moment(from)),
                plain(human::moment(to)),
                plain(human::count(csv.rows)),
                plain(human::bytes(csv.bytes)),
                plain(&csv.csv_path),
            ]);
        }
        table.text()
    }
}
