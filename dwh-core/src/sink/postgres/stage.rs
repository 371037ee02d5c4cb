//! Staging: a CSV on its way into a temporary table of the load transaction.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::PgSink;
use super::merge;
use super::pool::Tx;
use super::replace::Extra;
use crate::blob::ByteStream;
use crate::dialect::HeaderGate;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::retry::retry;
use crate::run::{RunId, RunState};
use crate::schema::RowKey;
use crate::sink::{Accounting, Commit, Committed, Staged};

/// Bytes that are gathered before they are sent: the driver flushes with every piece.
const CHUNK_BYTES: usize = 256 << 10;

/// Rows in a temporary table of an open transaction.
pub(super) struct PgStaged {
    sink: PgSink,
    load: LoadPlan,
    tx: Tx,
    rows: u64,
    extra: Extra,
    _one_of_the_loads: OwnedSemaphorePermit,
}

impl PgStaged {
    pub(super) async fn fill(sink: &PgSink, load: &LoadPlan, csv: ByteStream) -> Result<Self> {
        let permit = sink
            .loads
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "target: the sink is closed").with_source(error))?;
        let tx = sink.begin().await?;
        tx.client()?.batch_execute(&load.create_stage()).await.map_err(|error| merge::named(load, error))?;
        let rows = copy(sink, &tx, load, csv).await?;
        let extra = Extra::default();
        Ok(Self { sink: sink.clone(), load: load.clone(), tx, rows, extra, _one_of_the_loads: permit })
    }
}

/// Sends the CSV and returns the server's count of rows. An error leaves the transaction to be rolled back.
async fn copy(sink: &PgSink, tx: &Tx, load: &LoadPlan, mut csv: ByteStream) -> Result<u64> {
    let failed = |error| sink.connector.explain(merge::named(load, error));
    let wrong_header = |error: Error| error.context(format!("table `{}`", load.table));
    let mut gate = HeaderGate::new(load.columns.iter().map(|column| column.name.as_str()));
    let mut rows = Box::pin(tx.client()?.copy_in::<_, Bytes>(&load.copy_in()).await.map_err(failed)?);
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    while let Some(piece) = csv.next().await {
        // On the way out of here the COPY is called off.
        let piece = piece?;
        gate.push(&piece).map_err(wrong_header)?;
        chunk.extend_from_slice(&piece);
        if chunk.len() >= CHUNK_BYTES {
            let full = std::mem::replace(&mut chunk, BytesMut::with_capacity(CHUNK_BYTES)).freeze();
            if rows.feed(full).await.is_err() {
                // The server has said why; it is told at the end.
                chunk.clear();
                break;
            }
        }
    }
    gate.finish().map_err(wrong_header)?;
    if !chunk.is_empty() {
        // As above.
        drop(rows.feed(chunk.freeze()).await);
    }
    rows.as_mut().finish().await.map_err(failed)
}

#[async_trait]
impl Staged for PgStaged {
    fn rows(&self) -> u64 {
        self.rows
    }

    async fn extra(&mut self) -> Result<Vec<RowKey>> {
        self.extra.next(self.tx.client()?, &self.load, merge::named).await
    }

    fn spare(&mut self, keys: &[RowKey]) {
        if let Some(window) = &mut self.load.replaced {
            window.spares.extend_from_slice(keys);
        }
    }

    async fn told_apart(&mut self) -> Result<()> {
        super::replace::told_apart(self.tx.client()?, &self.load, merge::named).await
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        let Self { sink, load, tx, rows, _one_of_the_loads, .. } = *self;
        let committed = match merge::merge(&sink, &load, tx.client()?, rows, &commit).await {
            Ok(committed) => committed,
            Err(error) => return Err(sink.naming_holders(Some(&load), error).await),
        };
        match tx.commit().await {
            Ok(()) => Ok(committed),
            Err(error) if error.kind() == ErrorKind::Unreachable => prove(&sink, commit.run_id, error)
                .await
                .map(|()| committed)
                .map_err(|error| error.context(format!("table `{}`", load.table))),
            Err(error) => Err(error.context(format!("table `{}`", load.table))),
        }
    }

    async fn preview(self: Box<Self>) -> Result<Accounting> {
        let Self { sink, load, tx, rows, _one_of_the_loads, .. } = *self;
        let counted = merge::preview(&load, tx.client()?, rows).await;
        // Which rolls back.
        drop(tx);
        match counted {
            Ok(counts) => Ok(counts),
            Err(error) => Err(sink.naming_holders(Some(&load), error).await),
        }
    }
}

/// The answer to a commit was lost: the run log, written in the same transaction, says what became of it.
async fn prove(sink: &PgSink, run_id: RunId, lost: Error) -> Result<()> {
    let state = retry("reading what became of a commit", || async {
        let tx = sink.begin().await?;
        // Waits for the lost session, which may still be at it.
        let state = sink.control.proof(tx.client()?, run_id).await?;
        tx.commit().await?;
        Ok(state)
    })
    .await?;
    if state == Some(RunState::Loaded) { Ok(()) } else { Err(lost) }
}
