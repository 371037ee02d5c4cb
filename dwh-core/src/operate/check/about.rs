//! Findings about one subject.

use super::words::Word;
use crate::error::{Error, ErrorKind, Result};
use crate::operate::{CheckReport, Finding, Severity};

/// Findings about one subject.
pub(super) struct About<'a> {
    pub(super) subject: String,
    pub(super) report: &'a mut CheckReport,
    /// Whether the target has failed, which is told elsewhere.
    target_failed: bool,
}

impl<'a> About<'a> {
    pub(super) fn new(subject: impl Into<String>, report: &'a mut CheckReport) -> Self {
        Self { subject: subject.into(), report, target_failed: false }
    }

    /// The same, where it is known whether the target has failed.
    pub(super) fn beside(self, target_failed: bool) -> Self {
        Self { target_failed, ..self }
    }

    /// A table as the subject.
    pub(super) fn table(name: &str, report: &'a mut CheckReport) -> Self {
        Self::new(format!("table `{name}`"), report)
    }

    fn add(&mut self, severity: Severity, check: Word, message: String, remedy: Option<String>, exit_code: u8) {
        let (subject, check) = (self.subject.clone(), check.as_str().to_owned());
        self.report.findings.push(Finding { severity, subject, check, message, remedy, exit_code });
    }

    pub(super) fn ok(&mut self, check: Word, message: impl Into<String>) {
        self.add(Severity::Ok, check, message.into(), None, 0);
    }

    /// What is well as it is, with what can be done if it is not meant so.
    pub(super) fn remark(&mut self, check: Word, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Ok, check, message.into(), Some(remedy.into()), 0);
    }

    pub(super) fn warn(&mut self, check: Word, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, check, message.into(), Some(remedy.into()), 0);
    }

    pub(super) fn fail(&mut self, check: Word, kind: ErrorKind, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Failure, check, message.into(), Some(remedy.into()), kind.row().exit_code);
    }

    /// Whether a failure of this subject, or of the target, was told.
    pub(super) fn has_failed(&self) -> bool {
        self.target_failed || self.report.has_failed(&self.subject)
    }

    /// An error as a failure, without the subject that both name.
    pub(super) fn error(&mut self, check: Word, error: &Error) {
        let chain = error.chain();
        let message = chain.strip_prefix(&format!("{}: ", self.subject)).unwrap_or(&chain);
        self.add(Severity::Failure, check, message.to_owned(), Some(error.hint().to_owned()), error.exit_code());
    }

    /// What kept a check from being made.
    pub(super) fn unless(&mut self, check: Word, done: Result<()>) {
        if let Err(error) = done {
            self.error(check, &error);
        }
    }
}
