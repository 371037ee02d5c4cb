//! The end of a run, once its CSV is complete: rows and watermark are committed together, then the CSV is archived.

use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::{Archived, Manifest, archive_read};
use crate::error::Result;
use crate::pipeline::describe::{describe_manifest, finite};
use crate::pipeline::failure::interrupted;
use crate::pipeline::links::still_known;
use crate::pipeline::transfer::{Extracted, ReadingBack, Slice, Staging, staged, stopped};
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunState};
use crate::sink::{Accounting, Commit, Committed, LogEntry, Staged, TableState, Upload};

impl Pipeline {
    /// The rest of a run, once its CSV is complete.
    pub(super) async fn load_extracted(
        &self,
        slice: Slice,
        extracted: Extracted,
        state: &mut TableState,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<Manifest> {
        let Extracted { manifest, becomes, staged, stored, read_back } = extracted;
        let known = still_known(&slice.state, &manifest);
        let load = slice.load();
        let commit = Commit::of(slice.record.run_id, Some(manifest.rows), slice.state);
        let commit = commit.becoming(becomes).knowing(known);
        let Some(staged) = staged else {
            return self.load_nothing(&load, &manifest, commit, state, run).await.map(|()| manifest);
        };
        // Of the others the log was told while they were staged.
        let unlogged = manifest.kind.stages_first();
        if unlogged {
            self.record_upload(&manifest, stored, run).await?;
        }
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        if unlogged {
            self.log_load(commit.run_id).await?;
        }
        run.status = RunState::Loading;
        let staged = staged?;
        if !manifest.kind.moves_watermark() {
            run.watermark = finite(state.low());
        }
        *state = self.commit(staged, commit, run).await?;
        if stored {
            let started = Instant::now();
            let moved = self.archive(&manifest, read_back).await?;
            run.csv_path = Some(self.address(&moved.csv));
            run.seconds.archive = started.elapsed().as_secs_f64();
        }
        Ok(manifest)
    }

    /// The staged rows of a CSV that is complete; the log is told so, and that its load has begun, while they are on their way.
    pub(super) async fn staged_and_logged(
        &self,
        manifest: &Manifest,
        stage: Staging,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<Result<Box<dyn Staged>>> {
        let logged = async {
            self.log_upload(manifest, true).await?;
            self.log_load(manifest.run_id).await
        };
        let (logged, staged) = tokio::join!(logged, staged(stage, run, cancel));
        self.tell_upload(manifest, true, run);
        logged?;
        staged
    }

    /// Archives a CSV whose run is loaded, and which may have been read meanwhile. What went wrong with that shows up again.
    async fn archive(&self, manifest: &Manifest, reading: Option<ReadingBack>) -> Result<Archived> {
        let read = match reading {
            Some(reading) => reading.await.map_err(stopped)?.ok(),
            None => None,
        };
        archive_read(self.blobs.as_ref(), &self.layout, manifest, read).await
    }

    /// Says in the log and in the report that a CSV is complete.
    pub(super) async fn record_upload(&self, manifest: &Manifest, stored: bool, run: &mut TableRun) -> Result<()> {
        self.tell_upload(manifest, stored, run);
        self.log_upload(manifest, stored).await
    }

    fn tell_upload(&self, manifest: &Manifest, stored: bool, run: &mut TableRun) {
        describe_manifest(run, manifest, stored.then(|| self.address(&manifest.csv)));
        run.status = RunState::Uploaded;
    }

    async fn log_upload(&self, manifest: &Manifest, stored: bool) -> Result<()> {
        let csv_path = stored.then(|| self.address(&manifest.csv));
        let upload = Upload { csv_path, ..self.upload_of(&manifest.csv, manifest) };
        self.sink.log(LogEntry::Uploaded(Box::new(upload))).await.map(drop)
    }

    async fn log_load(&self, run_id: RunId) -> Result<()> {
        self.sink.log(LogEntry::Loading { run_id, upload: None }).await.map(drop)
    }

    /// Ends a run that found no row: the watermark moves all the same.
    pub(super) async fn load_nothing(
        &self,
        load: &LoadPlan,
        manifest: &Manifest,
        commit: Commit,
        state: &mut TableState,
        run: &mut TableRun,
    ) -> Result<()> {
        let started = Instant::now();
        describe_manifest(run, manifest, None);
        let upload = Upload { csv_path: None, ..self.upload_of(&manifest.csv, manifest) };
        let moves = commit.becomes.is_some();
        let Committed { counts, state: now, .. } = self.sink.load_nothing(load, upload, commit).await?;
        run.seconds.commit = started.elapsed().as_secs_f64();
        run.status = RunState::Loaded;
        tell_counts(run, &counts);
        if moves {
            run.watermark = now.last_extracted_at;
        } else if !manifest.kind.moves_watermark() {
            run.watermark = finite(now.low());
        }
        *state = now;
        Ok(())
    }

    /// Commits staged rows and puts the counts into the report; returns the watermark row as it stands now.
    pub(super) async fn commit(
        &self,
        staged: Box<dyn Staged>,
        commit: Commit,
        run: &mut TableRun,
    ) -> Result<TableState> {
        let started = Instant::now();
        let moves = commit.becomes.is_some();
        let Committed { counts, routing, state } = staged.commit(commit).await?;
        run.seconds.commit = started.elapsed().as_secs_f64();
        run.status = RunState::Loaded;
        tell_counts(run, &counts);
        (run.route, run.route_reason) = routing.map(|routing| (routing.route, routing.reason)).unzip();
        if moves {
            run.watermark = state.last_extracted_at;
        }
        Ok(state)
    }
}

/// Puts the account of a load into its report.
pub(super) fn tell_counts(run: &mut TableRun, counts: &Accounting) {
    run.rows_loaded = counts.inserted + counts.updated;
    run.rows_inserted = counts.inserted;
    run.rows_updated = counts.updated;
    run.rows_identical = counts.identical;
    run.rows_different = counts.different;
    run.rows_kept_newer = counts.kept_newer;
    run.rows_removed = counts.removed;
    run.rows_marked = counts.marked;
    run.rows_unmarked = counts.unmarked;
}
