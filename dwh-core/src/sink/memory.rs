//! [`MemorySink`]: a warehouse in memory, for tests and examples.

mod alerts;
mod log;
mod replace;
mod rows;
mod tables;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind};
use crate::schema::{RowKey, TableRef, TableSchema};
use crate::sink::{
    Accounting, AlertClaim, AlertLook, BronzeState, Commit, Committed, Lease, LeaseHolder, LogEntry, Moved, Overview,
    RunFilter, RunRecord, Sink, StageRequest, Staged, TableOverview, TableState,
};
use crate::watermark::Timestamp;

use replace::Windows;

pub use tables::MemoryBackup;

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
    /// What alerts have told.
    alerts: alerts::Alerts,
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

    /// Adds an empty bronze table, in place of the one that is there if there is, and the seeded watermark row of `name`
    /// unless it has one.
    pub fn add_table(&self, name: &str, schema: TableSchema) {
        let mut world = self.world();
        world.seed(name);
        world.add(schema);
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
        let settled = world.settled(table);
        Ok(Box::new(MemoryLease { state, settled, _held: held }))
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

    async fn overview(&self) -> Result<Overview> {
        let world = self.world();
        let overview = |(name, state): (&String, &TableState)| {
            let held = world.leases.get(name).filter(|gate| gate.try_lock().is_err());
            let since = world.taken.get(name).filter(|_| held.is_some());
            let holder = since.map(|since| LeaseHolder { host: host(), since: *since });
            (name.clone(), TableOverview { state: state.clone(), holder })
        };
        Ok(Overview { now: world.now(), tables: world.states.iter().map(overview).collect() })
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

    async fn stage(&self, request: StageRequest<'_>) -> Result<Box<dyn Staged>> {
        let (load, csv) = (request.load, request.csv.open());
        let mut columns = self.world().table(&load.target)?.schema.columns.clone();
        columns.extend_from_slice(&load.waiting);
        let csv: Vec<u8> = csv.map_ok(|piece| piece.to_vec()).try_concat().await?;
        let rows = rows::read(load, &columns, &csv)?;
        if request.together {
            let mut there = self.world().table(&load.target)?.rows.clone();
            let counts = rows::merge(load, &columns, &mut there, &rows, RunKind::Run)?;
            if counts != Accounting::of_new(counts.staged) {
                return Err(log::not_new(load));
            }
        }
        Ok(Box::new(MemoryStaged { sink: self.clone(), load: load.clone(), rows, told: false }))
    }

    fn loads_together(&self) -> bool {
        true
    }

    async fn occupied(&self, tables: &[LoadPlan]) -> Result<Vec<String>> {
        Ok(self.world().occupied(tables))
    }

    async fn move_away(&self, tables: &[LoadPlan]) -> Result<Moved> {
        self.world().move_away(tables)
    }

    async fn add_columns(&self, load: &LoadPlan) -> Result<()> {
        self.world().add_columns(load);
        Ok(())
    }

    async fn make_tables(&self, tables: &[LoadPlan]) -> Result<()> {
        self.world().make_tables(tables);
        Ok(())
    }

    async fn claim_alerts(&self, look: &AlertLook) -> Result<AlertClaim> {
        let mut world = self.world();
        let now = world.now();
        if look.dry_run { Ok(world.alerts.clone().claim(look, now)) } else { Ok(world.alerts.claim(look, now)) }
    }

    async fn settle_alerts(&self, claim: &AlertClaim, sent: bool) -> Result<()> {
        let mut world = self.world();
        let now = world.now();
        world.alerts.settle(claim, sent, now);
        Ok(())
    }
}

struct MemoryLease {
    state: TableState,
    settled: Option<RunId>,
    _held: OwnedMutexGuard<()>,
}

#[async_trait]
impl Lease for MemoryLease {
    fn state(&self) -> &TableState {
        &self.state
    }

    fn settled(&self) -> Option<RunId> {
        self.settled
    }

    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct MemoryStaged {
    sink: MemorySink,
    load: LoadPlan,
    rows: Vec<MemoryRow>,
    /// Whether the keys that bronze alone has were told.
    told: bool,
}

#[async_trait]
impl Staged for MemoryStaged {
    fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    async fn extra(&mut self) -> Result<Vec<RowKey>> {
        let Some(window) = self.load.removes().filter(|_| !self.told) else { return Ok(Vec::new()) };
        let world = self.sink.world();
        let table = world.table(&self.load.target)?;
        let windows = Windows::of(&self.load, &table.schema.columns)?;
        let extra = windows.extra(window, &table.rows, &self.rows).into_iter().collect();
        self.told = true;
        Ok(extra)
    }

    fn spare(&mut self, keys: &[RowKey]) {
        if let Some(window) = &mut self.load.replaced {
            window.spares.extend_from_slice(keys);
        }
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        self.sink.world().commit(&self.load, &self.rows, &commit)
    }

    async fn preview(self: Box<Self>) -> Result<Accounting> {
        let mut copy = self.sink.world().table(&self.load.target)?.clone();
        copy.add_columns(&self.load.waiting);
        rows::merge(&self.load, &copy.schema.columns, &mut copy.rows, &self.rows, RunKind::Run)
    }
}
