//! The work that there is for a table, in units: each is what one command does.

use serde::{Deserialize, Serialize};

use super::PlanRequest;
use crate::config::TableConfig;
use crate::error::Result;
use crate::operate::shell::quoted;
use crate::pipeline::backfill::RangeLeft;
use crate::pipeline::describe::finite;
use crate::pipeline::window::Ahead;
use crate::pipeline::{Pipeline, WindowReport};
use crate::plan::Plan;
use crate::run::RunKind;
use crate::sink::TableState;
use crate::source::Estimate;
use crate::watermark::{Micros, Timestamp};

/// Work that one command does: under the lease of the table, window by window, or chunk by chunk.
///
/// Whoever gives the command again goes on with what is left, so it may be handed to any process, and to another one when
/// that is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct WorkUnit {
    /// `run`; `backfill`, `reseed`, `repair` or `resync` that was cut off, or a `backfill` that was asked about.
    pub kind: RunKind,
    /// The command that does it, for a shell.
    pub command: String,
    /// The windows that are left, in their order; empty where rows are not read in windows, or where it is not known yet.
    pub windows: Vec<WindowReport>,
    /// Whether more windows follow than are listed.
    pub more_windows: bool,
    /// Windows or chunks that are loaded already.
    pub done: u64,
    /// Chunks that are left, of a resync.
    pub chunks: Option<u64>,
    /// Files that are left, of a table of files.
    pub files: Option<u64>,
    /// About how many rows will be read, as the source's planner takes it from its statistics; `null`: not known.
    pub estimated_rows: Option<u64>,
    /// About how many bytes these have in the source.
    pub estimated_bytes: Option<u64>,
}

impl WorkUnit {
    pub(super) fn of_run(table: &TableConfig) -> Self {
        Self::of(RunKind::Run, format!("dwh run {}", quoted(&table.name)))
    }

    fn of(kind: RunKind, command: String) -> Self {
        let (windows, more_windows, done) = (Vec::new(), false, 0);
        let (chunks, files, estimated_rows, estimated_bytes) = (None, None, None, None);
        Self { kind, command, windows, more_windows, done, chunks, files, estimated_rows, estimated_bytes }
    }

    fn of_range(table: &TableConfig, RangeLeft { report: left, since }: RangeLeft) -> Self {
        let name = quoted(&table.name);
        let since = since.map(|run| format!(" --since-run {run}")).unwrap_or_default();
        let command = match left.kind {
            RunKind::Reseed => format!("dwh reseed {name}"),
            RunKind::Repair => format!("dwh reseed {name} --replace"),
            _ => {
                // People mean it the other way round than windows: inclusive below, exclusive above.
                let shown = |at: Option<Timestamp>| {
                    at.map(|at| quoted(&at.plus(Micros(1)).to_string().replace(".000000Z", "Z")))
                };
                let range = left.range.as_ref();
                let from = range.and_then(|range| shown(range.from)).unwrap_or_default();
                let to = range.and_then(|range| shown(range.to)).unwrap_or_default();
                format!("dwh backfill {name} --from {from} --to {to}{since}")
            }
        };
        Self { windows: left.windows, done: left.windows_skipped, ..Self::of(left.kind, command) }
    }

    fn estimated(self, estimate: Option<Estimate>) -> Self {
        let (rows, bytes) = (estimate.map(|estimate| estimate.rows), estimate.map(|estimate| estimate.bytes));
        Self { estimated_rows: rows, estimated_bytes: bytes, ..self }
    }
}

impl Pipeline {
    /// The next run of a table that is read whole.
    pub(super) async fn whole_unit(&self, plan: &Plan) -> Result<WorkUnit> {
        let all = self.source(&plan.table)?.estimate(plan, Timestamp::NEG_INFINITY, Timestamp::INFINITY).await?;
        Ok(WorkUnit::of_run(&plan.table).estimated(all))
    }

    /// The next run of a table with windows.
    pub(super) async fn run_unit(
        &self,
        plan: &Plan,
        state: &TableState,
        ahead: &Ahead,
        now: Timestamp,
    ) -> Result<WorkUnit> {
        let (windows, more_windows) = self.windows_ahead(plan, state, ahead).await?;
        let shown = |window: &crate::watermark::Window| WindowReport {
            from: finite(window.low),
            to: Some(window.high.unwrap_or(now)),
        };
        let windows: Vec<WindowReport> = windows.iter().map(shown).collect();
        let unit = WorkUnit { windows, more_windows, ..WorkUnit::of_run(&plan.table) };
        self.estimated(plan, unit).await
    }

    /// What was cut off, and what the request asks about.
    pub(super) async fn units_left(
        &self,
        table: &TableConfig,
        plan: &Plan,
        state: &TableState,
        request: &PlanRequest,
    ) -> Result<Vec<WorkUnit>> {
        let mut units = Vec::new();
        if let Some((left, done)) = self.chunks_left(table).await? {
            let command = format!("dwh resync {}", quoted(&table.name));
            units.push(WorkUnit { chunks: Some(left), done, ..WorkUnit::of(RunKind::Resync, command) });
        }
        let mut ranges = self.ranges_left(table, state).await?;
        if let Some(from) = request.from {
            let asked = self.range_ahead(table, state, from, request.to).await?;
            ranges.retain(|open| (open.report.kind, &open.report.range) != (asked.report.kind, &asked.report.range));
            ranges.push(asked);
        }
        for left in ranges {
            units.push(self.estimated(plan, WorkUnit::of_range(table, left)).await?);
        }
        Ok(units)
    }

    async fn estimated(&self, plan: &Plan, unit: WorkUnit) -> Result<WorkUnit> {
        let ends = unit.windows.first().zip(unit.windows.last());
        let Some((low, high)) = ends.map(|(first, last)| (first.from, last.to)) else { return Ok(unit) };
        let high = high.filter(|_| !unit.more_windows);
        let (low, high) = (low.unwrap_or(Timestamp::NEG_INFINITY), high.unwrap_or(Timestamp::INFINITY));
        let estimate = self.source(&plan.table)?.estimate(plan, low, high).await?;
        Ok(unit.estimated(estimate))
    }
}
