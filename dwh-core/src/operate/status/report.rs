//! What `status` says, as programs read it.

use serde::{Deserialize, Serialize};

use crate::config::Mode;
use crate::pipeline::ErrorReport;
use crate::run::{RunId, RunState};
use crate::sink::RunRecord;
use crate::watermark::Timestamp;

/// One table of `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableStatus {
    /// The table's name in the configuration.
    pub table: String,
    /// How it is moved.
    pub mode: Mode,
    /// The watermark; `null` before the first load.
    pub watermark: Option<Timestamp>,
    /// How far the watermark lies behind now, in seconds.
    pub extract_lag_seconds: Option<f64>,
    /// When it was last loaded by an ordinary run.
    pub last_loaded_at: Option<Timestamp>,
    /// Seconds since then.
    pub lag_seconds: Option<f64>,
    /// How many there may be.
    pub max_lag_seconds: f64,
    /// Whether there are fewer.
    pub fresh: bool,
    /// Rows that ordinary runs inserted or updated in the last 24 hours.
    pub rows_last_24h: u64,
    /// Ordinary runs that were loaded in the last 24 hours.
    pub loads_last_24h: u64,
    /// Runs that failed in the last 24 hours and were not loaded since.
    pub failures_last_24h: u64,
    /// Runs that somebody stopped in the last 24 hours, which are no failures.
    #[serde(default)]
    pub interruptions_last_24h: u64,
    /// Ordinary runs that ended in the last 7 days, but for those that somebody stopped.
    pub runs_last_7d: u64,
    /// Those of them that failed.
    pub failures_last_7d: u64,
    /// Percent of them that were loaded; `null` if none ended.
    pub success_rate_7d: Option<f64>,
    /// How long the ordinary run took that was loaded last.
    pub last_run_seconds: Option<f64>,
    /// How long the longest of the last 24 hours took.
    pub longest_run_seconds_24h: Option<f64>,
    /// The run that works on it at this moment.
    pub running: Option<RunningRun>,
    /// Complete CSV files that are not loaded; `null` if the blob store does not say.
    pub waiting: Option<WaitingCsvs>,
    /// The newest failure of the last 24 hours, if no ordinary run was loaded since; of a file, if that was not.
    pub unresolved_failure: Option<RunRecord>,
    /// The newest run, whatever became of it; before it a resync that was cut off.
    pub last_run: Option<RunRecord>,
    /// Why the watermark cannot be used: it belongs to something else, or bronze lost what was loaded.
    #[serde(default)]
    pub conflict: Option<ErrorReport>,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RunningRun {
    /// Its number; `null` as long as it has none.
    pub run_id: Option<RunId>,
    /// Where it stands.
    pub status: Option<RunState>,
    /// Since when it holds the table.
    pub since: Timestamp,
    /// How many seconds that are.
    pub seconds: f64,
    /// Machine and process.
    pub host: String,
}

/// Complete CSV files in `exports/` that are not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct WaitingCsvs {
    /// How many.
    pub files: u64,
    /// When the run of the oldest began.
    pub oldest: Option<Timestamp>,
    /// How many seconds ago that was.
    pub oldest_seconds: Option<f64>,
}

/// What a disk is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DiskUse {
    /// The file between the extract and its readers.
    Spool,
    /// The blob store, if it is a folder.
    Store,
}

impl DiskUse {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Store => "store",
        }
    }
}

/// A disk of this machine that a run needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DiskStatus {
    /// What for.
    pub used_for: DiskUse,
    /// The folder on it.
    pub folder: String,
    /// How full it is, as `df` counts it; `null` if it cannot be told.
    pub used_percent: Option<f64>,
    /// What may still be written.
    pub free_bytes: Option<u64>,
    /// What is used, and what may still be written.
    pub total_bytes: Option<u64>,
    /// Why it cannot be told.
    pub error: Option<ErrorReport>,
}

/// Whether the blob store answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct StoreStatus {
    /// Its address.
    pub url: String,
    /// Why it could not be listed.
    pub error: Option<ErrorReport>,
}

/// Which threshold is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreachCheck {
    /// No run was ever loaded.
    NeverLoaded,
    /// The last load is older than `max_lag`.
    Stale,
    /// The watermark belongs to another project, source, relation or column, or bronze lost what was loaded.
    Conflict,
    /// A resync was cut off between its chunks, and nobody goes on with it.
    CutOff,
    /// A run failed in the last 24 hours, and no ordinary one, or not its file, was loaded since.
    Failure,
    /// Fewer than `success_rate` percent of the runs of 7 days were loaded.
    SuccessRate,
    /// A run took, or is taking, longer than `max_duration`.
    Duration,
    /// Fewer rows than `min_rows_per_day`.
    TooFewRows,
    /// More rows than `max_rows_per_day`.
    TooManyRows,
    /// A complete CSV has waited longer than `max_lag`.
    Waiting,
    /// A disk is fuller than `disk_used`, or does not say.
    Disk,
    /// The blob store does not answer.
    Store,
}

impl BreachCheck {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeverLoaded => "never_loaded",
            Self::Stale => "stale",
            Self::Conflict => "conflict",
            Self::CutOff => "cut_off",
            Self::Failure => "failure",
            Self::SuccessRate => "success_rate",
            Self::Duration => "duration",
            Self::TooFewRows => "too_few_rows",
            Self::TooManyRows => "too_many_rows",
            Self::Waiting => "waiting",
            Self::Disk => "disk",
            Self::Store => "store",
        }
    }
}

/// One thing that needs attention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Breach {
    /// Stable word.
    pub check: BreachCheck,
    /// The table, or the model; `null` for what concerns the whole project.
    pub table: Option<String>,
    /// What is wrong, one line.
    pub message: String,
    /// The command to type next, or what else to do.
    pub remedy: String,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ModelStatus {
    /// Schema and name.
    pub model: String,
    /// Its newest run that has ended, but for those that somebody stopped.
    pub last_run: RunRecord,
}

/// What `status` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct StatusReport {
    /// The project.
    pub project: String,
    /// The target's clock.
    pub now: Timestamp,
    /// How often the tables are meant to run, in seconds.
    pub cadence_seconds: f64,
    /// Whether there are no breaches.
    pub healthy: bool,
    /// One entry a configured table.
    pub tables: Vec<TableStatus>,
    /// The models that were run in the last 7 days; none if only some tables were asked for.
    #[serde(default)]
    pub models: Vec<ModelStatus>,
    /// The disks of this machine that a run needs.
    pub disks: Vec<DiskStatus>,
    /// The blob store.
    pub store: StoreStatus,
    /// What needs attention: tables in the order of the file, then what concerns the whole project.
    pub breaches: Vec<Breach>,
}

impl StatusReport {
    /// The exit code of a check: 0 if all is well, 4 if anything is not as promised.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.healthy { 0 } else { 4 }
    }
}
