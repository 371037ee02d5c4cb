//! Lock, snapshot, COPY: one read-only transaction.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, join};
use std::pin::Pin;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, CopyOutStream, Row};

use super::identity::{Answered, identify, same_process};
use super::lock::{Guard, lock};
use super::members::{Members, reaching_below};
use super::pool::Lease;
use super::seen::{Seen, Shape};
use super::time::Instant;
use super::{PgSource, catalog};
use crate::config::Mode;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::plan::{Extent, Isolation, Plan, ReadBy, not_in_force, opening_query};
use crate::schema::RelationKind;
use crate::source::{ReadRequest, Reading, Snapshot, SourceIdentity, Sweep, appeared};
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
    let first = || -> BoxFuture<'_, Result<First>> { Box::pin(first(&client, request)) };
    let (guard, first) = lock(&source.pool, &client, plan, source.lock_timeout, first).await?;
    refuse_other_server(request, &first.answered, guard.as_ref())?;
    let shape = match first.seen {
        Some((seen, true)) => seen.settled(&client, &plan.source.table).await?.shape,
        Some((seen, false)) => seen.shape,
        // Their columns come from statements that are prepared, one after the other.
        None => Shape::of(&catalog::describe(&client, &plan.table).await?),
    };
    refuse_drift(plan, &shape)?;
    let mut snapshot = snapshot(plan, &first.snapshot, first.answered.identity())?;
    let low = request.window.map_or(Timestamp::NEG_INFINITY, |window| window.low);
    let high = request.upper(snapshot.taken_at);
    let sweep = comparable(&client, plan, request.sweep, first.sees_xmin, &snapshot).await?;
    let (sweep, whole) = below(&client, request, low, sweep, first.members, &mut snapshot).await?;
    let swept = if finds_nothing(sweep, &snapshot) { Sweep::Off } else { sweep };
    let ancient = low.is_finite() && is_ancient(&client, plan, swept).await?;
    let until = high.unwrap_or(Timestamp::INFINITY);
    let extent = Extent { low, high: until, sweep: swept, ancient, whole: &whole, part: request.part };
    let count_late = plan.count_late(&extent);
    let statement =
        plan.select_extent(&extent, ReadBy { run_started_at: request.run_started_at, run_id: request.run_id });
    let any = any_new(&client, plan, &extent).await?;
    let rows = if any == Some(false) { &plan.select_none() } else { &statement };
    let copy = format!("copy ({rows}) to stdout (format csv, header)");
    let stream = Box::pin(client.copy_out(&copy).await.map_err(about(plan))?);
    if let Some(guard) = guard {
        // From here on the COPY holds locks of its own.
        guard.session.batch_execute("rollback").await.map_err(about(plan))?;
        guard.session.give_back();
    }
    let has_rows = any == Some(true);
    Ok(PgReading {
        snapshot,
        high,
        has_rows,
        count_late,
        sweep,
        statement,
        stream,
        large: None,
        sent_all: false,
        client,
    })
}

/// A bound proves nothing of another server's rows, and a lock there keeps nothing here.
fn refuse_other_server(request: &ReadRequest<'_>, answered: &Answered, guard: Option<&Guard>) -> Result<()> {
    let bound = request.bound.and_then(|bound| bound.server.as_ref());
    let checked = bound.map_or(Ok(()), |server| server.must_be(&answered.server));
    checked
        .and_then(|()| guard.map_or(Ok(()), |guard| same_process(&answered.server, guard.server_started_at)))
        .map_err(|error| error.context(format!("table `{}`", request.plan.table.name)))
}

/// What the first questions of the transaction are answered with, all in its one snapshot.
struct First {
    answered: Answered,
    snapshot: Row,
    /// The relation as it is now; `None` where that takes more than a question.
    seen: Option<(Seen, bool)>,
    /// Whether the role may read the transaction numbers of rows.
    sees_xmin: bool,
    members: Option<Members>,
}

/// Asks them. The lock may not be granted, so each is sent before any is answered, and none is believed by itself.
async fn first(client: &Client, request: &ReadRequest<'_>) -> Result<First> {
    let plan = request.plan;
    let plain = plan.table.relation.as_ref().filter(|_| plan.table.select.is_empty());
    // Of a plain relation the first question tells as much, unless it has children.
    let listed = plan.table.mode == Mode::Incremental && !Members::are_planned(plan) && plain.is_none();
    let seen = async {
        match plain {
            Some(relation) => Seen::ask(client, relation).await.map(Some),
            None => Ok(None),
        }
    };
    let members = async { if listed { Members::of(client, plan).await.map(Some) } else { Ok(None) } };
    let (settings, snapshot) = (opening_query(), snapshot_sql());
    // Polled, and so sent, in this order. Who answers is asked last: a refusal there takes the transaction back to that place.
    let (set, seen, snapshot, sees_xmin, members, answered) = join!(
        client.batch_execute(&settings),
        seen,
        client.query_typed_one(&snapshot, &[]),
        sees_xmin(client, request),
        members,
        identify(client)
    );
    set.map_err(about(plan))?;
    let seen = seen?;
    let members = match &seen {
        Some((seen, _)) => seen.alone.clone().map(Members::alone),
        None => members?,
    };
    Ok(First { seen, snapshot: snapshot.map_err(sort)?, sees_xmin: sees_xmin?, members, answered: answered? })
}

/// The tables that are read from their beginning, and the sweep, which is more where they cannot be told apart.
async fn below(
    client: &Client,
    request: &ReadRequest<'_>,
    low: Timestamp,
    sweep: Sweep,
    members: Option<Members>,
    snapshot: &mut Snapshot,
) -> Result<(Sweep, Vec<u32>)> {
    let plan = request.plan;
    // Of keys, too: they tell which tables' rows may be gone.
    if plan.table.mode != Mode::Incremental {
        return Ok((sweep, Vec::new()));
    }
    let members = match members {
        Some(members) => members.tables,
        None => Members::of(client, plan).await?.tables,
    };
    let new = appeared(request.known.unwrap_or(&members), &members);
    snapshot.relations = Some(members);
    if !low.is_finite() || new.is_empty() {
        return Ok((sweep, Vec::new()));
    }
    if !matches!(plan.source.kind, RelationKind::Table | RelationKind::Partitioned | RelationKind::Hypertable) {
        tell_new(plan, &new, "everything is read from its beginning");
        return Ok((Sweep::LookBack { back_to: Timestamp::NEG_INFINITY }, Vec::new()));
    }
    let new = reaching_below(client, plan, new, low).await?;
    if !new.is_empty() {
        tell_new(plan, &new, "they are read from their beginning");
    }
    Ok((sweep, new.iter().map(|member| member.oid).collect()))
}

/// Whether no row version that this snapshot sees can be one that the sweep looks for: all that it sees were written
/// below its `xmax`. So it is where nothing was written at the server since the last run.
fn finds_nothing(sweep: Sweep, snapshot: &Snapshot) -> bool {
    matches!(sweep, Sweep::Xmin { since, .. } if since >= snapshot.xmax)
}

/// Whether there is a row stamped `-infinity` for the sweep.
async fn is_ancient(client: &Client, plan: &Plan, sweep: Sweep) -> Result<bool> {
    match plan.any_ancient(sweep) {
        // Without an index, asking costs as much as reading, and no order can be lost.
        Some(_) if !plan.watermark_indexed => Ok(true),
        Some(sql) => Ok(client.query_typed_one(&sql, &[]).await.map_err(about(plan))?.get(0)),
        None => Ok(false),
    }
}

/// Whether there is a row, in the snapshot of the COPY; `None` where that is not asked.
async fn any_new(client: &Client, plan: &Plan, extent: &Extent<'_>) -> Result<Option<bool>> {
    let Some(sql) = plan.any_new(extent) else { return Ok(None) };
    client.query_typed_one(&sql, &[]).await.map(|row| Some(row.get(0))).map_err(about(plan))
}

fn tell_new(plan: &Plan, new: &[Member], what: &str) {
    let names: Vec<&str> = new.iter().take(3).map(|member| member.name.as_str()).collect();
    tracing::info!(
        table = plan.table.name,
        tables = new.len(),
        first = names.join(", "),
        "tables were attached or rewritten since the last run: {what}"
    );
}

/// A driver's error with the table before it.
fn about(plan: &Plan) -> impl Fn(tokio_postgres::Error) -> Error {
    |error| sort(error).context(format!("table `{}`", plan.table.name))
}

/// Under the lock, so nothing can change any more.
fn refuse_drift(plan: &Plan, now: &Shape) -> Result<()> {
    let then = Shape::of(&plan.source);
    if then == *now {
        return Ok(());
    }
    let (then, now_columns) = (then.columns, &now.columns);
    let changed: Vec<String> = then
        .iter()
        .filter(|column| !now_columns.contains(column))
        .chain(now_columns.iter().filter(|column| !then.contains(column)))
        .map(|(name, type_name, _)| format!("`{name}` {type_name}"))
        .collect();
    let what = if changed.is_empty() { "its kind or the order of its columns".to_owned() } else { changed.join(", ") };
    Err(Error::new(
        ErrorKind::Drift,
        format!("table `{}`: {} changed since the run was planned: {what}", plan.table.name, plan.source.table),
    )
    .with_hint("run it again: it plans anew, and names what bronze needs, if anything"))
}

fn snapshot_sql() -> String {
    format!(
        "select pg_catalog.now() as at, \
         pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8 as xmin, \
         pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8 as xmax, {} as wrong",
        not_in_force(Isolation::Snapshot)
    )
}

fn snapshot(plan: &Plan, row: &Row, identity: SourceIdentity) -> Result<Snapshot> {
    let wrong: Vec<String> = row.get("wrong");
    if !wrong.is_empty() {
        let text = format!(
            "table `{}`: the settings {} of its transaction are not as they were set",
            plan.table.name,
            wrong.join(", ")
        );
        return Err(Error::new(ErrorKind::Contract, text).with_hint(
            "a pooler in statement mode, or a proxy that rewrites statements, stands in between: connect to the server \
             itself, or use transaction mode",
        ));
    }
    let number = |column: &str| row.get::<_, i64>(column).cast_unsigned();
    let (taken_at, relations) = (row.get::<_, Instant>("at").0, None);
    Ok(Snapshot { taken_at, xmin: number("xmin"), xmax: number("xmax"), identity, relations })
}

/// Whether the role may read the transaction numbers of rows, where they are wanted.
async fn sees_xmin(client: &Client, request: &ReadRequest<'_>) -> Result<bool> {
    if !matches!(request.sweep, Sweep::Xmin { .. }) {
        return Ok(false);
    }
    let sql = "select pg_catalog.has_column_privilege($1, 'xmin', 'select')";
    let name = request.plan.source.table.sql();
    Ok(client.query_typed_one(sql, &[(&name, Type::TEXT)]).await.map_err(sort)?.get(0))
}

/// The sweep by `xmin`, or all rows of its time where `xmin` cannot be read or compared: those are more, never fewer.
async fn comparable(client: &Client, plan: &Plan, sweep: Sweep, sees_xmin: bool, snapshot: &Snapshot) -> Result<Sweep> {
    let Sweep::Xmin { since, back_to } = sweep else { return Ok(sweep) };
    // A row's `xmin` has 32 bits: ages are exact over half the circle.
    let in_reach = snapshot.xmax.checked_sub(since).is_some_and(|age| age < 1 << 31);
    if in_reach && sees_xmin && !is_compressed(client, plan).await? {
        return Ok(sweep);
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

struct PgReading {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    has_rows: bool,
    /// The question how many rows are late, where any can be.
    count_late: Option<String>,
    sweep: Sweep,
    statement: String,
    stream: Pin<Box<CopyOutStream>>,
    /// A large row that follows what was handed over last.
    large: Option<Bytes>,
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

    fn has_rows(&self) -> bool {
        self.has_rows
    }

    async fn late_rows(&mut self) -> Result<u64> {
        let Some(sql) = self.count_late.take() else { return Ok(0) };
        // In the snapshot of the COPY.
        let counted = self.client.query_typed_one(&sql, &[]).await;
        let counted = counted.map_err(|error| self.client.explain(sort(error)))?;
        Ok(counted.get::<_, i64>(0).cast_unsigned())
    }

    fn sweep(&self) -> Option<Sweep> {
        Some(self.sweep)
    }

    fn statement(&self) -> Option<&str> {
        Some(&self.statement)
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(large) = self.large.take() {
            return Ok(Some(large));
        }
        let mut piece = BytesMut::new();
        while !self.sent_all && piece.len() < PIECE_BYTES {
            match self.stream.next().await {
                // Handed on as it is: a copy of a row of hundreds of megabytes takes as much memory again.
                Some(Ok(row)) if row.len() >= PIECE_BYTES => {
                    if piece.is_empty() {
                        return Ok(Some(row));
                    }
                    self.large = Some(row);
                    break;
                }
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
        if !self.sent_all || self.large.is_some() {
            return Err(Error::new(ErrorKind::Internal, "the read was ended before all rows were taken"));
        }
        // COMMIT of a broken transaction answers with success; any statement before it does not.
        self.client.batch_execute("select; commit").await.map_err(sort)?;
        self.client.give_back();
        Ok(())
    }
}
