//! The bytes of a CSV on their way into a COPY.

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use std::time::{Duration, Instant};

use super::PgSink;
use super::errors::named;
use super::pool::Tx;
use crate::blob::ByteStream;
use crate::dialect::{HeaderGate, RowCounter};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;

/// Bytes that are gathered before they are sent: the driver flushes with every piece.
const CHUNK_BYTES: usize = 256 << 10;

/// How much of a CSV is read before it is decided how it is loaded. What ends before that is small.
const START_BYTES: usize = 1 << 20;

/// A CSV of which the start was read.
pub(super) struct Begun {
    pieces: Vec<Bytes>,
    rest: ByteStream,
    /// Whether that was all of it.
    pub(super) ended: bool,
    counter: RowCounter,
}

impl Begun {
    /// Reads the start.
    ///
    /// # Errors
    /// The stream's own.
    pub(super) async fn read(mut csv: ByteStream) -> Result<Self> {
        let (mut pieces, mut bytes, mut counter) = (Vec::new(), 0, RowCounter::default());
        while bytes < START_BYTES {
            let Some(piece) = csv.try_next().await? else {
                return Ok(Self { pieces, rest: csv, ended: true, counter });
            };
            counter.push(&piece);
            bytes += piece.len();
            pieces.push(piece);
        }
        Ok(Self { pieces, rest: csv, ended: false, counter })
    }

    /// Whether it is the header and nothing else.
    ///
    /// # Errors
    /// `Data` if there are no rows under a header that is not the one of the load.
    pub(super) fn is_bare(&self, load: &LoadPlan) -> Result<bool> {
        if !self.ended || self.counter.rows() > 0 {
            return Ok(false);
        }
        let mut gate = Gate::of(load);
        self.pieces.iter().try_for_each(|piece| gate.push(piece))?;
        gate.finish().map(|()| true)
    }

    /// All of it.
    pub(super) fn whole(self) -> ByteStream {
        stream::iter(self.pieces.into_iter().map(Ok)).chain(self.rest).boxed()
    }
}

/// Compares the header, and names the table where it is wrong.
struct Gate<'a> {
    table: &'a str,
    gate: HeaderGate,
}

impl<'a> Gate<'a> {
    fn of(load: &'a LoadPlan) -> Self {
        let gate = HeaderGate::new(load.columns.iter().map(|column| column.name.as_str()));
        Self { table: &load.table, gate }
    }

    fn push(&mut self, piece: &[u8]) -> Result<()> {
        self.gate.push(piece).map(drop).map_err(|error| error.context(format!("table `{}`", self.table)))
    }

    fn finish(&mut self) -> Result<()> {
        self.gate.finish().map_err(|error| error.context(format!("table `{}`", self.table)))
    }
}

/// Why a COPY did not come to its end.
pub(super) enum Stopped {
    /// The bytes ended in an error, or are no CSV of this load.
    Csv(Error),
    /// The server said no.
    Server(tokio_postgres::Error),
    /// The bytes came too slowly.
    Slow,
}

impl Stopped {
    /// As it is told of a COPY that waits as long as it takes.
    pub(super) fn error(self, sink: &PgSink, load: &LoadPlan) -> Error {
        match self {
            Self::Csv(error) => error,
            Self::Server(error) => sink.connector.explain(named(load, error)),
            Self::Slow => Error::new(ErrorKind::Internal, "a COPY that may wait was given up"),
        }
    }
}

/// Sends the CSV and returns the server's count of rows. An error leaves the transaction, or its savepoint, to be rolled
/// back. `patience`: how long the bytes may keep it waiting, all waits together; `None`: as long as it takes.
pub(super) async fn copy(
    tx: &Tx,
    load: &LoadPlan,
    sql: &str,
    mut csv: ByteStream,
    mut patience: Option<Duration>,
) -> Result<u64, Stopped> {
    let mut gate = Gate::of(load);
    let client = tx.client().map_err(Stopped::Csv)?;
    let mut rows = Box::pin(client.copy_in::<_, Bytes>(sql).await.map_err(Stopped::Server)?);
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    // On an early way out of here the COPY is called off.
    while let Some(piece) = next(&mut csv, &mut patience).await? {
        gate.push(&piece).map_err(Stopped::Csv)?;
        let full = if chunk.is_empty() && piece.len() >= CHUNK_BYTES {
            piece
        } else {
            chunk.extend_from_slice(&piece);
            if chunk.len() < CHUNK_BYTES {
                continue;
            }
            std::mem::replace(&mut chunk, BytesMut::with_capacity(CHUNK_BYTES)).freeze()
        };
        if rows.feed(full).await.is_err() {
            // The server has said why; it is told at the end.
            chunk.clear();
            break;
        }
    }
    gate.finish().map_err(Stopped::Csv)?;
    if !chunk.is_empty() {
        // As above.
        drop(rows.feed(chunk.freeze()).await);
    }
    rows.as_mut().finish().await.map_err(Stopped::Server)
}

/// The next piece, and what is left of the patience after it.
async fn next(csv: &mut ByteStream, patience: &mut Option<Duration>) -> Result<Option<Bytes>, Stopped> {
    let Some(left) = patience else { return csv.try_next().await.map_err(Stopped::Csv) };
    let began = Instant::now();
    let piece = tokio::time::timeout(*left, csv.try_next()).await.map_err(|_| Stopped::Slow)?;
    *left = left.saturating_sub(began.elapsed());
    piece.map_err(Stopped::Csv)
}
