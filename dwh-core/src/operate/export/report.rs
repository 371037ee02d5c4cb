//! What `export` is asked for, and what it says.

use serde::{Deserialize, Serialize};

use crate::pipeline::{GapReport, WindowReport};
use crate::run::RunId;
use crate::watermark::Timestamp;

/// What `export` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ExportRequest {
    /// The table's name in the configuration.
    pub table: String,
    /// A folder, or `s3://bucket/prefix` of the store that `[blob]` describes; the files go into a folder of the table's
    /// name in it.
    pub to: String,
    /// Only CSV files with rows from here on; `None`: from the first.
    pub from: Option<Timestamp>,
    /// Only CSV files with rows up to here; `None`: to the last.
    pub to_time: Option<Timestamp>,
    /// Columns that are written as the text that PostgreSQL prints.
    pub as_text: Vec<String>,
    /// Go on with what there is, though CSV files that were loaded once are gone.
    pub accept_gaps: bool,
    /// Only tell what would be written.
    pub dry_run: bool,
}

impl ExportRequest {
    /// All of a table, into a folder.
    #[must_use]
    pub fn new(table: impl Into<String>, to: impl Into<String>) -> Self {
        Self { table: table.into(), to: to.into(), ..Self::default() }
    }
}

/// A column of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ExportedColumn {
    /// Its name.
    pub name: String,
    /// Its type in PostgreSQL.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is in Parquet, in words.
    pub parquet: String,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ExportedFile {
    /// Its name in the folder.
    pub file: String,
    /// The CSV that it was made of.
    pub csv_path: String,
    /// SHA-256 of that CSV, uncompressed.
    pub csv_sha256: String,
    /// The run that wrote the CSV.
    pub run_id: RunId,
    /// When that run began.
    pub run_started_at: Timestamp,
    /// The window of the run; `null` for a table that is read whole.
    pub window: Option<WindowReport>,
    /// Rows of the CSV.
    pub rows_csv: u64,
    /// Rows of the file: those that bronze has as they stand in this CSV. `null` if it was not written.
    pub rows: Option<u64>,
    /// Its bytes; `null` if it was not written.
    pub bytes: Option<u64>,
    /// Its SHA-256; `null` if it was not written.
    pub sha256: Option<String>,
}

/// What `export` wrote, or would write. It stands as `_export.json` beside the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ExportReport {
    /// The project.
    pub project: String,
    /// The table's name in the configuration.
    pub table: String,
    /// The bronze table.
    pub target: String,
    /// The folder of the files.
    pub to: String,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The columns, in the order of the files.
    pub columns: Vec<ExportedColumn>,
    /// The files, in the order of their runs.
    pub files: Vec<ExportedFile>,
    /// Rows of all files; 0 if none was written.
    pub rows: u64,
    /// What was loaded once and is in no CSV any more.
    pub gaps: Vec<GapReport>,
}
