//! What `load --dry-run` says: what is left to do for the CSV, what it holds, and every statement.

use dwh_core::pipeline::{LoadPlanReport, LoadStep};

use super::plan::{statements, window_text};
use crate::output::{Paint, Show, human, printable};

impl Show for LoadPlanReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = format!("table `{}`, {}\n", printable(&self.table), self.mode.as_str());
        let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<10}  {}\n", printable(value)));
        line(
            "would",
            match self.would {
                LoadStep::Load => "load it, and move it to processed/",
                LoadStep::Move => "move it to processed/; it is loaded",
                LoadStep::Nothing => "do nothing: it is loaded and moved",
            },
        );
        line("csv", &self.csv_path);
        line("target", &self.target);
        line("run", &run_text(self));
        line("rows", &format!("{}, {}", human::count(self.rows), human::bytes(self.bytes)));
        if let Some(window) = &self.window {
            line("window", &window_text(window, paint));
        }
        if let Some(watermark) = self.watermark {
            line("watermark", &paint.moment(Some(watermark)));
        }
        statements(&mut text, "load, in one transaction", &self.load_sql);
        text
    }
}

fn run_text(report: &LoadPlanReport) -> String {
    let vouched = if report.manifest { "" } else { "; no manifest vouches for the CSV" };
    match (report.run_id, report.status) {
        // What is loaded and moved has its manifest in the other folder.
        (Some(run_id), Some(status)) if report.would != LoadStep::Load => format!("{run_id}, {status}"),
        (Some(run_id), Some(status)) => format!("{run_id}, {status}{vouched}"),
        _ => format!("a new one{vouched}"),
    }
}
