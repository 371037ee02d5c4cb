//! What `run --dry-run` and `extract --dry-run` say: for each table what would be read, where it would go, and every statement.

use dwh_core::operate::PlanReport;
use dwh_core::pipeline::WindowReport;
use serde::Serialize;

use crate::output::{Paint, Show, human, printable};

/// The plans of a dry run.
#[derive(Debug, Serialize)]
pub struct Plans {
    /// One a table.
    pub plans: Vec<PlanReport>,
}

impl Show for Plans {
    fn text(&self, paint: Paint) -> String {
        self.plans.iter().map(|plan| one(plan, paint)).collect::<Vec<_>>().join("\n")
    }
}

fn one(plan: &PlanReport, paint: Paint) -> String {
    let mut text = format!("table `{}`, {}\n", printable(&plan.table), plan.mode.as_str());
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<10}  {}\n", printable(value)));
    line("source", &plan.source);
    line("target", &plan.target);
    if let Some(window) = &plan.window {
        line("window", &window_text(window));
    }
    if let Some(watermark) = plan.watermark {
        line("watermark", &human::moment(Some(watermark)));
    }
    if let Some(bound) = &plan.bound {
        line("bound", bound);
    }
    line("blobs", &plan.blob_prefix);
    if let Some(first) = &plan.first {
        line("first", first);
    }
    if let Some(error) = &plan.error {
        line(&paint.bad("would fail"), &error.message);
    }
    statements(&mut text, "extract", std::slice::from_ref(&plan.extract_sql));
    statements(&mut text, "load, in one transaction", &plan.load_sql);
    text
}

pub(super) fn window_text(window: &WindowReport) -> String {
    let from =
        window.from.map_or_else(|| "from the first row".to_owned(), |at| format!("after {}", human::moment(Some(at))));
    let to = window.to.map_or_else(|| "to the newest".to_owned(), |at| format!("up to {}", human::moment(Some(at))));
    format!("{from} {to}")
}

pub(super) fn statements(text: &mut String, title: &str, statements: &[String]) {
    let statements: Vec<&str> = statements.iter().map(|sql| sql.trim()).filter(|sql| !sql.is_empty()).collect();
    if statements.is_empty() {
        return;
    }
    text.push_str(&format!("  {title}:\n"));
    for sql in statements {
        let sql = format!("{};", sql.trim_end_matches(';'));
        sql.lines().for_each(|line| text.push_str(&format!("    {}\n", printable(line))));
    }
}
