//! `load`: a CSV out of the blob store into bronze, whether an extract or a person put it there.

mod dry_run;

use tokio_util::sync::CancellationToken;

use crate::blob::transform::{decode, verified};
use crate::blob::{BlobKey, ByteStream, Folder, Manifest, archive, read_manifest};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::run::{describe_manifest, failed, named};
use crate::pipeline::transfer::interrupted;
use crate::pipeline::{Event, LoadParams, Pipeline, TableRun};
use crate::plan::{LoadPlan, Missing};
use crate::run::{RunId, RunState};
use crate::sink::{Commit, LogEntry, RunFilter, RunRecord, TableState, Upload};
use crate::watermark::{BoundRule, Timestamp};

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
        let table = self.config.table(&params.table)?;
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
        (self.observer)(&Event::RunFinished(Box::new(run.clone())));
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
            Found::Complete(manifest, record) => {
                run.run_id = Some(record.run_id);
                run.status = record.status;
                self.load_manifest(table, state, &manifest, &record, run, cancel).await
            }
            Found::ByHand(record) => self.load_by_hand(table, state, csv, record, params.run_started_at, run).await,
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
        if let Some(record) = record.as_ref().filter(|record| record.status == RunState::Loaded) {
            return Ok(Found::Loaded(record.clone()));
        }
        match (read_manifest(self.blobs.as_ref(), csv).await?, record) {
            (Some(manifest), record) => {
                let record = match record {
                    Some(record) if record.run_id != manifest.run_id => return Err(other_run(csv, &manifest, &record)),
                    Some(record) => record,
                    None => self.record(table, manifest.run_id).await?,
                };
                Ok(match record.status {
                    RunState::Loaded => Found::Loaded(record),
                    _ => Found::Complete(Box::new(manifest), record),
                })
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
        let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        self.sink.runs(&filter).await?.pop().filter(|record| record.table_name == table.name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the run log has no run {run_id} of this table"))
                .with_hint("`dwh runs` lists the runs; leave `run_id` out for a file made by hand")
        })
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
        check_manifest(table, manifest, record)?;
        self.enter_loading(manifest, record).await?;
        run.status = RunState::Loading;
        describe_manifest(run, manifest, Some(self.address(&manifest.csv)));
        let (load, becomes) = self.plan_manifest(table, state, manifest).await?;
        let csv = self.open_csv(&manifest.csv, manifest).await?;
        let staged = tokio::select! {
            staged = self.sink.stage(&load, csv) => staged?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        let commit = Commit::of(record.run_id, Some(manifest.rows), state.clone()).becoming(becomes);
        *state = self.commit(staged, commit, run).await?;
        let moved = archive(self.blobs.as_ref(), &self.layout, manifest).await?;
        run.csv_path = Some(self.address(&moved.csv));
        Ok(())
    }

    /// How a complete CSV is loaded on top of `state`, and where the watermark row stands then if it moves.
    async fn plan_manifest(
        &self,
        table: &TableConfig,
        state: &TableState,
        manifest: &Manifest,
    ) -> Result<(LoadPlan, Option<TableState>)> {
        let mut becomes = follows(state, manifest);
        if becomes.is_none() && manifest.mode != Mode::Incremental {
            return Err(Error::new(
                ErrorKind::Data,
                format!("`{}` is older than the copy that bronze holds", manifest.csv),
            )
            .with_hint("nothing was loaded: the newer copy stays"));
        }
        let mut load = manifest.load_plan(state.is_newer_than(manifest.run_id));
        load.target.clone_from(&table.target);
        load.allow_empty = table.allow_empty || self.allow_empty;
        let bronze = self.sink.describe(&load.target).await?;
        if let Some(bronze) = bronze.as_ref().filter(|_| becomes.is_some()) {
            load.missing = Missing::of(table, &load.columns, bronze, state.delivered());
        }
        load.check_columns(bronze.as_ref())?;
        if let Some(becomes) = &mut becomes {
            becomes.note_columns(&load.missing.kept);
        }
        Ok((load, becomes))
    }

    /// Brings the run log to `loading` from wherever the run stopped.
    async fn enter_loading(&self, manifest: &Manifest, record: &RunRecord) -> Result<()> {
        let run_id = record.run_id;
        match record.status {
            // The manifest is the proof that the upload was complete, though the log was not told.
            RunState::Extracting => {
                let upload = Upload {
                    run_id,
                    csv_path: Some(self.address(&manifest.csv)),
                    rows: manifest.rows,
                    late_rows: manifest.late_rows,
                    bytes: manifest.bytes,
                    sha256: manifest.sha256.clone(),
                    window: manifest.window,
                    bound: manifest.bound.clone(),
                };
                self.sink.log(LogEntry::Uploaded(Box::new(upload))).await?;
            }
            RunState::Loading => {
                let message = "the process ended before the load was committed".to_owned();
                self.sink.log(LogEntry::Failed { run_id, message }).await?;
            }
            RunState::Uploaded | RunState::Failed | RunState::Loaded => {}
        }
        self.sink.log(LogEntry::Loading { run_id, upload: None }).await.map(drop)
    }

    /// The CSV of a manifest, unpacked, ending in an error unless every byte is the one that was written.
    ///
    /// `csv` says in which folder it is: a manifest keeps the name that the CSV had in `exports/`.
    pub(super) async fn open_csv(&self, csv: &BlobKey, manifest: &Manifest) -> Result<ByteStream> {
        let blob = self.blobs.get(csv).await?;
        let name = csv.to_string();
        let Some(form) = &manifest.stored else {
            return Ok(verified(blob.body, name, manifest.bytes, manifest.sha256.clone()));
        };
        let stored = verified(blob.body, name.clone(), form.bytes, form.sha256.clone());
        Ok(verified(decode(stored, form.compression), name, manifest.bytes, manifest.sha256.clone()))
    }
}

/// What the run log says of a run that is loaded.
fn describe_record(run: &mut TableRun, record: &RunRecord) {
    let count = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
    run.run_id = Some(record.run_id);
    run.status = RunState::Loaded;
    run.rows_extracted = count(record.rows_extracted);
    run.rows_loaded = count(record.rows_loaded);
    run.rows_inserted = count(record.rows_inserted);
    run.rows_updated = count(record.rows_updated);
    run.rows_identical = count(record.rows_identical);
    run.rows_different = count(record.rows_different);
    run.rows_kept_newer = count(record.rows_kept_newer);
    run.bytes = count(record.bytes);
    run.sha256.clone_from(&record.sha256);
    run.watermark = record.watermark;
}

/// Where the watermark row stands once this CSV is loaded on top of `state`; `None` when the CSV is older than that,
/// or is a part of a backfill, which leaves the watermark as it is.
///
/// Everything at or below the stored watermark is in bronze. The CSV holds everything above its own lower end, as its
/// snapshot saw it. So it continues the chain when its window begins at or below the stored watermark and ends at or
/// above it, and its snapshot is no older than the one that was loaded last.
fn follows(state: &TableState, manifest: &Manifest) -> Option<TableState> {
    if !manifest.kind.moves_watermark() || state.last_run_id.is_some_and(|last| last > manifest.run_id) {
        return None;
    }
    let (low, watermark) = match manifest.window {
        Some(window) => (window.low, window.watermark),
        None => (Timestamp::NEG_INFINITY, manifest.run_started_at),
    };
    if low > state.low() || (watermark.is_finite() && watermark < state.low()) {
        return None;
    }
    Some(after(state, manifest))
}

/// The watermark row once this CSV is loaded and moves it.
pub(super) fn after(state: &TableState, manifest: &Manifest) -> TableState {
    let (watermark, high) = match manifest.window {
        Some(window) => (window.watermark, window.high),
        None => (manifest.run_started_at, None),
    };
    let snapshot = manifest.snapshot.as_ref();
    let undrained = match manifest.bound.as_ref().map(|bound| &bound.rule) {
        Some(BoundRule::NotDrained(open)) => Some(open.clone()),
        _ => None,
    };
    let mut becomes = TableState {
        last_extracted_at: if watermark.is_finite() { Some(watermark) } else { state.last_extracted_at },
        snapshot_xmin: snapshot.map(|snapshot| snapshot.xmin),
        read_high: high,
        system_identifier: snapshot.map(|snapshot| snapshot.identity.system_identifier.clone()),
        timeline: snapshot.map(|snapshot| snapshot.identity.timeline),
        source_clock: state.source_clock.max(manifest.bound.as_ref().map(|bound| bound.source_clock)),
        undrained,
        relations: snapshot.and_then(|snapshot| snapshot.relations.clone()).or_else(|| state.relations.clone()),
        ..state.clone()
    };
    becomes.note_columns(&manifest.columns);
    becomes
}

/// A manifest comes from outside: it must be about this table, and the run log's word goes before its own.
fn check_manifest(table: &TableConfig, manifest: &Manifest, record: &RunRecord) -> Result<()> {
    let differs = |what: &str| {
        Err(Error::new(ErrorKind::Data, format!("manifest of `{}`: its {what} is not what the run log says", manifest.csv))
            .with_hint("the file was changed or replaced; nothing was loaded. Put the right one back, or remove both files and run again"))
    };
    if manifest.table != table.name {
        return differs("table");
    }
    if record.sha256.as_ref().is_some_and(|sha256| *sha256 != manifest.sha256) {
        return differs("sha256");
    }
    if record.rows_extracted.is_some_and(|rows| u64::try_from(rows) != Ok(manifest.rows)) {
        return differs("number of rows");
    }
    Ok(())
}

/// The error of a load with the way out of it: a CSV that is never loaded would keep its table waiting for ever.
pub(super) fn with_way_out(error: Error, run: &TableRun) -> Error {
    use ErrorKind::{Contract, Data, Drift, NotFound, Permission};
    let stuck = run.csv_path.is_some() && matches!(run.status, RunState::Uploaded | RunState::Loading);
    let Some(run_id) =
        run.run_id.filter(|_| stuck && matches!(error.kind(), Data | Contract | Drift | Permission | NotFound))
    else {
        return error;
    };
    let hint = format!("{}\nif this CSV can never be loaded: `dwh recover --set-aside {run_id}`", error.hint());
    error.with_hint(hint)
}

fn other_run(csv: &BlobKey, manifest: &Manifest, record: &RunRecord) -> Error {
    Error::new(ErrorKind::Data, format!("`{csv}` belongs to run {}, not to run {}", manifest.run_id, record.run_id))
        .with_hint("pass on exactly the JSON that `dwh extract` printed")
}
