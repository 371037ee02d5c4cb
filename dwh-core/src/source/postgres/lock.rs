//! The lock on what is read, taken before any snapshot exists: a rewrite that commits between snapshot and lock would show
//! an empty table.

use futures_util::future::BoxFuture;
use futures_util::join;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::pool::{Lease, Pool};
use super::time::Instant;
use crate::catalog::{LockWanted, held_by, holders, is_lock_timeout};
use crate::config::TableConfig;
use crate::connect::{look, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, Plan, from_sql, opening};
use crate::watermark::{Micros, Timestamp};

/// A second session that holds the lock until the COPY has one of its own, and the start of its server.
pub(super) struct Guard {
    pub(super) session: Lease,
    pub(super) server_started_at: Timestamp,
}

/// Begins the reading transaction with the table locked, and asks `first` in it; all of it is sent before the first answer.
///
/// What `LOCK TABLE` refuses (queries, materialized views, foreign tables, tables of which the role may read only some
/// columns) is locked by an empty `SELECT` in a second session, which is returned.
pub(super) async fn lock<'a, T>(
    pool: &Pool,
    client: &Client,
    plan: &Plan,
    patience: Micros,
    first: impl Fn() -> BoxFuture<'a, Result<T>> + Send,
) -> Result<(Option<Guard>, T)> {
    let begin = opening(Isolation::Snapshot, patience);
    if plan.source.kind.can_lock() {
        let lock = format!("lock table {} in access share mode", plan.source.table.sql());
        // Polled, and so sent, in this order: the server takes the snapshot for the first question, after the lock.
        let (begun, locked, answer) = join!(client.batch_execute(&begin), client.batch_execute(&lock), first());
        begun.map_err(sort)?;
        match locked {
            Ok(()) => return Ok((None, answer?)),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                client.batch_execute("rollback").await.map_err(sort)?;
            }
            Err(error) => return Err(not_locked(&plan.table, error)),
        }
    }
    let session = pool.take().await?;
    session.batch_execute(&opening(Isolation::Look, patience)).await.map_err(sort)?;
    let probe = format!("select from {} limit 0", from_sql(&plan.table));
    session.batch_execute(&probe).await.map_err(|error| not_locked(&plan.table, error))?;
    let sql = "select pg_catalog.pg_postmaster_start_time()";
    let server_started_at = session.query_typed_one(sql, &[]).await.map_err(sort)?.get::<_, Instant>(0).0;
    let (begun, answer) = join!(client.batch_execute(&begin), first());
    begun.map_err(sort)?;
    Ok((Some(Guard { session, server_started_at }), answer?))
}

/// A driver's error with the table before it, and what a lock that was not granted means.
pub(super) fn not_locked(table: &TableConfig, error: tokio_postgres::Error) -> Error {
    let locked = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
    let error = sort(error);
    if !locked {
        return error.context(format!("table `{}`", table.name));
    }
    let what = table.relation.as_ref().map_or_else(|| "a table of its query".to_owned(), ToString::to_string);
    Error::new(ErrorKind::Busy, format!("table `{}`: {what} is locked by another session", table.name))
        .with_source(error)
        .with_hint(
            "a schema change or `truncate` holds it: run it again afterwards, or set a longer `lock_timeout` of the \
             source",
        )
}

/// What came of work on a table; an error of a lock that was not granted says who holds it. They are asked for right
/// after it, in a session of their own: the transaction that waited is over.
pub(super) async fn naming<T>(
    pool: &Pool,
    table: &TableConfig,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let error = match work.await {
        Err(error) if is_lock_timeout(&error) => error,
        other => return other,
    };
    let relation = table.relation.as_ref().map(|relation| [relation.sql()]);
    let found = async {
        let session = pool.take().await?;
        let found = look(&session, holders(&*session, relation.as_ref().map(|one| &one[..]), LockWanted::Read)).await?;
        session.give_back();
        Ok::<_, Error>(found)
    };
    match found.await {
        Ok(found) => Err(held_by(error, &found, "at the source")),
        Err(unknown) => {
            tracing::debug!(table = table.name, error = %unknown.chain(), "who holds the lock cannot be told");
            Err(error)
        }
    }
}
