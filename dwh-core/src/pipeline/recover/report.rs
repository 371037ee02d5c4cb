//! What `recover` returns.

use serde::{Deserialize, Serialize};

use crate::pipeline::report::one_code;
use crate::pipeline::{CauseReport, ErrorReport, TableRun};
use crate::run::RunId;

/// What is not as it should be; the words are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Trouble {
    /// A CSV in `exports/` that has no manifest: its upload never finished, or a person put it there.
    CsvWithoutManifest,
    /// A complete CSV that no run has loaded yet.
    UploadedNotLoaded,
    /// A complete CSV whose load failed.
    FailedWithCsv,
    /// A loaded CSV that is still in `exports/` alone.
    LoadedNotMoved,
    /// A loaded CSV in both folders, with the same bytes.
    InBothPlaces,
    /// A loaded CSV in both folders, with other bytes.
    CopyDiffers,
    /// The manifest of a moved CSV, still in `exports/`.
    ManifestLeftBehind,
    /// A complete CSV of a run that the run log does not know.
    CsvOfUnknownRun,
    /// A manifest in `exports/` that has no CSV and is none of this table's.
    ForeignManifest,
    /// A dated copy in `processed/` whose load the run log has lost: the target was restored from a backup.
    CopyNotLoaded,
    /// A run that nobody works on any more, and that left no CSV.
    DeadRun,
    /// A CSV that the run log names and neither folder has.
    CsvMissing,
    /// A manifest in `processed/` whose CSV is gone, of a run whose load the run log has lost, and whose rows no run reads
    /// again.
    RowsLost,
    /// The part of an upload that was cut off.
    OrphanUpload,
    /// A stretch of time that no loaded run has read.
    GapInWindows,
    /// A watermark that is not where its run put it.
    WatermarkDiffers,
    /// A run that a person set aside, of which files are still in `exports/`.
    SetAsideHalfway,
    /// Files in `processed/` of runs that the run log has not come to: it began anew, or was restored.
    RunLogBehind,
}

impl Trouble {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CsvWithoutManifest => "csv_without_manifest",
            Self::UploadedNotLoaded => "uploaded_not_loaded",
            Self::FailedWithCsv => "failed_with_csv",
            Self::LoadedNotMoved => "loaded_not_moved",
            Self::InBothPlaces => "in_both_places",
            Self::CopyDiffers => "copy_differs",
            Self::ManifestLeftBehind => "manifest_left_behind",
            Self::CsvOfUnknownRun => "csv_of_unknown_run",
            Self::ForeignManifest => "foreign_manifest",
            Self::CopyNotLoaded => "copy_not_loaded",
            Self::DeadRun => "dead_run",
            Self::CsvMissing => "csv_missing",
            Self::RowsLost => "rows_lost",
            Self::OrphanUpload => "orphan_upload",
            Self::GapInWindows => "gap_in_windows",
            Self::WatermarkDiffers => "watermark_differs",
            Self::SetAsideHalfway => "set_aside_halfway",
            Self::RunLogBehind => "run_log_behind",
        }
    }
}

/// What mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// The CSV is loaded, then moved.
    Load,
    /// The CSV is moved to `processed/`; a copy that is there already is verified first.
    Move,
    /// The run is marked `failed`; its rows are read anew.
    FailRun,
    /// The file is deleted.
    Delete,
    /// The upload is called off.
    Abort,
    /// The files are moved to `set_aside/`.
    SetAside,
    /// New runs get numbers above those of the files.
    Number,
    /// Only a person can decide.
    Person,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A dry run: nothing was done.
    Planned,
    /// It is mended.
    Mended,
    /// Mending failed; `error` says why.
    Failed,
    /// It waits until what failed before it is mended.
    Waiting,
    /// A person must decide.
    Person,
}

/// One thing that `recover` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RecoverFinding {
    /// The table's name in the configuration; `null` for what belongs to none.
    pub table: Option<String>,
    /// What it is.
    pub state: Trouble,
    /// The run that it is about.
    pub run_id: Option<RunId>,
    /// Address of the file that it is about.
    pub csv_path: Option<String>,
    /// One line for people.
    pub message: String,
    /// What mends it.
    pub action: Remedy,
    /// What became of it.
    pub outcome: Outcome,
    /// What a person can do; `null` where `recover` does all of it.
    pub hint: Option<String>,
    /// Why mending failed.
    pub error: Option<ErrorReport>,
}

/// A table that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableError {
    /// The table's name in the configuration.
    pub table: String,
    /// Why.
    pub error: ErrorReport,
}

/// What `recover` found and did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RecoverReport {
    /// Whether it only looked.
    pub dry_run: bool,
    /// What it found, table by table in the order of the configuration.
    pub found: Vec<RecoverFinding>,
    /// The loads that it did.
    pub runs: Vec<TableRun>,
    /// What could not be looked at, though that harms nothing.
    pub notes: Vec<String>,
    /// Tables that could not be looked at.
    pub errors: Vec<TableError>,
    /// Why something failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl RecoverReport {
    /// The tables with what went wrong of them.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&str, &ErrorReport)> {
        let mended = self.found.iter().filter_map(|found| Some((found.table.as_deref()?, found.error.as_ref()?)));
        mended.chain(self.errors.iter().map(|one| (one.table.as_str(), &one.error)))
    }

    /// 0 if nothing is left to do; 4 if something is left for a person; the code of what failed; 1 if these differ.
    ///
    /// A dry run leaves what it would have mended, and says 0 for that.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let failed = self.found.iter().filter_map(|found| found.error.as_ref());
        let failed = failed.chain(self.errors.iter().map(|error| &error.error)).map(|error| error.exit_code);
        let person = self.found.iter().any(|found| found.outcome == Outcome::Person);
        one_code(failed.chain(person.then_some(crate::error::ErrorKind::Data.row().exit_code)))
    }
}
