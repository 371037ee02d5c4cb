//! A CSV on its way through a thread of its own: its keys noted, or its rows written as Parquet.

use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Write};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::sync::CancellationToken;

use super::columns::Shape;
use super::history::{Rows, Spill};
use super::key::Keyed;
use super::sheet::Sheet;
use super::value::{self, Reason};
use crate::blob::Body;
use crate::dialect::{hex, records};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::failure::interrupted;

/// Rows after which a thread looks whether it is to stop.
const LOOK_ROWS: u64 = 4_096;

/// Where the value of a column comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A field of the CSV.
    Field(usize),
    /// Every row has this value; `None` is NULL.
    Value(Option<String>),
    /// The time since which the row is marked as gone.
    Mark,
}

/// How a CSV becomes a Parquet file.
#[derive(Debug)]
pub(super) struct Job {
    /// The columns of the file.
    pub(super) columns: Arc<Vec<(String, Shape)>>,
    /// Where each of them comes from.
    pub(super) places: Vec<Place>,
    /// Fields of a record.
    pub(super) width: usize,
    /// The rows that are wanted; `None`: all.
    pub(super) wanted: Option<Rows>,
    /// The time of each judge, as PostgreSQL prints it.
    pub(super) marks: Arc<Vec<String>>,
    /// The SRIDs of the files before it, column by column; `None`: none was seen.
    pub(super) srids: Vec<Option<u32>>,
    /// What the file says of where it comes from.
    pub(super) notes: serde_json::Value,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// The SRIDs up to here, column by column.
    pub(super) srids: Vec<Option<u32>>,
}

/// A value that has no place in its column.
pub(super) struct Misfit {
    /// The place of the column.
    pub(super) column: usize,
    pub(super) reason: Reason,
}

/// The thread in which the CSV files of a call are read, one after the other: what the allocator keeps of a thread's memory,
/// it would keep of each thread.
pub(super) struct Thread {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    cancel: CancellationToken,
}

impl Thread {
    /// It stops with the call, and ends with this value.
    pub(super) fn start(cancel: &CancellationToken) -> Self {
        let (work, given) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        tokio::task::spawn_blocking(move || given.into_iter().for_each(|work| work()));
        Self { work, cancel: cancel.clone() }
    }

    /// Does `work` with the bytes of a CSV.
    ///
    /// # Errors
    /// Those of the CSV and of the work; `Interrupted`.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        csv: &dyn Body,
        work: impl FnOnce(&mut dyn BufRead, &CancellationToken) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let stop = self.cancel.child_token();
        // When this future is dropped, too.
        let _guard = stop.clone().drop_guard();
        let bytes = SyncIoBridge::new(StreamReader::new(csv.open().map_err(io::Error::other)));
        let (tell, done) = oneshot::channel();
        let work = move || {
            let mut reader = BufReader::with_capacity(1 << 18, bytes);
            // Whoever has stopped waits for nothing.
            drop(tell.send(work(&mut reader, &stop)));
        };
        let died = || Error::new(ErrorKind::Internal, "the thread that reads CSV files died");
        self.work.send(Box::new(work)).map_err(|_| died())?;
        tokio::select! {
            done = done => done.map_err(|_| died())?,
            // A read that hangs would keep it waiting; the thread ends by itself.
            () = self.cancel.cancelled() => Err(interrupted()),
        }
    }
}

/// Every record behind the header, with its number.
fn each(
    mut reader: &mut dyn BufRead,
    width: usize,
    stop: &CancellationToken,
    mut take: impl FnMut(u64, &records::Record) -> Result<()>,
) -> Result<u64> {
    let mut record = records::Record::default();
    records::read(&mut reader, &mut record).map_err(unwrapped)?;
    let mut rows = 0;
    while records::read(&mut reader, &mut record).map_err(unwrapped)? {
        if record.len() != width {
            let message = format!("row {} of the CSV has {} fields instead of {width}", rows + 1, record.len());
            return Err(Error::new(ErrorKind::Data, message));
        }
        if rows % LOOK_ROWS == 0 && stop.is_cancelled() {
            return Err(interrupted());
        }
        take(rows, &record)?;
        rows += 1;
    }
    // To its end: only there a stream says whether it was the right one.
    Ok(rows)
}

/// Our own error out of the one that carried it through a reader.
fn unwrapped(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(other) => Error::new(ErrorKind::Data, "the CSV cannot be read").with_source(other),
    }
}

/// Notes the key of each row; `csv` is the place of the CSV.
///
/// # Errors
/// `Data` for a key that is NULL; `Disk`; `Interrupted`.
pub(super) fn note(
    reader: &mut dyn BufRead,
    (csv, keyed): (u32, &Keyed),
    spill: &mut Spill,
    stop: &CancellationToken,
) -> Result<()> {
    each(reader, keyed.width, stop, |at, record| spill.add(&keyed.row(csv, at, record)?)).map(drop)
}

/// Writes the wanted rows of a CSV to `out`; the row that cannot be held ends it.
///
/// # Errors
/// `Disk`; `Data` if the CSV is broken; `Interrupted`.
pub(super) fn convert(
    reader: &mut dyn BufRead,
    job: &Job,
    out: impl Write + Send,
    stop: &CancellationToken,
) -> Result<Result<Converted, Misfit>> {
    let columns: Vec<(&str, Shape)> = job.columns.iter().map(|(name, shape)| (name.as_str(), *shape)).collect();
    let mut sheet = Sheet::new(Hashed { out, hash: Sha256::new(), bytes: 0 }, &columns, &job.srids)?;
    let mut misfit = None;
    let read = each(reader, job.width, stop, |at, record| {
        if job.wanted.as_ref().is_some_and(|wanted| !wanted.has(at)) {
            return Ok(());
        }
        let judge = job.wanted.as_ref().and_then(|wanted| wanted.mark(at));
        let mark = judge.and_then(|judge| job.marks.get(judge));
        let written = sheet.row(|column| match &job.places[column] {
            Place::Value(value) => Ok(value.as_deref()),
            Place::Mark => Ok(mark.map(String::as_str)),
            Place::Field(field) => {
                let text = record.field(*field).map(std::str::from_utf8).transpose();
                text.map_err(|_| value::BROKEN)
            }
        })?;
        written.map_err(|(column, reason)| {
            misfit = Some(Misfit { column, reason });
            // Ends the reading; what it stands for is told below.
            Error::new(ErrorKind::Data, reason)
        })
    });
    if let Some(misfit) = misfit {
        return Ok(Err(misfit));
    }
    read?;
    let srids = sheet.srids();
    let (hashed, rows) = sheet.finish(|srids| {
        let mut notes = job.notes.clone();
        notes["srid"] = srids.iter().map(|(name, srid)| ((*name).to_owned(), serde_json::json!(srid))).collect();
        notes.to_string()
    })?;
    Ok(Ok(Converted { rows, bytes: hashed.bytes, sha256: hex(&hashed.hash.finalize()), srids }))
}

/// Counts and hashes what is written.
struct Hashed<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let written = self.out.write(piece)?;
        self.hash.update(&piece[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
