//! What `recover` found and did: a line for each thing, what a person can do indented below it, and a summary.

use dwh_core::pipeline::{Outcome, RecoverFinding, RecoverReport, Remedy};

use crate::output::fold::{fold, remedy};
use crate::output::{Paint, Show, human, printable};

impl Show for RecoverReport {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.found.is_empty() {
            return "nothing to recover\n".to_owned();
        }
        let mut text = String::new();
        self.found.iter().for_each(|found| line(&mut text, found, paint));
        let count = |outcomes: &[Outcome]| self.found.iter().filter(|found| outcomes.contains(&found.outcome)).count();
        let done = if self.dry_run { count(&[Outcome::Planned]) } else { count(&[Outcome::Mended]) };
        text + &format!(
            "\n{} found, {done} {}, {} failed or waiting, {} for a person to decide\n",
            human::many(self.found.len(), "thing"),
            if self.dry_run { "would be mended" } else { "mended" },
            count(&[Outcome::Failed, Outcome::Waiting]),
            count(&[Outcome::Person])
        )
    }
}

fn line(text: &mut String, found: &RecoverFinding, paint: Paint<'_>) {
    // Padded before it is painted: colours have no width.
    let word = match found.outcome {
        Outcome::Mended => paint.good("mended "),
        Outcome::Planned => paint.warn("planned"),
        Outcome::Waiting => paint.warn("waiting"),
        Outcome::Failed => paint.bad("FAILED "),
        // `Person`, and what a later library may say: a person looks at it.
        _ => paint.bad("DECIDE "),
    };
    let subject = found.table.as_ref().map_or_else(|| "blob".to_owned(), |table| format!("table `{table}`"));
    let does = match found.action {
        Remedy::Load => ": load it",
        Remedy::Move => ": move it to `processed/`",
        Remedy::FailRun => ": mark it failed",
        Remedy::Delete => ": delete it",
        Remedy::Abort => ": remove its parts",
        Remedy::Number => ": number new runs above it",
        _ => "",
    };
    let message = printable(&found.message);
    // As wide as each of the words.
    let told = format!("{:9}{} {}: {message}{does}", "", printable(&subject), found.state.as_str());
    text.push_str(&format!("{word}{}\n", &fold(&told, paint.width(), 9)[7..]));
    found.hint.iter().for_each(|hint| text.push_str(&remedy(&printable(hint), paint, 9)));
}
