//! What `maintain` is asked for, and what it did.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::ErrorReport;
use crate::pipeline::report::one_code;

/// What `maintain` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MaintainRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl MaintainRequest {
    /// Maintenance for the tables that match.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MaintainAction {
    /// `vacuum (analyze)`.
    Vacuum,
    /// `refresh materialized view`.
    Refresh,
    /// Retention.
    Prune,
    /// Old rows of what alerts have sent.
    Alerts,
}

impl MaintainAction {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vacuum => "vacuum",
            Self::Refresh => "refresh",
            Self::Prune => "prune",
            Self::Alerts => "alerts",
        }
    }
}

/// One step of `maintain`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MaintainStep {
    /// What it does.
    pub action: MaintainAction,
    /// The table or view, as SQL writes it.
    pub object: Option<String>,
    /// Why, or how much: one line.
    pub about: String,
    /// Whether readers go on meanwhile, of a materialized view.
    #[serde(default)]
    pub concurrently: bool,
    /// What is wrong with the object though the step goes well.
    #[serde(default)]
    pub warning: Option<String>,
    /// Whether it was done.
    pub done: bool,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

impl MaintainStep {
    pub(super) fn new(action: MaintainAction, object: Option<String>, about: impl Into<String>) -> Self {
        Self {
            action,
            object,
            about: about.into(),
            concurrently: false,
            warning: None,
            done: false,
            seconds: 0.0,
            error: None,
        }
    }

    /// One error for those of many tables.
    pub(super) fn failed_with(&self, errors: impl Iterator<Item = ErrorReport>) -> Result<()> {
        let errors: Vec<ErrorReport> = errors.collect();
        let Some(first) = errors.first() else { return Ok(()) };
        let kind = ErrorKind::ALL.into_iter().find(|kind| kind.row().code == first.code).unwrap_or(ErrorKind::Internal);
        let more = if errors.len() > 1 { format!(", and {} more", errors.len() - 1) } else { String::new() };
        Err(Error::new(kind, format!("{}{more}", first.message)).with_hint(first.hint.clone()))
    }
}

/// What `maintain` did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MaintainReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// In the order in which they are done; a table that nothing was loaded into has none.
    pub steps: Vec<MaintainStep>,
}

impl MaintainReport {
    /// 0 if every step went well; the one code of all that failed; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.steps.iter().filter_map(|step| step.error.as_ref()).map(|error| error.exit_code))
    }
}
