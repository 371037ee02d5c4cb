//! What `check` found, subject by subject: a line for each finding, the remedy indented below it, and a summary.

use dwh_core::operate::{CheckReport, Finding, Severity};

use crate::output::{Paint, Show, human, printable};

impl Show for CheckReport {
    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        // A subject may come again after others: the room of the blob store is looked at last.
        let mut subjects: Vec<&str> = Vec::new();
        for finding in &self.findings {
            if !subjects.contains(&finding.subject.as_str()) {
                subjects.push(&finding.subject);
            }
        }
        for subject in subjects {
            text.push_str(&format!("{}\n", printable(subject)));
            let own = self.findings.iter().filter(|finding| finding.subject == subject);
            own.for_each(|finding| line(&mut text, finding, width, paint));
            text.push('\n');
        }
        text + &summary(self)
    }
}

/// The last line: how many of each, and what that means for a gate.
fn summary(report: &CheckReport) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let failures = count(Severity::Failure);
    let gate = report.gate.map_or_else(String::new, |gate| {
        let verdict = if failures == 0 { "passed" } else { "not passed" };
        format!("; gate {}: {verdict}", gate.as_str())
    });
    format!(
        "{} ok, {}, {}{gate}\n",
        count(Severity::Ok),
        human::many(count(Severity::Warning), "warning"),
        human::many(failures, "failure")
    )
}

fn line(text: &mut String, finding: &Finding, width: usize, paint: Paint) {
    // Padded before it is painted: colours have no width.
    let word = match finding.severity {
        Severity::Ok => paint.good("ok     "),
        Severity::Warning => paint.warn("warning"),
        Severity::Failure => paint.bad("FAILURE"),
    };
    let message = printable(&finding.message);
    text.push_str(&format!("  {word}  {:width$}  {message}\n", printable(&finding.check)));
    for remedy in finding.remedy.as_deref().map(printable).iter().flat_map(|remedy| remedy.lines()) {
        text.push_str(format!("  {:9}{:width$}  {remedy}", "", "").trim_end());
        text.push('\n');
    }
}
