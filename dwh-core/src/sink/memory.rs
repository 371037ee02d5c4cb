//! [`MemorySink`]: a warehouse in memory, for tests and examples.

mod rows;
mod tables;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::blob::ByteStream;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind, RunState};
use crate::schema::{TableRef, TableSchema};
use crate::sink::{
    Accounting, Commit, Glance, Lease, LeaseHolder, LogEntry, Moved, Restore, RunFilter, RunRecord, Sink, Staged,
    TableGlance, TableState,
};
use crate::watermark::{Micros, Timestamp};

pub use tables::MemoryBackup;

/// A row: the text of each column, in the order of the table; `None` is NULL.
pub type MemoryRow = Vec<Option<String>>;

#[derive(Debug, Clone)]
struct Table {
    schema: TableSchema,
    rows: Vec<MemoryRow>,
}

#[derive(Debug, Default)]
struct World {
    tables: BTreeMap<TableRef, Table>,
    states: BTreeMap<String, TableState>,
    leases: BTreeMap<String, Arc<Gate<()>>>,
    /// When a table was last taken.
    taken: BTreeMap<String, Timestamp>,
    runs: Vec<RunRecord>,
    /// The highest number that a run ever had.
    above: i64,
    /// The clock, if it was set by hand.
    clock: Option<Timestamp>,
}

/// A warehouse in memory. Values are kept as the text of the CSV; integers are checked, other types are not.
/// Clones share the same tables.
#[derive(Clone, Default)]
pub struct MemorySink(Arc<Mutex<World>>);

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySink({} tables)", self.world().tables.len())
    }
}

impl MemorySink {
    /// An empty warehouse.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an empty bronze table and the seeded watermark row of `name`.
    pub fn add_table(&self, name: &str, schema: TableSchema) {
        let mut world = self.world();
        world.seed(name);
        world.tables.insert(schema.table.clone(), Table { schema, rows: Vec::new() });
    }

    /// The rows of a bronze table, in the order in which they came; none if there is no such table.
    #[must_use]
    pub fn rows(&self, table: &TableRef) -> Vec<MemoryRow> {
        self.world().tables.get(table).map(|table| table.rows.clone()).unwrap_or_default()
    }

    /// A panic of another thread leaves nothing half-done here: changes are made on a copy.
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn host() -> String {
    format!("memory pid {}", std::process::id())
}

impl World {
    fn now(&self) -> Timestamp {
        self.clock.unwrap_or_else(|| Timestamp::from_micros(jiff::Timestamp::now().as_microsecond()))
    }

    fn state(&self, table: &str) -> Result<&TableState> {
        self.states.get(table).ok_or_else(|| {
            Error::new(ErrorKind::Contract, format!("table `{table}` has no watermark row"))
                .with_hint("add it with `MemorySink::add_table`")
        })
    }

    fn table(&self, target: &TableRef) -> Result<&Table> {
        self.tables
            .get(target)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no bronze table {target}")))
    }

    fn transition(&mut self, run_id: RunId, next: RunState) -> Result<&mut RunRecord> {
        let now = self.now();
        let run = self.runs.iter_mut().find(|run| run.run_id == run_id);
        let run = run.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("run {run_id} is not in the run log")))?;
        if !run.status.may_become(next) {
            let message =
                format!("run {run_id} of table `{}` is `{}`, it cannot become `{next}`", run.table_name, run.status);
            return Err(Error::new(ErrorKind::Contract, message));
        }
        if run.status == RunState::Failed {
            run.attempt += 1;
        }
        run.status = next;
        run.run_finished_at = next.is_final().then_some(now);
        run.error_message = None;
        Ok(run)
    }

    fn begin(&mut self, table: &str, mode: crate::config::Mode, kind: RunKind) -> RunRecord {
        self.above += 1;
        self.clock = self.clock.map(|clock| clock.plus(Micros(1)));
        let run = RunRecord {
            run_id: RunId(self.above),
            table_name: table.to_owned(),
            kind,
            run_started_at: self.now(),
            run_finished_at: None,
            status: RunState::Extracting,
            rows_extracted: None,
            rows_loaded: None,
            rows_inserted: None,
            rows_updated: None,
            rows_identical: None,
            rows_different: None,
            rows_kept_newer: None,
            rows_late: None,
            csv_path: None,
            error_message: None,
            mode: Some(mode),
            window_low: None,
            window_high: None,
            watermark: None,
            bound: None,
            bytes: None,
            sha256: None,
            attempt: 1,
            host: Some(host()),
            engine_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        };
        self.runs.push(run.clone());
        run
    }

    fn restore(&mut self, lost: &Restore) -> Result<RunRecord> {
        let run_id = lost.upload.run_id;
        if self.runs.iter().any(|run| run.run_id == run_id) {
            return Err(Error::new(ErrorKind::Contract, format!("run {run_id} is in the run log already")));
        }
        let number = |count: u64| Some(count.cast_signed());
        let loaded = |count| if lost.loaded { number(count) } else { None };
        let run = RunRecord {
            run_id,
            table_name: lost.table.clone(),
            kind: lost.kind,
            run_started_at: lost.run_started_at,
            run_finished_at: lost.loaded.then_some(self.now()),
            status: if lost.loaded { RunState::Loaded } else { RunState::Uploaded },
            rows_extracted: number(lost.upload.rows),
            rows_loaded: loaded(lost.upload.rows),
            rows_inserted: loaded(lost.upload.rows),
            rows_updated: loaded(0),
            rows_identical: loaded(0),
            rows_different: loaded(0),
            rows_kept_newer: loaded(0),
            rows_late: number(lost.upload.late_rows),
            csv_path: lost.upload.csv_path.clone(),
            error_message: None,
            mode: Some(lost.mode),
            window_low: lost.upload.window.map(|window| window.low).filter(|low| low.is_finite()),
            window_high: lost.upload.window.and_then(|window| window.high),
            watermark: lost.upload.window.map(|window| window.watermark),
            bound: lost.upload.bound.clone(),
            bytes: number(lost.upload.bytes),
            sha256: Some(lost.upload.sha256.clone()),
            attempt: 1,
            host: Some(host()),
            engine_version: Some(lost.engine_version.clone()),
        };
        self.above = self.above.max(lost.above.0).max(run_id.0);
        self.runs.push(run.clone());
        self.runs.sort_by_key(|run| run.run_id);
        Ok(run)
    }

    fn write(&mut self, entry: &LogEntry) -> Result<RunRecord> {
        let run = match entry {
            LogEntry::Begin { table, mode, kind } => return Ok(self.begin(table, *mode, *kind)),
            LogEntry::Restore(lost) => return self.restore(lost),
            LogEntry::SetAside { run_id, csv_path, message } => {
                let now = self.now();
                let runs = &mut self.runs;
                let run = runs.iter_mut().find(|run| run.run_id == *run_id && run.status != RunState::Loaded);
                let run = run.ok_or_else(|| {
                    Error::new(ErrorKind::Contract, format!("run {run_id} is loaded, or not in the run log"))
                })?;
                run.status = RunState::Failed;
                run.csv_path = Some(csv_path.clone());
                run.error_message = Some(message.clone());
                run.run_finished_at = run.run_finished_at.or(Some(now));
                run
            }
            LogEntry::Loading { run_id } => self.transition(*run_id, RunState::Loading)?,
            LogEntry::Failed { run_id, message } => {
                let run = self.transition(*run_id, RunState::Failed)?;
                run.error_message = Some(message.clone());
                run
            }
            LogEntry::Uploaded(upload) => {
                let run = self.transition(upload.run_id, RunState::Uploaded)?;
                run.csv_path.clone_from(&upload.csv_path);
                run.rows_extracted = Some(upload.rows.cast_signed());
                run.rows_late = Some(upload.late_rows.cast_signed());
                run.bytes = Some(upload.bytes.cast_signed());
                run.sha256 = Some(upload.sha256.clone());
                run.window_low = upload.window.map(|window| window.low).filter(|low| low.is_finite());
                run.window_high = upload.window.and_then(|window| window.high);
                run.watermark = upload.window.map(|window| window.watermark);
                run.bound.clone_from(&upload.bound);
                run
            }
        };
        Ok(run.clone())
    }

    /// Everything of a commit; what fails has changed nothing.
    fn commit(&mut self, load: &LoadPlan, staged: &[MemoryRow], commit: &Commit) -> Result<Accounting> {
        if let Some(promised) = commit.rows.filter(|promised| *promised != staged.len() as u64) {
            return Err(Error::new(
                ErrorKind::Data,
                format!("table `{}`: the manifest promises {promised} rows, the CSV has {}", load.table, staged.len()),
            ));
        }
        let current = self.state(&load.table)?.clone();
        if let Some(advance) = &commit.advance
            && (advance.expected.last_extracted_at, advance.expected.last_run_id)
                != (current.last_extracted_at, current.last_run_id)
        {
            let by = current.last_run_id.map_or_else(|| "by hand".to_owned(), |run| format!("run {run}"));
            let message = format!("table `{}`: the watermark moved meanwhile ({by})", load.table);
            return Err(Error::new(ErrorKind::Locked, message));
        }
        let mut table = self.table(&load.target)?.clone();
        let counts = rows::merge(load, &table.schema.columns, &mut table.rows, staged)?;
        let run = self.transition(commit.run_id, RunState::Loaded)?;
        run.rows_extracted = Some(counts.staged.cast_signed());
        run.rows_loaded = Some((counts.inserted + counts.updated).cast_signed());
        run.rows_inserted = Some(counts.inserted.cast_signed());
        run.rows_updated = Some(counts.updated.cast_signed());
        run.rows_identical = Some(counts.identical.cast_signed());
        run.rows_kept_newer = Some(counts.kept_newer.cast_signed());
        run.rows_different = Some(counts.different.cast_signed());
        self.tables.insert(load.target.clone(), table);
        if let Some(advance) = &commit.advance {
            let last_loaded_at = Some(self.now());
            let becomes = TableState { last_run_id: Some(commit.run_id), last_loaded_at, ..advance.becomes.clone() };
            self.states.insert(load.table.clone(), becomes);
        }
        Ok(counts)
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>> {
        Ok(self.world().tables.get(target).map(|table| table.schema.clone()))
    }

    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>> {
        let gate = self.world().leases.entry(table.to_owned()).or_default().clone();
        let held = if wait {
            gate.lock_owned().await
        } else {
            gate.try_lock_owned().map_err(|_| {
                let message = format!("table `{table}`: another run holds it: {}", host());
                Error::new(ErrorKind::Locked, message)
            })?
        };
        let mut world = self.world();
        let state = world.state(table)?.clone();
        let now = world.now();
        world.taken.insert(table.to_owned(), now);
        Ok(Box::new(MemoryLease { state, _held: held }))
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        let wanted = |run: &&RunRecord| {
            filter.run_id.is_none_or(|id| run.run_id == id)
                && filter.table.as_ref().is_none_or(|table| run.table_name == *table)
                && (filter.tables.is_empty() || filter.tables.contains(&run.table_name))
                && filter.since.is_none_or(|since| run.run_started_at >= since)
                && filter.until.is_none_or(|until| run.run_started_at <= until)
                && filter.before.is_none_or(|before| run.run_id < before)
                && filter.after.is_none_or(|after| run.run_id > after)
                && filter.kind.is_none_or(|kind| run.kind == kind)
                && (filter.states.is_empty() || filter.states.contains(&run.status))
        };
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        let world = self.world();
        let mut runs: Vec<&RunRecord> = world.runs.iter().filter(wanted).collect();
        if filter.after.is_none() {
            runs.reverse();
        }
        Ok(runs.into_iter().take(limit).cloned().collect())
    }

    async fn log(&self, entry: LogEntry) -> Result<RunRecord> {
        self.world().write(&entry)
    }

    async fn glance(&self) -> Result<Glance> {
        let world = self.world();
        let glance = |(name, state): (&String, &TableState)| {
            let held = world.leases.get(name).filter(|gate| gate.try_lock().is_err());
            let since = world.taken.get(name).filter(|_| held.is_some());
            let holder = since.map(|since| LeaseHolder { host: host(), since: *since });
            (name.clone(), TableGlance { state: state.clone(), holder })
        };
        Ok(Glance { now: world.now(), tables: world.states.iter().map(glance).collect() })
    }

    async fn forget(&self, runs: &[RunId]) -> Result<u64> {
        let mut world = self.world();
        let before = world.runs.len();
        world.runs.retain(|run| !(runs.contains(&run.run_id) && run.status.is_final()));
        Ok((before - world.runs.len()) as u64)
    }

    async fn number_above(&self, run: RunId, dry_run: bool) -> Result<bool> {
        let mut world = self.world();
        let behind = world.above < run.0;
        if !dry_run {
            world.above = world.above.max(run.0);
        }
        Ok(behind)
    }

    async fn stage(&self, load: &LoadPlan, csv: ByteStream) -> Result<Box<dyn Staged>> {
        let columns = self.world().table(&load.target)?.schema.columns.clone();
        let csv: Vec<u8> = csv.map_ok(|piece| piece.to_vec()).try_concat().await?;
        let rows = rows::read(load, &columns, &csv)?;
        Ok(Box::new(MemoryStaged { sink: self.clone(), load: load.clone(), rows }))
    }

    async fn occupied(&self, tables: &[LoadPlan]) -> Result<Vec<String>> {
        Ok(self.world().occupied(tables))
    }

    async fn move_away(&self, tables: &[LoadPlan]) -> Result<Moved> {
        self.world().move_away(tables)
    }

    async fn make_tables(&self, tables: &[LoadPlan]) -> Result<()> {
        self.world().make_tables(tables);
        Ok(())
    }
}

struct MemoryLease {
    state: TableState,
    _held: OwnedMutexGuard<()>,
}

#[async_trait]
impl Lease for MemoryLease {
    fn state(&self) -> &TableState {
        &self.state
    }

    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct MemoryStaged {
    sink: MemorySink,
    load: LoadPlan,
    rows: Vec<MemoryRow>,
}

#[async_trait]
impl Staged for MemoryStaged {
    fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Accounting> {
        self.sink.world().commit(&self.load, &self.rows, &commit)
    }
}
