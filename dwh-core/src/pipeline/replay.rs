//! `replay`: the CSV files of a table in `processed/`, loaded once more. The watermark stays where it is, and an older
//! CSV never overwrites newer rows.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobKey, Folder, Manifest, read_manifest};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::run::{failed, finite, named};
use crate::pipeline::transfer::interrupted;
use crate::pipeline::{Event, Pipeline, RunReport, TableRun, WindowReport};
use crate::plan::{LoadPlan, Missing};
use crate::run::{RunId, RunKind, RunState};
use crate::schema::Delivered;
use crate::sink::{Commit, LogEntry, TableState, Upload};
use crate::watermark::Timestamp;

/// Complete CSV files, by run.
pub(super) type Archived = BTreeMap<RunId, (BlobKey, Manifest)>;

/// A store answers after a while, and there may be thousands.
const MANIFESTS_AT_ONCE: usize = 16;

/// What `replay` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ReplayRequest {
    /// The table's name in the configuration.
    pub table: String,
    /// Only CSV files with rows from here on; `None`: from the first.
    pub from: Option<Timestamp>,
    /// Only CSV files with rows up to here; `None`: to the last.
    pub to: Option<Timestamp>,
    /// Wait if another run holds the table, instead of failing with `Locked`.
    pub wait: bool,
    /// Only tell what would be loaded.
    pub dry_run: bool,
}

impl ReplayRequest {
    /// All CSV files of a table, loaded again.
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), ..Self::default() }
    }
}

/// A CSV that `replay` chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ReplayCsv {
    /// Its address.
    pub csv_path: String,
    /// The run that wrote it.
    pub run_id: RunId,
    /// When that run began.
    pub run_started_at: Timestamp,
    /// Its window; `null` for a table that is read whole.
    pub window: Option<WindowReport>,
    /// Its rows.
    pub rows: u64,
    /// Its bytes, uncompressed.
    pub bytes: u64,
}

/// What `replay` did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ReplayReport {
    /// The table's name in the configuration.
    pub table: String,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The CSV files, in the order in which they are loaded.
    pub csvs: Vec<ReplayCsv>,
    /// The loads, each a run of its own; the last one failed if there are fewer than CSV files.
    pub runs: Vec<TableRun>,
}

impl ReplayReport {
    /// 0 if every load went well; otherwise the code of the one that did not.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        RunReport { runs: self.runs.clone() }.exit_code()
    }
}

impl Pipeline {
    /// Loads the CSV files of a table in `processed/` again, in the order of their runs: those whose window meets the
    /// range; of a snapshot only the newest, since each replaces the one before.
    ///
    /// Each is verified against its manifest and committed on its own, as a run of kind `replay`. Rows that are there
    /// already are left alone, so it may be repeated. One that fails stops it; what was loaded before stays.
    ///
    /// # Errors
    /// `Config` for a table that is not there; `Locked`; `NotFound` if no CSV meets the range. What went wrong with a
    /// single CSV stands in its run.
    pub async fn replay(&self, request: &ReplayRequest, cancel: &CancellationToken) -> Result<ReplayReport> {
        let table = self.config.table(&request.table)?;
        let mut report =
            ReplayReport { table: table.name.clone(), dry_run: request.dry_run, csvs: Vec::new(), runs: Vec::new() };
        let lease = self.lease(table, request.wait, cancel).await?;
        let mut state = lease.state().clone();
        let chosen = self.chosen(table, request).await?;
        report.csvs = chosen.iter().map(|(csv, manifest)| self.describe_csv(csv, manifest)).collect();
        for (csv, manifest) in chosen.iter().filter(|_| !request.dry_run) {
            let started = Instant::now();
            let mut run = TableRun::new(&table.name, table.mode);
            let done = self.replay_csv(table, csv, manifest, &mut state, &mut run, cancel).await;
            if let Err(error) = &done {
                let error = named(Error::new(error.kind(), error.chain()).with_hint(error.hint()), &table.name);
                self.log_failure(&mut run, &error).await;
                run = failed(run, &error);
            }
            run.seconds.total = started.elapsed().as_secs_f64();
            (self.observer)(&Event::RunFinished(Box::new(run.clone())));
            report.runs.push(run);
            if done.is_err() {
                return Ok(report);
            }
        }
        lease.release().await.map(|()| report)
    }

    async fn chosen(&self, table: &TableConfig, request: &ReplayRequest) -> Result<Vec<(BlobKey, Manifest)>> {
        let (archived, doubled) = self.archived(table).await?;
        for csv in doubled {
            self.warn(&table.name, &format!("`{csv}` is left out: a later run bears the same number"));
        }
        let newest = archived.keys().next_back().copied();
        let wanted = |manifest: &Manifest| {
            let only = manifest.mode != Mode::Snapshot || Some(manifest.run_id) == newest;
            only && meets(manifest, request.from, request.to)
        };
        let chosen: Vec<_> = archived.into_values().filter(|(_, manifest)| wanted(manifest)).collect();
        if chosen.is_empty() {
            let folder = self.layout.prefix(Folder::Processed, &table.name);
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("table `{}`: no CSV in `{}/{folder}` meets the range", table.name, self.blobs.url()),
            )
            .with_hint("leave `--from` and `--to` out for all of them; `dwh backfill` reads from the source instead"));
        }
        Ok(chosen)
    }

    /// The complete CSV files in `processed/`, by run; and those that are left out because a later one bears the same
    /// number, which happens when a run log begins anew beside older files.
    pub(super) async fn archived(&self, table: &TableConfig) -> Result<(Archived, Vec<BlobKey>)> {
        let keys = self.keys(table, Folder::Processed).await?;
        let complete: Vec<BlobKey> =
            keys.iter().filter(|key| key.is_csv() && keys.contains(&key.manifest())).cloned().collect();
        let mut manifests = stream::iter(complete)
            .map(|key| async move { Ok((read_manifest(self.blobs.as_ref(), &key).await?, key)) })
            .buffered(MANIFESTS_AT_ONCE);
        let (mut found, mut doubled) = (Archived::new(), Vec::new());
        while let Some((manifest, key)) = manifests.try_next().await? {
            let Some(manifest) = manifest else { continue };
            match found.get(&manifest.run_id) {
                Some((_, other)) if other.run_started_at > manifest.run_started_at => doubled.push(key),
                _ => doubled.extend(found.insert(manifest.run_id, (key, manifest)).map(|(key, _)| key)),
            }
        }
        Ok((found, doubled))
    }

    async fn replay_csv(
        &self,
        table: &TableConfig,
        csv: &BlobKey,
        manifest: &Manifest,
        state: &mut TableState,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let begin = LogEntry::Begin { table: table.name.clone(), mode: manifest.mode, kind: RunKind::Replay };
        let run_id = self.sink.log(begin).await?.run_id;
        run.run_id = Some(run_id);
        run.rows_extracted = manifest.rows;
        run.bytes = manifest.bytes;
        run.sha256 = Some(manifest.sha256.clone());
        run.csv_path = Some(self.address(csv));
        run.window = window_of(manifest);
        let upload = Upload { run_id, ..self.upload_of(csv, manifest) };
        self.sink.log(LogEntry::Uploaded(Box::new(upload))).await?;
        self.sink.log(LogEntry::Loading { run_id, upload: None }).await?;
        run.status = RunState::Loading;
        // The newest snapshot replaces whatever bronze holds; of rows, none that is there is replaced.
        let older = manifest.mode != Mode::Snapshot;
        let load = self.load_again(table, manifest, older, state.delivered()).await?;
        let bytes = self.open_csv(csv, manifest).await?;
        let staged = tokio::select! {
            staged = self.sink.stage(&load, bytes) => staged?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        *state = self.commit(staged, Commit::of(run_id, Some(manifest.rows), state.clone()), run).await?;
        Ok(())
    }

    /// How a CSV of any age is loaded into bronze as it is now.
    ///
    /// An older CSV of an incremental table lacks columns that came later, and that takes nothing from bronze; a snapshot
    /// replaces every row, and must not lose what `before` says was loaded.
    pub(super) async fn load_again(
        &self,
        table: &TableConfig,
        manifest: &Manifest,
        older: bool,
        before: Delivered<'_>,
    ) -> Result<LoadPlan> {
        let mut load = manifest.load_plan(older);
        load.target.clone_from(&table.target);
        // It was loaded before, so somebody allowed it then.
        load.allow_empty = true;
        let bronze = self.sink.describe(&load.target).await?;
        if let Some(bronze) = &bronze {
            load = load.with_types_of(bronze);
            if manifest.mode == Mode::Snapshot {
                load.missing = Missing::of(table, &load.columns, bronze, before);
            }
        }
        load.check_columns(bronze.as_ref())?;
        Ok(load)
    }

    /// What the run log says of a complete CSV.
    pub(super) fn upload_of(&self, csv: &BlobKey, manifest: &Manifest) -> Upload {
        Upload {
            run_id: manifest.run_id,
            csv_path: Some(self.address(csv)),
            rows: manifest.rows,
            late_rows: manifest.late_rows,
            bytes: manifest.bytes,
            sha256: manifest.sha256.clone(),
            window: manifest.window,
            bound: manifest.bound.clone(),
        }
    }

    fn describe_csv(&self, csv: &BlobKey, manifest: &Manifest) -> ReplayCsv {
        ReplayCsv {
            csv_path: self.address(csv),
            run_id: manifest.run_id,
            run_started_at: manifest.run_started_at,
            window: window_of(manifest),
            rows: manifest.rows,
            bytes: manifest.bytes,
        }
    }
}

fn window_of(manifest: &Manifest) -> Option<WindowReport> {
    manifest.window.map(|window| WindowReport { from: finite(window.low), to: window.high })
}

/// Whether the CSV can have rows of the range. Its window begins above its low end; late rows may lie below, and their
/// CSV meets every range that ends before the window does. A CSV without a window is dated by its run.
fn meets(manifest: &Manifest, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    let (low, high) = match manifest.window {
        Some(window) if manifest.late_rows > 0 => (Timestamp::NEG_INFINITY, window.high.unwrap_or(Timestamp::INFINITY)),
        Some(window) => (window.low, window.high.unwrap_or(Timestamp::INFINITY)),
        None => (manifest.run_started_at.minus(crate::watermark::Micros(1)), manifest.run_started_at),
    };
    from.is_none_or(|from| high >= from) && to.is_none_or(|to| low < to)
}
