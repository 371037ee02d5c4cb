//! One CSV on its way: read from the source through the spool into the blob store and, at the same time, into the
//! sink's staging area.

mod store;

use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::blob::{BlobKey, Manifest, ReadBack, StoredForm, read_back, write_manifest};
use crate::chain::{Before, Link, Part, Replaced, Standing};
use crate::config::Mode;
use crate::dialect::Tally;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::belongs::{refuse_behind, relation_of, same_server};
use crate::pipeline::failure::interrupted;
use crate::pipeline::links::after;
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::{KeysOf, LoadPlan, Plan};
use crate::raw_file::RawFile;
use crate::run::{RunId, RunKind};
use crate::schema::Column;
use crate::sink::{Gone, RunRecord, StageRequest, Staged, TableState};
use crate::source::{Reading, Snapshot, Sweep};
use crate::spool::{Spool, SpoolWriter, spool};
use crate::watermark::{SafeBound, Timestamp, Window};

pub(super) use store::Read;

/// How many bytes pass between two progress events.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What one run reads: decided before anything is read.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub kind: RunKind,
    pub plan: Arc<Plan>,
    pub state: TableState,
    pub record: RunRecord,
    pub bound: Option<SafeBound>,
    pub window: Option<Window>,
    pub sweep: Sweep,
    /// The file, of a table of files.
    pub file: Option<RawFile>,
    /// What a run of a resync reads.
    pub part: Option<Part>,
    /// What the keys stand for, where they alone are read.
    pub keys: Option<KeysOf>,
    /// What those keys say of bronze, once that is known.
    pub gone: Arc<OnceLock<Gone>>,
}

/// What an extract leaves: a CSV whose manifest is written, and its rows staged where that was asked for.
pub(super) struct Extracted {
    pub manifest: Manifest,
    /// The watermark row once it is loaded; `None` if it stays as it is.
    pub becomes: Option<TableState>,
    /// The staged rows, or what went wrong with them: that never stops the extract.
    pub staged: Option<Result<Box<dyn Staged>>>,
    /// Whether there is a CSV: a run of `dwh run` that found nothing new writes none.
    pub stored: bool,
    /// What the store has of it, if that is read meanwhile.
    pub read_back: Option<ReadingBack>,
}

/// A CSV that is read back from its store.
pub(super) type ReadingBack = AbortOnDropHandle<Result<ReadBack>>;

/// What the caller wants of an extract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Blob only, always with a CSV: the load is a step of its own.
    Blob,
    /// Blob and staging at the same time; no CSV where there are no rows.
    BlobAndStage,
}

/// Rows on their way into the staging area, and how long that took.
pub(super) type Staging = AbortOnDropHandle<Result<(Box<dyn Staged>, f64)>>;

impl Pipeline {
    /// Reads one slice. When this returns, the source transaction is over and the manifest stands beside the CSV.
    pub(super) async fn transfer(
        &self,
        slice: &Slice,
        goal: Goal,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<Extracted> {
        let started = Instant::now();
        let mut extract = self.open(slice, run, cancel).await?;
        let first_rows = extract.until_first_row().await?;
        // Of a resync each part leaves a CSV, by which it is known to be there.
        let may_skip =
            slice.plan.table.mode == Mode::Incremental && slice.part.is_none() && slice.kind != RunKind::Keys;
        let skip = !first_rows && goal == Goal::BlobAndStage && may_skip;
        let key = self.key(slice);
        if skip {
            let (load, spool) = (extract.load(slice), extract.spool.clone());
            let (reading, totals) = extract.end().await?;
            run.seconds.extract = started.elapsed().as_secs_f64();
            let manifest = self.manifest(slice, &key, &reading, totals, None, None);
            let becomes = slice.becomes(&manifest);
            let nothing = Extracted { becomes, manifest, staged: None, stored: false, read_back: None };
            return if slice.kind.replaces() {
                self.only_remove(slice, &load, &spool, nothing).await
            } else {
                Ok(nothing)
            };
        }
        // What a source of no keys means is judged once they are staged.
        let stage = (goal == Goal::BlobAndStage).then(|| self.spawn_stage(slice, &extract, true));
        // The source must not wait for the target, so it is asked meanwhile.
        let before = self.before(&slice.plan.table, &slice.state, slice.kind);
        let (read, before) = tokio::join!(self.store(key.clone(), extract), before);
        let read = read?;
        read.tell_seconds(run);
        let Read { reading, totals, stored, .. } = read;
        let mut manifest = self.manifest(slice, &key, &reading, totals, stored, before);
        reading.warnings.iter().for_each(|warning| self.warn(&slice.plan.table.name, warning));
        let mut read_back = None;
        let staged = if slice.kind.stages_first() {
            let mut staged = match stage {
                Some(stage) => Some(staged(stage, run, cancel).await?),
                None => None,
            };
            if let Some(Ok(mut ready)) = staged {
                let judged = tokio::select! {
                    judged = self.judge_staged(slice, &mut manifest, ready.as_mut()) => Some(judged),
                    () = cancel.cancelled() => None,
                };
                let Some(judged) = judged else {
                    ready.stop().await;
                    return Err(interrupted());
                };
                judged?;
                staged = Some(Ok(ready));
            }
            if let Some(rejected) = reading.rejected {
                self.keep_rejected(&key, rejected).await?;
            }
            // What cannot be staged cannot be spared either: there is no CSV then.
            let staged = staged.transpose()?;
            write_manifest(self.blobs.as_ref(), &manifest).await?;
            staged.map(Ok)
        } else {
            write_manifest(self.blobs.as_ref(), &manifest).await?;
            match stage {
                Some(stage) => {
                    read_back = self.read_back(&manifest);
                    Some(self.staged_and_logged(&manifest, stage, run, cancel).await?)
                }
                None => None,
            }
        };
        Ok(Extracted { becomes: slice.becomes(&manifest), manifest, staged, stored: true, read_back })
    }

    /// Reads a CSV back while its rows are on their way into bronze, where its copy in the archive will be the same file.
    pub(super) fn read_back(&self, manifest: &Manifest) -> Option<ReadingBack> {
        self.blobs.folder()?;
        let (blobs, manifest) = (Arc::clone(&self.blobs), manifest.clone());
        Some(AbortOnDropHandle::new(tokio::spawn(async move { read_back(blobs.as_ref(), &manifest).await })))
    }

    /// Before the manifest is written: what the rows mean for bronze.
    async fn judge_staged(&self, slice: &Slice, manifest: &mut Manifest, ready: &mut dyn Staged) -> Result<()> {
        match slice.kind {
            kind if kind.replaces() => manifest.spares = self.spare(slice, manifest, ready).await?.spares,
            RunKind::Keys => self.guard_deletes(slice, manifest, ready).await?,
            _ => ready.told_apart().await?,
        }
        Ok(())
    }

    pub(super) async fn open(&self, slice: &Slice, run: &mut TableRun, cancel: &CancellationToken) -> Result<Extract> {
        let (writer, spool) = spool(&std::env::temp_dir())?;
        let reading = tokio::select! {
            reading = self.read(slice) => reading?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        if let (Some(window), Some(report)) = (slice.window, run.window.as_mut()) {
            report.to = reading.high().or(window.high);
        }
        Ok(Extract {
            table: slice.plan.table.name.clone(),
            run_id: slice.record.run_id,
            header: slice.plan.load(false).header().len() as u64,
            reading,
            writer,
            spool,
            tally: Tally::default(),
            ended: false,
            stop: cancel.child_token(),
            started: Instant::now(),
            job: None,
        })
    }

    /// Opens the read; when the source turns out to be another server, or an older state of it, than the one the
    /// watermark came from, the sweep by transaction number means nothing and everything of the late window is read.
    async fn read(&self, slice: &Slice) -> Result<Box<dyn Reading>> {
        let source = self.source(&slice.plan.table)?;
        let request = |sweep| crate::source::ReadRequest {
            plan: &slice.plan,
            // Keys are read whole; the window says which rows of bronze they are compared with.
            window: slice.window.filter(|_| slice.kind != RunKind::Keys),
            sweep,
            known: slice.state.relations.as_deref().filter(|_| slice.kind.moves_watermark()),
            bound: slice.bound.as_ref(),
            run_started_at: slice.record.run_started_at,
            run_id: Some(slice.record.run_id),
            file: slice.file.as_ref(),
            part: slice.part.as_ref(),
        };
        let reading = source.read(request(slice.sweep)).await?;
        // The plan may have been made on another server: nothing of this one may get into a file, let alone into bronze.
        self.judge_source(&slice.plan.table, &slice.state, &reading.snapshot().identity)?;
        refuse_behind(&slice.plan.table, &slice.state, reading.snapshot())?;
        let Sweep::Xmin { since, back_to } = slice.sweep else { return Ok(reading) };
        if same_history(&slice.state, reading.snapshot(), since) {
            return Ok(reading);
        }
        drop(reading);
        self.warn(
            &slice.plan.table.name,
            "the source is another server, or was restored, since the last run: all rows of `late_window` are read again",
        );
        source.read(request(Sweep::LookBack { back_to })).await
    }

    pub(super) fn key(&self, slice: &Slice) -> BlobKey {
        self.layout.csv(
            &slice.plan.table.name,
            slice.record.run_id,
            slice.record.run_started_at,
            self.config.blob.compression,
        )
    }

    /// `keeps`: whether the rows will be committed, if all goes well.
    pub(super) fn spawn_stage(&self, slice: &Slice, extract: &Extract, keeps: bool) -> Staging {
        self.stage_spool(slice, extract.load(slice), extract.spool.clone(), keeps)
    }

    /// The same where the extract goes on elsewhere.
    pub(super) fn stage_spool(&self, slice: &Slice, mut load: LoadPlan, spool: Spool, keeps: bool) -> Staging {
        let (sink, csv) = (Arc::clone(&self.sink), Arc::new(spool));
        load.allow_empty |= self.allow_empty;
        let run = keeps.then(|| (slice.record.run_id, slice.state.clone()));
        AbortOnDropHandle::new(tokio::spawn(async move {
            let started = Instant::now();
            let mut request = StageRequest::new(&load, csv);
            request.run = run.as_ref().map(|(run_id, state)| (*run_id, state));
            let staged = sink.stage(request).await?;
            Ok((staged, started.elapsed().as_secs_f64()))
        }))
    }

    pub(super) fn manifest(
        &self,
        slice: &Slice,
        key: &BlobKey,
        reading: &Ended,
        totals: crate::dialect::Totals,
        stored: Option<StoredForm>,
        before: Option<Before>,
    ) -> Manifest {
        let table = &slice.plan.table;
        Manifest {
            format: Manifest::FORMAT,
            project: self.config.project.name.clone(),
            table: table.name.clone(),
            run_id: slice.record.run_id,
            run_started_at: slice.record.run_started_at,
            kind: slice.kind,
            mode: table.mode,
            target: table.target.clone(),
            csv: key.clone(),
            columns: slice.plan.delivered().into_iter().map(Column::for_manifest).collect(),
            types: slice.plan.types(),
            key: table.key.clone(),
            on_conflict: table.on_conflict,
            relation: Some(relation_of(table)),
            watermark_column: table.watermark.clone(),
            query: reading.statement.clone().unwrap_or_else(|| slice.query(reading)),
            // A source's clock may step back between the bound and the snapshot: then nothing above `low` was read.
            window: slice.window.map(|window| match slice.kind {
                RunKind::Keys => window,
                _ => Window { high: reading.high.map(|high| high.max(window.low)), ..window },
            }),
            sweep: reading.sweep.unwrap_or(slice.sweep),
            late_rows: reading.late_rows,
            bound: slice.bound.clone(),
            previous_run_id: slice.state.last_run_id.filter(|_| slice.kind.moves_watermark()),
            before,
            spares: Vec::new(),
            part: slice.part.clone(),
            plan_sha256: Some(slice.plan.sha256()),
            snapshot: Some(reading.snapshot.clone()),
            file: reading.file.clone(),
            rows: totals.rows,
            bytes: totals.bytes,
            sha256: totals.sha256,
            stored,
            engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Slice {
    /// A run of which it is not decided yet what it reads.
    pub(super) fn new(kind: RunKind, plan: Arc<Plan>, state: TableState, record: RunRecord) -> Self {
        let (bound, window, file, part, keys, gone) = (None, None, None, None, None, Arc::default());
        Self { kind, plan, state, record, bound, window, sweep: Sweep::Off, file, part, keys, gone }
    }

    /// How it is loaded: its snapshot is the newest, unless the run log was restored from a backup.
    pub(super) fn load(&self) -> LoadPlan {
        let load = self.plan.load(self.state.is_newer_than(self.record.run_id));
        if self.kind == RunKind::Chunk {
            return load.apart();
        }
        let load = LoadPlan { keys: self.keys.clone(), ..load };
        LoadPlan { file: self.file.as_ref().map(|file| file.path.clone()), ..load }
    }

    /// The watermark row once it is loaded; `None` if it stays as it is.
    pub(super) fn becomes(&self, manifest: &Manifest) -> Option<TableState> {
        let place = Standing::from(&self.state).place(&Link::from(manifest));
        after(&self.state, manifest, place, &self.plan.missing.kept)
    }

    /// The same as the next window must know it: all but which table bronze is by then.
    pub(super) fn leaves(&self, manifest: &Manifest) -> Option<TableState> {
        let run_id = self.record.run_id;
        let newest_run_id = if self.state.is_newer_than(run_id) { self.state.newest_run_id } else { Some(run_id) };
        let becomes = self.becomes(manifest)?;
        Some(TableState { last_run_id: Some(run_id), newest_run_id, ..becomes })
    }

    fn query(&self, reading: &Ended) -> String {
        let low = self.window.map_or(Timestamp::NEG_INFINITY, |window| window.low);
        let high = reading.high.unwrap_or(Timestamp::INFINITY);
        self.plan.select(low, high, self.sweep, self.record.run_started_at)
    }
}

/// An extract on its way.
pub(super) struct Extract {
    table: String,
    run_id: RunId,
    /// Bytes of the header line; more than that means rows.
    header: u64,
    reading: Box<dyn Reading>,
    writer: SpoolWriter,
    spool: Spool,
    tally: Tally,
    ended: bool,
    /// Cancelled with the run, and when the upload failed: there is no use in reading on.
    stop: CancellationToken,
    started: Instant,
    /// Held until the source has sent all.
    job: Option<OwnedSemaphorePermit>,
}

/// What is known of a read that came to its end.
pub(super) struct Ended {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    late_rows: u64,
    sweep: Option<Sweep>,
    statement: Option<String>,
    pub(super) file: Option<RawFile>,
    pub(super) warnings: Vec<String>,
    rejected: Option<std::fs::File>,
}

impl Ended {
    /// The snapshot in which it was read.
    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A look that found nothing to read.
    pub(super) const fn nothing(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            high: None,
            late_rows: 0,
            sweep: None,
            statement: None,
            file: None,
            warnings: Vec::new(),
            rejected: None,
        }
    }
}

impl Extract {
    /// How it is loaded; the window that it stands for is not more than what is read in the end.
    fn load(&self, slice: &Slice) -> LoadPlan {
        let window = slice.window.filter(|_| slice.kind.replaces()).zip(self.reading.high());
        let (load, spares, at) = (slice.load(), Vec::new(), slice.record.run_started_at);
        let key = load.key.clone();
        load.replacing(window.map(|(window, high)| Replaced { low: window.low, high, key, spares, at }))
    }
}

/// Whether transaction numbers of `state` can be compared with those of `snapshot`.
fn same_history(state: &TableState, snapshot: &Snapshot, since: u64) -> bool {
    same_server(state, snapshot)
        && snapshot.xmax >= since
        // Half the number space: beyond it an age means nothing.
        && snapshot.xmax - since < (1 << 31)
}

/// The staged rows once they are.
pub(super) async fn staged(
    stage: Staging,
    run: &mut TableRun,
    cancel: &CancellationToken,
) -> Result<Result<Box<dyn Staged>>> {
    Ok(tokio::select! {
        done = stage => done.map_err(stopped)?.map(|(staged, seconds)| {
            run.seconds.stage = seconds;
            staged
        }),
        () = cancel.cancelled() => Err(interrupted()),
    })
}

/// A task of ours that ended without a result.
pub(super) fn stopped(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a part of the run stopped").with_source(error)
}
