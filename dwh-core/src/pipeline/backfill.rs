//! `backfill` and `reseed`: history below the watermark, read again in windows, each a run of its own that leaves the
//! watermark where it is. The table is free between two windows, so scheduled runs go on.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chain::{Piece, Range, unfinished, unfinished_end};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::describe::{finite, window_report};
use crate::pipeline::failure::{failed, interrupted, named, or_stopped, with_way_out};
use crate::pipeline::{Event, Pipeline, RunReport, TableRun, WindowReport};
use crate::plan::Plan;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};
use crate::watermark::{Micros, Timestamp, Window};

/// What `backfill` is asked for.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct BackfillRequest {
    /// The table's name in the configuration.
    pub table: String,
    /// The first moment that is read again.
    pub from: Timestamp,
    /// The first moment that is not read again any more; `None`: after the watermark.
    pub to: Option<Timestamp>,
    /// Wait where another run holds the table, instead of failing with `Locked`.
    pub wait: bool,
    /// Read everything, though an earlier call that was cut off got part of the way.
    pub restart: bool,
    /// Windows that runs above this one loaded for the same range are not read again, also where it came to its end: so a
    /// call may be made any number of times. `None`: a range that came to its end begins anew.
    pub since_run: Option<RunId>,
    /// Only tell what would be read.
    pub dry_run: bool,
}

impl BackfillRequest {
    /// All history of a table from this moment on, read again.
    #[must_use]
    pub fn new(table: impl Into<String>, from: Timestamp) -> Self {
        Self { table: table.into(), from, to: None, wait: false, restart: false, since_run: None, dry_run: false }
    }
}

/// What `backfill` or `reseed` did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct BackfillReport {
    /// The table's name in the configuration.
    pub table: String,
    /// `backfill` or `reseed`; `repair` for a reseed in the place of what bronze has; `run` for the reseed of a table that is read whole.
    pub kind: RunKind,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The range; `from` is exclusive and `null` for "from the first row on", `to` is inclusive. `null` for a table that
    /// is read whole.
    pub range: Option<WindowReport>,
    /// Windows that others have loaded: an earlier call of the same range that was cut off, or one that shares it.
    pub windows_skipped: u64,
    /// The windows that are left, for a dry run; otherwise empty.
    pub windows: Vec<WindowReport>,
    /// What was done, in order: what an earlier run had left, then a run for each window.
    pub runs: Vec<TableRun>,
}

impl BackfillReport {
    pub(super) fn empty(table: &TableConfig, kind: RunKind, dry_run: bool) -> Self {
        Self {
            table: table.name.clone(),
            kind,
            dry_run,
            range: None,
            windows_skipped: 0,
            windows: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Notes the range, and what earlier calls did of it; says from where on it is left.
    fn begins(&mut self, range: &Range, (at, windows): (Timestamp, u64)) -> Timestamp {
        self.range = Some(WindowReport { from: finite(range.low), to: Some(range.end) });
        self.windows_skipped = windows;
        at
    }

    /// 0 if every run went well; otherwise the code of the one that did not.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        RunReport { runs: self.runs.clone(), ..RunReport::default() }.exit_code()
    }
}

impl Pipeline {
    /// Reads a range of history again: rows that bronze lacks are inserted, rows that it has are judged as in any load.
    ///
    /// The watermark stays. Each window is a run with its own CSV, manifest and commit; a call that was cut off goes on
    /// where it stood when it is made again with the same range.
    ///
    /// # Errors
    /// `Config` for a table without windows or a range above the watermark. What went wrong with a window stands in its
    /// report.
    pub async fn backfill(&self, request: &BackfillRequest, cancel: &CancellationToken) -> Result<BackfillReport> {
        let table = &self.table(&request.table).await?;
        if table.mode != Mode::Incremental {
            return Err(whole(table));
        }
        let work = Work::of_backfill(table, request.from, request.to, request.wait);
        let work = Work { since_run: request.since_run, ..work };
        self.read_again(work, request.restart, request.dry_run, cancel).await
    }

    pub(super) async fn read_again(
        &self,
        work: Work<'_>,
        restart: bool,
        dry_run: bool,
        cancel: &CancellationToken,
    ) -> Result<BackfillReport> {
        let table = work.table;
        let mut report = BackfillReport::empty(table, work.kind, dry_run);
        (self.observer)(&Event::TableStarted { table: table.name.clone() });
        // Before it waits for others, who may share the range.
        let since = match work.since_run {
            Some(run) => Some(run),
            None => self.last_number(table).await.map_err(|error| named(error, &table.name))?,
        };
        let state = self.settle_table(&work, &mut report, cancel).await.map_err(|error| named(error, &table.name))?;
        if report.runs.iter().all(|run| run.error.is_none()) {
            let pieces = if restart { Vec::new() } else { self.pieces(table, &state).await? };
            let range = work.range(state.low(), &pieces)?;
            let begins = match work.since_run {
                Some(_) => range.shared(range.low, &pieces, since),
                None => range.goes_on(&pieces, since),
            };
            let at = report.begins(&range, begins);
            let done = match dry_run {
                true => self.list_windows(table, &state, &range, at, &mut report).await,
                false => self.load_windows(&work, &range, (at, since), &mut report, cancel).await,
            };
            if let Err(error) = done {
                // An error that belongs to a run is in its report already.
                if report.runs.last().is_none_or(|run| run.error.is_none()) {
                    let run = failed(TableRun::new(&table.name, table.mode), &named(error, &table.name));
                    report.runs.push(self.ended(run));
                }
            }
        }
        (self.observer)(&Event::TableFinished { table: table.name.clone() });
        Ok(report)
    }

    /// The number of the newest run of a table, whatever became of it.
    async fn last_number(&self, table: &TableConfig) -> Result<Option<RunId>> {
        let filter = RunFilter { table: Some(table.name.clone()), limit: Some(1), ..RunFilter::default() };
        Ok(self.sink.runs(&filter).await?.first().map(|run| run.run_id))
    }

    /// The windows that earlier calls loaded, newest first, and which of them are worth something today: those that went
    /// into the very bronze table that is there (a truncate gives it another file), by the same select list.
    async fn pieces(&self, table: &TableConfig, state: &TableState) -> Result<Vec<Piece>> {
        let mut records = Vec::new();
        for kind in [RunKind::Backfill, RunKind::Reseed, RunKind::Repair] {
            let filter = RunFilter {
                table: Some(table.name.clone()),
                kind: Some(kind),
                states: vec![RunState::Loaded],
                ..RunFilter::default()
            };
            records.extend(self.sink.runs(&filter).await?);
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.run_id));
        let plan = Some(self.plan_table(table, state).await?.sha256());
        let bronze = self.sink.bronze_id(&table.target).await?.map(|bronze| bronze.id);
        // A table in other files of the server's may have been emptied and filled again: its windows are read again.
        let stands = |record: &RunRecord| bronze.is_some() && record.bronze == bronze && record.plan_sha256 == plan;
        let piece = |record: &RunRecord| {
            Some(Piece {
                run_id: record.run_id,
                kind: record.kind,
                low: record.window_low.unwrap_or(Timestamp::NEG_INFINITY),
                high: record.window_high?,
                end: record.watermark?,
                stands: stands(record),
            })
        };
        Ok(records.iter().filter_map(piece).collect())
    }

    /// Puts in order what an earlier run left, so that the run log tells how far it came; returns the watermark row.
    async fn settle_table(
        &self,
        work: &Work<'_>,
        report: &mut BackfillReport,
        cancel: &CancellationToken,
    ) -> Result<TableState> {
        if !report.dry_run {
            self.number_above_files().await?;
        }
        let lease = self.lease(work.table, work.wait, cancel).await?;
        let mut state = lease.state().clone();
        or_stopped(cancel, self.judge(work.table, &state)).await?;
        if !report.dry_run
            && let Err(error) = self.recover_table(work.table, &mut state, &mut report.runs, cancel).await
            // A load that failed is in the report.
            && report.runs.last().is_none_or(|run| run.error.is_none())
        {
            return Err(error);
        }
        lease.release().await?;
        Ok(state)
    }

    async fn list_windows(
        &self,
        table: &TableConfig,
        state: &TableState,
        range: &Range,
        mut at: Timestamp,
        report: &mut BackfillReport,
    ) -> Result<()> {
        let (plan, bronze) = self.fit(table, state).await?;
        plan.check_bronze(bronze.as_ref())?;
        if let Some(bronze) = &bronze {
            self.tell_waiting(&plan, bronze, "would be added first");
        }
        may_replace(range.kind, &plan)?;
        while at < range.end {
            let high = range.next_after(at, self.source(table)?.earliest(&plan, at).await?);
            report.windows.push(WindowReport { from: finite(at), to: Some(high) });
            at = high;
        }
        Ok(())
    }

    /// The windows that a back-fill of this range would read.
    pub(crate) async fn range_ahead(
        &self,
        table: &TableConfig,
        state: &TableState,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<RangeLeft> {
        let work = Work::of_backfill(table, from, to, false);
        let pieces = self.pieces(table, state).await?;
        let range = work.range(state.low(), &pieces)?;
        self.windows_left(table, state, &range, &pieces).await
    }

    /// What calls that were cut off left to be read, with the windows that are left: of each verb the newest.
    pub(crate) async fn ranges_left(&self, table: &TableConfig, state: &TableState) -> Result<Vec<RangeLeft>> {
        let pieces = self.pieces(table, state).await?;
        let mut left = Vec::new();
        for kind in [RunKind::Backfill, RunKind::Reseed, RunKind::Repair] {
            let Some((low, end)) = unfinished(kind, &pieces) else { continue };
            // The others begin with the first row; repairs of single windows are no range.
            if end <= state.low() && (kind == RunKind::Backfill || !low.is_finite()) {
                let range = Range { kind, low, end, window: table.window };
                left.push(self.windows_left(table, state, &range, &pieces).await?);
            }
        }
        Ok(left)
    }

    async fn windows_left(
        &self,
        table: &TableConfig,
        state: &TableState,
        range: &Range,
        pieces: &[Piece],
    ) -> Result<RangeLeft> {
        let mut report = BackfillReport::empty(table, range.kind, true);
        let at = report.begins(range, range.resume(pieces));
        self.list_windows(table, state, range, at, &mut report).await?;
        let first =
            pieces.iter().filter(|piece| piece.high <= at && piece.end == range.end && piece.kind == range.kind);
        let first = first.take(report.windows_skipped as usize).map(|piece| RunId(piece.run_id.0 - 1)).min();
        let since = match first {
            Some(run) => Some(run),
            None => self.last_number(table).await?,
        };
        Ok(RangeLeft { report, since })
    }

    /// Window by window, up to the first one that fails. An error that belongs to a window is in its report. `since` is the
    /// newest run before the call: windows that others load for the same range meanwhile are not read once more.
    async fn load_windows(
        &self,
        work: &Work<'_>,
        range: &Range,
        (mut at, since): (Timestamp, Option<RunId>),
        report: &mut BackfillReport,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let mut newest = None;
        while at < range.end {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let lease = self.lease(work.table, work.wait, cancel).await?;
            let mut state = lease.state().clone();
            // What was extracted since the last window is loaded before this one: it is older than what this one reads.
            self.recover_table(work.table, &mut state, &mut report.runs, cancel).await?;
            if state.newest_run_id != newest {
                let (then, windows) = range.shared(at, &self.pieces(work.table, &state).await?, since);
                (at, newest) = (then, state.newest_run_id);
                report.windows_skipped += windows;
                if windows > 0 {
                    lease.release().await?;
                    continue;
                }
            }
            let mut added = Vec::new();
            let plan = or_stopped(cancel, self.plan_to_load(work.table, &state, &mut added)).await?;
            may_replace(range.kind, &plan)?;
            let high = range.next_after(at, self.source(work.table)?.earliest(&plan, at).await?);
            let window = Window { low: at, high: Some(high), watermark: range.end };
            let run = self.load_window(&plan, range.kind, window, &state, cancel).await;
            let run = TableRun { columns_added: added, ..run };
            let ok = run.error.is_none();
            newest = newest.max(run.run_id);
            report.runs.push(self.ended(run));
            if !ok {
                return Ok(());
            }
            lease.release().await?;
            at = high;
        }
        Ok(())
    }

    pub(super) async fn load_window(
        &self,
        plan: &Arc<Plan>,
        kind: RunKind,
        window: Window,
        state: &TableState,
        cancel: &CancellationToken,
    ) -> TableRun {
        let started = Instant::now();
        let table = &plan.table;
        let mut run = TableRun::new(&table.name, table.mode);
        run.window = Some(window_report(window));
        let mut state = state.clone();
        let done = async {
            let mut slice = self.begin(plan, &state, kind, &mut run).await?;
            slice.window = Some(window);
            let run_id = slice.record.run_id;
            (self.observer)(&Event::RunStarted { table: table.name.clone(), run_id, bound: None });
            self.run_slice(slice, &mut state, &mut run, cancel).await.map(drop)
        };
        if let Err(error) = done.await {
            let error = with_way_out(named(error, &table.name), &run);
            self.log_failure(&mut run, &error).await;
            run = failed(run, &error);
        }
        run.seconds.total = started.elapsed().as_secs_f64();
        run
    }
}

/// A range of which windows are left.
pub(crate) struct RangeLeft {
    /// What a dry run says of it.
    pub report: BackfillReport,
    /// Windows by runs above this one are done.
    pub since: Option<RunId>,
}

/// What is read again.
pub(super) struct Work<'a> {
    pub table: &'a TableConfig,
    pub kind: RunKind,
    /// Exclusive.
    pub low: Timestamp,
    /// Inclusive.
    pub to: Option<Timestamp>,
    pub wait: bool,
    /// As in the request.
    pub since_run: Option<RunId>,
}

impl<'a> Work<'a> {
    fn of_backfill(table: &'a TableConfig, from: Timestamp, to: Option<Timestamp>, wait: bool) -> Self {
        // Windows of runs are exclusive below and inclusive above; people mean it the other way round.
        let (low, to) = (from.minus(Micros(1)), to.map(|to| to.minus(Micros(1))));
        Self { table, kind: RunKind::Backfill, low, to, wait, since_run: None }
    }

    /// The range below the watermark `limit`; one that an earlier call did not finish keeps its end.
    fn range(&self, limit: Timestamp, pieces: &[Piece]) -> Result<Range> {
        let fail = |text: String, hint: &str| {
            Err(Error::new(ErrorKind::Config, format!("table `{}`: {text}", self.table.name)).with_hint(hint))
        };
        if !limit.is_finite() {
            return fail("nothing was loaded yet".to_owned(), "`dwh run` loads all history, in the same windows");
        }
        if self.low >= limit {
            return fail(
                format!("the range begins at or after the watermark, {limit}"),
                "what lies after the watermark is read by `dwh run`",
            );
        }
        let end = match self.to {
            Some(to) if to <= self.low => {
                return fail("the range ends before it begins".to_owned(), "give `--to` a time after `--from`");
            }
            Some(to) if to <= limit => to,
            _ => unfinished_end(self.kind, self.low, limit, pieces).unwrap_or(limit),
        };
        Ok(Range { kind: self.kind, low: self.low, end, window: self.table.window })
    }
}

/// Refuses to replace windows that cannot be told in bronze.
fn may_replace(kind: RunKind, plan: &Plan) -> Result<()> {
    if kind.replaces() { plan.load(false).check_stamp() } else { Ok(()) }
}

pub(super) fn whole(table: &TableConfig) -> Error {
    let hint = match table.mode {
        Mode::Snapshot => "`dwh run` replaces all its rows by those of the source",
        Mode::Files => "`dwh files reprocess` reads files again, and `dwh reseed` all of them",
        _ => "`dwh run` appends a copy of today; copies of the past are kept in `processed/` alone",
    };
    let mode = table.mode.as_str();
    Error::new(ErrorKind::Config, format!("table `{}`: mode `{mode}` has no windows to read again", table.name))
        .with_hint(hint)
}
