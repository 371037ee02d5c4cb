//! What `check` found: what is wrong, the worst first and a cause of many tables once, then a summary.

use dwh_core::operate::{CheckReport, Finding, Severity};
use serde::Serialize;

use crate::output::fold::{fold, remedy};
use crate::output::{Paint, Show, human, printable};

/// Remedies of one cause that are shown.
const REMEDIES: usize = 5;

/// Below the words `FAILURE` and `warning`.
const INDENT: usize = 9;

/// What `check` found, and whether people are told what is well, too.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Checked {
    /// Everything.
    pub report: CheckReport,
    /// Whether all of it is shown.
    #[serde(skip)]
    pub all: bool,
}

impl Show for Checked {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = String::new();
        for severity in [Severity::Failure, Severity::Warning] {
            for cause in causes(&self.report, severity) {
                text.push_str(&told(&cause, severity, paint));
                text.push('\n');
            }
        }
        for cause in causes(&self.report, Severity::Ok).iter().filter(|cause| is_remark(cause)) {
            text.push_str(&told(cause, Severity::Ok, paint));
            text.push('\n');
        }
        if self.all {
            text.push_str(&everything(&self.report, paint));
        }
        text + &summary(self)
    }
}

/// Findings that say the same of several tables.
struct Cause<'a> {
    /// The message without the table's name, by which they are the same.
    kind: String,
    findings: Vec<&'a Finding>,
}

/// Whether it is well, and something can be done all the same.
fn is_remark(cause: &Cause<'_>) -> bool {
    cause.findings.iter().any(|finding| finding.remedy.is_some())
}

fn causes(report: &CheckReport, severity: Severity) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for finding in report.findings.iter().filter(|finding| finding.severity == severity) {
        let kind = match table_of(finding) {
            Some(table) => format!("{}: {}", finding.check, without(table, &finding.message)),
            None => format!("{}, {}: {}", finding.subject, finding.check, finding.message),
        };
        match causes.iter_mut().find(|cause| cause.kind == kind) {
            Some(cause) => cause.findings.push(finding),
            None => causes.push(Cause { kind, findings: vec![finding] }),
        }
    }
    causes
}

/// The table that a finding is about, if it is one.
fn table_of(finding: &Finding) -> Option<&str> {
    finding.subject.strip_prefix("table `")?.strip_suffix('`')
}

/// The message with a mark wherever the name stands as a word.
fn without(table: &str, message: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut bare = String::new();
    let mut rest = message;
    while let Some(at) = rest.find(table) {
        let (before, after) = (&rest[..at], &rest[at + table.len()..]);
        let is_part = before.ends_with(is_word) || after.starts_with(is_word);
        bare.push_str(before);
        bare.push_str(if is_part { table } else { "\0" });
        rest = after;
    }
    bare + rest
}

fn told(cause: &Cause<'_>, severity: Severity, paint: Paint<'_>) -> String {
    let Some(first) = cause.findings.first() else { return String::new() };
    let tables: Vec<&str> = cause.findings.iter().filter_map(|finding| table_of(finding)).collect();
    let subject = if tables.len() > 1 { human::tables(&tables) } else { first.subject.clone() };
    let example = if tables.len() > 1 && cause.kind.contains('\0') { "for example: " } else { "" };
    // Padded before it is painted: colours have no width.
    let word = match severity {
        Severity::Failure => paint.bad("FAILURE"),
        Severity::Warning => paint.warn("warning"),
        Severity::Ok => "note   ".into(),
    };
    let head = fold(&format!("FAILURE  {}, {}", printable(&subject), printable(&first.check)), paint.width(), INDENT);
    let mut text = format!("{word}{}\n", &head["FAILURE".len()..]);
    let message = format!("{:INDENT$}{example}{}", "", printable(&first.message));
    text.push_str(&format!("{}\n", fold(&message, paint.width(), INDENT)));
    let mut remedies: Vec<&str> = Vec::new();
    for told in cause.findings.iter().filter_map(|finding| finding.remedy.as_deref()) {
        if !remedies.contains(&told) {
            remedies.push(told);
        }
    }
    remedies.iter().take(REMEDIES).for_each(|told| text.push_str(&remedy(&printable(told), paint, INDENT)));
    if remedies.len() > REMEDIES {
        let more = remedies.len() - REMEDIES;
        text.push_str(&format!("{:INDENT$}and the same for {more} more: `dwh check --all`\n", ""));
    }
    text
}

/// What is well, subject by subject, a line for each finding.
fn everything(report: &CheckReport, paint: Paint<'_>) -> String {
    let mut text = String::new();
    let well: Vec<&Finding> = report.findings.iter().filter(|finding| finding.severity == Severity::Ok).collect();
    let width = well.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    // A subject may come again after others: the room of the blob store is looked at last.
    let mut subjects: Vec<&str> = Vec::new();
    for finding in &well {
        if !subjects.contains(&finding.subject.as_str()) {
            subjects.push(&finding.subject);
        }
    }
    for subject in subjects {
        text.push_str(&format!("{}\n", printable(subject)));
        let own = well.iter().filter(|finding| finding.subject == subject);
        own.for_each(|finding| line(&mut text, finding, width, paint));
        text.push('\n');
    }
    text
}

/// The last line: how many of each, and what that means for a gate.
fn summary(checked: &Checked) -> String {
    let findings = &checked.report.findings;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let failures = count(Severity::Failure);
    let gate = checked.report.gate.map_or_else(String::new, |gate| {
        let verdict = if failures == 0 { "passed" } else { "not passed" };
        format!("; gate {}: {verdict}", gate.as_str())
    });
    let all = if checked.all { "" } else { " (`--all` shows them)" };
    format!(
        "{} ok{all}, {}, {}{gate}\n",
        human::count(count(Severity::Ok) as u64),
        human::many(count(Severity::Warning), "warning"),
        human::many(failures, "failure")
    )
}

fn line(text: &mut String, finding: &Finding, width: usize, paint: Paint<'_>) {
    let told = format!("  ok  {:width$}  {}", printable(&finding.check), printable(&finding.message));
    let folded = fold(&told, paint.width(), width + 8);
    text.push_str(&format!("  {}{}\n", paint.good("ok"), &folded["  ok".len()..]));
}
