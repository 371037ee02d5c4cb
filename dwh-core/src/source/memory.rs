//! A source in memory: rows as CSV lines, a clock that is set by hand, transactions that stay open as long as one likes.

mod database;
mod transaction;

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::chain::Part;
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::plan::{Plan, RUN_ID, TASK_INSTANCE, UPLOADED_AT};
use crate::schema::{RowKey, TableRef, TableSchema};
use crate::source::{BoundRequest, ReadRequest, Reading, Snapshot, Source, SourceIdentity, Sweep, appeared};
use crate::watermark::{BoundRule, Holder, Micros, SafeBound, Timestamp, hold_repeated_hour, refuse_future, settle};

use database::{Database, Row};

pub use transaction::MemoryTransaction;

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
///     types: Vec::new(),
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
        self.lock().create(schema);
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
        let transaction = database.transaction();
        database.write(table, None, Some((line, stamp)), transaction);
    }

    /// Replaces a row by another version of it and commits; without such a row, nothing happens.
    pub fn update(&self, table: &TableRef, old: &str, line: &str, stamp: Timestamp) {
        let mut database = self.lock();
        let transaction = database.transaction();
        database.write(table, Some(old), Some((line, stamp)), transaction);
    }

    /// Deletes a row and commits.
    pub fn delete(&self, table: &TableRef, line: &str) {
        let mut database = self.lock();
        let transaction = database.transaction();
        database.write(table, Some(line), None, transaction);
    }

    /// Removes all rows of a table at once, as `truncate` does: they lie in a new file then.
    pub fn truncate(&self, table: &TableRef) {
        self.lock().truncate(table);
    }

    /// Puts the rows of one table below another one, as `attach partition` does: no row is written for it.
    pub fn attach(&self, parent: &TableRef, table: &TableRef) {
        let mut database = self.lock();
        // It is a transaction all the same.
        database.transaction();
        let parts = database.tables.remove(table).map(|table| table.parts).unwrap_or_default();
        if let Some(parent) = database.tables.get_mut(parent) {
            parent.parts.extend(parts);
        }
    }

    /// Lets two tables change names: no row is written for it.
    pub fn swap(&self, one: &TableRef, other: &TableRef) {
        let mut database = self.lock();
        database.transaction();
        let (Some(mut first), Some(mut second)) = (database.tables.remove(one), database.tables.remove(other)) else {
            return;
        };
        std::mem::swap(&mut first.parts, &mut second.parts);
        database.tables.extend([(one.clone(), first), (other.clone(), second)]);
    }

    /// The rows that a snapshot of this moment sees, with their watermark values.
    #[must_use]
    pub fn visible(&self, table: &TableRef) -> Vec<(String, Timestamp)> {
        let database = self.lock();
        let Some(table) = database.tables.get(table) else { return Vec::new() };
        database.visible(table).map(|(_, row)| (row.line.clone(), row.stamp)).collect()
    }

    /// A copy of everything, as a backup of the server holds it.
    #[must_use]
    pub fn backup(&self) -> MemoryDump {
        MemoryDump(self.lock().clone())
    }

    /// Makes everything as it was then, on a new timeline; open transactions are gone, and the clock goes on.
    pub fn restore(&self, dump: &MemoryDump) {
        let mut database = self.lock();
        let (clock, timeline) = (database.clock, database.timeline + 1);
        *database = Database { clock, timeline, ..dump.0.clone() };
        for transaction in dump.0.open.keys() {
            database.roll_back(*transaction);
        }
    }

    /// Opens a transaction, which holds the bound until it ends.
    #[must_use]
    pub fn begin(&self) -> MemoryTransaction {
        let mut database = self.lock();
        let (number, started_at) = (database.transaction(), database.clock);
        database.open.insert(number, started_at);
        MemoryTransaction { source: self.clone(), number, started_at }
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that a [`MemorySource`] held at one moment.
#[derive(Debug, Clone)]
pub struct MemoryDump(Database);

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
        if database.visible(table).any(|(_, row)| row.stamp == Timestamp::INFINITY) {
            return Err(Error::new(ErrorKind::Data, format!("table `{}`: a watermark is infinity", plan.table.name))
                .with_hint("give the row a time"));
        }
        Ok(database.visible(table).map(|(_, row)| row.stamp).filter(|stamp| *stamp > low).min())
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

    async fn has_keys(&self, plan: &Plan, keys: &[RowKey]) -> Result<Vec<bool>> {
        let database = self.lock();
        let table = database.table(&plan.table)?;
        let place = |name: &String| plan.columns.iter().position(|column| column.column.name == *name);
        let places: Vec<usize> = plan.table.key.iter().filter_map(place).collect();
        let has = |key: &RowKey| {
            database.visible(table).any(|(_, row)| {
                let fields: Vec<&str> = row.line.split(',').collect();
                places.iter().zip(key).all(|(at, value)| fields.get(*at).copied() == value.as_deref())
            })
        };
        Ok(keys.iter().map(has).collect())
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let database = self.lock();
        let table = database.table(&request.plan.table)?;
        if table.schema.columns != request.plan.source.columns {
            let message = format!("table `{}`: changed since the run was planned", request.plan.table.name);
            return Err(Error::new(ErrorKind::Drift, message).with_hint("run it again: it plans anew"));
        }
        let mut snapshot = database.snapshot();
        let members: Vec<Member> = table.parts.iter().map(|part| part.member.clone()).collect();
        let new = request.known.map(|known| appeared(known, &members)).unwrap_or_default();
        snapshot.relations = Some(members);
        let high = request.upper(snapshot.taken_at);
        let low = request.window.map_or(Timestamp::NEG_INFINITY, |window| window.low);
        let is_late = |part: &Member, row: &Row| {
            low.is_finite() && row.stamp <= low && (new.contains(part) || swept(row, request.sweep))
        };
        // A whole read has no upper end; without a lower one, even `-infinity` is inside.
        let in_window = |row: &Row| high.is_none_or(|high| row.stamp <= high) && (!low.is_finite() || row.stamp > low);
        let names: Vec<&str> = request.plan.columns.iter().map(|column| column.column.name.as_str()).collect();
        let mut text = names.join(",") + "\n";
        // What says when and by what a row was read is in no source.
        let added = request.plan.columns.iter().filter_map(|column| match column.expression.as_str() {
            UPLOADED_AT => Some(format!(",{}", request.run_started_at)),
            RUN_ID => Some(format!(",{}", request.run_id.map(|id| id.to_string()).unwrap_or_default())),
            TASK_INSTANCE => Some(format!(",{}", request.plan.table.task_instance.as_deref().unwrap_or_default())),
            _ => None,
        });
        let stamp: String = added.collect();
        let (mut read_rows, mut late_rows) = (0, 0);
        for (part, row) in database.visible(table) {
            let late = is_late(part, row);
            late_rows += u64::from(late);
            let read = !matches!(request.part, Some(Part::Cuts(_)));
            if read && (late || in_window(row)) {
                read_rows += 1;
                text.push_str(&row.line);
                text.push_str(&stamp);
                text.push('\n');
            }
        }
        // Those of a window are known before they come, the others not.
        let has_rows = low.is_finite() && read_rows > late_rows;
        Ok(Box::new(MemoryReading { snapshot, high, has_rows, late_rows, text: Bytes::from(text) }))
    }
}

/// A row stamped `-infinity` lies before every moment: it is found however short the sweep looks back.
fn swept(row: &Row, sweep: Sweep) -> bool {
    let after = |back_to| row.stamp > back_to || row.stamp == Timestamp::NEG_INFINITY;
    match sweep {
        Sweep::Off => false,
        Sweep::Xmin { since, back_to } => after(back_to) && row.transaction >= since,
        Sweep::LookBack { back_to } => after(back_to),
    }
}

struct MemoryReading {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    has_rows: bool,
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

    fn has_rows(&self) -> bool {
        self.has_rows
    }

    async fn late_rows(&mut self) -> Result<u64> {
        Ok(self.late_rows)
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
