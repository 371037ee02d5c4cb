//! What the verbs of a [`Pipeline`](crate::Pipeline) return: plain values, each with the JSON that programs rely on.

use serde::{Deserialize, Serialize};

use crate::config::Mode;
use crate::error::Error;
use crate::pipeline::{CauseReport, ModelRun};
use crate::run::{Route, RunId, RunKind, RunState};
use crate::watermark::Timestamp;

/// An error as JSON shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ErrorReport {
    /// Stable word.
    pub code: String,
    /// One line, with the causes.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The exit code that it leads to; not part of the JSON.
    #[serde(skip)]
    pub exit_code: u8,
}

impl ErrorReport {
    /// An error of a caller of its own, in the form of ours.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>, hint: impl Into<String>, exit_code: u8) -> Self {
        Self { code: code.into(), message: message.into(), hint: hint.into(), exit_code }
    }
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.chain(),
            hint: error.hint().to_owned(),
            exit_code: error.exit_code(),
        }
    }
}

/// The exit code of several failures: 0 for none, their one code, 1 if they differ.
pub(crate) fn one_code(codes: impl IntoIterator<Item = u8>) -> u8 {
    let mut codes = codes.into_iter();
    match codes.next() {
        None => 0,
        Some(first) if codes.all(|code| code == first) => first,
        Some(_) => 1,
    }
}

/// The window of a run as JSON shows it; `from` is exclusive and `null` for "from the first row on", `to` is inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct WindowReport {
    /// Lower end, exclusive.
    pub from: Option<Timestamp>,
    /// Upper end, inclusive.
    pub to: Option<Timestamp>,
}

/// How long the parts of a run took, in seconds. Parts overlap, so they add up to more than the whole.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Seconds {
    /// Bound, snapshot and COPY at the source.
    pub extract: f64,
    /// Into the blob store, manifest included.
    pub upload: f64,
    /// Into the staging table.
    pub stage: f64,
    /// Merge, accounting and commit.
    pub commit: f64,
    /// From `exports/` to `processed/`.
    pub archive: f64,
    /// All of it.
    pub total: f64,
}

/// One run of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableRun {
    /// The table's name in the configuration.
    pub table: String,
    /// Its number in the run log; `null` if it failed before it had one.
    pub run_id: Option<RunId>,
    /// Where it stands.
    pub status: RunState,
    /// How the table is moved.
    pub mode: Mode,
    /// What it was made for.
    #[serde(default)]
    pub kind: RunKind,
    /// The window; `null` for tables that are read whole.
    pub window: Option<WindowReport>,
    /// Where the watermark stands after it.
    pub watermark: Option<Timestamp>,
    /// What keeps the watermark where it was, if something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
    /// Columns that were new at the source and that it added to bronze.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns_added: Vec<String>,
    /// The path of the file that it read, below the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Records of the file that were rejected; they stand beside the CSV, in `….rejected.jsonl`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_rejected: u64,
    /// Rows in the CSV.
    pub rows_extracted: u64,
    /// Rows inserted or updated.
    pub rows_loaded: u64,
    /// Rows whose key bronze did not have.
    pub rows_inserted: u64,
    /// Rows that replaced an older version of themselves.
    pub rows_updated: u64,
    /// Rows that were there already, byte for byte.
    pub rows_identical: u64,
    /// Rows whose key was there with other values, which stayed: `on_conflict = "nothing"`.
    pub rows_different: u64,
    /// Rows that bronze has in a version of a newer snapshot, which stayed.
    pub rows_kept_newer: u64,
    /// Rows that bronze had and the source has no more, which were removed.
    #[serde(default)]
    pub rows_removed: u64,
    /// Rows that were marked, because the source has deleted them.
    #[serde(default)]
    pub rows_marked: u64,
    /// Rows that lost the mark, because the source has them again.
    #[serde(default)]
    pub rows_unmarked: u64,
    /// How its rows got into bronze; `null` before that, and if there were none.
    #[serde(default)]
    pub route: Option<Route>,
    /// Why that route was taken.
    #[serde(default)]
    pub route_reason: Option<String>,
    /// Bytes of the CSV, uncompressed.
    pub bytes: u64,
    /// SHA-256 of the CSV, uncompressed.
    pub sha256: Option<String>,
    /// Address of the CSV.
    pub csv_path: Option<String>,
    /// How long it took.
    pub seconds: Seconds,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl TableRun {
    /// A run of which nothing is known yet.
    #[must_use]
    pub fn new(table: &str, mode: Mode) -> Self {
        Self {
            table: table.to_owned(),
            run_id: None,
            status: RunState::Extracting,
            mode,
            kind: RunKind::Run,
            window: None,
            watermark: None,
            held_by: None,
            columns_added: Vec::new(),
            file: None,
            rows_rejected: 0,
            rows_extracted: 0,
            rows_loaded: 0,
            rows_inserted: 0,
            rows_updated: 0,
            rows_identical: 0,
            rows_different: 0,
            rows_kept_newer: 0,
            rows_removed: 0,
            rows_marked: 0,
            rows_unmarked: 0,
            route: None,
            route_reason: None,
            bytes: 0,
            sha256: None,
            csv_path: None,
            seconds: Seconds::default(),
            error: None,
        }
    }
}

/// What `run` did, in the order in which runs ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RunReport {
    /// Whether nothing was kept: each entry says what a run would do; its `run_id` is `null`, and its `status` `loading`,
    /// for so far it got.
    #[serde(default)]
    pub preview: bool,
    /// One entry a run: a first load has many for one table.
    pub runs: Vec<TableRun>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
    /// The models that were built afterwards, if that was asked for.
    #[serde(default)]
    pub models: Vec<ModelRun>,
}

impl RunReport {
    /// 0 if every run went well; the one code of all that failed; 1 if they failed for different reasons.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let errors = self.runs.iter().map(|run| &run.error).chain(self.models.iter().map(|model| &model.error));
        one_code(errors.flatten().map(|error| error.exit_code))
    }
}

/// What `load` takes, and exactly what `extract` prints: the manual's own JSON, and whether there is more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct LoadParams {
    /// The table's name in the configuration.
    pub table: String,
    /// Address of the CSV, or its key below the store's address.
    pub csv_path: String,
    /// The run to finish; a CSV made by hand gets a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// When that run began: it must be the run that the log has under this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_started_at: Option<Timestamp>,
    /// Whether there is more to extract once this is loaded: a further window, or a further file. `load` does not ask. Only
    /// where it is so is it in the JSON.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

impl LoadParams {
    /// The CSV at `csv_path`, into the table of this name in the configuration.
    #[must_use]
    pub fn new(table: impl Into<String>, csv_path: impl Into<String>) -> Self {
        Self { table: table.into(), csv_path: csv_path.into(), run_id: None, run_started_at: None, more: false }
    }
}
