//! `load`: a CSV out of the blob store into bronze, whether an extract or a person put it there.

mod dry_run;

use futures_util::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::blob::transform::{decode, verified};
use crate::blob::{BlobKey, BlobStore, Body, ByteStream, Folder, Manifest, StoredForm, archive, read_manifest};
use crate::chain::{Link, Place, RunIdentity, Standing};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::archived::{Archived, FirstCsvs, former_keys_of};
use crate::pipeline::describe::{describe_manifest, describe_record};
use crate::pipeline::failure::{failed, interrupted, named, with_way_out};
use crate::pipeline::links::{after, identity, must_serve, still_known};
use crate::pipeline::{LoadParams, Pipeline, TableRun};
use crate::plan::{LoadPlan, Missing};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{Commit, LogEntry, RunRecord, StageRequest, TableState};

pub use dry_run::{LoadPlanReport, LoadStep};

/// What a CSV is to the run log and the blob store.
enum Found {
    /// Its run is loaded: what is left to do is the move.
    Loaded(RunRecord),
    /// Complete, and not loaded yet.
    Complete(Box<Manifest>, RunRecord),
    /// Made by a person; it has a run only if one was named.
    ByHand(Option<RunRecord>),
}

impl Pipeline {
    /// Loads one CSV and archives it. A CSV that is loaded already counts as done.
    ///
    /// # Errors
    /// Any kind; bronze and watermark are as they were then.
    pub async fn load(
        &self,
        params: &LoadParams,
        wait: bool,
        accept_unverified: bool,
        cancel: &CancellationToken,
    ) -> Result<TableRun> {
        let table = &self.table(&params.table).await?;
        let csv = self.layout.resolve(self.blobs.url(), &table.name, &params.csv_path)?;
        let lease = self.lease(table, wait, cancel).await?;
        let mut state = lease.state().clone();
        let mut run = TableRun::new(&table.name, table.mode);
        let done = self.load_csv(table, params, &csv, &mut state, accept_unverified, &mut run, cancel).await;
        let error = done.err().map(|error| with_way_out(named(error, &table.name), &run));
        if let Some(error) = &error {
            self.log_failure(&mut run, error).await;
            run = failed(run, error);
        }
        let run = self.ended(run);
        match error {
            Some(error) => Err(error),
            None => lease.release().await.map(|()| run),
        }
    }

    #[allow(clippy::too_many_arguments)] // each is a different thing, and a struct of them would have this one user
    async fn load_csv(
        &self,
        table: &TableConfig,
        params: &LoadParams,
        csv: &BlobKey,
        state: &mut TableState,
        accept_unverified: bool,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        match self.find_csv(table, params, csv, accept_unverified).await? {
            Found::Loaded(record) => self.finish_loaded(csv, &record, run).await,
            Found::Complete(manifest, _) if matches!(manifest.kind, RunKind::Resync | RunKind::Chunk) => {
                Err(of_a_resync(table, &manifest))
            }
            Found::Complete(manifest, record) => {
                run.run_id = Some(record.run_id);
                run.status = record.status;
                self.must_be_next(table, state, &manifest).await?;
                self.load_manifest(table, state, &manifest, &record, run, cancel).await
            }
            Found::ByHand(record) => self.load_by_hand(table, state, csv, record, run).await,
        }
    }

    /// What there is to do for a CSV.
    async fn find_csv(
        &self,
        table: &TableConfig,
        params: &LoadParams,
        csv: &BlobKey,
        accept_unverified: bool,
    ) -> Result<Found> {
        let record = match params.run_id {
            Some(run_id) => Some(self.record(table, run_id).await?),
            None => None,
        };
        if let (Some(record), Some(began)) = (&record, params.run_started_at)
            && record.run_started_at != began
        {
            return Err(renumbered(record, &format!("began at {}, not at {began}", record.run_started_at)));
        }
        match (read_manifest(self.blobs.as_ref(), csv).await?, record) {
            (Some(manifest), record) => {
                let record = match record {
                    Some(record) => record,
                    None => self.record(table, manifest.run_id).await?,
                };
                check_manifest(table, &manifest, &record)?;
                Ok(match record.status {
                    RunState::Loaded => Found::Loaded(record),
                    _ => Found::Complete(Box::new(manifest), record),
                })
            }
            (None, Some(record)) if record.status == RunState::Loaded => {
                if self.is_file_of(&record, csv) {
                    return Ok(Found::Loaded(record));
                }
                Err(renumbered(&record, &format!("did not write `{csv}`")))
            }
            (None, _) if !accept_unverified => Err(Error::new(
                ErrorKind::Data,
                format!("`{csv}` has no manifest: either its upload never finished, or a person made it"),
            )
            .with_hint("run `dwh run` to read its rows anew; load a file made by hand with `--accept-unverified`")),
            (None, record) => Ok(Found::ByHand(record)),
        }
    }

    /// A run that is loaded already: what is left to do is the move.
    async fn finish_loaded(&self, csv: &BlobKey, record: &RunRecord, run: &mut TableRun) -> Result<()> {
        describe_record(run, record);
        if let Some(manifest) = read_manifest(self.blobs.as_ref(), csv).await? {
            archive(self.blobs.as_ref(), &self.layout, &manifest).await?;
        }
        run.csv_path = Some(self.address(&self.layout.moved(csv, Folder::Processed)?));
        Ok(())
    }

    async fn record(&self, table: &TableConfig, run_id: RunId) -> Result<RunRecord> {
        self.record_of(table, run_id).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the run log has no run {run_id} of this table"))
                .with_hint("`dwh runs` lists the runs; leave `run_id` out for a file made by hand")
        })
    }

    /// Refuses a CSV of a backfill while an earlier ordinary one waits: loaded later, that would count as older than
    /// bronze, though it holds newer versions of rows that the backfill has not read.
    async fn must_be_next(&self, table: &TableConfig, state: &TableState, manifest: &Manifest) -> Result<()> {
        if manifest.kind.moves_watermark() && manifest.kind != RunKind::File {
            return Ok(());
        }
        let Some(waiting) = self.first_waiting(table, state).await?.filter(|waiting| *waiting < manifest.run_id) else {
            return Ok(());
        };
        let run_id = manifest.run_id;
        Err(Error::new(
            ErrorKind::Contract,
            format!("run {run_id} is a {}, and run {waiting} waits before it", manifest.kind),
        )
        .with_hint(format!("`dwh recover {}` loads both in their order", table.name)))
    }

    /// Loads a complete CSV under the lease, in the place that the chain of windows gives it.
    pub(super) async fn load_manifest(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        manifest: &Manifest,
        record: &RunRecord,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let csv = manifest.csv.clone();
        self.load_file(table, state, (&csv, manifest), record, run, cancel).await
    }

    /// The same for a CSV that may lie in `processed/` already.
    pub(super) async fn load_file(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        (csv, manifest): (&BlobKey, &Manifest),
        record: &RunRecord,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        check_manifest(table, manifest, record)?;
        self.judge_csv(table, state, manifest).await?;
        self.enter_loading(manifest, record).await?;
        run.status = RunState::Loading;
        describe_manifest(run, manifest, Some(self.address(csv)));
        let (load, place, becomes) = self.plan_manifest(table, state, manifest).await?;
        let keys = self.keys_after(table, manifest, place.older()).await?;
        let request = StageRequest::new(&load, self.stored_csv(csv, manifest)).of(record.run_id, state).beside(keys);
        let mut staged = tokio::select! {
            staged = self.sink.stage(request) => staged?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        if load.keys.is_some() {
            staged.gone(0).await?;
        }
        let commit = Commit::of(record.run_id, Some(manifest.rows), state.clone())
            .becoming(becomes)
            .knowing(still_known(state, manifest));
        *state = self.commit(staged, commit, run).await?;
        if place == Place::Superseded {
            self.warn(
                &table.name,
                &format!(
                    "run {} is older than the copy that bronze holds: its CSV is archived, its rows are not wanted",
                    record.run_id
                ),
            );
        }
        let moved = archive(self.blobs.as_ref(), &self.layout, manifest).await?;
        run.csv_path = Some(self.address(&moved.csv));
        Ok(())
    }

    /// How a complete CSV is loaded on top of `state`, what that means for the table, and its watermark row afterwards if
    /// that moves.
    async fn plan_manifest(
        &self,
        table: &TableConfig,
        state: &TableState,
        manifest: &Manifest,
    ) -> Result<(LoadPlan, Place, Option<TableState>)> {
        must_serve(table, manifest)?;
        let place = Standing::from(state).place(&Link::from(manifest));
        let mut load = manifest.load_plan(place.older()).as_configured(table);
        load.allow_empty = table.allow_empty || self.allow_empty;
        let mut later = FirstCsvs::default();
        if place.older() && load.mode == Mode::Incremental {
            let after = Some(manifest.run_id);
            let mut others = self.held(table, Folder::Processed, after).await?.complete;
            load.overruled = Self::overruled(manifest.run_id, &others);
            // A newer one may have been loaded, and its move cut off.
            others.extend(self.held(table, Folder::Exports, after).await?.complete);
            load.former_keys = former_keys_of(table, manifest, &others);
            later = FirstCsvs::of(others.values().map(|(_, other)| other));
        } else {
            load.former_keys = former_keys_of(table, manifest, &Archived::new());
        }
        if load.older {
            self.judge_older_file(table, manifest.run_id, &mut load).await?;
        }
        let bronze = self.sink.describe(&load.target).await?;
        if let Some(bronze) = &bronze {
            load = manifest.compared(load, bronze)?;
            if load.mode == Mode::Incremental && load.keys.is_none() {
                let newer = (manifest.run_id, &later);
                load.filled = self.came_later(table, &load, bronze, state.delivered(), newer).await?;
            }
        }
        if let Some(bronze) = bronze.as_ref().filter(|_| place.moves()) {
            load.missing = Missing::of(table, &load.columns, bronze, state.delivered());
        }
        load.check_columns(bronze.as_ref())?;
        bronze.as_ref().map_or(Ok(()), |bronze| load.check_definitions(bronze))?;
        let becomes = after(state, manifest, place, &load.missing.kept);
        Ok((load, place, becomes))
    }

    /// Brings the run log to `loading` from wherever the run stopped.
    pub(super) async fn enter_loading(&self, manifest: &Manifest, record: &RunRecord) -> Result<()> {
        let run_id = record.run_id;
        let upload = Box::new(self.upload_of(&manifest.csv, manifest));
        match record.status {
            // The manifest is the proof that the upload was complete, though the log was not told.
            RunState::Extracting => drop(self.sink.log(LogEntry::Uploaded(upload.clone())).await?),
            RunState::Loading => {
                let message = "the process ended before the load was committed".to_owned();
                self.sink.log(LogEntry::Failed { run_id, message, kind: None }).await?;
            }
            RunState::Uploaded | RunState::Failed | RunState::Loaded => {}
        }
        // A run that failed before the log was told of its upload has an empty row otherwise.
        self.sink.log(LogEntry::Loading { run_id, upload: Some(upload) }).await.map(drop)
    }

    /// The CSV of a manifest, unpacked, ending in an error unless every byte is the one that was written; each opening reads
    /// it from the store anew.
    ///
    /// `csv` says in which folder it is: a manifest keeps the name that the CSV had in `exports/`.
    pub(crate) fn stored_csv(&self, csv: &BlobKey, manifest: &Manifest) -> Arc<dyn Body> {
        self.stored(csv, (manifest.bytes, manifest.sha256.clone()), manifest.stored.clone())
    }

    /// The same of a CSV without a manifest; `plain` are bytes and SHA-256 of what is unpacked.
    pub(super) fn stored(&self, csv: &BlobKey, plain: (u64, String), form: Option<StoredForm>) -> Arc<dyn Body> {
        Arc::new(StoredCsv { blobs: Arc::clone(&self.blobs), csv: csv.clone(), plain, form })
    }
}

/// A CSV in the blob store.
struct StoredCsv {
    blobs: Arc<dyn BlobStore>,
    csv: BlobKey,
    /// Bytes and SHA-256, unpacked.
    plain: (u64, String),
    form: Option<StoredForm>,
}

impl Body for StoredCsv {
    fn open(&self) -> ByteStream {
        let (blobs, csv, form) = (Arc::clone(&self.blobs), self.csv.clone(), self.form.clone());
        let (bytes, sha256) = self.plain.clone();
        let opened = async move {
            let (blob, name) = (blobs.get(&csv).await?, csv.to_string());
            let plain = match form {
                Some(form) => {
                    let stored = verified(blob.body, name.clone(), form.bytes, form.sha256);
                    decode(stored, form.compression, name.clone())
                }
                None => blob.body,
            };
            Ok(verified(plain, name, bytes, sha256))
        };
        stream::once(opened).try_flatten().boxed()
    }
}

/// A manifest comes from outside: it must be of this table and of this very run, and the run log's word goes before its
/// own.
fn check_manifest(table: &TableConfig, manifest: &Manifest, record: &RunRecord) -> Result<()> {
    let differs = |what: &str| {
        Err(Error::new(ErrorKind::Data, format!("manifest of `{}`: its {what} is not what the run log says of run {}", manifest.csv, record.run_id))
            .with_hint(format!(
                "nothing was moved or loaded; pass on exactly the JSON that `dwh extract` printed. If the target was restored \
                 from a backup, or the file changed: `dwh recover {}` tells what it is and what to do",
                table.name
            )))
    };
    if manifest.table != table.name {
        return differs("table");
    }
    let theirs = RunIdentity::from(manifest);
    if let Some(what) = theirs.differs(&identity(record)) {
        return differs(what);
    }
    if record.rows_extracted.is_some_and(|rows| u64::try_from(rows) != Ok(manifest.rows)) {
        return differs("number of rows");
    }
    Ok(())
}

fn of_a_resync(table: &TableConfig, manifest: &Manifest) -> Error {
    let (csv, kind, name) = (&manifest.csv, manifest.kind, &table.name);
    Error::new(ErrorKind::Contract, format!("`{csv}` is of a {kind}, which comes into bronze as a whole"))
        .with_hint(format!("`dwh resync {name}`, or the next `dwh run {name}`, goes on with it"))
}

fn renumbered(record: &RunRecord, what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("run {} of the run log {what}", record.run_id)).with_hint(
        "nothing was moved or loaded; pass on exactly the JSON that `dwh extract` printed. If the target was restored from \
         a backup since, `dwh recover` tells what each file is",
    )
}
