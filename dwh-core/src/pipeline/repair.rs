//! `repair`: windows of bronze that become equal to the source, each by a run whose CSV stands for its window alone.
//!
//! A row that bronze alone has in the window is removed only if the source has its key nowhere: it may lie in another
//! window by now, or above the watermark, and then it stays until the CSV that has it is loaded. The manifest names those
//! keys, so that a rebuild ends with the same rows.

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::blob::transform::Encoded;
use crate::blob::{Manifest, StoredForm, write_manifest};
use crate::chain::{Link, Replaced, overruling};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::archived::Archived;
use crate::pipeline::describe::finite;
use crate::pipeline::failure::{failed, interrupted, named, or_stopped, told};
use crate::pipeline::transfer::{Extracted, Slice};
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind};
use crate::schema::RowKey;
use crate::sink::{StageRequest, Staged};
use crate::spool::Spool;
use crate::watermark::Window;

/// Rows of one window that may have moved elsewhere: their keys stand in a manifest.
const SPARES_MAX: usize = 100_000;

/// What becomes of the rows that bronze has in a window and the CSV has not.
pub(super) struct Spared {
    /// Keys of those that stay.
    pub spares: Vec<RowKey>,
    /// How many go.
    removed: usize,
}

impl Pipeline {
    /// A repair of a window in which the source has no row. If it removes rows, it must leave a CSV, though of no rows.
    pub(super) async fn only_remove(
        &self,
        slice: &Slice,
        load: &LoadPlan,
        spool: &Spool,
        mut extracted: Extracted,
    ) -> Result<Extracted> {
        let manifest = &mut extracted.manifest;
        let mut staged = self.sink.stage(StageRequest::new(load, Arc::new(spool.clone()))).await?;
        let spared = self.spare(slice, manifest, staged.as_mut()).await?;
        if spared.removed > 0 {
            let compression = self.config.blob.compression;
            let body = Encoded::new(spool.clone(), compression);
            self.blobs.put(&manifest.csv, &body).await?;
            manifest.spares = spared.spares;
            manifest.stored = body.sent().map(|(bytes, sha256)| StoredForm { compression, bytes, sha256 });
            manifest.before = self.before(&slice.plan.table, &slice.state, slice.kind).await;
            write_manifest(self.blobs.as_ref(), manifest).await?;
            extracted.stored = true;
        }
        extracted.staged = Some(Ok(staged));
        Ok(extracted)
    }

    /// Before the manifest of a repair is written: the keys that bronze has in the window, that the CSV has not, and that
    /// the source has elsewhere. They stay.
    ///
    /// # Errors
    /// `Data` if the window is empty at the source, bronze has rows there, and nobody allowed that.
    pub(super) async fn spare(&self, slice: &Slice, manifest: &Manifest, staged: &mut dyn Staged) -> Result<Spared> {
        let table = &slice.plan.table;
        let source = self.source(table)?;
        let (mut spares, mut removed) = (Vec::new(), 0_usize);
        loop {
            let keys = staged.extra().await?;
            if keys.is_empty() {
                break;
            }
            let there = source.has_keys(&slice.plan, &keys).await?;
            let before = spares.len();
            removed += keys.len();
            spares.extend(keys.into_iter().zip(there).filter_map(|(key, there)| there.then_some(key)));
            removed -= spares.len() - before;
            if spares.len() > SPARES_MAX {
                return Err(many_moved(table));
            }
        }
        let allowed = table.allow_empty || self.allow_empty || removed == 0;
        if !allowed && self.is_empty_at_source(slice, manifest).await? {
            return Err(emptied(table, manifest, removed));
        }
        staged.spare(&spares);
        Ok(Spared { spares, removed })
    }

    /// Whether the source has no row in the window; one without a time, which every first window holds, is no sign of life.
    async fn is_empty_at_source(&self, slice: &Slice, manifest: &Manifest) -> Result<bool> {
        let Some(Window { low, high: Some(high), .. }) = manifest.window else { return Ok(manifest.rows == 0) };
        if manifest.rows == 0 || low.is_finite() || !high.is_finite() {
            return Ok(manifest.rows == 0);
        }
        let first = self.source(&slice.plan.table)?.earliest(&slice.plan, low).await?;
        Ok(first.is_none_or(|first| first > high))
    }

    /// The windows of a table that CSV files newer than `run` stand for alone.
    pub(super) fn overruled(run: RunId, archived: &Archived) -> Vec<Replaced> {
        let links: Vec<Link> = archived.values().map(|(_, manifest)| Link::from(manifest)).collect();
        let manifests = overruling(run, &links).filter_map(|link| archived.get(&link.run_id()));
        manifests.filter_map(|(_, manifest)| manifest.replaced()).collect()
    }

    /// Makes a table equal that differs in these windows; one that is read whole is run, and one that cannot go on begins
    /// anew. The last run failed if anything did.
    pub(crate) async fn repair_table(
        &self,
        table: &TableConfig,
        windows: &[Window],
        wait: bool,
        allow_empty: bool,
        cancel: &CancellationToken,
    ) -> Vec<TableRun> {
        let this = Self { allow_empty: self.allow_empty || allow_empty, ..self.clone() };
        let mut runs = Vec::new();
        let done = async {
            if table.mode != Mode::Incremental {
                let numbered = this.number_above_files().await;
                runs = this.run_table(table, numbered.as_ref().map(|&()| &()), wait, cancel).await;
                return Ok(());
            }
            if let Some(report) = this.reseed_anew(table, wait, false, cancel).await? {
                runs = report.runs;
                return Ok(());
            }
            this.repair_windows(table, windows, wait, cancel, &mut runs).await
        };
        if let Err(error) = done.await
            && runs.last().is_none_or(|run| run.error.is_none())
        {
            runs.push(failed(TableRun::new(&table.name, table.mode), &named(error, &table.name)));
        }
        runs
    }

    /// Reads these windows of a table again, each in the place of what bronze has there, up to the first one that fails.
    /// What earlier runs left is loaded first. An error that belongs to a run is in its report.
    async fn repair_windows(
        &self,
        table: &TableConfig,
        windows: &[Window],
        wait: bool,
        cancel: &CancellationToken,
        runs: &mut Vec<TableRun>,
    ) -> Result<()> {
        self.number_above_files().await?;
        for window in windows {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let lease = self.lease(table, wait, cancel).await?;
            let mut state = lease.state().clone();
            or_stopped(cancel, self.judge(table, &state)).await?;
            self.recover_table(table, &mut state, runs, cancel).await?;
            let mut added = Vec::new();
            let plan = or_stopped(cancel, self.plan_to_load(table, &state, &mut added)).await?;
            plan.load(false).check_stamp()?;
            let run = self.load_window(&plan, repairing(table), *window, &state, cancel).await;
            let run = TableRun { columns_added: added, ..run };
            let failure = run.error.is_some();
            runs.push(self.ended(run));
            if failure {
                return Err(told());
            }
            lease.release().await?;
        }
        Ok(())
    }
}

/// Where each version of a row stays, what is missing is added, and nothing is removed.
fn repairing(table: &TableConfig) -> RunKind {
    if table.is_appended() { RunKind::Backfill } else { RunKind::Repair }
}

fn emptied(table: &TableConfig, manifest: &Manifest, removed: usize) -> Error {
    let window = manifest.window;
    let from = window.and_then(|window| finite(window.low)).map_or_else(String::new, |low| format!(" after {low}"));
    let to = window.and_then(|window| window.high).map_or_else(String::new, |high| format!(" up to {high}"));
    Error::new(
        ErrorKind::Data,
        format!(
            "table `{}`: the source has no row{from}{to}, and {removed} rows of {} would be removed",
            table.name, table.target
        ),
    )
    .with_hint(
        "nothing was changed; if the source removes old rows and bronze must keep them, leave this window as it is. If they \
         were deleted on purpose: call it again with `--allow-empty`, or set `allow_empty = true`",
    )
}

fn many_moved(table: &TableConfig) -> Error {
    Error::new(
        ErrorKind::Contract,
        format!("table `{}`: more than {SPARES_MAX} rows of one window lie elsewhere at the source by now", table.name),
    )
    .with_hint(format!(
        "nothing was changed; `dwh run {0}` loads those that are new, `dwh reseed {0}` those of older windows; then call it again",
        table.name
    ))
}
