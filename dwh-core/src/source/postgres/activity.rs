//! Looking at who may be writing: sessions, then prepared transactions. Every look is a transaction of its own, because
//! inside one the server shows the same frozen picture again and again; and each says which server it comes from.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::ask::{ask, ask_one};
use super::time::{Instant, optional};
use crate::connect::sort;
use crate::error::Result;
use crate::plan::Plan;
use crate::schema::{RelationKind, TableRef, quote_ident};
use crate::watermark::{Activity, Backend, Prepared, Timestamp};

/// Sessions of this database but this one. Autovacuum writes no rows; where its type is hidden, it is told by having
/// no user.
pub(super) const WRITERS: &str = "a.datid = (select oid from pg_catalog.pg_database \
     where datname = pg_catalog.current_database()) and a.pid <> pg_catalog.pg_backend_pid() \
     and a.backend_type is distinct from 'autovacuum worker' \
     and not (a.backend_type is null and a.usesysid is null)";

/// The table with its partitions and children; everything, where the table is not one (`$1` is 0).
const TREE: &str = "with recursive tree(oid) as (select $1 \
     union select i.inhrelid from pg_catalog.pg_inherits i join tree t on t.oid = i.inhparent)";

/// The SQL with which a DBA lets `role` see activity without `pg_read_all_stats`, which would also show query texts.
///
/// The function's name goes into `activity_function` of the source. Its owner must be a superuser or a member of
/// `pg_read_all_stats`. It takes no arguments and returns these columns of `pg_stat_activity`: `datid oid, pid int4,
/// usesysid oid, usename name, application_name text, backend_start, xact_start, query_start, state_change
/// timestamptz, wait_event_type, state, backend_type text`.
#[must_use]
pub fn activity_function_sql(function: &TableRef, role: &str) -> String {
    let name = function.sql();
    format!(
        "create or replace function {name}() returns table (datid oid, pid integer, usesysid oid, usename name,\n  \
         application_name text, backend_start timestamptz, xact_start timestamptz, query_start timestamptz,\n  \
         state_change timestamptz, wait_event_type text, state text, backend_type text)\n\
         language sql stable security definer set search_path = pg_catalog as $$\n  \
         select datid, pid, usesysid, usename, application_name, backend_start, xact_start, query_start,\n    \
         state_change, wait_event_type, state, backend_type from pg_catalog.pg_stat_activity\n$$;\n\
         revoke all on function {name}() from public;\n\
         grant usage on schema {schema} to {role};\n\
         grant execute on function {name}() to {role};\n",
        schema = quote_ident(&function.schema),
        role = quote_ident(role),
    )
}

/// Whose writes matter for a table.
pub(super) struct Scope {
    /// The table; 0 for a view, a foreign table or a query, which may show any table.
    root: u32,
    /// Whether neither our role nor any role that it may become can write there.
    pub(super) role_cannot_write: bool,
}

impl Scope {
    pub(super) async fn of(client: &Client, plan: &Plan) -> Result<Self> {
        let root = match plan.source.kind {
            RelationKind::Table | RelationKind::Partitioned | RelationKind::Hypertable => {
                oid(client, &plan.source.table).await?
            }
            _ => 0,
        };
        let sql = format!(
            "{TREE}, watched as (select oid from tree where oid <> 0 union all select c.oid from pg_catalog.pg_class c \
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace where $1 = 0 and c.relkind in ('r', 'p', 'v', 'f') \
             and n.nspname not in ('pg_catalog', 'information_schema')) \
             select not exists (select from watched w, pg_catalog.pg_roles r \
             where pg_catalog.pg_has_role(session_user, r.oid, 'member') \
             and (pg_catalog.has_any_column_privilege(r.oid, w.oid, 'insert, update') \
             or pg_catalog.has_table_privilege(r.oid, w.oid, 'delete, truncate')))"
        );
        let row = ask_one(client, &sql, &[(&root, Type::OID)]).await?;
        Ok(Self { root, role_cannot_write: row.get(0) })
    }
}

async fn oid(client: &Client, table: &TableRef) -> Result<u32> {
    let names: [(&(dyn ToSql + Sync), Type); 2] = [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
    let sql = "select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2";
    Ok(ask_one(client, sql, &names).await?.get(0))
}

/// One look at the sessions.
pub(super) struct Look {
    at: Timestamp,
    /// Each with whether it has our role and our name.
    backends: Vec<(Backend, bool)>,
    /// The start of the server.
    pub(super) server: Timestamp,
}

impl Look {
    /// As it is for a table where our role can write or not. The name counts as well as the role: a person who logs in with
    /// it may call a function that writes.
    pub(super) fn seen(&self, role_cannot_write: bool) -> Activity {
        let harmless =
            |(backend, own): &(Backend, bool)| Backend { harmless: role_cannot_write && *own, ..backend.clone() };
        Activity { at: self.at, backends: self.backends.iter().map(harmless).collect() }
    }
}

/// Looks at the sessions (R0, R1), through `function` where one is configured.
pub(super) async fn look(client: &Client, function: Option<&TableRef>) -> Result<Look> {
    let from = function.map_or_else(|| "pg_catalog.pg_stat_activity".to_owned(), |name| format!("{}()", name.sql()));
    // `statement_timestamp()` is stamped when the message arrives, so before activity is read; `clock_timestamp()` in
    // its place would be too late. The outer join brings it home even if there is no other session.
    let sql = format!(
        "select pg_catalog.statement_timestamp() as at, pg_catalog.pg_postmaster_start_time() as server, a.* \
         from (select) one left join (\
         select a.pid, a.backend_start, a.backend_type, a.state, a.xact_start, a.query_start, a.state_change, \
         a.wait_event_type, a.usename::text as usename, a.application_name, \
         a.usename = session_user and a.application_name = pg_catalog.current_setting('application_name') as own \
         from {from} a where {WRITERS}) a on true"
    );
    let rows = ask(client, &sql, &[]).await.map_err(sort)?;
    let moment = |column: &str| rows.first().map_or(Timestamp::NEG_INFINITY, |row| row.get::<_, Instant>(column).0);
    Ok(Look { at: moment("at"), backends: rows.iter().filter_map(backend).collect(), server: moment("server") })
}

fn backend(row: &Row) -> Option<(Backend, bool)> {
    let backend = Backend {
        pid: row.get::<_, Option<i32>>("pid")?,
        backend_start: optional(row, "backend_start"),
        backend_type: row.get("backend_type"),
        state: row.get("state"),
        xact_start: optional(row, "xact_start"),
        query_start: optional(row, "query_start"),
        state_change: optional(row, "state_change"),
        wait_event_type: row.get("wait_event_type"),
        user: row.get("usename"),
        application: row.get("application_name"),
        harmless: false,
    };
    Some((backend, row.get::<_, Option<bool>>("own") == Some(true)))
}

/// The prepared transactions that hold a writing lock on the table or a part of it (P); and the start of the server.
///
/// Such a transaction keeps lock and entry until after its rows are visible, so it does not matter in which order the
/// server reads the two lists.
pub(super) async fn prepared(client: &Client, scope: &Scope) -> Result<(Vec<Prepared>, Timestamp)> {
    let sql = format!(
        "{TREE} select pg_catalog.pg_postmaster_start_time() as server, found.* from (select) one left join (\
         select p.gid, p.prepared from pg_catalog.pg_prepared_xacts p \
         where p.database = pg_catalog.current_database() and ($1 = 0 or exists (select from pg_catalog.pg_locks own \
         join pg_catalog.pg_locks l on l.virtualtransaction = own.virtualtransaction join tree on tree.oid = l.relation \
         where own.pid is null and own.locktype = 'transactionid' and own.transactionid = p.transaction \
         and l.pid is null and l.locktype = 'relation' \
         and l.mode not in ('AccessShareLock', 'RowShareLock')))) found on true order by found.prepared"
    );
    let rows = ask(client, &sql, &[(&scope.root, Type::OID)]).await.map_err(sort)?;
    let server = rows.first().map_or(Timestamp::NEG_INFINITY, |row| row.get::<_, Instant>("server").0);
    let named =
        |row: &Row| Some(Prepared { gid: row.get::<_, Option<_>>("gid")?, prepared_at: optional(row, "prepared")? });
    Ok((rows.iter().filter_map(named).collect(), server))
}
