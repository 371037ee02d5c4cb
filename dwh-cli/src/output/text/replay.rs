//! What `replay` did, or would do.

use dwh_core::pipeline::{GapReport, ReplayReport};

use super::{plain, runs_table};
use crate::output::table::Table;
use crate::output::{Paint, Show, human, printable};

impl Show for ReplayReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let gap = |gap: &GapReport| format!("gap: {}\n", printable(&gap.message));
        let gaps: String = self.gaps.iter().map(gap).collect();
        if !self.dry_run {
            return runs_table(&self.runs, false, paint) + &gaps;
        }
        let mut table = Table::new(&[">run", "after", "up to", ">rows", ">size", "csv"], paint);
        for csv in &self.csvs {
            let (from, to) = csv.window.map_or((None, Some(csv.run_started_at)), |window| (window.from, window.to));
            table.row([
                plain(csv.run_id.to_string()),
                plain(paint.moment(from)),
                plain(paint.moment(to)),
                plain(human::count(csv.rows)),
                plain(human::bytes(csv.bytes)),
                plain(&csv.csv_path),
            ]);
        }
        table.text() + &gaps
    }
}
