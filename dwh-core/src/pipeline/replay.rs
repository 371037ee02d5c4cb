//! `replay`: the CSV files of a table in `processed/`, loaded once more. The watermark stays where it is, and an older
//! CSV never overwrites newer rows.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobKey, Folder, Manifest};
use crate::chain::{Link, Standing, replay_order, serves};
use crate::config::{Mode, OnConflict, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::archived::{
    Archived, FirstCsvs, GapReport, Lacks, PRUNED, READ_AGAIN, former_keys_of, lacking, whole_from,
};
use crate::pipeline::describe::{describe_manifest, window_report};
use crate::pipeline::failure::{failed, interrupted, named, repeated};
use crate::pipeline::links::reads_today;
use crate::pipeline::{Pipeline, RunReport, TableRun, WindowReport};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{Commit, LogEntry, StageRequest, TableState, Upload};
use crate::watermark::Timestamp;

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
    /// Go on with what there is, though CSV files that were loaded once are gone.
    pub accept_gaps: bool,
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
    /// What was loaded once in the range and is in no CSV any more.
    pub gaps: Vec<GapReport>,
    /// The CSV files, in the order in which they are loaded.
    pub csvs: Vec<ReplayCsv>,
    /// The loads, each a run of its own; the last one failed if there are fewer than CSV files.
    pub runs: Vec<TableRun>,
}

impl ReplayReport {
    /// 0 if every load went well; otherwise the code of the one that did not.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        RunReport { runs: self.runs.clone(), ..RunReport::default() }.exit_code()
    }
}

/// The CSV files of a replay, in their order.
struct Chosen {
    csvs: Vec<(BlobKey, Manifest)>,
    gaps: Vec<GapReport>,
    /// Whether bronze holds all rows up to the watermark once all of them are loaded.
    whole: bool,
    /// All that serve the table, in the range or not.
    serving: Archived,
    /// Which of those brought each column first.
    first: FirstCsvs,
}

impl Pipeline {
    /// Loads the CSV files of a table in `processed/` again: those whose window meets the range; of a snapshot only the
    /// newest, since each replaces the one before. No row that is there is replaced, so the CSV comes first that decides
    /// what its rows are like, and each adds what is missing; what a repair removed since stays away.
    ///
    /// Each is verified against its manifest and committed on its own, as a run of kind `replay`. Rows that are there
    /// already are left alone, so it may be repeated. One that fails stops it; what was loaded before stays.
    ///
    /// # Errors
    /// `Config` for a table that is not there; `Locked`; `NotFound` if no CSV meets the range; `Data` if one that was
    /// loaded once is gone, unless that is accepted. What went wrong with a single CSV stands in its run.
    pub async fn replay(&self, request: &ReplayRequest, cancel: &CancellationToken) -> Result<ReplayReport> {
        let table = &self.table(&request.table).await?;
        if !request.dry_run {
            self.number_above_files().await?;
        }
        let lease = self.lease(table, request.wait, cancel).await?;
        let mut state = lease.state().clone();
        let chosen = self.chosen(table, request).await?;
        let csvs = chosen.csvs.iter().map(|(csv, manifest)| self.describe_csv(csv, manifest)).collect();
        let (name, dry_run) = (table.name.clone(), request.dry_run);
        let mut report = ReplayReport { table: name, dry_run, gaps: chosen.gaps.clone(), csvs, runs: Vec::new() };
        let count = chosen.csvs.len();
        for (at, (csv, manifest)) in chosen.csvs.iter().enumerate().filter(|_| !request.dry_run) {
            let started = Instant::now();
            let mut run = TableRun::new(&table.name, table.mode);
            let whole = chosen.whole && at + 1 == count;
            let csv = (csv, manifest, &chosen);
            let done = self.replay_csv(table, csv, whole, &mut state, &mut run, cancel).await;
            if let Err(error) = &done {
                let error = named(repeated(error), &table.name);
                self.log_failure(&mut run, &error).await;
                run = failed(run, &error);
            }
            run.seconds.total = started.elapsed().as_secs_f64();
            report.runs.push(self.ended(run));
            if done.is_err() {
                return Ok(report);
            }
        }
        lease.release().await.map(|()| report)
    }

    async fn chosen(&self, table: &TableConfig, request: &ReplayRequest) -> Result<Chosen> {
        let files = self.archived(table).await?;
        for csv in files.doubled {
            self.warn(&table.name, &format!("`{csv}` is left out: a later run bears the same number"));
        }
        let today = reads_today(table);
        let (serving, others): (Archived, Archived) =
            files.complete.into_iter().partition(|(_, (_, manifest))| serves(today, Link::from(manifest).reads));
        if !others.is_empty() {
            let (count, mode) = (others.len(), table.mode.as_str());
            self.warn(
                &table.name,
                &format!("{count} CSV files are left out: they cannot serve a table of mode `{mode}`"),
            );
        }
        let (gaps, complete) = self.gaps_of(table, request, &serving, (&files.bereft, files.torn)).await?;
        let links: Vec<Link> = serving.values().map(|(_, manifest)| Link::from(manifest)).collect();
        let newest = serving.keys().next_back().copied();
        let mut versions: BTreeMap<&str, RunId> = BTreeMap::new();
        for (_, manifest) in serving.values() {
            if let Some(file) = &manifest.file {
                versions.insert(&file.path, manifest.run_id);
            }
        }
        let whole_from = whole_from(table, &serving);
        let wanted = |manifest: &Manifest| {
            // A resync says of what was read before it which rows are left, and its chunks have them.
            if whole_from.is_some_and(|resync| manifest.run_id < resync) {
                return false;
            }
            // Each version of a file, and each snapshot, replaced the one before.
            let only = match &manifest.file {
                Some(file) => versions.get(file.path.as_str()) == Some(&manifest.run_id),
                None => table.mode != Mode::Snapshot || Some(manifest.run_id) == newest,
            };
            // Keys bring no rows; what they say of the others is heeded with each of those.
            only && manifest.kind != RunKind::Keys && Link::from(manifest).meets(request.from, request.to)
        };
        let order = replay_order(&links, table.mode.is_keyed() && table.on_conflict == OnConflict::Update);
        let csv = |run_id: &RunId| serving.get(run_id).filter(|(_, manifest)| wanted(manifest)).cloned();
        let csvs: Vec<_> = order.iter().filter_map(csv).collect();
        if csvs.is_empty() {
            let folder = self.layout.prefix(Folder::Processed, &table.name);
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("table `{}`: no CSV in `{}/{folder}` meets the range", table.name, self.blobs.url()),
            )
            .with_hint("leave `--from` and `--to` out for all of them; `dwh backfill` reads from the source instead"));
        }
        let first = FirstCsvs::of(serving.values().map(|(_, manifest)| manifest));
        Ok(Chosen { whole: complete && request.from.is_none() && request.to.is_none(), csvs, gaps, serving, first })
    }

    /// What is missing in the range, and whether nothing is missing at all.
    async fn gaps_of(
        &self,
        table: &TableConfig,
        request: &ReplayRequest,
        serving: &Archived,
        (bereft, torn): (&[Manifest], Vec<GapReport>),
    ) -> Result<(Vec<GapReport>, bool)> {
        let Lacks { gaps, pruned, read_again, complete } = self.lacks(table, serving, (bereft, torn)).await?;
        for (_, words) in [(pruned, PRUNED), (read_again, READ_AGAIN)].iter().filter(|(holds, _)| *holds) {
            self.warn(&table.name, words);
        }
        let in_range = |gap: &GapReport| {
            let from = gap.window.and_then(|window| window.from).unwrap_or(Timestamp::NEG_INFINITY);
            let to = gap.window.and_then(|window| window.to).unwrap_or(Timestamp::INFINITY);
            request.from.is_none_or(|wanted| to >= wanted) && request.to.is_none_or(|wanted| from < wanted)
        };
        let gaps: Vec<GapReport> = gaps.into_iter().filter(in_range).collect();
        if gaps.is_empty() || request.accept_gaps {
            return Ok((gaps, complete));
        }
        Err(lacking(&table.name, &gaps, &format!("dwh replay {} --accept-gaps", table.name)))
    }

    #[allow(clippy::too_many_arguments)] // each is a different thing, and a struct of them would have this one user
    async fn replay_csv(
        &self,
        table: &TableConfig,
        (csv, manifest, chosen): (&BlobKey, &Manifest, &Chosen),
        whole: bool,
        state: &mut TableState,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let run_id = self.sink.log(self.begins(table, manifest.mode, RunKind::Replay)).await?.run_id;
        run.run_id = Some(run_id);
        describe_manifest(run, manifest, Some(self.address(csv)));
        let upload = Upload { run_id, ..self.upload_of(csv, manifest) };
        self.sink.log(LogEntry::Uploaded(Box::new(upload))).await?;
        self.sink.log(LogEntry::Loading { run_id, upload: None }).await?;
        run.status = RunState::Loading;
        // The newest snapshot replaces whatever bronze holds, unless that is newer; of rows, none that is there is.
        let place = Standing::from(&*state).place_again(&Link::from(manifest));
        let mut load = self.load_again(table, manifest, place.older(), state.delivered(), &chosen.first).await?;
        load.overruled = Self::overruled(manifest.run_id, &chosen.serving);
        load.former_keys = former_keys_of(table, manifest, &chosen.serving);
        let keys = self.newer_keys(table, manifest.run_id, &chosen.serving).await?;
        let request = StageRequest::new(&load, self.stored_csv(csv, manifest)).of(run_id, state).beside(keys);
        let staged = tokio::select! {
            staged = self.sink.stage(request) => staged?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        let commit = Commit { whole, ..Commit::of(run_id, Some(manifest.rows), state.clone()) };
        let committed = self.commit(staged, commit, run).await;
        *state = committed.map_err(|error| match (load.former_keys.is_empty(), error.kind()) {
            (false, ErrorKind::Contract) => {
                let hint = format!(
                    "{}; `dwh rebuild {} --reset` loads all files by the key of today",
                    error.hint(),
                    table.name
                );
                error.with_hint(hint)
            }
            _ => error,
        })?;
        Ok(())
    }

    fn describe_csv(&self, csv: &BlobKey, manifest: &Manifest) -> ReplayCsv {
        ReplayCsv {
            csv_path: self.address(csv),
            run_id: manifest.run_id,
            run_started_at: manifest.run_started_at,
            window: manifest.window.map(window_report),
            rows: manifest.rows,
            bytes: manifest.bytes,
        }
    }
}
