//! The lease of a table: an advisory lock that lives as long as its transaction.

use async_trait::async_trait;
use futures_util::join;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::PgSink;
use super::pool::{WORD, beginning, not_begun};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, patience};
use crate::run::RunId;
use crate::sink::{Lease, TableState};
use crate::watermark::Micros;

/// How often a table that another run holds is asked for again.
const AGAIN: Duration = Duration::from_millis(250);

/// How often it is asked for again by a caller that does not wait: the server needs a moment to end the session of a
/// process that has just ended, and until then holds its lock.
const GRACE: u32 = 4;

/// A table held by the lock of an open transaction on a connection of its own.
///
/// The lock ends with the transaction, so it works through a pooler and goes when the process dies; the transaction has
/// no snapshot and no number, so it keeps no vacuum waiting.
pub(super) struct PgLease {
    sink: PgSink,
    client: Client,
    table: String,
    state: TableState,
    settled: Option<RunId>,
}

impl PgLease {
    pub(super) async fn take(sink: &PgSink, table: &str, wait: bool) -> Result<Self> {
        let client = sink.resting.take(&sink.connector).await?;
        let (mut begun, mut grace) = (false, GRACE);
        let (name, beginning) = (sink.control.lease_name(table), beginning(Isolation::Write, Micros::ZERO));
        let lock = "select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        let params: [(&(dyn ToSql + Sync), Type); 1] = [(&name, Type::TEXT)];
        let (state, settled) = loop {
            let begin = async { if begun { Ok(()) } else { client.batch_execute(&beginning).await } };
            // Polled, and so sent, in this order. What is read without the lock is not looked at. The portal of the last
            // query would keep its snapshot for as long as the transaction is open.
            let (opened, held, state, settled, closed) = join!(
                begin,
                client.query_typed_one(lock, &params),
                sink.control.state(&client, table),
                sink.control.settled(&client, table),
                client.batch_execute("close all")
            );
            opened.map_err(not_begun)?;
            begun = true;
            if held.map_err(sort)?.get(0) {
                let found = (state?, settled?);
                closed.map_err(sort)?;
                break found;
            }
            if !wait && grace == 0 {
                return Err(held_by_another(sink, &client, table).await?);
            }
            grace = grace.saturating_sub(1);
            // Asked again and again, not waited for at the server: a waiting session would outlive a caller that gives up.
            tokio::time::sleep(AGAIN).await;
        };
        sink.note(async |client| sink.control.take(client, table).await).await?;
        Ok(Self { sink: sink.clone(), client, table: table.to_owned(), state, settled })
    }
}

/// The refusal, with what is known of the holder.
async fn held_by_another(sink: &PgSink, client: &Client, table: &str) -> Result<Error> {
    let by = match sink.control.holder(client, table).await? {
        Some((host, since)) => format!(": {host}, since {since}"),
        None => String::new(),
    };
    Ok(Error::new(ErrorKind::Locked, format!("table `{table}`: another run holds it{by}")))
}

#[async_trait]
impl Lease for PgLease {
    fn state(&self) -> &TableState {
        &self.state
    }

    fn settled(&self) -> Option<RunId> {
        self.settled
    }

    async fn release(self: Box<Self>) -> Result<()> {
        let Self { sink, client, table, .. } = *self;
        let word = patience(sink.lock_timeout) + WORD;
        // Polled, and so sent, in this order. A word that could not be written ends the transaction as well.
        let (set, given, ended) =
            join!(client.batch_execute(&word), sink.control.give(&client, &table), client.batch_execute("commit"));
        ended.map_err(|error| {
            sort(error).context(format!("table `{table}`: the lease was lost before the run ended"))
        })?;
        set.map_err(sort)?;
        sink.resting.give_back(client);
        sink.naming(async { given }).await
    }
}
