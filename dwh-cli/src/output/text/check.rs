//! What `check` found: a line for each finding, the remedy indented below it, and a summary.

use dwh_core::pipeline::{CheckReport, Finding, Severity};

use crate::output::{Paint, Show, human, printable};

impl Show for CheckReport {
    fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        self.findings.iter().for_each(|finding| line(&mut text, finding, paint));
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        text + &format!(
            "\n{} ok, {}, {}\n",
            count(Severity::Ok),
            human::many(count(Severity::Warning), "warning"),
            human::many(count(Severity::Failure), "failure")
        )
    }
}

fn line(text: &mut String, finding: &Finding, paint: Paint) {
    // Padded before it is painted: colours have no width.
    let word = match finding.severity {
        Severity::Ok => paint.good("ok     "),
        Severity::Warning => paint.warn("warning"),
        Severity::Failure => paint.bad("FAILURE"),
    };
    let message = printable(&finding.message);
    text.push_str(&format!("{word}  {}: {message}\n", printable(&finding.subject)));
    for remedy in finding.remedy.as_deref().map(printable).iter().flat_map(|remedy| remedy.lines()) {
        text.push_str(format!("         {remedy}").trim_end());
        text.push('\n');
    }
}
