//! What is asked of a sink beside its rows, and what it says of rows that it would refuse.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::blob::Body;
use crate::plan::LoadPlan;
use crate::record::TableState;
use crate::run::RunId;

/// A CSV that is to be loaded, and for which run.
#[derive(Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct StageRequest<'a> {
    /// How it is loaded.
    pub load: &'a LoadPlan,
    /// Its bytes.
    pub csv: Arc<dyn Body>,
    /// The run that it will be [committed](super::Staged::commit) for, and the watermark row as that commit expects it. `None`: it
    /// may never be committed, so the rows go through the staging area.
    pub run: Option<(RunId, &'a TableState)>,
    /// The newest keys of the source that were read after the CSV, where bronze may lack rows because of them: what both
    /// bronze and these keys lack is deleted, and must not come back unmarked.
    pub keys: Option<(LoadPlan, Arc<dyn Body>)>,
    /// Whether it is the CSV files of several runs, which are committed [together](crate::sink::Commit::together) with the run:
    /// each of their rows comes in as a new one, or the sink ends in an error, with nothing changed and nothing held.
    pub together: bool,
}

impl<'a> StageRequest<'a> {
    /// A CSV that may never be committed.
    #[must_use]
    pub fn new(load: &'a LoadPlan, csv: Arc<dyn Body>) -> Self {
        Self { load, csv, run: None, keys: None, together: false }
    }

    /// The same for this run, which expects the watermark row to be like this.
    #[must_use]
    pub fn of(self, run_id: RunId, expected: &'a TableState) -> Self {
        Self { run: Some((run_id, expected)), ..self }
    }
}

impl StageRequest<'_> {
    /// The same with newer keys.
    #[must_use]
    pub fn beside(self, keys: Option<(LoadPlan, Arc<dyn Body>)>) -> Self {
        Self { keys, ..self }
    }

    /// The same of the CSV files of several runs.
    #[must_use]
    pub fn together(self) -> Self {
        Self { together: true, ..self }
    }
}

impl fmt::Debug for StageRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageRequest").field("table", &self.load.table).field("run", &self.run).finish_non_exhaustive()
    }
}

/// What became of rows that were only tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rehearsal {
    /// Rows that fit.
    pub rows: u64,
    /// Rows that bronze would refuse.
    pub refused: Vec<RefusedRow>,
    /// Whether there are more of these, so that it is not known how many rows fit.
    pub more: bool,
}

/// A row that bronze would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// Its key by column, as text; the first column of a table without a key.
    pub key: BTreeMap<String, String>,
    /// Why.
    pub message: String,
}
