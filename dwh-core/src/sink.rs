//! The trait [`Sink`]: the warehouse, with the watermark and the run log that commit together with the rows.

mod memory;
mod postgres;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::blob::ByteStream;
use crate::config::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::{BronzeId, Member, Origin};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind, RunState};
use crate::schema::{TableRef, TableSchema};
use crate::watermark::{SafeBound, Timestamp, Undrained, Window};

pub use memory::{MemoryRow, MemorySink};
pub use postgres::PgSink;

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
    /// Rows below the window that the sweep delivered.
    pub rows_late: Option<i64>,
    /// Address of the CSV.
    pub csv_path: Option<String>,
    /// What went wrong, one line.
    pub error_message: Option<String>,
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
    /// The bronze table that it was loaded into; `None` before that, and in rows of release 0.1.
    #[serde(skip)]
    pub bronze: Option<BronzeId>,
    /// SHA-256 of the select list that was read; `None` as above, and for files that a person made.
    #[serde(skip)]
    pub plan_sha256: Option<String>,
}

/// What the sink knows without taking a table.
#[derive(Debug, Clone)]
pub struct Glance {
    /// The sink's clock, by which the run log is stamped.
    pub now: Timestamp,
    /// The tables that have a watermark row, by the name in the configuration.
    pub tables: BTreeMap<String, TableGlance>,
}

/// What the sink knows of a table without taking it.
#[derive(Debug, Clone, Default)]
pub struct TableGlance {
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
    /// Whether bronze holds all rows up to the watermark once this load is committed, though it may be another table
    /// than the one that the row names: the last CSV of a replay of all of them.
    pub whole: bool,
}

impl Commit {
    /// A load that leaves the watermark where it is.
    #[must_use]
    pub const fn of(run_id: RunId, rows: Option<u64>, expected: TableState) -> Self {
        Self { run_id, rows, expected, becomes: None, whole: false }
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
}

impl Accounting {
    /// Whether every staged row is accounted for.
    #[must_use]
    pub const fn balances(&self) -> bool {
        self.staged == self.inserted + self.updated + self.identical + self.different + self.kept_newer
    }
}

/// The warehouse.
///
/// # Contract
/// For one run of one table the pipeline calls `lease` (held until the run ends), `log(Begin)`, and then, with the
/// extract going on behind it, `stage`; `log(Uploaded)` and `log(Loading)` once the manifest is written; then
/// [`Staged::commit`]. Different tables call in parallel on one value. A crash between any two calls leaves bronze and
/// the watermark as they were; the run log tells how far it came.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// What the catalog says of a bronze table; `None` if there is none.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Permission`.
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>>;

    /// Takes the table for one run, so that no second run of it works at the same time.
    ///
    /// # Errors
    /// `Locked`, naming the holder, if another run has it and `wait` is false; `Contract` if the table has no
    /// watermark row.
    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>>;

    /// Rows of the run log, newest first unless the filter says otherwise.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>>;

    /// Writes the entry, at once and for good, and returns the row as it is then.
    ///
    /// # Errors
    /// `Contract` if the run is in a state from which the entry's cannot follow.
    async fn log(&self, entry: LogEntry) -> Result<RunRecord>;

    /// Which table a bronze table is, and whether it is empty; `None` if there is none, or the sink cannot tell.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn bronze_id(&self, _target: &TableRef) -> Result<Option<BronzeState>> {
        Ok(None)
    }

    /// Sets the watermark row back to the seed, at once and for good, if it still is as `expected` says, and returns it
    /// as it is then: what it belongs to is forgotten, so the next run begins with the first row, whatever the table is
    /// read from by now. `newest_run_id` stays, for bronze keeps its rows. Called under the lease.
    ///
    /// # Errors
    /// `Locked` if the row changed meanwhile; `Contract` if the sink cannot do it.
    async fn begin_anew(&self, table: &str, _expected: &TableState) -> Result<TableState> {
        Err(Error::new(ErrorKind::Contract, format!("table `{table}`: this sink cannot set a watermark back"))
            .with_hint("set it back where the sink keeps it, and run again"))
    }

    /// Opens the load transaction and puts the CSV into a staging area. Nothing is visible before the commit.
    ///
    /// # Errors
    /// The stream's own error, unchanged, if it ended in one; `Data` if a value does not fit.
    async fn stage(&self, load: &LoadPlan, csv: ByteStream) -> Result<Box<dyn Staged>>;

    /// The clock, the watermark rows, and who holds which table, without taking any; a sink that has no clock of its own
    /// and cannot tell more says what this machine's clock says.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn glance(&self) -> Result<Glance> {
        Ok(Glance { now: Timestamp::now(), tables: BTreeMap::new() })
    }

    /// Removes rows of the run log, final ones only, and returns how many; a sink that keeps them for ever removes none.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn forget(&self, _runs: &[RunId]) -> Result<u64> {
        Ok(0)
    }

    /// Sees to it that new runs get numbers above this one, and returns whether that was needed; `dry_run` only tells.
    /// A sink whose numbers never begin anew has nothing to do.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn number_above(&self, _run: RunId, _dry_run: bool) -> Result<bool> {
        Ok(false)
    }
}

/// A table held for one run. Dropping it gives it free, and so does a crash.
#[async_trait]
pub trait Lease: Send + Sync {
    /// The watermark row, read under the lease.
    fn state(&self) -> &TableState;

    /// Gives the table free.
    ///
    /// # Errors
    /// If the connection that held it is gone: another run may have come in between.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// Rows that are staged in an open transaction. Dropping it rolls back.
#[async_trait]
pub trait Staged: Send {
    /// Rows staged.
    fn rows(&self) -> u64;

    /// Moves the rows into bronze, accounts for each of them, moves the watermark by compare-and-set, marks the run
    /// `loaded`, and commits all of it as one.
    ///
    /// In the same transaction it writes which table bronze is, into the run's row, and into the watermark row unless
    /// that names another table and the load neither moves the watermark nor makes bronze whole: rows may be missing
    /// then, and what says so must stay. `newest_run_id` becomes the run's, unless the load is [older](LoadPlan::older)
    /// or a replay.
    ///
    /// When the answer to the commit is lost, the run log is read again: it was written in the same transaction, so it
    /// is the proof.
    ///
    /// # Errors
    /// `Data` if the counts do not add up; `Locked` if the watermark moved meanwhile; nothing has changed then.
    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed>;
}
