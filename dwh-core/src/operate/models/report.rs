//! What the verbs about models are asked for, and what they say.

use serde::{Deserialize, Serialize};

use crate::config::{Model, ModelKind};
use crate::pipeline::ModelRun;
use crate::pipeline::report::one_code;
use crate::sink::RunRecord;

/// Which models are built, and how.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ModelsRequest {
    /// Globs over `schema.name`; empty: all models.
    pub models: Vec<String>,
    /// Also those that the chosen ones read, directly or not.
    pub upstream: bool,
    /// Also those that read the chosen ones, directly or not.
    pub downstream: bool,
    /// Build into `<prefix>_<schema>`.
    pub prefix: Option<String>,
    /// Take the place of a relation that no run of the model made.
    pub replace: bool,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl ModelsRequest {
    /// The models that match.
    #[must_use]
    pub fn new(models: Vec<String>) -> Self {
        Self { models, ..Self::default() }
    }
}

/// What `run_models` did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ModelsReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// In the order in which they are built.
    pub models: Vec<ModelRun>,
}

impl ModelsReport {
    /// 0 if every model is built; the one code of all that failed; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.models.iter().filter_map(|model| model.error.as_ref()).map(|error| error.exit_code))
    }
}

/// A model, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ListedModel {
    /// Schema and name.
    pub model: String,
    /// What it is.
    pub kind: ModelKind,
    /// Its file.
    pub path: String,
    /// Its key.
    pub key: Vec<String>,
    /// The relations that it reads.
    pub reads: Vec<String>,
    /// The models that are built before it.
    pub after: Vec<String>,
    /// Its newest run.
    pub last_run: Option<RunRecord>,
}

impl ListedModel {
    pub(super) fn new(model: &Model, last_run: Option<RunRecord>) -> Self {
        Self {
            model: model.name.to_string(),
            kind: model.kind,
            path: model.path.display().to_string(),
            key: model.key.clone(),
            reads: model.reads.iter().map(ToString::to_string).collect(),
            after: model.after.iter().map(ToString::to_string).collect(),
            last_run,
        }
    }
}

/// The models, in the order in which they are built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ModelList {
    /// Each of them.
    pub models: Vec<ListedModel>,
}
