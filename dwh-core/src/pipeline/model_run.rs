//! What became of a model.

use serde::{Deserialize, Serialize};

use crate::config::ModelKind;
use crate::error::Error;
use crate::pipeline::report::ErrorReport;
use crate::run::RunId;

/// How a model stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelState {
    /// It would be built.
    Planned,
    /// It is built.
    Built,
    /// It was left as it is, because something that it reads failed.
    Skipped,
    /// It is as it was before.
    Failed,
}

impl ModelState {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Built => "built",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// How a model is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelStep {
    /// Nothing was there.
    Create,
    /// Beside what is there, then put in its place.
    Swap,
    /// Beside what is there, whose rows were then replaced: something holds on to the table itself.
    Refill,
    /// `create or replace view`.
    Replace,
    /// `refresh materialized view`.
    Refresh,
}

impl ModelStep {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Swap => "swap",
            Self::Refill => "refill",
            Self::Replace => "replace",
            Self::Refresh => "refresh",
        }
    }
}

/// One model in a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ModelRun {
    /// Schema and name, with the prefix if there is one.
    pub model: String,
    /// What it is.
    pub kind: ModelKind,
    /// Its number in the run log; `null` if it was not begun.
    pub run_id: Option<RunId>,
    /// How it stands.
    pub status: ModelState,
    /// How it was built, or would be.
    pub step: Option<ModelStep>,
    /// Its rows; `null` for a view.
    pub rows: Option<u64>,
    /// The relations that it reads.
    pub reads: Vec<String>,
    /// Why it was skipped, or built in this way; one line.
    pub because: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

impl ModelRun {
    /// A model of which nothing is known yet.
    #[must_use]
    pub fn new(model: impl Into<String>, kind: ModelKind) -> Self {
        Self {
            model: model.into(),
            kind,
            run_id: None,
            status: ModelState::Planned,
            step: None,
            rows: None,
            reads: Vec::new(),
            because: None,
            seconds: 0.0,
            error: None,
        }
    }

    pub(crate) fn failed(mut self, error: &Error) -> Self {
        (self.status, self.error) = (ModelState::Failed, Some(error.into()));
        self
    }

    pub(crate) fn skipped(mut self, because: String) -> Self {
        (self.status, self.because) = (ModelState::Skipped, Some(because));
        self
    }
}
