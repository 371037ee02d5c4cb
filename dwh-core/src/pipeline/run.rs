//! `run` and `extract`: the windows of a table, each an ordinary run with its own CSV and commit.

use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::blob::Manifest;
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::describe::window_report;
use crate::pipeline::failure::{failed, interrupted, named, or_stopped, repeated, told, with_way_out};
use crate::pipeline::jobs::Jobs;
use crate::pipeline::transfer::{Extracted, Goal, Slice};
use crate::pipeline::{CauseReport, Event, LoadParams, Pipeline, RunReport, RunRequest, TableRun};
use crate::plan::Plan;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{LogEntry, RunRecord, TableState};
use crate::watermark::{Call, Window};

impl Pipeline {
    /// The whole run for the tables that match: recover, extract, load, archive. With `preview` it is counted what that
    /// would do, and nothing is kept.
    ///
    /// # Errors
    /// `Config` if no table matches. What went wrong with a single table stands in its report and stops no other.
    pub async fn run(&self, request: &RunRequest, cancel: &CancellationToken) -> Result<RunReport> {
        let whole = self.expanded().await?;
        let tables: Vec<TableConfig> = whole.config.select(&request.tables)?.into_iter().cloned().collect();
        let unknown = self.unknown_sources(&whole, &request.tables);
        let jobs = request.jobs.unwrap_or(self.config.target.connections).max(1);
        let mut this = whole.in_round(&tables);
        (this.allow_empty, this.accept_source, this.until) =
            (request.allow_empty, request.accept_source, request.until);
        // A table that is read anew takes no more of them than its share.
        this.jobs = Some((jobs / tables.len().max(1)).max(1));
        this.shared = request.jobs.map(|_| Arc::new(Jobs::new(jobs, tables.len())));
        let preview = request.preview;
        (this.observer)(&Event::TablesChosen { tables: tables.len() });
        let _ahead = AbortOnDropHandle::new(tokio::spawn({
            let this = this.clone();
            async move { tokio::join!(this.blobs.make_ready(), this.read_ahead()) }
        }));
        let numbered = Arc::new(if preview { Ok(()) } else { this.number_above_files().await });
        let work = futures_util::stream::iter(tables.into_iter().enumerate())
            .map(|(place, table)| {
                let (this, cancel, wait) = (this.clone(), cancel.clone(), request.wait);
                let numbered = Arc::clone(&numbered);
                let name = table.name.clone();
                let mode = table.mode;
                let task = AbortOnDropHandle::new(tokio::spawn(async move {
                    let _job = match &this.shared {
                        Some(jobs) => jobs.begin().await,
                        None => None,
                    };
                    if preview {
                        return vec![this.preview_table(&table, wait, &cancel).await];
                    }
                    this.run_table(&table, numbered.as_ref().as_ref(), wait, &cancel).await
                }));
                async move {
                    let runs = task.await.unwrap_or_else(|stopped| {
                        let error = Error::new(ErrorKind::Internal, format!("table `{name}`: its run stopped"));
                        vec![failed(TableRun::new(&name, mode), &error.with_source(stopped))]
                    });
                    (place, runs)
                }
            })
            .buffer_unordered(jobs);
        let mut ended: Vec<(usize, Vec<TableRun>)> = work.collect().await;
        // In the order of the configuration, whichever was ready first.
        ended.sort_by_key(|(place, _)| *place);
        let unread =
            unknown.iter().map(|(source, error)| failed(TableRun::new(&format!("{source}.*"), Mode::Snapshot), error));
        let runs: Vec<TableRun> = ended.into_iter().flat_map(|(_, runs)| runs).chain(unread).collect();
        let causes = CauseReport::among(runs.iter().map(|run| (&run.table, &run.error)));
        Ok(RunReport { preview, runs, causes, ..RunReport::default() })
    }

    /// All runs of one table until it is up to date; the last one failed if anything did. None begins while it is not
    /// known that its number is free.
    pub(super) async fn run_table(
        &self,
        table: &TableConfig,
        numbered: Result<&(), &Error>,
        wait: bool,
        cancel: &CancellationToken,
    ) -> Vec<TableRun> {
        (self.observer)(&Event::TableStarted { table: table.name.clone() });
        let mut runs = Vec::new();
        let done = match numbered {
            Ok(()) => self.run_windows(table, wait, cancel, &mut runs).await,
            Err(error) => Err(repeated(error)),
        };
        if let Err(error) = done {
            // An error that belongs to a run is in its report already.
            if runs.last().is_none_or(|run: &TableRun| run.error.is_none()) {
                let run = failed(TableRun::new(&table.name, table.mode), &named(error, &table.name));
                runs.push(self.ended(run));
            }
        }
        (self.observer)(&Event::TableFinished { table: table.name.clone() });
        runs
    }

    async fn run_windows(
        &self,
        table: &TableConfig,
        wait: bool,
        cancel: &CancellationToken,
        runs: &mut Vec<TableRun>,
    ) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        let lease = self.lease(table, wait, cancel).await?;
        let mut state = lease.state().clone();
        self.run_leased(table, (&mut state, lease.settled()), cancel, runs).await?;
        lease.release().await
    }

    /// Under the lease, which may have told how far the runs of the table are settled: settles what earlier runs left, then
    /// reads window after window.
    pub(super) async fn run_leased(
        &self,
        table: &TableConfig,
        (state, settled): (&mut TableState, Option<RunId>),
        cancel: &CancellationToken,
        runs: &mut Vec<TableRun>,
    ) -> Result<()> {
        let mut run = TableRun::new(&table.name, table.mode);
        let plan = match self.prepare(table, (state, settled), runs, &mut run, cancel).await {
            Ok(plan) => plan,
            // A load of what was left over failed: that is a run of its own.
            Err(_) if runs.last().is_some_and(|run| run.error.is_some()) => return Err(told()),
            Err(error) => {
                let run = failed(run, &error);
                runs.push(self.ended(run));
                return Err(told());
            }
        };
        if table.mode == Mode::Files {
            return self.run_files(&plan, state, cancel, runs, run).await;
        }
        let added = std::mem::take(&mut run.columns_added);
        if table.mode == Mode::Incremental {
            self.run_in_windows(&plan, state, added, runs, cancel).await?;
        } else {
            let run = TableRun { columns_added: added, ..self.run_once(&plan, state, cancel).await };
            let error = run.error.is_some();
            runs.push(self.ended(run));
            if error {
                return Err(told());
            }
        }
        if self.deletes_due(table, state).await? {
            let (run, _) = self.keys_run(&plan, state, cancel).await;
            let error = run.error.is_some();
            runs.push(run);
            if error {
                return Err(told());
            }
        }
        Ok(())
    }

    /// What comes before the first run. What keeps that from beginning is a failed run in the log: who watches the log
    /// would not see it otherwise.
    async fn prepare(
        &self,
        table: &TableConfig,
        (state, settled): (&mut TableState, Option<RunId>),
        runs: &mut Vec<TableRun>,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<Arc<Plan>> {
        let begun = runs.len();
        let prepared = async {
            or_stopped(cancel, self.judge_ahead(table, state)).await?;
            self.recover_leased(table, (state, settled), runs, cancel).await?;
            or_stopped(cancel, self.may_begin(table, state)).await?;
            self.plan_that_follows(table, state, run, runs, cancel).await
        };
        let error = match prepared.await {
            Ok(plan) => return Ok(plan),
            Err(error) => named(error, &table.name),
        };
        if runs.len() == begun || runs.last().is_some_and(|run| run.error.is_none()) {
            self.log_unbegun(table, state, run, &error).await;
        }
        Err(error)
    }

    /// The run of a table that is read whole.
    async fn run_once(&self, plan: &Arc<Plan>, state: &mut TableState, cancel: &CancellationToken) -> TableRun {
        let started = Instant::now();
        let table = &plan.table;
        let mut run = TableRun::new(&table.name, table.mode);
        let done = async {
            let slice = self.slice(plan, state, Call::Only, &mut run, cancel).await?;
            self.run_slice(slice, state, &mut run, cancel).await
        };
        if let Err(error) = done.await {
            let error = with_way_out(named(error, &table.name), &run);
            self.log_failure(&mut run, &error).await;
            run = failed(run, &error);
        }
        run.seconds.total = started.elapsed().as_secs_f64();
        run
    }

    /// Extracts, loads and archives what was decided, and returns its manifest.
    pub(super) async fn run_slice(
        &self,
        slice: Slice,
        state: &mut TableState,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<Manifest> {
        let extracted = self.transfer(&slice, Goal::BlobAndStage, run, cancel).await?;
        self.load_extracted(slice, extracted, state, run, cancel).await
    }

    /// Begins a run in the log and decides what it reads.
    pub(super) async fn slice(
        &self,
        plan: &Arc<Plan>,
        state: &TableState,
        call: Call,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<Slice> {
        let table = &plan.table;
        if table.mode == Mode::Files {
            // What was loaded since the last extract gets its copy.
            let mut files = self.settle_files(table, state).await?.into_iter();
            let file = files.next().ok_or_else(|| no_file(table))?;
            let mut slice = self.begin(plan, state, RunKind::File, run).await?;
            self.reads(&mut slice, Some(file)).await?;
            return Ok(slice);
        }
        let mut slice = self.begin(plan, state, RunKind::Run, run).await?;
        if table.mode == Mode::Incremental {
            or_stopped(cancel, self.set_window(&mut slice, call, run)).await?;
            let window = slice.window.unwrap_or(Window { low: state.low(), high: None, watermark: state.low() });
            run.window = Some(window_report(window));
        }
        let bound = slice.bound.as_ref().map(|bound| bound.rule.to_string());
        (self.observer)(&Event::RunStarted { table: table.name.clone(), run_id: slice.record.run_id, bound });
        Ok(slice)
    }

    /// A new run in the log, of which it is not decided yet what it reads.
    pub(super) async fn begin(
        &self,
        plan: &Arc<Plan>,
        state: &TableState,
        kind: RunKind,
        run: &mut TableRun,
    ) -> Result<Slice> {
        let record = self.sink.log(self.begins(&plan.table, plan.table.mode, kind)).await?;
        self.tell_target_clock(&plan.table, state, record.run_started_at);
        (run.run_id, run.kind) = (Some(record.run_id), kind);
        Ok(Slice::new(kind, Arc::clone(plan), state.clone(), record))
    }

    /// Tells whoever watches that a run has ended.
    pub(super) fn ended(&self, run: TableRun) -> TableRun {
        (self.observer)(&Event::RunFinished(Box::new(run.clone())));
        run
    }

    /// Writes into the run log that a run failed, if it has one and did not get as far as `loaded`.
    pub(super) async fn log_failure(&self, run: &mut TableRun, error: &Error) {
        let Some(run_id) = run.run_id.filter(|_| run.status != RunState::Loaded) else { return };
        let entry = LogEntry::Failed { run_id, message: error.chain(), kind: Some(error.kind()) };
        match self.sink.log(entry).await {
            Ok(_) => run.status = RunState::Failed,
            // The target is away: the next run finds the row and judges it by what stands in the blob store.
            Err(unlogged) => {
                tracing::warn!(table = run.table, %run_id, error = %unlogged.chain(), "run log cannot be written")
            }
        }
    }

    /// A run that cannot begin, as a failed one in the log.
    pub(super) async fn log_unbegun(&self, table: &TableConfig, state: &TableState, run: &mut TableRun, error: &Error) {
        // A row in a log that began anew beside older files would stand in the way of their rebuild.
        if error.kind() == ErrorKind::Interrupted || self.is_first(table, state).await.is_err() {
            return;
        }
        let kind = if run.mode == Mode::Files { RunKind::File } else { RunKind::Run };
        match self.sink.log(self.begins(table, run.mode, kind)).await {
            Ok(record) => {
                run.run_id = Some(record.run_id);
                self.log_failure(run, error).await;
            }
            Err(unlogged) => {
                tracing::warn!(table = run.table, error = %unlogged.chain(), "run log cannot be written")
            }
        }
    }

    /// Extracts the next window of one table and stops when its manifest is written.
    ///
    /// # Errors
    /// Any kind; nothing was loaded then.
    pub async fn extract(&self, table: &str, wait: bool, cancel: &CancellationToken) -> Result<LoadParams> {
        let table = &self.table(table).await?;
        self.number_above_files().await?;
        let lease = self.lease(table, wait, cancel).await?;
        let mut run = TableRun::new(&table.name, table.mode);
        let prepared = async {
            or_stopped(cancel, self.judge(table, lease.state())).await?;
            self.fail_dead_extracts(table, lease.state()).await?;
            self.refuse_under_resync(table).await?;
            self.may_begin(table, lease.state()).await?;
            self.plan_or_warn(table, lease.state(), &mut run).await
        };
        let plan = match prepared.await {
            Ok(plan) => plan,
            Err(error) => {
                let error = named(error, &table.name);
                self.log_unbegun(table, lease.state(), &mut run, &error).await;
                return Err(error);
            }
        };
        let extracted = async {
            let slice = self.slice(&plan, lease.state(), Call::Only, &mut run, cancel).await?;
            let extracted = self.transfer(&slice, Goal::Blob, &mut run, cancel).await?;
            self.record_upload(&extracted.manifest, extracted.stored, &mut run).await?;
            let more = match &slice.file {
                Some(file) => self.pending_files(table, lease.state()).await?.iter().any(|one| one.path != file.path),
                None => self.goes_on(&slice),
            };
            Ok((slice.record, extracted, more))
        };
        match extracted.await {
            Ok((record, extracted, more)) => {
                (self.observer)(&Event::RunFinished(Box::new(run)));
                lease.release().await?;
                Ok(LoadParams { more, ..self.load_params(&record, &extracted) })
            }
            Err(error) => {
                let error = named(error, &table.name);
                self.log_failure(&mut run, &error).await;
                Err(error)
            }
        }
    }

    fn load_params(&self, record: &RunRecord, extracted: &Extracted) -> LoadParams {
        LoadParams {
            table: record.table_name.clone(),
            csv_path: self.address(&extracted.manifest.csv),
            run_id: Some(record.run_id),
            run_started_at: Some(record.run_started_at),
            more: false,
        }
    }
}

fn no_file(table: &TableConfig) -> Error {
    Error::new(ErrorKind::NotFound, format!("table `{}`: no file is new, and none has changed", table.name)).with_hint(
        "nothing is to be done; `dwh files list` shows every file, and `dwh files reprocess` reads some again",
    )
}
