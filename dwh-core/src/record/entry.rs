//! What is written into the run log, what a load commits, and what comes of it.

use serde::{Deserialize, Serialize};

use super::TableState;
use crate::config::Mode;
use crate::error::ErrorKind;
use crate::identity::{BronzeId, Member};
use crate::raw_file::RawFile;
use crate::run::{Routing, RunId, RunKind};
use crate::watermark::{SafeBound, Timestamp, Window};

/// What is written into the run log outside the load transaction; each entry commits on its own.
#[derive(Debug, Clone)]
pub enum LogEntry {
    /// A run begins: a new row, `extracting`.
    Begin {
        /// The table's name in the configuration.
        table: String,
        /// How the table is moved.
        mode: Mode,
        /// What the run is made for.
        kind: RunKind,
        /// The orchestrator's name of it.
        task_instance: Option<String>,
        /// Whether its rows say in `_uploaded_at` when it began: it begins after the runs before it of its table then,
        /// whatever the target's clock says, so that the newest version of a row is the one that was read last.
        dated: bool,
    },
    /// Which file the run is about to read, as it was listed.
    Reads {
        /// The run.
        run_id: RunId,
        /// The file.
        file: Box<RawFile>,
    },
    /// The manifest stands beside the CSV: `uploaded`.
    Uploaded(Box<Upload>),
    /// The load begins: `loading`; counts an attempt if it was tried before.
    Loading {
        /// The run.
        run_id: RunId,
        /// What its manifest says: fills what is empty in the row, for the log may not have heard of the upload.
        upload: Option<Box<Upload>>,
    },
    /// It went wrong: `failed`.
    Failed {
        /// The run.
        run_id: RunId,
        /// One line, without row values or secrets.
        message: String,
        /// What kind of error ended it; `None` for a run that is found unfinished, whose process died.
        kind: Option<ErrorKind>,
    },
    /// A person took its CSV out of the way, which was never loaded: `failed`, from any state but `loaded`.
    SetAside {
        /// The run.
        run_id: RunId,
        /// Where the CSV is now.
        csv_path: String,
        /// One line, without row values or secrets.
        message: String,
    },
    /// A run that the log has lost, as its manifest tells it: a new row with its old number.
    Restore(Box<Restore>),
}

/// A run that the log has lost.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The table's name in the configuration.
    pub table: String,
    /// How the table is moved.
    pub mode: Mode,
    /// What the run was made for.
    pub kind: RunKind,
    /// When it began.
    pub run_started_at: Timestamp,
    /// Version of the engine that ran it.
    pub engine_version: String,
    /// Its CSV.
    pub upload: Upload,
    /// Whether its rows are in bronze, or were replaced there since: `loaded` if so, otherwise `uploaded`.
    pub loaded: bool,
    /// New runs get numbers above this one.
    pub above: RunId,
}

/// What the run log learns when a CSV is complete.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The run.
    pub run_id: RunId,
    /// Address of the CSV; `None` for a run that found nothing and wrote none.
    pub csv_path: Option<String>,
    /// Rows in the CSV.
    pub rows: u64,
    /// Rows below the window that the sweep delivered.
    pub late_rows: u64,
    /// Bytes of the CSV, uncompressed.
    pub bytes: u64,
    /// SHA-256 of the CSV, uncompressed.
    pub sha256: String,
    /// The window.
    pub window: Option<Window>,
    /// The bound and what held it.
    pub bound: Option<SafeBound>,
    /// SHA-256 of the select list that was read, where that is known.
    pub plan_sha256: Option<String>,
    /// The file that was read, if one was.
    pub file: Option<RawFile>,
}

/// What a load is committed with.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The run that becomes `loaded`.
    pub run_id: RunId,
    /// Rows that the manifest promises; anything else rolls back. `None` for a hand-made CSV without a manifest.
    pub rows: Option<u64>,
    /// The watermark row as it was read under the lease: it must still be so (compare and set).
    pub expected: TableState,
    /// The row as it becomes; `None` leaves the watermark where it is (replay, back-fill). `last_run_id`,
    /// `last_loaded_at`, `newest_run_id` and `bronze` are set by the commit.
    pub becomes: Option<TableState>,
    /// Of the tables that were read last, those whose rows still are in bronze, where the load does not move the watermark;
    /// `None`: as they were.
    pub relations: Option<Vec<Member>>,
    /// The newest run whose rows it brings, if not the run itself: the last chunk of a resync.
    pub newest: Option<RunId>,
    /// Whether bronze holds all rows up to the watermark once this load is committed, though it may be another table
    /// than the one that the row names: the last CSV of a replay of all of them.
    pub whole: bool,
    /// Older runs whose CSV files were staged with that of the run, each with its rows, which `rows` counts too: they become
    /// `loaded` with it. Only for a sink that [loads runs together](crate::sink::Sink::loads_together).
    pub together: Vec<(RunId, u64)>,
}

impl Commit {
    /// A load that leaves the watermark where it is.
    #[must_use]
    pub const fn of(run_id: RunId, rows: Option<u64>, expected: TableState) -> Self {
        let together = Vec::new();
        Self { run_id, rows, expected, becomes: None, relations: None, newest: None, whole: false, together }
    }

    /// What the run itself brought of all that was loaded. Of runs that are loaded together each row must be a new one: which
    /// of them brought the others could not be told. `None` if that is not so.
    #[must_use]
    pub fn of_run(&self, counts: &Accounting) -> Option<Accounting> {
        if self.together.is_empty() {
            return Some(*counts);
        }
        let others = self.together.iter().map(|(_, rows)| rows).sum();
        let own = counts.staged.checked_sub(others)?;
        (*counts == Accounting::of_new(counts.staged)).then(|| Accounting::of_new(own))
    }

    /// The same load, after which only rows of these tables count as loaded.
    #[must_use]
    pub fn knowing(mut self, relations: Option<Vec<Member>>) -> Self {
        self.relations = relations;
        self
    }

    /// The same load, which moves the watermark.
    #[must_use]
    pub fn becoming(mut self, becomes: Option<TableState>) -> Self {
        self.becomes = becomes;
        self
    }
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What the load did.
    pub counts: Accounting,
    /// How the rows got into bronze; `None` if there were none, or the sink knows one way only.
    pub routing: Option<Routing>,
    /// The watermark row as it stands now: what the next load under the same lease expects.
    pub state: TableState,
}

/// A bronze table as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BronzeState {
    /// Which table it is.
    pub id: BronzeId,
    /// Whether it holds no row.
    pub empty: bool,
}

/// What was moved out of the way of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Where it is now.
    pub schema: String,
    /// The tables there.
    pub tables: Vec<String>,
    /// SQL that brings everything back.
    pub restore_sql: String,
}

/// A view over a table that was put aside, or will be: it goes on reading that one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct LeftView {
    /// Its name.
    pub view: String,
    /// `view` or `materialized view`.
    pub kind: String,
    /// The bronze table that it was made of.
    pub table: String,
    /// Whether a run of a model made it.
    pub model: bool,
    /// What brings it to the table that is there afterwards, in words.
    pub remedy: String,
    /// The SQL that does, if SQL does.
    pub sql: Option<String>,
}

/// What a load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Accounting {
    /// Rows staged.
    pub staged: u64,
    /// Rows inserted: bronze did not have their key.
    pub inserted: u64,
    /// Rows that replaced an older version of themselves.
    pub updated: u64,
    /// Rows that were there already, byte for byte.
    pub identical: u64,
    /// Rows whose key was there with other values, which stayed: `on_conflict = "nothing"`.
    pub different: u64,
    /// Rows that bronze has in a version of a newer snapshot, which stayed.
    pub kept_newer: u64,
    /// Rows of bronze that were removed: they lie in the window that the CSV stands for, and the source has no more.
    pub removed: u64,
    /// Rows of bronze that got a mark: the source has deleted them.
    pub marked: u64,
    /// Rows of bronze that lost it: the source has them again.
    pub unmarked: u64,
}

impl Accounting {
    /// Of rows all of which are new.
    #[must_use]
    pub fn of_new(rows: u64) -> Self {
        Self { staged: rows, inserted: rows, ..Self::default() }
    }

    /// Whether every staged row is accounted for.
    #[must_use]
    pub const fn balances(&self) -> bool {
        self.staged == self.inserted + self.updated + self.identical + self.different + self.kept_newer
    }
}
