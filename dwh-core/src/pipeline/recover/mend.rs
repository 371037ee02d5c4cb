//! Does what `find` decided.

use tokio_util::sync::CancellationToken;

use super::scene::{Found, Mend};
use crate::blob::{BlobKey, Manifest, archive};
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::failure::{failed, named, with_way_out};
use crate::pipeline::{Pipeline, TableRun};
use crate::run::RunKind;
use crate::sink::{LogEntry, RunRecord, TableState};

impl Pipeline {
    /// Mends one thing, under the lease. What only a person can decide is left as it is.
    ///
    /// A load is reported in `runs`, whether it went well or not.
    pub(super) async fn mend(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        found: &Found,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        match &found.mend {
            Mend::Load(manifest, record) => {
                self.load_leftover(table, state, (&manifest.csv, manifest), record, runs, cancel).await
            }
            Mend::Restore(manifest, csv) => {
                let record = match self.record_of(table, manifest.run_id).await? {
                    Some(record) => record,
                    None => self.restore(csv, manifest, false, manifest.run_id).await?,
                };
                self.load_leftover(table, state, (csv, manifest), &record, runs, cancel).await
            }
            Mend::Move(manifest) => archive(self.blobs.as_ref(), &self.layout, manifest).await.map(drop),
            Mend::Fail(run_id, message) => {
                let message = (*message).to_owned();
                self.sink.log(LogEntry::Failed { run_id: *run_id, message, kind: None }).await.map(drop)
            }
            Mend::Delete(key) => {
                // Without the CSV, nobody would know of them.
                self.blobs.delete(&key.rejected()).await?;
                self.blobs.delete(key).await
            }
            Mend::Drop(run_id, manifest) => {
                if self.record_of(table, *run_id).await?.is_some_and(|record| !record.status.is_final()) {
                    let message = "its CSV is gone from `exports/`; its rows are read anew".to_owned();
                    self.sink.log(LogEntry::Failed { run_id: *run_id, message, kind: None }).await?;
                }
                self.blobs.delete(&manifest.rejected()).await?;
                self.blobs.delete(manifest).await
            }
            Mend::SetAside(csv) => self.clear_exports(csv).await,
            Mend::Number(run_id) => self.sink.number_above(*run_id, false).await.map(drop),
            Mend::Person(_) => Err(Error::new(ErrorKind::Internal, "a person must decide")),
        }
    }

    /// Loads a complete CSV, and reports it.
    async fn load_leftover(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        (csv, manifest): (&BlobKey, &Manifest),
        record: &RunRecord,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        match manifest.kind {
            RunKind::Resync => return self.go_on_with(table, state, manifest, record, runs, cancel).await,
            RunKind::Chunk => return self.leave_out(manifest).await,
            _ => {}
        }
        let mut run = TableRun::new(&table.name, table.mode);
        run.run_id = Some(record.run_id);
        run.status = record.status;
        let done = self.load_file(table, state, (csv, manifest), record, &mut run, cancel).await;
        let done = done.map_err(|error| with_way_out(named(error, &table.name), &run));
        if let Err(error) = &done {
            self.log_failure(&mut run, error).await;
            run = failed(run, error);
        }
        runs.push(self.ended(run));
        done
    }
}
