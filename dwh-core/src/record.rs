//! The rows of the control schema as plain values, and what is written there.

mod alert;
mod entry;
mod history;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::config::Mode;
use crate::error::ErrorKind;
use crate::identity::{BronzeId, Member, Origin};
use crate::raw_file::RawFile;
use crate::run::{Route, RunId, RunKind, RunState};
use crate::schema::{Column, Delivered};
use crate::watermark::{SafeBound, Timestamp, Undrained};

pub use alert::{AlertClaim, AlertDue, AlertLook, AlertThing, DueThing};
pub use history::{DayHistory, History, RunSums, TableHistory};

pub use entry::{Accounting, BronzeState, Commit, Committed, LeftView, LogEntry, Moved, Restore, Upload};

/// The watermark row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TableState {
    /// `last_extracted_at` exactly as stored; the seed value means that nothing was extracted yet.
    pub last_extracted_at: Option<Timestamp>,
    /// When a run was last loaded.
    pub last_loaded_at: Option<Timestamp>,
    /// The run that set it.
    pub last_run_id: Option<RunId>,
    /// `xmin` of the snapshot that was loaded last.
    pub snapshot_xmin: Option<u64>,
    /// U of the run that was loaded last: rows up to here may be in bronze already.
    pub read_high: Option<Timestamp>,
    /// System identifier of the source it was read from.
    pub system_identifier: Option<String>,
    /// Timeline of that source.
    pub timeline: Option<i64>,
    /// The highest clock reading of the source so far.
    pub source_clock: Option<Timestamp>,
    /// What a drain could not prove yet.
    pub undrained: Option<Undrained>,
    /// What the watermark belongs to; `None` before the first load, and in a row of release 0.1.0.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// The bronze table that rows were loaded into; `None` as above.
    #[serde(default)]
    pub bronze: Option<BronzeId>,
    /// The columns that loads have delivered, also those that the source has lost since; `None` as above.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// The tables that were read last; `None` as above, and where the source cannot tell.
    #[serde(default)]
    pub relations: Option<Vec<Member>>,
    /// The newest run whose rows are loaded, of whatever kind but a replay: a CSV of an older one was read in an older
    /// snapshot.
    #[serde(default)]
    pub newest_run_id: Option<RunId>,
}

impl TableState {
    /// What loads have brought into bronze so far.
    #[must_use]
    pub fn delivered(&self) -> Delivered<'_> {
        // One that began anew has no last run, and bronze has its rows.
        match (&self.columns, self.last_run_id.or(self.newest_run_id)) {
            (Some(columns), _) => Delivered::Columns(columns),
            (None, Some(_)) => Delivered::Unknown,
            (None, None) => Delivered::Nothing,
        }
    }

    /// Notes that loads brought these columns, beside those that they brought before: one that bronze keeps is lost at
    /// the source for as long as bronze has it.
    pub(crate) fn note_columns<'a>(&mut self, columns: impl IntoIterator<Item = &'a Column>) {
        let known = self.columns.get_or_insert_default();
        for column in columns {
            if !known.contains(&column.name) {
                known.push(column.name.clone());
            }
        }
    }

    /// Whether bronze may hold rows of a newer snapshot than that of `run`.
    #[must_use]
    pub fn is_newer_than(&self, run: RunId) -> bool {
        self.newest_run_id.is_some_and(|newest| newest > run)
    }

    /// L: the stored watermark; the seed value stands for "from the first row on".
    #[must_use]
    pub fn low(&self) -> Timestamp {
        match self.last_extracted_at {
            None | Some(Timestamp::SEED) => Timestamp::NEG_INFINITY,
            Some(at) => at,
        }
    }
}

/// A row of the run log, `extract_runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its number.
    pub run_id: RunId,
    /// The table's name in the configuration.
    pub table_name: String,
    /// What it was made for.
    #[serde(default)]
    pub kind: RunKind,
    /// `now()` of the target when it began.
    pub run_started_at: Timestamp,
    /// When it reached a final state.
    pub run_finished_at: Option<Timestamp>,
    /// Where it stands.
    pub status: RunState,
    /// Rows in the CSV.
    pub rows_extracted: Option<i64>,
    /// Rows inserted or updated in bronze.
    pub rows_loaded: Option<i64>,
    /// Rows whose key bronze did not have.
    #[serde(default)]
    pub rows_inserted: Option<i64>,
    /// Rows that replaced an older version of themselves.
    #[serde(default)]
    pub rows_updated: Option<i64>,
    /// Rows that were there already, byte for byte.
    pub rows_identical: Option<i64>,
    /// Rows whose key was there with other values, which stayed: `on_conflict = "nothing"`.
    pub rows_different: Option<i64>,
    /// Rows that bronze has in a version of a newer snapshot, which stayed.
    #[serde(default)]
    pub rows_kept_newer: Option<i64>,
    /// Rows that bronze had and the source has no more, which a repair or a look at the keys removed.
    #[serde(default)]
    pub rows_removed: Option<i64>,
    /// Rows that were marked because the source has deleted them.
    #[serde(default)]
    pub rows_marked: Option<i64>,
    /// Rows that lost the mark because the source has them again.
    #[serde(default)]
    pub rows_unmarked: Option<i64>,
    /// Rows below the window that the sweep delivered.
    pub rows_late: Option<i64>,
    /// How its rows got into bronze; `None` before that, if there were none, and in rows of earlier releases.
    #[serde(default)]
    pub route: Option<Route>,
    /// Why that route was taken.
    #[serde(default)]
    pub route_reason: Option<String>,
    /// Address of the CSV.
    pub csv_path: Option<String>,
    /// What went wrong, one line.
    pub error_message: Option<String>,
    /// The stable word of the error; `None` for a process that died, and in rows of release 0.1.
    #[serde(default)]
    pub error_code: Option<String>,
    /// How the table is moved.
    pub mode: Option<Mode>,
    /// Lower end of the window, exclusive; `None`: from the first row on.
    pub window_low: Option<Timestamp>,
    /// Upper end of the window, inclusive.
    pub window_high: Option<Timestamp>,
    /// Where the watermark moves; for a backfill or reseed, the end of the range that it is a part of.
    pub watermark: Option<Timestamp>,
    /// The bound and what held it.
    pub bound: Option<SafeBound>,
    /// Bytes of the CSV, uncompressed.
    pub bytes: Option<i64>,
    /// SHA-256 of the CSV, uncompressed.
    pub sha256: Option<String>,
    /// 1 for the first load, one more for each that was tried again.
    pub attempt: i32,
    /// Machine and process that ran it.
    pub host: Option<String>,
    /// Version of the engine.
    pub engine_version: Option<String>,
    /// The orchestrator's name of it, when it gave one.
    #[serde(default)]
    pub task_instance: Option<String>,
    /// The file that it read; `None` for a table of a database.
    #[serde(default)]
    pub file: Option<RawFile>,
    /// The bronze table that it was loaded into; `None` before that, and in rows of release 0.1.
    #[serde(skip)]
    pub bronze: Option<BronzeId>,
    /// SHA-256 of the select list that was read; `None` as above, and for files that a person made.
    #[serde(skip)]
    pub plan_sha256: Option<String>,
}

impl RunRecord {
    /// A run that has just begun, of which nothing more is known.
    #[must_use]
    pub fn begun(
        run_id: RunId,
        table: impl Into<String>,
        mode: Mode,
        kind: RunKind,
        run_started_at: Timestamp,
    ) -> Self {
        Self {
            run_id,
            table_name: table.into(),
            kind,
            run_started_at,
            run_finished_at: None,
            status: RunState::Extracting,
            rows_extracted: None,
            rows_loaded: None,
            rows_inserted: None,
            rows_updated: None,
            rows_identical: None,
            rows_different: None,
            rows_kept_newer: None,
            rows_removed: None,
            rows_marked: None,
            rows_unmarked: None,
            rows_late: None,
            route: None,
            route_reason: None,
            csv_path: None,
            error_message: None,
            error_code: None,
            mode: Some(mode),
            window_low: None,
            window_high: None,
            watermark: None,
            bound: None,
            bytes: None,
            sha256: None,
            attempt: 1,
            host: None,
            engine_version: None,
            task_instance: None,
            file: None,
            bronze: None,
            plan_sha256: None,
        }
    }

    /// Whether somebody stopped it, with Ctrl-C or SIGTERM: that is no failure.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.status == RunState::Failed && self.error_code.as_deref() == Some(ErrorKind::Interrupted.row().code)
    }
}

/// What the sink knows without taking a table.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The sink's clock, by which the run log is stamped.
    pub now: Timestamp,
    /// The tables that have a watermark row, by the name in the configuration.
    pub tables: BTreeMap<String, TableOverview>,
}

/// What the sink knows of a table without taking it.
#[derive(Debug, Clone, Default)]
pub struct TableOverview {
    /// The watermark row; a run that holds the table may be about to move it.
    pub state: TableState,
    /// The run that holds the table at this moment.
    pub holder: Option<LeaseHolder>,
}

/// Who holds a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHolder {
    /// Machine and process.
    pub host: String,
    /// Since when.
    pub since: Timestamp,
}

/// Which rows of the run log.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only this run.
    pub run_id: Option<RunId>,
    /// Only of this table.
    pub table: Option<String>,
    /// Only of one of these tables; empty: of any.
    pub tables: Vec<String>,
    /// Only of this kind.
    pub kind: Option<RunKind>,
    /// Only in one of these states; empty: in any.
    pub states: Vec<RunState>,
    /// Only those that began at this moment or later.
    pub since: Option<Timestamp>,
    /// Only those that began at this moment or earlier.
    pub until: Option<Timestamp>,
    /// Only runs with a lower number.
    pub before: Option<RunId>,
    /// Only runs with a higher number, and the lowest of them first.
    pub after: Option<RunId>,
    /// Only those that left a CSV.
    pub with_csv: bool,
    /// At most so many, the newest first; `None`: all.
    pub limit: Option<u32>,
}
