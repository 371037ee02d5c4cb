//! `run` with `preview`: what a run would insert and change, counted in the target and rolled back.

use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::commit::tell_counts;
use crate::pipeline::describe::{finite, window_report};
use crate::pipeline::failure::{failed, interrupted, named, or_stopped};
use crate::pipeline::files::is_of_the_file;
use crate::pipeline::transfer::{Slice, stopped};
use crate::pipeline::{Event, Pipeline, TableRun};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunRecord, TableState};
use crate::watermark::{Call, Micros};

impl Pipeline {
    /// What a run of the table would do. Nothing is written but the staging table of a transaction that is rolled back:
    /// no CSV, no row of the run log, no number.
    pub(super) async fn preview_table(&self, table: &TableConfig, wait: bool, cancel: &CancellationToken) -> TableRun {
        (self.observer)(&Event::TableStarted { table: table.name.clone() });
        let started = Instant::now();
        let mut run = TableRun::new(&table.name, table.mode);
        if let Err(error) = self.preview_leased(table, wait, cancel, &mut run).await {
            run = failed(run, &named(error, &table.name));
        }
        run.seconds.total = started.elapsed().as_secs_f64();
        (self.observer)(&Event::TableFinished { table: table.name.clone() });
        run
    }

    async fn preview_leased(
        &self,
        table: &TableConfig,
        wait: bool,
        cancel: &CancellationToken,
        run: &mut TableRun,
    ) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        let lease = self.lease(table, wait, cancel).await?;
        let state = lease.state().clone();
        let done = self.preview_held(table, &state, cancel, run).await;
        // After an error as well: whoever looks at the table should not find a holder that is gone.
        done.and(lease.release().await)
    }

    async fn preview_held(
        &self,
        table: &TableConfig,
        state: &TableState,
        cancel: &CancellationToken,
        run: &mut TableRun,
    ) -> Result<()> {
        or_stopped(cancel, self.judge(table, state)).await?;
        self.is_first(table, state).await?;
        if let Some(waiting) = self.first_waiting(table, state).await? {
            let message =
                format!("the CSV of run {waiting} waits, and a run loads it first: its rows are counted as new here");
            self.warn(&table.name, &message);
        }
        let slice = tokio::select! {
            slice = self.previewed(table, state, run) => slice?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        let Some(slice) = slice else { return Ok(()) };
        if table.mode == Mode::Files {
            return self.preview_files(slice, run, cancel).await;
        }
        self.count_slice(&slice, run, cancel).await
    }

    /// Each file that a run would read, counted by itself against bronze as it is; a file that is not valid stops no other.
    async fn preview_files(&self, mut slice: Slice, run: &mut TableRun, cancel: &CancellationToken) -> Result<()> {
        let table = slice.plan.table.clone();
        let mut wrong = None;
        for file in self.pending_files(&table, &slice.state).await? {
            let path = file.path.clone();
            slice.file = Some(file);
            let mut one = TableRun::new(&table.name, table.mode);
            match self.count_slice(&slice, &mut one, cancel).await {
                Ok(()) => add(run, &one),
                Err(error) if is_of_the_file(error.kind()) => {
                    self.warn(&table.name, &format!("`{path}`: {error}"));
                    wrong = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    /// All that a run would read, in one piece: window after window, each would be counted against a bronze without the
    /// rows of the one before. `None` if a run changes bronze first, so that nothing can be counted: that is told.
    async fn previewed(&self, table: &TableConfig, state: &TableState, run: &mut TableRun) -> Result<Option<Slice>> {
        let in_one = TableConfig { window: Micros::ZERO, ..table.clone() };
        let fitted = self.fit(&in_one, state).await?;
        if let Some(first) = self.would_follow(&fitted).await? {
            self.warn(&table.name, &format!("{first}; what it brings is not counted here"));
            run.status = RunState::Loading;
            return Ok(None);
        }
        let (mut plan, bronze) = fitted;
        // A run makes a type that the target lacks; that cannot be tried: it is told as the difference that it is.
        if bronze.as_ref().is_some_and(|bronze| plan.load(false).waits_for_types(bronze)) {
            plan.waiting.clear();
        }
        plan.check_bronze(bronze.as_ref())?;
        if let Some(bronze) = &bronze {
            self.tell_waiting(&plan, bronze, "is added by the next run");
        }
        self.warn_of_missing(&plan);
        let plan = Arc::new(plan);
        let record = self.would_begin(table, RunKind::Run).await?;
        let mut slice = Slice::new(RunKind::Run, plan, state.clone(), record);
        if table.mode == Mode::Incremental {
            self.set_window(&mut slice, Call::First, run).await?;
            run.window = slice.window.map(window_report);
            run.watermark = finite(slice.state.low());
        }
        Ok(Some(slice))
    }

    async fn count_slice(&self, slice: &Slice, run: &mut TableRun, cancel: &CancellationToken) -> Result<()> {
        let extract = self.open(slice, run, cancel).await?;
        let stage = self.spawn_stage(slice, &extract, false);
        let ((reading, totals), seconds) = extract.pump(&self.observer).await?;
        reading.warnings.iter().for_each(|warning| self.warn(&slice.plan.table.name, warning));
        run.rows_rejected = reading.file.map_or(0, |file| file.rejected);
        run.seconds.extract = seconds;
        (run.rows_extracted, run.bytes, run.sha256) = (totals.rows, totals.bytes, Some(totals.sha256));
        let (staged, seconds) = tokio::select! {
            done = stage => done.map_err(stopped)??,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        run.seconds.stage = seconds;
        run.status = RunState::Loading;
        if staged.rows() != totals.rows {
            let message = format!("{} rows were read, and {} staged", totals.rows, staged.rows());
            return Err(Error::new(ErrorKind::Data, message));
        }
        let started = Instant::now();
        let counts = staged.preview().await?;
        run.seconds.commit = started.elapsed().as_secs_f64();
        tell_counts(run, &counts);
        Ok(())
    }

    /// The row of the run log that a run would get. Its number would be higher than all; which one, nobody knows yet.
    pub(super) async fn would_begin(&self, table: &TableConfig, kind: RunKind) -> Result<RunRecord> {
        Ok(RunRecord::begun(RunId(i64::MAX), &table.name, table.mode, kind, self.sink.now().await?))
    }
}

/// Adds what one file would do.
fn add(run: &mut TableRun, one: &TableRun) {
    run.status = one.status;
    run.rows_extracted += one.rows_extracted;
    run.bytes += one.bytes;
    run.rows_loaded += one.rows_loaded;
    run.rows_inserted += one.rows_inserted;
    run.rows_updated += one.rows_updated;
    run.rows_identical += one.rows_identical;
    run.rows_different += one.rows_different;
    run.rows_kept_newer += one.rows_kept_newer;
    run.rows_removed += one.rows_removed;
    run.rows_rejected += one.rows_rejected;
}
