//! The part of an extract that needs nothing of the target: from the source through the spool into the store, where the CSV
//! counts for nothing as long as it has no manifest.

use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Ended, Extract, PROGRESS_BYTES, Slice, stopped};
use crate::blob::transform::Encoded;
use crate::blob::{BlobKey, BlobStore, StoredForm};
use crate::dialect::Totals;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::failure::or_stopped;
use crate::pipeline::{Event, Observer, Pipeline, TableRun};
use crate::plan::LoadPlan;
use crate::sink::TableState;
use crate::spool::Spool;

/// What was read to its end.
pub(in crate::pipeline) struct Read {
    pub(in crate::pipeline) reading: Ended,
    pub(in crate::pipeline) totals: Totals,
    /// How the CSV is stored, if it is not as it is.
    pub(in crate::pipeline) stored: Option<StoredForm>,
    /// Whether there is a CSV in the store.
    pub(in crate::pipeline) has_csv: bool,
    extract_seconds: f64,
    upload_seconds: f64,
}

impl Read {
    /// Puts into the report how long it took.
    pub(in crate::pipeline) const fn tell_seconds(&self, run: &mut TableRun) {
        run.seconds.extract = self.extract_seconds;
        run.seconds.upload = self.upload_seconds;
    }
}

impl Extract {
    /// The same, holding a job for as long as the source sends.
    pub(in crate::pipeline) fn holding(self, job: Option<OwnedSemaphorePermit>) -> Self {
        Self { job, ..self }
    }

    /// What the load needs, which goes on elsewhere.
    pub(in crate::pipeline) fn for_load(&self, slice: &Slice) -> (LoadPlan, Spool) {
        (self.load(slice), self.spool.clone())
    }

    /// Reads until it is known that there is a row, or to the end; says whether there is one.
    pub(super) async fn until_first_row(&mut self) -> Result<bool> {
        if self.reading.has_rows() {
            return Ok(true);
        }
        while !self.ended && self.tally.rows() == 0 && self.tally.bytes() <= self.header + 2 {
            self.step().await?;
        }
        Ok(!self.ended || self.tally.rows() > 0)
    }

    async fn step(&mut self) -> Result<()> {
        match or_stopped(&self.stop, self.reading.next()).await? {
            Some(piece) => {
                self.tally.push(&piece);
                self.writer.write(piece).await
            }
            None => {
                self.ended = true;
                Ok(())
            }
        }
    }

    /// Reads to the end. An error drops the writer, which breaks the stream of every reader.
    pub(in crate::pipeline) async fn pump(mut self, observer: &Observer) -> Result<((Ended, Totals), f64)> {
        let mut told = 0;
        while !self.ended {
            self.step().await?;
            if self.tally.bytes() - told >= PROGRESS_BYTES {
                told = self.tally.bytes();
                self.tell(observer);
            }
        }
        self.tell(observer);
        let started = self.started;
        Ok((self.end().await?, started.elapsed().as_secs_f64()))
    }

    fn tell(&self, observer: &Observer) {
        let (table, run_id) = (self.table.clone(), self.run_id);
        observer(&Event::Extracted { table, run_id, rows: self.tally.rows(), bytes: self.tally.bytes() });
    }

    pub(super) async fn end(mut self) -> Result<(Ended, Totals)> {
        if !self.tally.is_complete() {
            return Err(Error::new(ErrorKind::Data, "the server's COPY ended in the middle of a row"));
        }
        let totals = self.tally.totals();
        // Whoever takes the rows goes on while the source counts.
        self.writer.finish().await?;
        let late_rows = if totals.rows > 0 { or_stopped(&self.stop, self.reading.late_rows()).await? } else { 0 };
        let ended = Ended {
            snapshot: self.reading.snapshot().clone(),
            high: self.reading.high(),
            late_rows,
            sweep: self.reading.sweep(),
            statement: self.reading.statement().map(str::to_owned),
            file: self.reading.file(),
            warnings: self.reading.warnings(),
            rejected: self.reading.rejected(),
        };
        self.reading.finish().await?;
        drop(self.job.take());
        Ok((ended, totals))
    }
}

impl Pipeline {
    /// Reads to the end, and puts the CSV into the store.
    pub(super) async fn store(&self, key: BlobKey, extract: Extract) -> Result<Read> {
        let compression = self.config.blob.compression;
        let body = Arc::new(Encoded::new(extract.spool.clone(), compression));
        let upload = self.spawn_upload(key.clone(), Arc::clone(&body), extract.stop.clone());
        let read = extract.pump(&self.observer).await;
        let ((reading, totals), extract_seconds, upload_seconds) = match (read, upload.await.map_err(stopped)?) {
            // A reader that only echoes the writer's failure is not the cause.
            (Err(error), Err(echo)) if echo.kind() == ErrorKind::Interrupted => return Err(error),
            (_, Err(cause)) => return Err(cause),
            (Err(error), Ok(_)) => {
                self.discard(&key).await;
                return Err(error);
            }
            (Ok((read, seconds)), Ok(uploaded)) => (read, seconds, uploaded),
        };
        let stored = body.sent().map(|(bytes, sha256)| StoredForm { compression, bytes, sha256 });
        Ok(Read { reading, totals, stored, has_csv: true, extract_seconds, upload_seconds })
    }

    /// The same without a CSV where there are no rows; tells whether there are, once that is known.
    pub(in crate::pipeline) async fn store_rows(
        &self,
        key: BlobKey,
        mut extract: Extract,
        has_rows: oneshot::Sender<bool>,
    ) -> Result<Read> {
        let rows = extract.until_first_row().await?;
        // Nobody waits for it where the run is given up.
        let _ = has_rows.send(rows);
        if rows {
            return self.store(key, extract).await;
        }
        let started = extract.started;
        let (reading, totals) = extract.end().await?;
        let extract_seconds = started.elapsed().as_secs_f64();
        Ok(Read { reading, totals, stored: None, has_csv: false, extract_seconds, upload_seconds: 0.0 })
    }

    /// The watermark row that the next window begins with, known once the snapshot is taken. `None`: only its load tells.
    pub(in crate::pipeline) fn foreseen(&self, slice: &Slice, extract: &Extract) -> Option<TableState> {
        let reading = Ended {
            high: extract.reading.high(),
            sweep: extract.reading.sweep(),
            ..Ended::nothing(extract.reading.snapshot().clone())
        };
        // What is counted does not matter for it.
        let totals = Totals { rows: 0, bytes: 0, sha256: String::new() };
        slice.leaves(&self.manifest(slice, &self.key(slice), &reading, totals, None, None))
    }

    /// Takes a CSV away that nobody wants and that has no manifest.
    pub(in crate::pipeline) async fn discard(&self, key: &BlobKey) {
        if let Err(error) = self.blobs.delete(key).await {
            // The next run does it: it has no manifest.
            tracing::warn!(%key, error = %error.chain(), "a CSV that is not wanted stays in `exports/`");
        }
    }

    fn spawn_upload(
        &self,
        key: BlobKey,
        body: Arc<Encoded<Spool>>,
        stop: CancellationToken,
    ) -> AbortOnDropHandle<Result<f64>> {
        let blobs: Arc<dyn BlobStore> = Arc::clone(&self.blobs);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let started = Instant::now();
            let put = blobs.put(&key, body.as_ref()).await;
            if put.is_err() {
                stop.cancel();
            }
            put.map(|_| started.elapsed().as_secs_f64())
        }))
    }
}
