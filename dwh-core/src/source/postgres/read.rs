//! Lock, snapshot, COPY: one read-only transaction.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::pin::Pin;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, CopyOutStream};

use super::identity::identity;
use super::pool::Lease;
use super::time::Instant;
use super::{PgSource, catalog};
use crate::config::TableConfig;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, from_sql};
use crate::schema::{Column, RelationKind, TableSchema};
use crate::source::{ReadRequest, Reading, Snapshot, SourceIdentity, Sweep};
use crate::watermark::Timestamp;

/// The driver hands over row by row; pieces are gathered up to this size.
const PIECE_BYTES: usize = 64 << 10;

pub(super) async fn read(source: &PgSource, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
    let reading = open(source, &request).await?;
    Ok(Box::new(reading))
}

async fn open(source: &PgSource, request: &ReadRequest<'_>) -> Result<PgReading> {
    let plan = request.plan;
    let client = source.pool.take().await?;
    // Before the transaction: a refusal would end it.
    let identity = identity(&client).await?;
    let guard = lock(source, &client, plan).await?;
    refuse_drift(plan, &catalog::describe(&client, &plan.table).await?)?;
    let snapshot = snapshot(&client, identity).await?;
    let sweep = comparable(&client, plan, request.sweep, &snapshot).await?;
    let low = request.window.map_or(Timestamp::NEG_INFINITY, |window| window.low);
    let high = upper(request, &snapshot);
    let late_rows = match plan.count_late(low, sweep) {
        Some(sql) => client.query_typed_one(&sql, &[]).await.map_err(about(plan))?.get::<_, i64>(0),
        None => 0,
    };
    let sql = plan.copy_out(low, high.unwrap_or(Timestamp::INFINITY), sweep, request.run_started_at);
    let stream = Box::pin(client.copy_out(&sql).await.map_err(about(plan))?);
    if let Some(guard) = guard {
        // From here on the COPY holds locks of its own.
        guard.batch_execute("rollback").await.map_err(about(plan))?;
        guard.give_back();
    }
    let late_rows = u64::try_from(late_rows).unwrap_or(0);
    Ok(PgReading { snapshot, high, late_rows, stream, sent_all: false, client })
}

/// A driver's error with the table before it.
fn about(plan: &Plan) -> impl Fn(tokio_postgres::Error) -> Error {
    |error| sort(error).context(format!("table `{}`", plan.table.name))
}

/// Begins the transaction with the table locked before any snapshot exists: a rewrite that commits between snapshot
/// and lock would show an empty table.
///
/// What `LOCK TABLE` refuses (queries, materialized views, foreign tables, tables of which the role may read only some
/// columns) is locked by an empty `SELECT` in a second session, which is returned.
async fn lock(source: &PgSource, client: &Client, plan: &Plan) -> Result<Option<Lease>> {
    let begin = format!("begin isolation level repeatable read read only; {}", source.patience());
    if plan.source.kind.can_lock() {
        client.batch_execute(&begin).await.map_err(sort)?;
        let lock = format!("lock table {} in access share mode", plan.source.table.sql());
        match client.batch_execute(&lock).await {
            Ok(()) => return Ok(None),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                client.batch_execute("rollback").await.map_err(sort)?;
            }
            Err(error) => return Err(not_locked(&plan.table, error)),
        }
    }
    let guard = source.pool.take().await?;
    let probe = format!("{}; select from {} limit 0", source.begin(), from_sql(&plan.table));
    guard.batch_execute(&probe).await.map_err(|error| not_locked(&plan.table, error))?;
    client.batch_execute(&begin).await.map_err(sort)?;
    Ok(Some(guard))
}

/// A driver's error with the table before it, and what a lock that was not granted means.
pub(super) fn not_locked(table: &TableConfig, error: tokio_postgres::Error) -> Error {
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return sort(error).context(format!("table `{}`", table.name));
    }
    let what = table.relation.as_ref().map_or_else(|| "a table of its query".to_owned(), ToString::to_string);
    Error::new(ErrorKind::Busy, format!("table `{}`: {what} is locked by another session", table.name)).with_hint(
        "a schema change or `truncate` holds it: run it again afterwards, or set a longer `lock_timeout` of the \
             source",
    )
}

/// Under the lock, so nothing can change any more.
fn refuse_drift(plan: &Plan, now: &TableSchema) -> Result<()> {
    let shape = |column: &Column| (column.name.clone(), column.type_name.clone(), column.generated);
    let then: Vec<_> = plan.source.columns.iter().map(shape).collect();
    let now_columns: Vec<_> = now.columns.iter().map(shape).collect();
    if then == now_columns && plan.source.kind == now.kind {
        return Ok(());
    }
    let changed: Vec<String> = then
        .iter()
        .filter(|column| !now_columns.contains(column))
        .chain(now_columns.iter().filter(|column| !then.contains(column)))
        .map(|(name, type_name, _)| format!("`{name}` {type_name}"))
        .collect();
    let what = if changed.is_empty() { "its kind or the order of its columns".to_owned() } else { changed.join(", ") };
    Err(Error::new(
        ErrorKind::Drift,
        format!("table `{}`: {} changed since the run was planned: {what}", plan.table.name, now.table),
    )
    .with_hint("run it again: it plans anew, and names what bronze needs, if anything"))
}

async fn snapshot(client: &Client, identity: SourceIdentity) -> Result<Snapshot> {
    let sql = "select pg_catalog.now() as at, \
               pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8 as xmin, \
               pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 as xmax";
    let row = client.query_typed_one(sql, &[]).await.map_err(sort)?;
    let number = |column: &str| row.get::<_, i64>(column).cast_unsigned();
    Ok(Snapshot { taken_at: row.get::<_, Instant>("at").0, xmin: number("xmin"), xmax: number("xmax"), identity })
}

/// The sweep by `xmin`, or all rows of its time where `xmin` cannot be read or compared: those are more, never fewer.
async fn comparable(client: &Client, plan: &Plan, sweep: Sweep, snapshot: &Snapshot) -> Result<Sweep> {
    let Sweep::Xmin { since, back_to } = sweep else { return Ok(sweep) };
    // A row's `xmin` has 32 bits: ages are exact over half the circle.
    let in_reach = snapshot.xmax.checked_sub(since).is_some_and(|age| age < 1 << 31);
    if in_reach && !is_compressed(client, plan).await? {
        let sql = "select pg_catalog.has_column_privilege($1, 'xmin', 'select')";
        let name = plan.source.table.sql();
        let row = client.query_typed_one(sql, &[(&name, Type::TEXT)]).await.map_err(sort)?;
        if row.get(0) {
            return Ok(sweep);
        }
    }
    tracing::info!(table = plan.table.name, "late rows cannot be told by xmin, reading the whole look-back again");
    Ok(Sweep::LookBack { back_to })
}

/// Compressed chunks of a hypertable have no `xmin`.
async fn is_compressed(client: &Client, plan: &Plan) -> Result<bool> {
    if plan.source.kind != RelationKind::Hypertable {
        return Ok(false);
    }
    let sql = "select compression_enabled from timescaledb_information.hypertables \
               where hypertable_schema = $1 and hypertable_name = $2";
    let table = &plan.source.table;
    let row =
        client.query_typed_one(sql, &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)]).await.map_err(sort)?;
    Ok(row.get(0))
}

/// U. Never below the watermark that the run will leave, whatever the clocks say.
fn upper(request: &ReadRequest<'_>, snapshot: &Snapshot) -> Option<Timestamp> {
    let window = request.window?;
    let now = snapshot.taken_at.min(request.run_started_at).max(window.watermark);
    Some(window.high.unwrap_or(now))
}

struct PgReading {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    late_rows: u64,
    stream: Pin<Box<CopyOutStream>>,
    sent_all: bool,
    client: Lease,
}

#[async_trait]
impl Reading for PgReading {
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
        let mut piece = BytesMut::new();
        while !self.sent_all && piece.len() < PIECE_BYTES {
            match self.stream.next().await {
                Some(row) => {
                    if piece.capacity() == 0 {
                        piece.reserve(2 * PIECE_BYTES);
                    }
                    piece.extend_from_slice(&row.map_err(|error| self.client.explain(sort(error)))?);
                }
                None => self.sent_all = true,
            }
        }
        Ok((!piece.is_empty()).then(|| piece.freeze()))
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        if !self.sent_all {
            return Err(Error::new(ErrorKind::Internal, "the read was ended before all rows were taken"));
        }
        // COMMIT of a broken transaction answers with success; any statement before it does not.
        self.client.batch_execute("select; commit").await.map_err(sort)?;
        self.client.give_back();
        Ok(())
    }
}
