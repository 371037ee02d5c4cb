//! The chunks of a resync: those that are there, and those that are read now, several at a time.

use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::history;
use crate::blob::{Folder, Manifest, archive, read_manifest, read_manifest_at};
use crate::chain::{Chunk, KeyRange, Part, RunIdentity};
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::pipeline::describe::describe_manifest;
use crate::pipeline::failure::{failed, interrupted, named};
use crate::pipeline::transfer::stopped;
use crate::pipeline::{Event, Pipeline, TableRun};
use crate::plan::Plan;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{Commit, RunRecord, StageRequest, TableState};

/// All chunks, beside bronze.
pub(super) struct Gathered {
    /// The table that they are in.
    pub apart: BronzeId,
    /// Their rows.
    pub rows: u64,
    /// The newest of them.
    pub newest: Option<RunId>,
}

impl Pipeline {
    /// Loads the chunks that are not there yet into the table beside bronze.
    pub(super) async fn chunks(
        &self,
        plan: &Plan,
        state: &TableState,
        resync: &Manifest,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<Gathered> {
        let Some(Part::Cuts(cuts)) = &resync.part else {
            return Err(Error::new(ErrorKind::Internal, "a resync without cuts"));
        };
        let identity = RunIdentity { sha256: None, ..RunIdentity::from(resync) };
        let loaded = self.loaded_chunks(&plan.table, resync).await?;
        // Without a chunk in the log, nobody knows what lies there: the log may have been made anew.
        let apart = self.sink.make_apart(&plan.load(false).apart(), &identity, !loaded.is_empty()).await?;
        let chunk = |(number, keys)| Chunk { resync: identity.clone(), number, keys };
        let all: Vec<Chunk> = (1..).zip(KeyRange::between(cuts)).map(chunk).collect();
        let mut there = self.chunks_there(plan, state, resync, (loaded, &apart), runs, cancel).await?;
        let before = there.len();
        if before > 0 {
            let message = format!("the resync goes on: {before} of {} chunks are there", all.len());
            self.warn(&plan.table.name, &message);
        }
        let left = all.iter().filter(|chunk| !there.contains_key(&chunk.number)).cloned().collect();
        self.read_chunks(plan, state, left, &mut there, runs, cancel).await?;
        must_be_one_server(&plan.table, resync, there.values())?;
        let rows = there.values().map(|manifest| manifest.rows).sum();
        Ok(Gathered { apart, rows, newest: there.values().map(|manifest| manifest.run_id).max() })
    }

    /// The chunks that an earlier call brought, by their numbers; a CSV that waits is loaded first.
    async fn chunks_there(
        &self,
        plan: &Plan,
        state: &TableState,
        resync: &Manifest,
        (loaded, apart): (Vec<RunRecord>, &BronzeId),
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<u32, Manifest>> {
        let table = &plan.table;
        let mut there = BTreeMap::new();
        for record in loaded {
            // Another table beside bronze had it, which is not there any more.
            if record.bronze.as_ref() != Some(apart) {
                continue;
            }
            let manifest = self.manifest_of(&record).await?;
            there.extend(manifest.and_then(|manifest| Some((number_in(resync, &manifest)?, manifest))));
        }
        for key in self.keys(table, Folder::Exports).await?.into_iter().filter(|key| key.is_csv()) {
            let manifest = read_manifest(self.blobs.as_ref(), &key).await?;
            let Some((number, manifest)) = manifest.and_then(|one| Some((number_in(resync, &one)?, one))) else {
                continue;
            };
            let record = self.record_of(table, manifest.run_id).await?;
            let Some(record) = record.filter(|record| record.status != RunState::Loaded) else { continue };
            if there.contains_key(&number) {
                continue;
            }
            let mut run = TableRun::new(&table.name, table.mode);
            (run.run_id, run.kind, run.status) = (Some(record.run_id), RunKind::Chunk, record.status);
            let done = self.load_chunk(table, state, &manifest, &record, &mut run, cancel).await;
            self.finish_chunk(table, run, done, runs).await?;
            there.insert(number, manifest);
        }
        Ok(there)
    }

    /// The manifest of a loaded run, in whichever folder it is.
    async fn manifest_of(&self, record: &RunRecord) -> Result<Option<Manifest>> {
        // It lies under one name, however the CSV was stored.
        let [name, ..] = self.names_of(record);
        for folder in [Folder::Processed, Folder::Exports] {
            let key = self.layout.moved(&name, folder)?.manifest();
            let manifest = read_manifest_at(self.blobs.as_ref(), &key).await?;
            if manifest.is_some() {
                return Ok(manifest);
            }
        }
        Ok(None)
    }

    async fn load_chunk(
        &self,
        table: &TableConfig,
        state: &TableState,
        manifest: &Manifest,
        record: &RunRecord,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        self.enter_loading(manifest, record).await?;
        run.status = RunState::Loading;
        describe_manifest(run, manifest, Some(self.address(&manifest.csv)));
        let load = manifest.load_plan(false).as_configured(table).apart();
        let csv = self.stored_csv(&manifest.csv, manifest);
        let staged = tokio::select! {
            staged = self.sink.stage(StageRequest::new(&load, csv).of(record.run_id, state)) => staged?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        self.commit(staged, Commit::of(record.run_id, Some(manifest.rows), state.clone()), run).await?;
        let moved = archive(self.blobs.as_ref(), &self.layout, manifest).await?;
        run.csv_path = Some(self.address(&moved.csv));
        Ok(())
    }

    /// Reads chunks, as many at a time as there are jobs. After one that fails none begins.
    #[allow(clippy::too_many_arguments)] // each is a different thing, and a struct of them would have this one user
    async fn read_chunks(
        &self,
        plan: &Plan,
        state: &TableState,
        left: Vec<Chunk>,
        there: &mut BTreeMap<u32, Manifest>,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let jobs = self.jobs.unwrap_or(self.config.target.connections).max(1);
        let plan = Arc::new(plan.clone());
        let stop = cancel.child_token();
        let begin = |chunk: Chunk| {
            let (this, plan, state) = (self.clone(), Arc::clone(&plan), state.clone());
            let (stop, cancel) = (stop.clone(), cancel.clone());
            let task = async move {
                let number = chunk.number;
                // Not asked of those that are at work: what they have read is of use to the next call.
                let done = match stop.is_cancelled() {
                    true => None,
                    false => Some(this.read_chunk(&plan, state, chunk, &cancel).await),
                };
                (number, done)
            };
            AbortOnDropHandle::new(tokio::spawn(task))
        };
        let mut work = futures_util::stream::iter(left).map(begin).buffer_unordered(jobs);
        let mut first: Option<Error> = None;
        while let Some(ended) = work.next().await {
            let (number, done) = ended.map_err(stopped)?;
            let Some((run, done)) = done else { continue };
            match self.finish_chunk(&plan.table, run, done, runs).await {
                Ok(manifest) => drop(there.insert(number, manifest)),
                Err(error) => {
                    first.get_or_insert(error);
                    stop.cancel();
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None if cancel.is_cancelled() => Err(interrupted()),
            None => Ok(()),
        }
    }

    async fn read_chunk(
        &self,
        plan: &Arc<Plan>,
        mut state: TableState,
        chunk: Chunk,
        cancel: &CancellationToken,
    ) -> (TableRun, Result<Manifest>) {
        let started = Instant::now();
        let table = &plan.table;
        let mut run = TableRun::new(&table.name, table.mode);
        run.kind = RunKind::Chunk;
        let done = async {
            let mut slice = self.begin(plan, &state.clone(), RunKind::Chunk, &mut run).await?;
            // Without a window: a row that was changed since the resync began is read all the same, lest it vanish.
            slice.part = Some(Part::Chunk(chunk));
            let run_id = slice.record.run_id;
            (self.observer)(&Event::RunStarted { table: table.name.clone(), run_id, bound: None });
            self.run_slice(slice, &mut state, &mut run, cancel).await
        };
        let done = done.await;
        run.seconds.total = started.elapsed().as_secs_f64();
        (run, done)
    }

    /// Puts the run of a chunk into the report, and what went wrong into the log.
    async fn finish_chunk<T>(
        &self,
        table: &TableConfig,
        mut run: TableRun,
        done: Result<T>,
        runs: &mut Vec<TableRun>,
    ) -> Result<T> {
        let done = done.map_err(|error| named(error, &table.name));
        if let Err(error) = &done {
            self.log_failure(&mut run, error).await;
            run = failed(run, error);
        }
        runs.push(self.ended(run));
        done.map_err(|error| cut_off(table, error.kind()))
    }
}

/// The number of the chunk, if it is one of this resync.
fn number_in(resync: &Manifest, manifest: &Manifest) -> Option<u32> {
    let Some(Part::Chunk(chunk)) = &manifest.part else { return None };
    (chunk.resync.differs(&RunIdentity::from(resync)).is_none()).then_some(chunk.number)
}

/// A bound proves nothing of another server's rows, nor of those of an earlier state.
fn must_be_one_server<'a>(
    table: &TableConfig,
    resync: &Manifest,
    mut chunks: impl Iterator<Item = &'a Manifest>,
) -> Result<()> {
    if chunks.all(|chunk| history(chunk) == history(resync)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Contract, format!("table `{}`: its chunks were read from several servers", table.name))
        .with_hint(format!("nothing was changed; `dwh resync {} --restart` reads all of them again", table.name)))
}

/// The error of the resync; what went wrong with the chunk stands in its report.
fn cut_off(table: &TableConfig, kind: ErrorKind) -> Error {
    Error::new(kind, format!("table `{}`: not all chunks of the resync are there", table.name)).with_hint(format!(
        "bronze is as it was; mend what the chunks fail for, then `dwh resync {}` reads those that are left",
        table.name
    ))
}
