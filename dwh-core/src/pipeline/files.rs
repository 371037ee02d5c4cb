//! `run` of a table of files: each file that is new, or another version of one that is known, is a run of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::Body;
use crate::config::{FILE, Mode, RECORD, TableConfig};
use crate::dialect::Tally;
use crate::error::{Error, ErrorKind, Result};
use crate::files::FileBody;
use crate::pipeline::archived::FirstCsvs;
use crate::pipeline::failure::{failed, interrupted, named, told, with_way_out};
use crate::pipeline::transfer::{Ended, Slice};
use crate::pipeline::{Event, Pipeline, TableRun};
use crate::plan::{LoadPlan, Plan};
use crate::raw_file::RawFile;
use crate::run::{RunId, RunKind, RunState};
use crate::schema::Delivered;
use crate::sink::{Accounting, Commit, LogEntry, RunFilter, RunRecord, StageRequest, TableState};
use crate::source::{FileTree, Snapshot};
use crate::watermark::Timestamp;

/// Versions of files that are loaded, by path, with the moment when their runs began.
pub(crate) type Done = BTreeMap<String, (RawFile, RunId, Timestamp)>;

/// The newest version of a file, compared with bronze.
pub(crate) struct ComparedFile {
    pub(crate) run_id: RunId,
    pub(crate) rows: u64,
    /// What its load would do.
    pub(crate) counts: Accounting,
    pub(crate) load: LoadPlan,
    pub(crate) csv: Arc<dyn Body>,
}

/// Which loaded runs of files brought the newest version of their file, and which one that was replaced since. Of the latter
/// nothing is missed: retention takes their CSV files, and their rows are not in bronze.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    pub(crate) newest: BTreeSet<RunId>,
    pub(crate) older: BTreeSet<RunId>,
}

impl Versions {
    /// As the run log tells; runs of other kinds, or that are not loaded, are left out.
    pub(crate) fn of<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        let (mut newest, mut older) = (BTreeMap::<&str, RunId>::new(), BTreeSet::new());
        let loads = |run: &&RunRecord| run.kind == RunKind::File && run.status == RunState::Loaded;
        for run in runs.into_iter().filter(loads) {
            let Some(file) = &run.file else { continue };
            let known = newest.entry(&file.path).or_insert(run.run_id);
            if *known != run.run_id {
                older.insert(run.run_id.min(*known));
                *known = run.run_id.max(*known);
            }
        }
        Self { newest: newest.into_values().collect(), older }
    }
}

impl Pipeline {
    /// The versions of the files of a table, as far as there is a run log; none of any other table.
    pub(super) async fn versions(&self, table: &TableConfig) -> Result<Versions> {
        if table.mode != Mode::Files {
            return Ok(Versions::default());
        }
        let filter = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::File),
            states: vec![RunState::Loaded],
            ..RunFilter::default()
        };
        match self.sink.runs(&filter).await {
            Ok(runs) => Ok(Versions::of(&runs)),
            Err(error) if error.kind() == ErrorKind::Contract => Ok(Versions::default()),
            Err(error) => Err(error),
        }
    }

    /// The files of a table's source.
    pub(crate) fn tree(&self, table: &TableConfig) -> Result<&dyn FileTree> {
        self.source(table)?.tree().ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("table `{}`: its source has no files", table.name))
                .with_hint("`mode = \"files\"` needs a source with `files`")
        })
    }

    /// The newest loaded version of each file. Of a table that was made again, or that begins anew, nothing is loaded.
    pub(crate) async fn done_files(&self, table: &TableConfig, state: &TableState) -> Result<Done> {
        let mut done = Done::new();
        if state.last_run_id.is_none() {
            return Ok(done);
        }
        let filter = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::File),
            states: vec![RunState::Loaded],
            ..RunFilter::default()
        };
        // Newest first.
        for run in self.sink.runs(&filter).await? {
            let both = run.bronze.as_ref().zip(state.bronze.as_ref());
            let of_this_table = both.is_none_or(|(then, now)| then.is_still(now));
            if let Some(file) = run.file.filter(|file| of_this_table && file.sha256.is_some()) {
                done.entry(file.path.clone()).or_insert((file, run.run_id, run.run_started_at));
            }
        }
        Ok(done)
    }

    /// The files that a run reads, in byte order of their paths: those of which no version is loaded, or another one.
    pub(crate) async fn pending_files(&self, table: &TableConfig, state: &TableState) -> Result<Vec<RawFile>> {
        Ok(self.sorted_files(table, state).await?.0)
    }

    /// The files that a run reads, and those that are loaded, each with its run.
    async fn sorted_files(
        &self,
        table: &TableConfig,
        state: &TableState,
    ) -> Result<(Vec<RawFile>, Vec<(RawFile, RunId)>)> {
        let tree = self.tree(table)?;
        let (listed, done) = (tree.list(table).await?, self.done_files(table, state).await?);
        let (mut pending, mut loaded) = (Vec::new(), Vec::new());
        for file in listed {
            let again = self.reprocess.iter().any(|glob| glob.is_match(&file.path));
            let is_done = match done.get(&file.path) {
                Some(_) if again => false,
                Some((read, _, at)) if read.proves(&file, *at) => true,
                // Only its bytes tell. What keeps them from being read is told by its run.
                Some((read, ..)) => tree.sha256(&file).await.is_ok_and(|now| read.sha256.as_ref() == Some(&now)),
                None => false,
            };
            match done.get(&file.path).filter(|_| is_done) {
                Some((read, run_id, _)) => loaded.push((RawFile { sha256: read.sha256.clone(), ..file }, *run_id)),
                None => pending.push(file),
            }
        }
        Ok((pending, loaded))
    }

    /// What a run does before it reads: files that are loaded and have no copy get one.
    pub(super) async fn settle_files(&self, table: &TableConfig, state: &TableState) -> Result<Vec<RawFile>> {
        let tree = self.tree(table)?;
        let (pending, loaded) = self.sorted_files(table, state).await?;
        let files: Vec<RawFile> = loaded.iter().map(|(file, _)| file.clone()).collect();
        for file in tree.lacking(&files).await? {
            if let Some((_, run_id)) = loaded.iter().find(|(other, _)| other.path == file.path) {
                tree.keep(&file, *run_id).await?;
            }
        }
        Ok(pending)
    }

    /// Under the lease: one run a file. A file that cannot be loaded stops no other.
    pub(super) async fn run_files(
        &self,
        plan: &Arc<Plan>,
        state: &mut TableState,
        cancel: &CancellationToken,
        runs: &mut Vec<TableRun>,
        mut first: TableRun,
    ) -> Result<()> {
        let pending = tokio::select! {
            pending = self.settle_files(&plan.table, state) => pending,
            () = cancel.cancelled() => Err(interrupted()),
        };
        let pending = match pending {
            Ok(pending) => pending,
            Err(error) => {
                let error = named(error, &plan.table.name);
                self.log_unbegun(&plan.table, state, &mut first, &error).await;
                runs.push(self.ended(failed(first, &error)));
                return Err(told());
            }
        };
        let files: Vec<Option<RawFile>> =
            if pending.is_empty() { vec![None] } else { pending.into_iter().map(Some).collect() };
        let mut added = std::mem::take(&mut first.columns_added);
        for file in files {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let (mut run, stops) = self.run_file(plan, state, file, cancel).await;
            run.columns_added = std::mem::take(&mut added);
            runs.push(self.ended(run));
            if stops {
                return Err(told());
            }
        }
        Ok(())
    }

    /// One run. The second value says whether no other can be tried.
    async fn run_file(
        &self,
        plan: &Arc<Plan>,
        state: &mut TableState,
        file: Option<RawFile>,
        cancel: &CancellationToken,
    ) -> (TableRun, bool) {
        let (started, table) = (Instant::now(), &plan.table);
        let mut run = TableRun::new(&table.name, table.mode);
        run.file = file.as_ref().map(|file| file.path.clone());
        let mut stops = false;
        if let Err(error) = self.run_file_steps(plan, state, file, &mut run, cancel).await {
            // What waits with a CSV must be loaded before any other.
            let waits = run.csv_path.is_some() && run.status != RunState::Loaded;
            stops = waits || !is_of_the_file(error.kind());
            let error = with_way_out(named(error, &table.name), &run);
            self.log_failure(&mut run, &error).await;
            run = failed(run, &error);
        }
        run.seconds.total = started.elapsed().as_secs_f64();
        (run, stops)
    }

    async fn run_file_steps(
        &self,
        plan: &Arc<Plan>,
        state: &mut TableState,
        file: Option<RawFile>,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut slice = self.begin(plan, state, RunKind::File, run).await?;
        self.reads(&mut slice, file).await?;
        if slice.file.is_none() {
            return self.nothing_new(slice, state, run).await;
        }
        let (run_id, table) = (slice.record.run_id, slice.plan.table.clone());
        let read = self.run_slice(slice, state, run, cancel).await?.file;
        match read {
            Some(read) => self.tree(&table)?.keep(&read, run_id).await,
            None => Ok(()),
        }
    }

    /// Notes in the run log which file a run reads.
    pub(super) async fn reads(&self, slice: &mut Slice, file: Option<RawFile>) -> Result<()> {
        let (run_id, table) = (slice.record.run_id, slice.plan.table.name.clone());
        if let Some(file) = &file {
            slice.record = self.sink.log(LogEntry::Reads { run_id, file: Box::new(file.clone()) }).await?;
        }
        slice.file = file;
        (self.observer)(&Event::RunStarted { table, run_id, bound: None });
        Ok(())
    }

    /// A run that found no new file: the log says that somebody looked.
    async fn nothing_new(&self, slice: Slice, state: &mut TableState, run: &mut TableRun) -> Result<()> {
        let identity = self.source(&slice.plan.table)?.identity().await?.ok_or_else(|| {
            Error::new(ErrorKind::Contract, "a source of files must tell which it is")
                .with_hint("implement `identity` of `Source`")
        })?;
        let ended = Ended::nothing(Snapshot::new(Timestamp::now(), 0, 0, identity));
        let mut tally = Tally::default();
        tally.push(format!("{}\n", slice.plan.load(false).header()).as_bytes());
        let manifest = self.manifest(&slice, &self.key(&slice), &ended, tally.totals(), None, None);
        let (becomes, load) = (slice.becomes(&manifest), slice.load());
        let commit = Commit::of(slice.record.run_id, Some(0), slice.state).becoming(becomes);
        self.load_nothing(&load, &manifest, commit, state, run).await
    }

    /// Keeps rejected records beside the CSV.
    pub(super) async fn keep_rejected(&self, csv: &crate::blob::BlobKey, rejected: std::fs::File) -> Result<()> {
        self.blobs.put(&csv.rejected(), &FileBody::new(rejected)).await.map(drop)
    }

    /// What the loads of the newest versions would do, counted and rolled back.
    pub(crate) async fn compare_versions(&self, table: &TableConfig, done: &Done) -> Result<Vec<ComparedFile>> {
        let archived = self.archived(table).await?.complete;
        let first = FirstCsvs::of(archived.values().map(|(_, manifest)| manifest));
        let mut found = Vec::new();
        for (file, run_id, _) in done.values() {
            let (csv, manifest) = archived.get(run_id).ok_or_else(|| {
                let text = format!("the CSV of run {run_id}, which loaded `{}`, is not in `processed/`", file.path);
                Error::new(ErrorKind::NotFound, text).with_hint(
                    "bring it back from a backup of the store; or `dwh files reprocess` reads the file again",
                )
            })?;
            let load = self.load_again(table, manifest, false, Delivered::Nothing, &first).await?;
            let csv = self.stored_csv(csv, manifest);
            let counts = self.sink.stage(StageRequest::new(&load, Arc::clone(&csv))).await?.preview().await?;
            found.push(ComparedFile { run_id: *run_id, rows: manifest.rows, counts, load, csv });
        }
        Ok(found)
    }

    /// Judges a CSV of a file that is older than what bronze holds.
    pub(super) async fn judge_older_file(&self, table: &TableConfig, run: RunId, load: &mut LoadPlan) -> Result<()> {
        let Some(path) = load.file.clone() else { return Ok(()) };
        let filter = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::File),
            states: vec![RunState::Loaded],
            after: Some(run),
            ..RunFilter::default()
        };
        let newer = self.sink.runs(&filter).await?;
        let newer = newer.iter().find(|newer| newer.file.as_ref().is_some_and(|file| file.path == path));
        if let Some(newer) = newer {
            let text =
                format!("run {run} is older than run {}, which loaded a newer version of `{path}`", newer.run_id);
            return Err(Error::new(ErrorKind::Contract, text).with_hint(format!(
                "its rows are not wanted any more: `dwh recover --set-aside {run}` takes its CSV out of the way"
            )));
        }
        // Rows of other files may have taken its keys since; without a key of its own they cannot.
        load.older = load.key != [FILE, RECORD];
        Ok(())
    }
}

/// Whether other files may be tried all the same.
pub(super) const fn is_of_the_file(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Data | ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Config)
}
