//! The windows of a run: while one is loaded, the next ones are read.
//!
//! A window is decided once the snapshot of the one before is taken, so numbers, windows and snapshots have one order. What
//! is read ahead is a file in the spool and a CSV without a manifest, which counts for nothing. Its turn comes when the run
//! before it is loaded: from then on it is a run like any other. So at most one complete CSV waits for its load, whatever
//! ends the process; and where a run fails, those after it go without a trace but for their rows of the run log.

use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::blob::{BlobKey, write_manifest};
use crate::error::{Error, Result};
use crate::pipeline::failure::{failed, interrupted, named, repeated, told, with_way_out};
use crate::pipeline::transfer::{Extracted, Read, Slice, stopped};
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::{LoadPlan, Plan};
use crate::sink::TableState;
use crate::spool::Spool;
use crate::watermark::Call;

/// A run that has begun, in its order.
struct Begun {
    run: TableRun,
    started: Instant,
    /// Its window, or why that could not be read.
    window: Result<Reading>,
    /// Its place in the spool, until it is loaded.
    _place: Option<OwnedSemaphorePermit>,
}

/// A window that is being read.
struct Reading {
    slice: Slice,
    key: BlobKey,
    load: LoadPlan,
    spool: Spool,
    has_rows: oneshot::Receiver<bool>,
    read: AbortOnDropHandle<Result<Read>>,
}

/// What follows a window.
enum Next {
    /// None.
    Nothing,
    /// One that begins with this watermark row.
    Begins(Box<TableState>),
    /// One of which only the load tells how it begins.
    OnceLoaded,
}

impl Pipeline {
    /// All windows of a table, up to the bound, in their order. Whatever happens, those up to the first that failed are
    /// loaded, and no other; what went wrong with it is in its report.
    pub(super) async fn run_in_windows(
        &self,
        plan: &Arc<Plan>,
        state: &mut TableState,
        mut columns_added: Vec<String>,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut call = Call::First;
        loop {
            let stop = cancel.child_token();
            let (begun, in_turn) = unbounded_channel();
            // Boxed: the two of them would be a large part of the stack.
            let reads = Box::pin(self.read_windows(plan, state.clone(), call, (begun, &mut columns_added), &stop));
            let loads = Box::pin(self.load_windows_read(plan, state, in_turn, runs, (cancel, &stop)));
            let (left, done) = tokio::join!(reads, loads);
            done?;
            if !left {
                return Ok(());
            }
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            call = Call::Next;
        }
    }

    /// Begins the reading of window after window. Says whether there are more, which the loads of these must tell.
    async fn read_windows(
        &self,
        plan: &Arc<Plan>,
        mut state: TableState,
        mut call: Call,
        (begun, columns_added): (UnboundedSender<Begun>, &mut Vec<String>),
        stop: &CancellationToken,
    ) -> bool {
        // One is loaded while others are read.
        let at_once = self.shared.as_ref().map_or(1, |jobs| jobs.most());
        let (spool, own) = (Arc::new(Semaphore::new(at_once + 1)), Arc::new(Semaphore::new(1)));
        loop {
            // Neither is ever closed.
            let turn = async { (spool.clone().acquire_owned().await.ok(), self.job(&own).await) };
            let (place, job) = tokio::select! {
                biased;
                () = stop.cancelled() => return true,
                turn = turn => turn,
            };
            let started = Instant::now();
            let mut run = TableRun::new(&plan.table.name, plan.table.mode);
            run.columns_added = std::mem::take(columns_added);
            let (window, next) = match self.open_window(plan, &state, call, &mut run, job, stop).await {
                Ok((window, next)) => (Ok(window), next),
                Err(error) => (Err(error), Next::Nothing),
            };
            if begun.send(Begun { run, started, window, _place: place }).is_err() {
                return false;
            }
            match next {
                Next::Begins(leaves) => (state, call) = (*leaves, Call::Next),
                Next::OnceLoaded => return true,
                Next::Nothing => return false,
            }
        }
    }

    /// A job for one more read: the table's own one, or one that no other table needs.
    async fn job(&self, own: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let Some(jobs) = &self.shared else { return own.clone().acquire_owned().await.ok() };
        tokio::select! {
            biased;
            job = own.clone().acquire_owned() => job.ok(),
            job = jobs.further() => job,
        }
    }

    /// Begins a run, takes its snapshot, and lets it be read.
    async fn open_window(
        &self,
        plan: &Arc<Plan>,
        state: &TableState,
        call: Call,
        run: &mut TableRun,
        job: Option<OwnedSemaphorePermit>,
        stop: &CancellationToken,
    ) -> Result<(Reading, Next)> {
        let slice = self.slice(plan, state, call, run, stop).await?;
        let more = self.goes_on(&slice);
        let extract = self.open(&slice, run, stop).await?.holding(job);
        let next = match more.then(|| self.foreseen(&slice, &extract)) {
            Some(Some(leaves)) => Next::Begins(Box::new(leaves)),
            Some(None) => Next::OnceLoaded,
            None => Next::Nothing,
        };
        let key = self.key(&slice);
        let (load, spool) = extract.for_load(&slice);
        let (tell, has_rows) = oneshot::channel();
        let (this, into) = (self.clone(), key.clone());
        let read = async move { this.store_rows(into, extract, tell).await };
        let read = AbortOnDropHandle::new(tokio::spawn(read));
        Ok((Reading { slice, key, load, spool, has_rows, read }, next))
    }

    /// Loads what was read, in its order. After a run that fails none is loaded.
    async fn load_windows_read(
        &self,
        plan: &Plan,
        state: &mut TableState,
        mut in_turn: UnboundedReceiver<Begun>,
        runs: &mut Vec<TableRun>,
        (cancel, stop): (&CancellationToken, &CancellationToken),
    ) -> Result<()> {
        let table = &plan.table.name;
        let mut last: Option<Error> = None;
        while let Some(Begun { mut run, started, window, _place }) = in_turn.recv().await {
            let done = match (window, &last) {
                (window, Some(last)) => Err(self.give_up_window(window, last).await),
                (Err(error), None) => Err(error),
                (Ok(window), None) => self.load_window_read(window, state, &mut run, cancel).await,
            };
            if let Err(error) = done {
                stop.cancel();
                let error = with_way_out(named(error, table), &run);
                self.log_failure(&mut run, &error).await;
                run = failed(run, &error);
                last.get_or_insert(match run.run_id {
                    Some(run_id) => error.context(format!("run {run_id} before it failed")),
                    None => error,
                });
            }
            run.seconds.total = started.elapsed().as_secs_f64();
            runs.push(self.ended(run));
        }
        if last.is_some() { Err(told()) } else { Ok(()) }
    }

    /// What [`transfer`](Self::transfer) does, from where the CSV has come to meanwhile; then the load.
    async fn load_window_read(
        &self,
        window: Reading,
        state: &mut TableState,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let Reading { slice, key, load, spool, has_rows, read } = window;
        // A read that failed says so itself.
        let has_rows = has_rows.await.unwrap_or(false);
        let stage = has_rows.then(|| self.stage_spool(&slice, load, spool, true));
        let before =
            async { if has_rows { self.before(&slice.plan.table, &slice.state, slice.kind).await } else { None } };
        let (read, before) = tokio::join!(read, before);
        let read = read.map_err(stopped)??;
        read.tell_seconds(run);
        let Read { reading, totals, stored, has_csv, .. } = read;
        let manifest = self.manifest(&slice, &key, &reading, totals, stored, before);
        reading.warnings.iter().for_each(|warning| self.warn(&slice.plan.table.name, warning));
        let (mut staged, mut read_back) = (None, None);
        if let Some(stage) = stage {
            write_manifest(self.blobs.as_ref(), &manifest).await?;
            read_back = self.read_back(&manifest);
            staged = Some(self.staged_and_logged(&manifest, stage, run, cancel).await?);
        }
        let becomes = slice.becomes(&manifest);
        let extracted = Extracted { manifest, becomes, staged, stored: has_csv, read_back };
        self.load_extracted(slice, extracted, state, run, cancel).await.map(drop)
    }

    /// Leaves nothing of what was read after a run that failed; the error is the one of that run.
    async fn give_up_window(&self, window: Result<Reading>, last: &Error) -> Error {
        if let Ok(Reading { read, key, .. }) = window
            && let Ok(Ok(Read { has_csv: true, .. })) = read.await
        {
            self.discard(&key).await;
        }
        repeated(last)
    }
}
