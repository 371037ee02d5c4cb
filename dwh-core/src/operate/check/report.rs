//! What `check` returns.

use serde::{Deserialize, Serialize};

use super::gate::Gate;
use crate::pipeline::report::one_code;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, but something may hurt later.
    Warning,
    /// A run would fail or lose its promises.
    Failure,
}

/// One finding of `check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What was looked at: `source tracksolid`, `target`, `blob`, ``table `trips` ``.
    pub subject: String,
    /// Stable word of the check, such as `connection`, `tls`, `watermark_index`.
    pub check: String,
    /// What was found, one line.
    pub message: String,
    /// What to do, to be pasted where it is SQL; `null` when all is well, unless something can be added.
    pub remedy: Option<String>,
    /// The exit code that a failure leads to; not part of the JSON.
    #[serde(skip)]
    pub exit_code: u8,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct CheckReport {
    /// The gate that was asked for; `null` for the check alone.
    #[serde(default)]
    pub gate: Option<Gate>,
    /// The findings, in the order in which they were looked at.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// 0 without failures; the one code of all failures; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.findings.iter().filter(|f| f.severity == Severity::Failure).map(|f| f.exit_code))
    }
}
