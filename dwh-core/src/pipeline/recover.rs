//! What an earlier run of a table left behind, put in order before a new one begins.

use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobKey, Folder, Manifest, archive, read_manifest};
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Event, Pipeline, TableRun};
use crate::run::{RunId, RunState};
use crate::sink::{LogEntry, RunFilter, RunRecord, TableState};

/// What lies in a table's `exports/`.
#[derive(Debug, Default)]
struct Leftovers {
    /// Complete files, by run.
    complete: BTreeMap<RunId, Manifest>,
    /// CSV files without a manifest.
    bare: Vec<BlobKey>,
}

impl Pipeline {
    /// Under the lease: loads what was uploaded and not loaded, moves what was loaded and not moved, removes CSV files
    /// whose upload never finished, and fails runs whose process died.
    ///
    /// Loads are reported in `runs`; one that fails stops here, because later rows must not overtake it.
    pub(super) async fn recover_table(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let leftovers = self.leftovers(table).await?;
        let unfinished = self.unfinished(table).await?;
        for (run_id, manifest) in &leftovers.complete {
            let filter = RunFilter { run_id: Some(*run_id), ..RunFilter::default() };
            match self.sink.runs(&filter).await?.pop().filter(|record| record.table_name == table.name) {
                Some(record) if record.status == RunState::Loaded => {
                    archive(self.blobs.as_ref(), &self.layout, manifest).await?;
                }
                Some(record) => {
                    let run = self.load_leftover(table, state, manifest, &record, cancel).await;
                    (self.observer)(&Event::RunFinished(Box::new(run.clone())));
                    let stuck = run.error.is_some();
                    runs.push(run);
                    if stuck {
                        return Err(Error::new(ErrorKind::Internal, "its report tells"));
                    }
                }
                None => self.warn(
                    &table.name,
                    &format!(
                        "`{}` belongs to run {run_id}, which the run log does not know: it stays where it is",
                        manifest.csv
                    ),
                ),
            }
        }
        for record in unfinished.iter().filter(|record| !leftovers.complete.contains_key(&record.run_id)) {
            self.fail_dead(record).await?;
        }
        self.remove_unfinished_uploads(table, &leftovers.bare).await
    }

    async fn leftovers(&self, table: &TableConfig) -> Result<Leftovers> {
        let prefix = self.layout.prefix(Folder::Exports, &table.name);
        let keys: Vec<BlobKey> = self.blobs.list(&prefix).map_ok(|meta| meta.key).try_collect().await?;
        let mut found = Leftovers::default();
        for key in keys.iter().filter(|key| key.is_csv()) {
            let manifest = match keys.contains(&key.manifest()) {
                true => read_manifest(self.blobs.as_ref(), key).await?,
                false => None,
            };
            match manifest {
                Some(manifest) => drop(found.complete.insert(manifest.run_id, manifest)),
                None => found.bare.push(key.clone()),
            }
        }
        // The CSV of an interrupted move may be gone while its manifest is still here.
        for key in keys.iter().filter(|key| key.is_manifest()) {
            let alone = !keys.iter().any(|csv| csv.is_csv() && csv.manifest() == *key);
            // Whatever its compression: the manifest's own name is all that this key is asked for.
            let csv = BlobKey::parse(&key.as_str().replace(".manifest.json", ".csv"))?;
            if alone && let Some(manifest) = read_manifest(self.blobs.as_ref(), &csv).await? {
                found.complete.insert(manifest.run_id, manifest);
            }
        }
        Ok(found)
    }

    async fn unfinished(&self, table: &TableConfig) -> Result<Vec<RunRecord>> {
        let states = vec![RunState::Extracting, RunState::Uploaded, RunState::Loading];
        self.sink.runs(&RunFilter { table: Some(table.name.clone()), states, ..RunFilter::default() }).await
    }

    /// Before an extract alone: runs that died without a CSV are failed; uploaded ones wait for their load.
    pub(super) async fn fail_dead_extracts(&self, table: &TableConfig) -> Result<()> {
        let leftovers = self.leftovers(table).await?;
        for record in self.unfinished(table).await? {
            if record.status == RunState::Extracting && !leftovers.complete.contains_key(&record.run_id) {
                self.fail_dead(&record).await?;
            }
        }
        self.remove_unfinished_uploads(table, &leftovers.bare).await
    }

    async fn fail_dead(&self, record: &RunRecord) -> Result<()> {
        let message = match record.status {
            RunState::Extracting => "the process ended before the CSV was complete; its rows are read anew",
            _ => {
                "the process ended before the load was committed, and its CSV is not in `exports/`; its rows are read anew"
            }
        };
        self.sink.log(LogEntry::Failed { run_id: record.run_id, message: message.to_owned() }).await.map(drop)
    }

    /// A CSV without a manifest does not exist for the engine. One that a dead run of ours was writing is removed (the
    /// watermark never moved, so its rows are read anew); anything else may be a person's, and stays.
    async fn remove_unfinished_uploads(&self, table: &TableConfig, bare: &[BlobKey]) -> Result<()> {
        for key in bare {
            let Some(run_id) = run_id_of(key) else { continue };
            let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
            let record = self.sink.runs(&filter).await?.pop();
            let ours = record.is_some_and(|record| {
                let suffix = self.config.blob.compression.suffix();
                record.table_name == table.name
                    && record.status == RunState::Failed
                    && record.csv_path.is_none()
                    && self.layout.csv(&table.name, run_id, record.run_started_at, suffix) == *key
            });
            if ours {
                self.blobs.delete(key).await?;
            }
        }
        Ok(())
    }

    async fn load_leftover(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        manifest: &Manifest,
        record: &RunRecord,
        cancel: &CancellationToken,
    ) -> TableRun {
        let mut run = TableRun::new(&table.name, table.mode);
        run.run_id = Some(record.run_id);
        run.status = record.status;
        match self.load_manifest(table, state, manifest, record, &mut run, cancel).await {
            Ok(()) => run,
            Err(error) => {
                let error = super::run::named(error, &table.name);
                self.log_failure(&mut run, &error).await;
                super::run::failed(run, &error)
            }
        }
    }
}

/// The run id at the end of a CSV's name.
fn run_id_of(key: &BlobKey) -> Option<RunId> {
    let stem = key.file_name().split(".csv").next()?;
    stem.rsplit('_').next()?.parse().ok().map(RunId)
}
