//! What `tap` did with the tables of a manifest.

use dwh_core::operate::TapReport;

use super::backfill::from;
use super::runs_table;
use crate::output::{Paint, Show, human};

impl Show for TapReport {
    fn text(&self, paint: Paint) -> String {
        let mut text = format!("{} of `{}`", self.load_type.as_str(), self.manifest);
        if let Some(window) = &self.window {
            let begins = window.from.map_or_else(String::new, |_| format!(" from {}", from(window)));
            text.push_str(&format!("{begins} up to {}", human::moment(window.to)));
        }
        text.push('\n');
        if !self.skipped.is_empty() {
            let tables = human::many(self.skipped.len(), "table");
            text.push_str(&format!("left to other load types: {tables}\n"));
        }
        if !self.runs.is_empty() {
            text.push_str(&format!("\n{}", runs_table(&self.runs, false, paint)));
        }
        if let Some(found) = &self.verify {
            text.push_str(&format!("\n{}", found.text(paint)));
        }
        if self.runs.is_empty() && self.verify.is_none() {
            text.push_str("nothing to do\n");
        }
        text
    }
}
