//! The trait [`Source`]: where rows are read from. PostgreSQL's is [`PgSource`].

mod memory;
mod postgres;
pub(crate) mod survey;
mod tree;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Instant;

use crate::chain::Part;
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::plan::Plan;
use crate::raw_file::RawFile;
use crate::run::RunId;
use crate::schema::{RowKey, TableSchema};
use crate::watermark::{SafeBound, Timestamp, Undrained, Window};

pub use crate::watermark::Sweep;

pub use memory::{MemoryDump, MemorySource, MemoryTransaction};
pub(crate) use postgres::unseen;
pub use postgres::{PgSource, activity_function_sql};
pub use tree::FileTree;

/// Which database a row came from; a change voids the late-row sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// `system_identifier` of the cluster, as text.
    pub system_identifier: String,
    /// Timeline of the cluster.
    pub timeline: i64,
    /// Database name.
    pub database: String,
    /// `server_version`, such as `15.18`.
    pub server_version: String,
    /// Whether it is a standby.
    pub in_recovery: bool,
}

impl SourceIdentity {
    /// What transaction numbers must have in common to be compared: the system, and its timeline.
    pub(crate) fn history(&self) -> (&str, i64) {
        (&self.system_identifier, self.timeline)
    }
}

/// How much there is to read, as far as it can be told without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Rows.
    pub rows: u64,
    /// Bytes that they have in the source.
    pub bytes: u64,
}

/// The snapshot in which rows were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// u: `now()` of the source's read transaction.
    pub taken_at: Timestamp,
    /// `pg_snapshot_xmin`: every transaction below it had ended.
    pub xmin: u64,
    /// `pg_snapshot_xmax`: no transaction at or above it had begun.
    pub xmax: u64,
    /// The database.
    #[serde(flatten)]
    pub identity: SourceIdentity,
    /// The tables that the rows were read from; `None` where the source cannot tell, or nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relations: Option<Vec<Member>>,
}

impl Snapshot {
    /// A snapshot of a source that does not tell which tables it read.
    #[must_use]
    pub const fn new(taken_at: Timestamp, xmin: u64, xmax: u64, identity: SourceIdentity) -> Self {
        Self { taken_at, xmin, xmax, relations: None, identity }
    }
}

/// What the bound of a table is asked for with.
#[derive(Debug, Clone)]
pub struct BoundRequest<'a> {
    /// The plan of the table.
    pub plan: &'a Plan,
    /// L, the stored watermark; `NEG_INFINITY` when nothing was extracted yet.
    pub low: Timestamp,
    /// `now()` of the target when the run began.
    pub run_started_at: Timestamp,
    /// What an earlier drain could not prove yet.
    pub undrained: Option<&'a Undrained>,
}

/// What to read.
#[derive(Debug, Clone)]
pub struct ReadRequest<'a> {
    /// The plan of the table.
    pub plan: &'a Plan,
    /// The window; `None` for snapshot and scd tables, which are read whole.
    pub window: Option<Window>,
    /// The late-row sweep below the window.
    pub sweep: Sweep,
    /// The tables that the last loaded run was read from: one that is not among them, or whose file is another one, is
    /// read from its beginning, and its rows below the window count as late. `None`: not known, and nothing to find.
    pub known: Option<&'a [Member]>,
    /// The bound that the window was made with: the snapshot must be taken on its server.
    pub bound: Option<&'a SafeBound>,
    /// `now()` of the target when the run began; U is at most this, and `_uploaded_at` of scd tables is this.
    pub run_started_at: Timestamp,
    /// Which run reads, for `_run_id`; `None`: no run of the log.
    pub run_id: Option<RunId>,
    /// The file, of a source of files.
    pub file: Option<&'a RawFile>,
    /// The part of the window that a run of a resync reads; `None`: all of it.
    pub part: Option<&'a Part>,
}

impl<'a> ReadRequest<'a> {
    /// All of a table, for a run that began at this moment.
    #[must_use]
    pub const fn whole(plan: &'a Plan, run_started_at: Timestamp) -> Self {
        let (window, known, bound, file, part) = (None, None, None, None, None);
        Self { plan, window, sweep: Sweep::Off, known, bound, run_started_at, run_id: None, file, part }
    }

    /// U for a snapshot of this moment; `None` if there is no window. Where the window leaves it open: the source's clock when
    /// the bound was looked for, since what came later lies above the watermark and would only be read twice; and never below
    /// the watermark that the run will leave, nor below the window itself, whatever the clocks say: what appeared below since
    /// the last run is told by that run's snapshot, and no later run looks for it.
    #[must_use]
    pub fn upper(&self, taken_at: Timestamp) -> Option<Timestamp> {
        let window = self.window?;
        let looked = self.bound.map_or(Timestamp::INFINITY, |bound| bound.source_clock);
        let now = taken_at.min(self.run_started_at).min(looked).max(window.watermark).max(window.low);
        Some(window.high.unwrap_or(now))
    }
}

/// Where rows are read from.
///
/// # Contract
/// The pipeline calls, for one run of one table and in this order: `describe` (drift is judged before anything moves),
/// `bound` and `earliest` (only for incremental tables) and `read`. Runs of different tables call in parallel on one
/// value. Nothing is ever written to the source, and nothing is left there: a dropped future or [`Reading`] ends its
/// transaction.
///
/// The promise that everything stands on: a row that is committed before `read` takes its snapshot is in the snapshot,
/// and no row at or below the watermark of `bound` can become visible after that snapshot. `bound` must therefore have
/// finished before `read` begins.
///
/// # The least
/// `describe`, `earliest`, `bound` and `read` are enough for every run. With `has_keys`, rows that bronze alone has may be
/// removed (`reseed` with `replace`, repairs); with `cuts`, a resync reads in chunks; `describe_all`, `look_ahead` and `bound_since` spare questions where there
/// are many tables. `testing::source_contract` checks the promises, [`MemorySource`] keeps them without a server.
///
/// # Wrappers
/// A method that is not forwarded falls back to what the trait does by itself: put `#[deny(clippy::missing_trait_methods)]` on
/// the `impl`.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Which database this is, where it has no snapshot yet; `None` where it cannot be told without one.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`.
    async fn identity(&self) -> Result<Option<SourceIdentity>> {
        Ok(None)
    }

    /// What the catalog says of the table: exact types, keys, kind.
    ///
    /// # Errors
    /// `NotFound` if there is no such relation; `Permission` if the role may not read it; `Unreachable`, `Auth`.
    async fn describe(&self, table: &TableConfig) -> Result<TableSchema>;

    /// The same of many tables in few questions, in their order; `None` for one that has to be [described](Self::describe)
    /// by itself, because the source cannot tell it with others, or because something is wrong with it.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Busy`: nothing is known of any of them, and each may still be described by itself.
    async fn describe_all(&self, tables: &[&TableConfig]) -> Result<Vec<Option<TableSchema>>> {
        Ok(vec![None; tables.len()])
    }

    /// Looks at who may be writing to these tables while their catalogs are read, so that [`bound_since`](Self::bound_since)
    /// has its answer ready. Nothing depends on it: a source that does not look ahead looks when it is asked.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Busy`; whoever asks for the bound is told again.
    async fn look_ahead(&self, _tables: &[&TableConfig]) -> Result<()> {
        Ok(())
    }

    /// The smallest watermark value above `low`, or `None` if there is none.
    ///
    /// # Errors
    /// `Data` if rows exist that no window could ever contain (watermark NULL or infinite).
    async fn earliest(&self, plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>>;

    /// The safe bound of this moment.
    ///
    /// # Errors
    /// `Data` if the watermark lies in the future of the source's clock.
    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound>;

    /// The same from what was seen at `since` or later, which is never later than now: a bound holds for every snapshot
    /// after it, so tables that begin within a moment may share what was seen.
    ///
    /// # Errors
    /// As [`bound`](Self::bound).
    async fn bound_since(&self, request: BoundRequest<'_>, _since: Instant) -> Result<SafeBound> {
        self.bound(request).await
    }

    /// Which of these keys of the configured key it has, wherever their rows lie: a row that bronze alone has in a window
    /// is removed only if the source has its key nowhere.
    ///
    /// # Errors
    /// `Contract` if it cannot be asked for keys.
    async fn has_keys(&self, plan: &Plan, _keys: &[RowKey]) -> Result<Vec<bool>> {
        let table = &plan.table.name;
        Err(Error::new(ErrorKind::Contract, format!("table `{table}`: this source cannot tell which keys it has"))
            .with_hint("implement `has_keys` of `Source`; without it, no row can be removed from bronze"))
    }

    /// About how much lies above `low` and up to `high`, by what the source knows without a look at its rows; `None` if that
    /// is nothing. For people, and for whoever hands out work: nothing depends on it.
    ///
    /// # Errors
    /// Those of the connection.
    async fn estimate(&self, _plan: &Plan, _low: Timestamp, _high: Timestamp) -> Result<Option<Estimate>> {
        Ok(None)
    }

    /// The keys at which a table is cut into chunks of so many rows, in their order: the last key of each chunk but the last
    /// one. None, as from a source that cannot tell: it is read in one chunk.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Permission`.
    async fn cuts(&self, _plan: &Plan, _rows: u64) -> Result<Vec<RowKey>> {
        Ok(Vec::new())
    }

    /// Its files, if it is a source of files: one is read by each run.
    fn tree(&self) -> Option<&dyn FileTree> {
        None
    }

    /// Opens one read-only snapshot, lock first, and begins to send the rows.
    ///
    /// # Errors
    /// `Drift` if the table changed since the plan was made; `Contract` if it is another server than that of the bound.
    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>>;
}

/// Rows on their way: CSV as PostgreSQL writes it, header first.
#[async_trait]
pub trait Reading: Send {
    /// The snapshot in which everything is read.
    fn snapshot(&self) -> &Snapshot;

    /// U: the upper end of what is read, inclusive; `None` for tables that are read whole.
    fn high(&self) -> Option<Timestamp>;

    /// Whether it is known, before the first piece has come, that there is a row: the load may begin then.
    fn has_rows(&self) -> bool {
        false
    }

    /// How many rows below the window the sweep found; they are among the rows. Asked once at most, after the last piece and
    /// before [`finish`](Self::finish), and not where there was no row: whoever takes the rows goes on meanwhile.
    ///
    /// # Errors
    /// Those of the connection.
    async fn late_rows(&mut self) -> Result<u64>;

    /// The sweep that was made in the end, where it is another one than was asked for.
    fn sweep(&self) -> Option<Sweep> {
        None
    }

    /// The statement that was sent, where the source speaks SQL; for the manifest.
    fn statement(&self) -> Option<&str> {
        None
    }

    /// The file as it was read, once the last piece is sent; `None` where no file is read.
    fn file(&self) -> Option<RawFile> {
        None
    }

    /// What a person should know of the file, a sentence each, once the last piece is sent.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// The records that were rejected, one JSON document a line, once the last piece is sent; `None` if there are none.
    fn rejected(&mut self) -> Option<std::fs::File> {
        None
    }

    /// The next piece, in any size; `None` once the server has said that all was sent.
    ///
    /// # Errors
    /// Whatever ended the stream early: it never just stops.
    async fn next(&mut self) -> Result<Option<Bytes>>;

    /// Ends the transaction after the last piece.
    ///
    /// # Errors
    /// If the transaction could not be ended in good order.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// Those of `now` that are not among `known`, or whose rows lie in another file: their rows may be of any age.
#[must_use]
pub fn appeared(known: &[Member], now: &[Member]) -> Vec<Member> {
    let same = |a: &Member, b: &Member| a.oid == b.oid && a.file == b.file;
    now.iter().filter(|member| !known.iter().any(|other| same(member, other))).cloned().collect()
}
