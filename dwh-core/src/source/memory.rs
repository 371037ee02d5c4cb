//! A source in memory: rows as CSV lines, a clock that is set by hand, transactions that stay open as long as one likes.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::schema::{TableRef, TableSchema};
use crate::source::{BoundRequest, ReadRequest, Reading, Snapshot, Source, SourceIdentity, Sweep};
use crate::watermark::{BoundRule, Holder, Micros, SafeBound, Timestamp, hold_repeated_hour, refuse_future, settle};

/// A [`Source`] without a database, for tests and examples. Clones share their rows.
///
/// ```
/// use dwh_core::schema::{RelationKind, TableRef, TableSchema};
/// use dwh_core::{MemorySource, Timestamp};
///
/// let noon: Timestamp = "2026-10-01T12:00:00Z".parse()?;
/// let source = MemorySource::new(noon);
/// let trips = TableRef::new("public", "trips");
/// source.create(TableSchema {
///     table: trips.clone(),
///     kind: RelationKind::Table,
///     columns: vec![],
///     keys: vec![],
///     indexed: vec![],
///     row_estimate: -1,
/// });
/// source.insert(&trips, "1,first", noon);
/// let open = source.begin();
/// open.insert(&trips, "2,late"); // stamped now, visible only once committed
/// source.set_clock("2026-10-01T12:05:00Z".parse()?);
/// open.commit();
/// # Ok::<(), dwh_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    database: Arc<Mutex<Database>>,
}

#[derive(Debug)]
struct Database {
    clock: Timestamp,
    next_transaction: u64,
    /// Number and start of each open transaction.
    open: BTreeMap<u64, Timestamp>,
    tables: BTreeMap<TableRef, Table>,
}

#[derive(Debug)]
struct Table {
    schema: TableSchema,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    line: String,
    stamp: Timestamp,
    transaction: u64,
}

impl Default for Database {
    fn default() -> Self {
        // As a server begins: the three lowest numbers are no ordinary transactions.
        Self { clock: Timestamp::SEED, next_transaction: 3, open: BTreeMap::new(), tables: BTreeMap::new() }
    }
}

/// An open transaction of a [`MemorySource`]; dropped without `commit`, its rows are gone.
#[derive(Debug)]
pub struct MemoryTransaction {
    source: MemorySource,
    number: u64,
    started_at: Timestamp,
}

impl MemorySource {
    /// A source without tables whose clock stands at `clock`.
    #[must_use]
    pub fn new(clock: Timestamp) -> Self {
        let source = Self::default();
        source.set_clock(clock);
        source
    }

    /// Sets the clock.
    pub fn set_clock(&self, clock: Timestamp) {
        self.lock().clock = clock;
    }

    /// Lets time pass, and says what time it is then.
    pub fn advance(&self, by: Micros) -> Timestamp {
        let mut database = self.lock();
        database.clock = database.clock.plus(by);
        database.clock
    }

    /// Makes a table, or gives the one that is there another shape; its rows stay.
    pub fn create(&self, schema: TableSchema) {
        let mut database = self.lock();
        let rows = database.tables.remove(&schema.table).map(|table| table.rows).unwrap_or_default();
        database.tables.insert(schema.table.clone(), Table { schema, rows });
    }

    /// Removes a table with its rows.
    pub fn remove(&self, table: &TableRef) {
        self.lock().tables.remove(table);
    }

    /// Inserts and commits a row: a CSV line without its line break, and its watermark value.
    ///
    /// A table that was not created is left as it is: there is none.
    pub fn insert(&self, table: &TableRef, line: &str, stamp: Timestamp) {
        let mut database = self.lock();
        let transaction = database.next_transaction;
        database.next_transaction += 1;
        database.add(table, Row { line: line.to_owned(), stamp, transaction });
    }

    /// Opens a transaction, which holds the bound until it ends.
    #[must_use]
    pub fn begin(&self) -> MemoryTransaction {
        let mut database = self.lock();
        let (number, started_at) = (database.next_transaction, database.clock);
        database.next_transaction += 1;
        database.open.insert(number, started_at);
        MemoryTransaction { source: self.clone(), number, started_at }
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryTransaction {
    /// Writes a row, stamped with the transaction's start as `default now()` does.
    pub fn insert(&self, table: &TableRef, line: &str) {
        let row = Row { line: line.to_owned(), stamp: self.started_at, transaction: self.number };
        self.source.lock().add(table, row);
    }

    /// Makes its rows visible.
    pub fn commit(self) {
        self.source.lock().open.remove(&self.number);
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        let mut database = self.source.lock();
        if database.open.remove(&self.number).is_some() {
            for table in database.tables.values_mut() {
                table.rows.retain(|row| row.transaction != self.number);
            }
        }
    }
}

impl Database {
    fn add(&mut self, table: &TableRef, row: Row) {
        if let Some(table) = self.tables.get_mut(table) {
            table.rows.push(row);
        }
    }

    fn table(&self, config: &TableConfig) -> Result<&Table> {
        let name = config.relation.clone().unwrap_or_else(|| TableRef::new("query", &config.name));
        self.tables.get(&name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("table `{}`: {name} is not there", config.name))
                .with_hint("make it with `MemorySource::create`")
        })
    }

    fn visible<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Row> {
        table.rows.iter().filter(|row| !self.open.contains_key(&row.transaction))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            taken_at: self.clock,
            xmin: self.open.keys().next().copied().unwrap_or(self.next_transaction),
            xmax: self.next_transaction,
            identity: SourceIdentity {
                system_identifier: "memory".to_owned(),
                timeline: 1,
                database: "memory".to_owned(),
                server_version: "0".to_owned(),
                in_recovery: false,
            },
            relations: None,
        }
    }
}

#[async_trait]
impl Source for MemorySource {
    async fn identity(&self) -> Result<Option<SourceIdentity>> {
        Ok(Some(self.lock().snapshot().identity))
    }

    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        Ok(self.lock().table(table)?.schema.clone())
    }

    async fn earliest(&self, plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        let database = self.lock();
        let table = database.table(&plan.table)?;
        if database.visible(table).any(|row| row.stamp == Timestamp::INFINITY) {
            return Err(Error::new(ErrorKind::Data, format!("table `{}`: a watermark is infinity", plan.table.name))
                .with_hint("give the row a time"));
        }
        Ok(database.visible(table).map(|row| row.stamp).filter(|stamp| *stamp > low).min())
    }

    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        let database = self.lock();
        refuse_future(request.low, database.clock)?;
        let kind = request.plan.watermark.as_ref();
        let oldest = database.open.iter().min_by_key(|(_, since)| **since);
        let (since, rule) = match oldest {
            Some((number, since)) => {
                let pid = i32::try_from(*number).unwrap_or(i32::MAX);
                let holder = Holder { pid, user: None, application: None, since: *since };
                (*since, BoundRule::OpenTransaction(holder))
            }
            None => (database.clock, BoundRule::Quiet),
        };
        let step = kind.map_or(Micros::ZERO, |kind| kind.step());
        let mut bound = settle(since, rule, request.low, request.run_started_at, step, &[], database.clock);
        if let Some(kind) = kind {
            bound.watermark = hold_repeated_hour(bound.watermark, kind).max(request.low);
        }
        Ok(bound)
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let database = self.lock();
        let table = database.table(&request.plan.table)?;
        if table.schema.columns != request.plan.source.columns {
            let message = format!("table `{}`: changed since the run was planned", request.plan.table.name);
            return Err(Error::new(ErrorKind::Drift, message).with_hint("run it again: it plans anew"));
        }
        let snapshot = database.snapshot();
        let high = request.window.map(|window| {
            let now = snapshot.taken_at.min(request.run_started_at).max(window.watermark);
            window.high.unwrap_or(now)
        });
        let low = request.window.map_or(Timestamp::NEG_INFINITY, |window| window.low);
        let is_late = |row: &Row| low.is_finite() && row.stamp <= low && swept(row, request.sweep);
        // A whole read has no upper end; without a lower one, even `-infinity` is inside.
        let in_window = |row: &Row| high.is_none_or(|high| row.stamp <= high) && (!low.is_finite() || row.stamp > low);
        let names: Vec<&str> = request.plan.columns.iter().map(|column| column.column.name.as_str()).collect();
        let mut text = names.join(",") + "\n";
        let mut late_rows = 0;
        for row in database.visible(table) {
            let late = is_late(row);
            late_rows += u64::from(late);
            if late || in_window(row) {
                text.push_str(&row.line);
                text.push('\n');
            }
        }
        Ok(Box::new(MemoryReading { snapshot, high, late_rows, text: Bytes::from(text) }))
    }
}

fn swept(row: &Row, sweep: Sweep) -> bool {
    match sweep {
        Sweep::Off => false,
        Sweep::Xmin { since, back_to } => row.stamp > back_to && row.transaction >= since,
        Sweep::LookBack { back_to } => row.stamp > back_to,
    }
}

struct MemoryReading {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    late_rows: u64,
    text: Bytes,
}

#[async_trait]
impl Reading for MemoryReading {
    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn high(&self) -> Option<Timestamp> {
        self.high
    }

    fn late_rows(&self) -> u64 {
        self.late_rows
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        // In pieces that end anywhere, as those of a server may.
        let piece = self.text.split_to(self.text.len().min(1000));
        Ok((!piece.is_empty()).then_some(piece))
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Internal, "the read was ended before all rows were taken"))
    }
}
