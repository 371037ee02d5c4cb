//! [`MemorySink`]: a warehouse in memory, for tests and examples.

mod rows;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::blob::ByteStream;
use crate::config::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind, RunState};
use crate::schema::{TableRef, TableSchema};
use crate::sink::{
    Accounting, BronzeState, Commit, Committed, Glance, Lease, LeaseHolder, LogEntry, Restore, RunFilter, RunRecord,
    Sink, Staged, TableGlance, TableState, Upload,
};
use crate::watermark::Timestamp;

/// A row: the text of each column, in the order of the table; `None` is NULL.
pub type MemoryRow = Vec<Option<String>>;

#[derive(Debug, Clone)]
struct Table {
    schema: TableSchema,
    rows: Vec<MemoryRow>,
    /// Another one for each table that is added.
    oid: u32,
    /// Another one each time that all rows are taken out.
    file: u32,
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
    /// The highest oid or file that a table ever had.
    oids: u32,
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

    /// Adds an empty bronze table, in place of the one that is there if there is, and the seeded watermark row of `name`
    /// unless it has one.
    pub fn add_table(&self, name: &str, schema: TableSchema) {
        let mut world = self.world();
        let seeded = TableState { last_extracted_at: Some(Timestamp::SEED), ..TableState::default() };
        world.states.entry(name.to_owned()).or_insert(seeded);
        let (oid, file) = (world.next_oid(), world.next_oid());
        world.tables.insert(schema.table.clone(), Table { schema, rows: Vec::new(), oid, file });
    }

    /// Takes all rows out of a bronze table, as a person would who knows nothing of watermarks.
    pub fn truncate(&self, table: &TableRef) {
        let mut world = self.world();
        let file = world.next_oid();
        if let Some(table) = world.tables.get_mut(table) {
            (table.rows, table.file) = (Vec::new(), file);
        }
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

fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

impl World {
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

    fn next_oid(&mut self) -> u32 {
        self.oids += 1;
        self.oids
    }

    fn bronze_id(&self, target: &TableRef) -> Option<BronzeId> {
        let id = |table: &Table| BronzeId {
            warehouse: "memory/1".to_owned(),
            control: 1,
            table: target.to_string(),
            oid: table.oid,
            file: table.file.to_string(),
        };
        self.tables.get(target).map(id)
    }

    /// The watermark row, if it still is where it was.
    fn unmoved(&self, table: &str, expected: &TableState) -> Result<TableState> {
        let state = self.state(table)?;
        let place = |state: &TableState| (state.last_extracted_at, state.last_run_id, state.newest_run_id);
        if place(state) == place(expected) {
            return Ok(state.clone());
        }
        let by =
            state.newest_run_id.max(state.last_run_id).map_or_else(|| "by hand".to_owned(), |run| format!("run {run}"));
        Err(Error::new(ErrorKind::Locked, format!("table `{table}`: the watermark moved meanwhile ({by})")))
    }

    fn transition(&mut self, run_id: RunId, next: RunState) -> Result<&mut RunRecord> {
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
        run.run_finished_at = next.is_final().then(now);
        run.error_message = None;
        Ok(run)
    }

    fn begin(&mut self, table: &str, mode: Mode, kind: RunKind) -> RunRecord {
        self.above += 1;
        let run = RunRecord {
            run_id: RunId(self.above),
            table_name: table.to_owned(),
            kind,
            run_started_at: now(),
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
            bronze: None,
            plan_sha256: None,
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
            run_finished_at: lost.loaded.then(now),
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
            bronze: None,
            plan_sha256: lost.upload.plan_sha256.clone(),
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
                let runs = &mut self.runs;
                let run = runs.iter_mut().find(|run| run.run_id == *run_id && run.status != RunState::Loaded);
                let run = run.ok_or_else(|| {
                    Error::new(ErrorKind::Contract, format!("run {run_id} is loaded, or not in the run log"))
                })?;
                run.status = RunState::Failed;
                run.csv_path = Some(csv_path.clone());
                run.error_message = Some(message.clone());
                run.run_finished_at = run.run_finished_at.or_else(|| Some(now()));
                run
            }
            LogEntry::Loading { run_id, upload } => {
                let run = self.transition(*run_id, RunState::Loading)?;
                if let Some(upload) = upload {
                    fill(run, upload);
                }
                run
            }
            LogEntry::Failed { run_id, message } => {
                let run = self.transition(*run_id, RunState::Failed)?;
                run.error_message = Some(message.clone());
                run
            }
            LogEntry::Uploaded(upload) => {
                let run = self.transition(upload.run_id, RunState::Uploaded)?;
                fill(run, upload);
                run
            }
        };
        Ok(run.clone())
    }

    /// Everything of a commit; what fails has changed nothing.
    fn commit(&mut self, load: &LoadPlan, staged: &[MemoryRow], commit: &Commit) -> Result<Committed> {
        if let Some(promised) = commit.rows.filter(|promised| *promised != staged.len() as u64) {
            return Err(Error::new(
                ErrorKind::Data,
                format!("table `{}`: the manifest promises {promised} rows, the CSV has {}", load.table, staged.len()),
            ));
        }
        let old = self.unmoved(&load.table, &commit.expected)?;
        let kind = self.runs.iter().find(|run| run.run_id == commit.run_id).map(|run| run.kind).unwrap_or_default();
        let takes_it = commit.becomes.is_some()
            || commit.whole
            || old.bronze.is_none()
            || old.bronze == self.bronze_id(&load.target);
        let mut table = self.table(&load.target)?.clone();
        let counts = rows::merge(load, &table.schema.columns, &mut table.rows, staged, kind)?;
        if load.mode == Mode::Snapshot && counts.inserted == counts.staged {
            table.file = self.next_oid();
        }
        count(self.transition(commit.run_id, RunState::Loaded)?, &counts);
        self.tables.insert(load.target.clone(), table);
        let bronze = self.bronze_id(&load.target);
        if let Some(run) = self.runs.iter_mut().find(|run| run.run_id == commit.run_id) {
            run.bronze = bronze;
        }
        let is_newest = !load.older && kind != RunKind::Replay && !old.is_newer_than(commit.run_id);
        let moves = commit.becomes.is_some();
        let new = commit.becomes.clone().unwrap_or_else(|| old.clone());
        let state = TableState {
            last_extracted_at: new.last_extracted_at.or(old.last_extracted_at),
            last_loaded_at: if moves { Some(now()) } else { old.last_loaded_at },
            last_run_id: if moves { Some(commit.run_id) } else { old.last_run_id },
            newest_run_id: if is_newest { Some(commit.run_id) } else { old.newest_run_id },
            bronze: if takes_it { self.bronze_id(&load.target) } else { old.bronze },
            ..new
        };
        self.states.insert(load.table.clone(), state.clone());
        Ok(Committed { counts, state })
    }
}

/// Fills what is empty in the row by what the manifest says.
fn fill(run: &mut RunRecord, upload: &Upload) {
    let number = |known: Option<i64>, count: u64| known.or(Some(count.cast_signed()));
    run.csv_path = run.csv_path.take().or_else(|| upload.csv_path.clone());
    run.rows_extracted = number(run.rows_extracted, upload.rows);
    run.rows_late = number(run.rows_late, upload.late_rows);
    run.bytes = number(run.bytes, upload.bytes);
    run.sha256 = run.sha256.take().or_else(|| Some(upload.sha256.clone()));
    if let (None, Some(window)) = (run.watermark, upload.window) {
        run.window_low = Some(window.low).filter(|low| low.is_finite());
        run.window_high = window.high;
        run.watermark = Some(window.watermark);
    }
    run.bound = run.bound.take().or_else(|| upload.bound.clone());
    run.plan_sha256 = run.plan_sha256.take().or_else(|| upload.plan_sha256.clone());
}

/// Writes the counts of a load into its row.
fn count(run: &mut RunRecord, counts: &Accounting) {
    let number = |count: u64| Some(count.cast_signed());
    run.rows_extracted = number(counts.staged);
    run.rows_loaded = number(counts.inserted + counts.updated);
    run.rows_inserted = number(counts.inserted);
    run.rows_updated = number(counts.updated);
    run.rows_identical = number(counts.identical);
    run.rows_different = number(counts.different);
    run.rows_kept_newer = number(counts.kept_newer);
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
        world.taken.insert(table.to_owned(), now());
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
                && (!filter.with_csv || run.csv_path.is_some())
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
        Ok(Glance { now: now(), tables: world.states.iter().map(glance).collect() })
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

    async fn bronze_id(&self, target: &TableRef) -> Result<Option<BronzeState>> {
        let world = self.world();
        let empty = world.tables.get(target).is_some_and(|table| table.rows.is_empty());
        Ok(world.bronze_id(target).map(|id| BronzeState { id, empty }))
    }

    async fn begin_anew(&self, table: &str, expected: &TableState) -> Result<TableState> {
        let mut world = self.world();
        let old = world.unmoved(table, expected)?;
        let seed = TableState {
            last_extracted_at: Some(Timestamp::SEED),
            last_loaded_at: old.last_loaded_at,
            newest_run_id: old.newest_run_id,
            ..TableState::default()
        };
        world.states.insert(table.to_owned(), seed.clone());
        Ok(seed)
    }

    async fn stage(&self, load: &LoadPlan, csv: ByteStream) -> Result<Box<dyn Staged>> {
        let columns = self.world().table(&load.target)?.schema.columns.clone();
        let csv: Vec<u8> = csv.map_ok(|piece| piece.to_vec()).try_concat().await?;
        let rows = rows::read(load, &columns, &csv)?;
        Ok(Box::new(MemoryStaged { sink: self.clone(), load: load.clone(), rows }))
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

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        self.sink.world().commit(&self.load, &self.rows, &commit)
    }
}
