//! One look at who may be writing, for all tables whose runs begin within a moment.
//!
//! The bound that the two looks and the prepared transactions give ([`Looks`](super::primary::Looks)) is proven of every
//! snapshot that is taken after them, however much later: a transaction that such a snapshot does not show either began
//! after the first look, and stamps its rows later than the bound, or one of the looks has shown it. So tables may share
//! them, as long as each takes its snapshot afterwards. An older bound is a lower one: it leaves more rows to be read once
//! more, and none out.
//!
//! What is a table's own is judged for it alone, from the same looks: its watermark, the roles that can write to it, the
//! prepared transactions that hold it, and what of it another server writes. A table whose watermark is newer than the
//! looks was loaded by somebody else meanwhile, and is looked at by itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::PgSource;
use super::activity::Look;
use super::ask::ask;
use super::identity::{Answered, identify, same_process};
use super::primary::sessions;
use super::time::{Instant as Stamp, optional};
use crate::connect::sort;
use crate::error::Result;
use crate::plan::Plan;
use crate::schema::{RelationKind, TableRef};
use crate::source::BoundRequest;
use crate::watermark::{Micros, Observation, Prepared, SafeBound, Verdict, safe_bound};

/// How long it lasts.
const MOMENT: Duration = Duration::from_secs(1);

/// The tables (`$1` schemas, `$2` names), whether our role, or any that it may become, can write to them or to one of
/// their partitions and children, and which of these lie on another server.
const TABLES: &str = "with recursive root(place, oid) as (select w.place, c.oid \
         from unnest($1, $2) with ordinality w(schema, name, place) join pg_catalog.pg_namespace n on n.nspname = w.schema \
         join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name), \
     tree(root, oid) as (select oid, oid from root \
         union select t.root, i.inhrelid from pg_catalog.pg_inherits i join tree t on t.oid = i.inhparent), \
     mine as materialized (select r.oid from pg_catalog.pg_roles r \
         where pg_catalog.pg_has_role(session_user, r.oid, 'member')) \
     select r.place, r.oid, \
         not bool_or(pg_catalog.has_any_column_privilege(m.oid, t.oid, 'insert, update') \
             or pg_catalog.has_table_privilege(m.oid, t.oid, 'delete, truncate')) as role_cannot_write, \
         coalesce(array_agg(distinct n.nspname || '.' || c.relname) filter (where c.relkind = 'f'), '{}') as foreign_ \
     from root r join tree t on t.root = r.oid join pg_catalog.pg_class c on c.oid = t.oid \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace cross join mine m group by r.place, r.oid";

/// The prepared transactions that hold a writing lock on one of the tables `$1` or a part of it, each with the table.
const PREPARED: &str = "with recursive tree(root, oid) as (select r.oid, r.oid from pg_catalog.unnest($1) r(oid) \
         union select t.root, i.inhrelid from pg_catalog.pg_inherits i join tree t on t.oid = i.inhparent) \
     select pg_catalog.pg_postmaster_start_time() as server, found.* from (select) one left join ( \
         select distinct t.root, p.gid, p.prepared from pg_catalog.pg_prepared_xacts p \
         join pg_catalog.pg_locks own on own.pid is null and own.locktype = 'transactionid' \
             and own.transactionid = p.transaction \
         join pg_catalog.pg_locks l on l.virtualtransaction = own.virtualtransaction and l.pid is null \
             and l.locktype = 'relation' and l.mode not in ('AccessShareLock', 'RowShareLock') \
         join tree t on t.oid = l.relation \
         where p.database = pg_catalog.current_database()) found on true order by found.prepared";

/// What was seen.
pub(super) struct Moment {
    began: Instant,
    answered: Answered,
    first: Look,
    second: Look,
    tables: HashMap<TableRef, Watched>,
}

/// What is a table's own.
struct Watched {
    root: u32,
    role_cannot_write: bool,
    foreign: Vec<String>,
    prepared: Vec<Prepared>,
}

impl Moment {
    /// Whether it began at `since` or later, and is not over.
    pub(super) fn serves(&self, since: Instant) -> bool {
        self.began >= since && self.began.elapsed() < MOMENT
    }

    /// Looks: first and second look, then the prepared transactions, each a transaction of its own, in this order.
    pub(super) async fn look(source: &PgSource, tables: &[TableRef]) -> Result<Self> {
        let began = Instant::now();
        let client = source.pool.take().await?;
        client.batch_execute(&source.begin()).await.map_err(sort)?;
        let answered = identify(&client).await?;
        client.batch_execute("commit").await.map_err(sort)?;
        let mut tables = watched(&client, tables).await?;
        let (first, second) = sessions(&client, source.activity_function.as_ref(), &answered.server).await?;
        note_prepared(&client, &answered, &mut tables).await?;
        client.give_back();
        Ok(Self { began, answered, first, second, tables })
    }

    /// The bound of a table; `None` where it has to be looked at by itself.
    pub(super) fn bound(&self, request: &BoundRequest<'_>, step: Micros) -> Result<Option<SafeBound>> {
        let Some(table) = self.tables.get(&request.plan.source.table) else { return Ok(None) };
        let seen = |look: &Look| look.seen(table.role_cannot_write);
        let (first, second) = (seen(&self.first), seen(&self.second));
        let BoundRequest { low, run_started_at, .. } = *request;
        if self.answered.server.in_recovery || low > first.at {
            return Ok(None);
        }
        let prepared = &table.prepared;
        let seen = Observation { low, run_started_at, step, first: &first, second: &second, prepared };
        let Verdict::Bound(bound) = safe_bound(&seen)? else { return Ok(None) };
        let bound = match super::members::elsewhere(&table.foreign) {
            Some(reason) => bound.unproven(reason),
            None => bound,
        };
        Ok(Some(SafeBound { server: Some(self.answered.server.clone()), ..bound }))
    }
}

/// Whether the plan's table can be looked at with others: a view or a foreign table may show any table, and with a fixed
/// lag nobody is looked at.
pub(super) fn can_share(plan: &Plan) -> bool {
    let own = matches!(plan.source.kind, RelationKind::Table | RelationKind::Partitioned | RelationKind::Hypertable);
    own && plan.table.fixed_lag.is_none()
}

async fn watched(client: &Client, tables: &[TableRef]) -> Result<HashMap<TableRef, Watched>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = ask(client, TABLES, &values).await.map_err(sort)?;
    let placed = |row: &tokio_postgres::Row| {
        let table = tables.get(usize::try_from(row.get::<_, i64>(0) - 1).ok()?)?;
        let (role_cannot_write, foreign) = (row.get(2), row.get(3));
        Some((table.clone(), Watched { root: row.get(1), role_cannot_write, foreign, prepared: Vec::new() }))
    };
    Ok(rows.iter().filter_map(placed).collect())
}

async fn note_prepared(client: &Client, answered: &Answered, tables: &mut HashMap<TableRef, Watched>) -> Result<()> {
    let roots: Vec<u32> = tables.values().map(|table| table.root).collect();
    let rows = ask(client, PREPARED, &[(&roots, Type::OID_ARRAY)]).await.map_err(sort)?;
    if let Some(row) = rows.first() {
        same_process(&answered.server, row.get::<_, Stamp>("server").0)?;
    }
    let mut held: HashMap<u32, Vec<Prepared>> = HashMap::new();
    for row in &rows {
        let Some((root, gid)) = row.get::<_, Option<u32>>("root").zip(row.get("gid")) else { continue };
        let Some(prepared_at) = optional(row, "prepared") else { continue };
        held.entry(root).or_default().push(Prepared { gid, prepared_at });
    }
    for table in tables.values_mut() {
        table.prepared = held.get(&table.root).cloned().unwrap_or_default();
    }
    Ok(())
}
