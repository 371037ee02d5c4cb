//! Does what `find` decided.

use tokio_util::sync::CancellationToken;

use super::find::{Found, Mend};
use crate::blob::{Manifest, archive};
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::load::with_way_out;
use crate::pipeline::run::{failed, named};
use crate::pipeline::{Event, Pipeline, TableRun};
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
                let (run, error) = self.load_leftover(table, state, manifest, record, cancel).await;
                (self.observer)(&Event::RunFinished(Box::new(run.clone())));
                runs.push(run);
                error.map_or(Ok(()), Err)
            }
            Mend::Move(manifest) => archive(self.blobs.as_ref(), &self.layout, manifest).await.map(drop),
            Mend::Fail(run_id, message) => {
                self.sink.log(LogEntry::Failed { run_id: *run_id, message: (*message).to_owned() }).await.map(drop)
            }
            Mend::Delete(key) => self.blobs.delete(key).await,
            Mend::Drop(run_id, manifest) => {
                if self.record_of(table, *run_id).await?.is_some_and(|record| !record.status.is_final()) {
                    let message = "its CSV is gone from `exports/`; its rows are read anew".to_owned();
                    self.sink.log(LogEntry::Failed { run_id: *run_id, message }).await?;
                }
                self.blobs.delete(manifest).await
            }
            Mend::SetAside(csv) => self.clear_exports(csv).await,
            Mend::Number(run_id) => self.sink.number_above(*run_id, false).await.map(drop),
            Mend::Person(_) => Err(Error::new(ErrorKind::Internal, "a person must decide")),
        }
    }

    async fn load_leftover(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        manifest: &Manifest,
        record: &RunRecord,
        cancel: &CancellationToken,
    ) -> (TableRun, Option<Error>) {
        let mut run = TableRun::new(&table.name, table.mode);
        run.run_id = Some(record.run_id);
        run.status = record.status;
        match self.load_manifest(table, state, manifest, record, &mut run, cancel).await {
            Ok(()) => (run, None),
            Err(error) => {
                let error = with_way_out(named(error, &table.name), &run);
                self.log_failure(&mut run, &error).await;
                (failed(run, &error), Some(error))
            }
        }
    }
}
