//! A CSV that a person made: its header says which columns it has, and bronze says the rest.

use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::blob::transform::decode;
use crate::blob::{BlobKey, BlobStore, Body, ByteStream, Folder, copy_as_it_is};
use crate::config::{Compression, TableConfig};
use crate::dialect::{Tally, Totals, diagnose, header_names};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{Commit, LogEntry, RunRecord, StageRequest, TableState, Upload};

/// The longest header that is read.
const HEADER_BYTES: usize = 1 << 20;

impl Pipeline {
    /// Loads a CSV without a manifest. A run is begun for it, unless it has one.
    pub(super) async fn load_by_hand(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        csv: &BlobKey,
        record: Option<RunRecord>,
        run: &mut TableRun,
    ) -> Result<()> {
        let (load, names) = self.plan_by_hand(table, csv).await?;
        let record = match record {
            Some(record) => record,
            None => {
                self.number_above_files().await?;
                self.sink.log(self.begins(table, table.mode, RunKind::Run)).await?
            }
        };
        run.run_id = Some(record.run_id);
        run.csv_path = Some(self.address(csv));
        let tally = Counted::default();
        let body = Arc::new(ByHand { blobs: Arc::clone(&self.blobs), csv: csv.clone(), tally: tally.clone() });
        let staged = match self.sink.stage(StageRequest::new(&load, body).of(record.run_id, state)).await {
            Ok(staged) => staged,
            Err(error) if error.kind() == ErrorKind::Data => return Err(self.diagnose(csv, names, error).await),
            Err(error) => return Err(error),
        };
        let totals = tally.totals()?;
        self.log_by_hand(&record, &totals, run).await?;
        // Nobody knows what else the source held then: the watermark stays where it is.
        let commit = Commit::of(record.run_id, Some(totals.rows), state.clone());
        *state = self.commit(staged, commit, run).await?;
        let moved = self.archive_by_hand(csv, record.run_id).await?;
        run.csv_path = Some(self.address(&moved));
        Ok(())
    }

    /// How a CSV without a manifest is loaded, and the names in its header.
    async fn plan_by_hand(&self, table: &TableConfig, csv: &BlobKey) -> Result<(LoadPlan, Vec<String>)> {
        let bronze = self.sink.describe(&table.target).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("bronze has no table {}", table.target))
                .with_hint("run `dwh migrate`; it creates the bronze tables of the configuration")
        })?;
        let names = first_record(self.plain(csv).await?).await.map_err(|error| error.context(format!("`{csv}`")))?;
        Ok((LoadPlan::by_hand(table, &bronze, &names)?, names))
    }

    /// As loading it would begin, and then reads it to its end: how it is loaded, and what it holds.
    pub(super) async fn look_by_hand(&self, table: &TableConfig, csv: &BlobKey) -> Result<(LoadPlan, Totals)> {
        let (load, names) = self.plan_by_hand(table, csv).await?;
        let tally = Counted::default();
        shape(tally.follow(self.plain(csv).await?), names).await.map_err(|error| error.context(format!("`{csv}`")))?;
        Ok((load, tally.totals()?))
    }

    async fn log_by_hand(&self, record: &RunRecord, totals: &Totals, run: &mut TableRun) -> Result<()> {
        run.rows_extracted = totals.rows;
        run.bytes = totals.bytes;
        run.sha256 = Some(totals.sha256.clone());
        if record.status == RunState::Extracting {
            let upload = Upload {
                run_id: record.run_id,
                csv_path: run.csv_path.clone(),
                rows: totals.rows,
                late_rows: 0,
                bytes: totals.bytes,
                sha256: totals.sha256.clone(),
                window: None,
                bound: None,
                plan_sha256: None,
                file: None,
            };
            self.sink.log(LogEntry::Uploaded(Box::new(upload))).await?;
        }
        self.sink.log(LogEntry::Loading { run_id: record.run_id, upload: None }).await?;
        run.status = RunState::Loading;
        Ok(())
    }

    /// The CSV's bytes, unpacked.
    async fn plain(&self, csv: &BlobKey) -> Result<ByteStream> {
        plain(self.blobs.as_ref(), csv).await
    }

    /// Moves a CSV that has no manifest: the copy is compared with the original before that is deleted. A file of the
    /// same name that is there already stays; this one gets its run's number into its name then.
    async fn archive_by_hand(&self, csv: &BlobKey, run_id: RunId) -> Result<BlobKey> {
        let mut to = self.layout.moved(csv, Folder::Processed)?;
        if to == *csv {
            return Ok(to);
        }
        match copy_as_it_is(self.blobs.as_ref(), csv, &to).await {
            Err(error) if error.kind() == ErrorKind::Exists => {
                let folder = to.as_str().strip_suffix(to.file_name()).unwrap_or_default();
                to = BlobKey::parse(&format!("{folder}{run_id}.{}", to.file_name()))?;
                copy_as_it_is(self.blobs.as_ref(), csv, &to).await?;
            }
            other => drop(other?),
        }
        self.blobs.delete(csv).await?;
        Ok(to)
    }

    /// A better error for a file that a person made, where reading it once more finds the place.
    async fn diagnose(&self, csv: &BlobKey, names: Vec<String>, error: Error) -> Error {
        let Ok(plain) = self.plain(csv).await else { return error };
        match shape(plain, names).await {
            Err(found) if found.kind() == ErrorKind::Data => found.context(format!("`{csv}`")),
            Ok(()) | Err(_) => error,
        }
    }
}

async fn plain(blobs: &dyn BlobStore, csv: &BlobKey) -> Result<ByteStream> {
    Ok(decode(blobs.get(csv).await?.body, compression_of(csv), csv.to_string()))
}

/// A CSV in the blob store, unpacked and counted each time that it is read to its end.
struct ByHand {
    blobs: Arc<dyn BlobStore>,
    csv: BlobKey,
    tally: Counted,
}

impl Body for ByHand {
    fn open(&self) -> ByteStream {
        let (blobs, csv) = (Arc::clone(&self.blobs), self.csv.clone());
        let opened = async move { plain(blobs.as_ref(), &csv).await };
        self.tally.follow(stream::once(opened).try_flatten().boxed())
    }
}

/// Reads a CSV to its end: whether each line has the fields of the header, and PostgreSQL can read it.
async fn shape(plain: ByteStream, names: Vec<String>) -> Result<()> {
    let reader = SyncIoBridge::new(StreamReader::new(plain.map_err(std::io::Error::other)));
    let read = tokio::task::spawn_blocking(move || diagnose(reader, &names)).await;
    read.map_err(|stopped| Error::new(ErrorKind::Internal, "the CSV was not read").with_source(stopped))?
}

fn compression_of(csv: &BlobKey) -> Compression {
    [Compression::Gzip, Compression::Zstd]
        .into_iter()
        .find(|how| csv.as_str().ends_with(how.suffix()))
        .unwrap_or_default()
}

/// The names in the header line of a CSV.
async fn first_record(mut plain: ByteStream) -> Result<Vec<String>> {
    let mut start = Vec::new();
    while start.len() < HEADER_BYTES {
        let Some(piece) = plain.try_next().await? else { break };
        start.extend_from_slice(&piece);
        if start.contains(&b'\n') {
            break;
        }
    }
    header_names(&start)
}

/// Counts and hashes a stream as it passes.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<Mutex<Option<Totals>>>);

impl Counted {
    fn follow(&self, bytes: ByteStream) -> ByteStream {
        let result = Arc::clone(&self.0);
        stream::try_unfold((bytes, Tally::default(), result), |(mut bytes, mut tally, result)| async move {
            match bytes.try_next().await? {
                Some(piece) => {
                    tally.push(&piece);
                    Ok(Some((piece, (bytes, tally, result))))
                }
                None => {
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(tally.totals());
                    Ok::<_, Error>(None)
                }
            }
        })
        .boxed()
    }

    fn totals(&self) -> Result<Totals> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the CSV was not read to its end"))
    }
}
