//! `dwh maintain` as people read it: a line a step.

use dwh_core::operate::MaintainReport;

use super::plain;
use crate::output::table::{Table, Tone};
use crate::output::{Paint, Show, human};

impl Show for MaintainReport {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.steps.is_empty() {
            return "nothing to do\n".to_owned();
        }
        let mut table = Table::new(&["step", "~object", "~about", ">time/1", "status"], paint);
        for step in &self.steps {
            let status = match (&step.error, step.done) {
                (Some(_), _) => ("FAILED".to_owned(), Tone::Bad),
                (None, true) => ("done".to_owned(), Tone::Good),
                (None, false) => plain("planned"),
            };
            table.row([
                plain(step.action.as_str()),
                plain(step.object.as_deref().unwrap_or("-")),
                plain(&step.about),
                plain(human::seconds(step.seconds)),
                status,
            ]);
        }
        table.text()
    }
}
