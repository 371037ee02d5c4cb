//! The lease of a table: an advisory lock that lives as long as its transaction.

use async_trait::async_trait;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::PgSink;
use super::pool::open;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Isolation;
use crate::sink::{Lease, TableState};
use crate::watermark::Micros;

/// How often a table that another run holds is asked for again.
const AGAIN: Duration = Duration::from_millis(250);

/// A table held by the lock of an open transaction on a connection of its own.
///
/// The lock ends with the transaction, so it works through a pooler and goes when the process dies; the transaction has
/// no snapshot and no number, so it keeps no vacuum waiting.
pub(super) struct PgLease {
    sink: PgSink,
    client: Client,
    table: String,
    state: TableState,
}

impl PgLease {
    pub(super) async fn take(sink: &PgSink, table: &str, wait: bool) -> Result<Self> {
        let client = sink.connector.connect().await?;
        open(&client, Isolation::Write, Micros::ZERO).await?;
        let name = sink.control.lease_name(table);
        let lock = "select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        // Asked again and again, not waited for at the server: a waiting session would outlive a caller that gives up.
        while !client.query_typed_one(lock, &[(&name, Type::TEXT)]).await.map_err(sort)?.get::<_, bool>(0) {
            if !wait {
                return Err(held(sink, &client, table).await?);
            }
            tokio::time::sleep(AGAIN).await;
        }
        let state = sink.control.state(&client, table).await?;
        // The portal of the last query would keep its snapshot for as long as the transaction is open.
        client.batch_execute("close all").await.map_err(sort)?;
        let note = sink.begin().await?;
        sink.control.take(note.client()?, table).await?;
        note.commit().await?;
        Ok(Self { sink: sink.clone(), client, table: table.to_owned(), state })
    }
}

/// The refusal, with what is known of the holder.
async fn held(sink: &PgSink, client: &Client, table: &str) -> Result<Error> {
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

    async fn release(self: Box<Self>) -> Result<()> {
        let work = async {
            let note = self.sink.begin().await?;
            self.sink.control.give(note.client()?, &self.table).await?;
            note.commit().await
        };
        self.sink.naming(work).await?;
        self.client.batch_execute("commit").await.map_err(|error| {
            sort(error).context(format!("table `{}`: the lease was lost before the run ended", self.table))
        })
    }
}
