//! What the next run of a table reads, and where its watermark stands then.

use super::describe::finite;
use super::transfer::Slice;
use super::{Pipeline, TableRun};
use crate::config::{TableConfig, UPLOADED_AT};
use crate::error::Result;
use crate::plan::Plan;
use crate::run::RunKind;
use crate::schema::RelationKind;
use crate::sink::TableState;
use crate::source::BoundRequest;
use crate::watermark::{BoundMode, BoundRule, Call, Progress, SafeBound, Sweep, Timestamp, Window};

/// Windows that are told ahead at most.
const LISTED: usize = 1_000;

/// What is read: decided before anything is.
pub(crate) struct Ahead {
    pub(crate) bound: SafeBound,
    pub(crate) window: Window,
    pub(crate) sweep: Sweep,
}

impl Pipeline {
    pub(super) async fn set_window(&self, slice: &mut Slice, call: Call, run: &mut TableRun) -> Result<()> {
        let ahead = self.ahead(&slice.plan, &slice.state, slice.record.run_started_at, call).await?;
        self.tell_bound(&slice.plan, &slice.state, &ahead, call, run);
        slice.window = Some(ahead.window);
        slice.sweep = ahead.sweep;
        slice.bound = Some(ahead.bound);
        Ok(())
    }

    /// The safe bound of this moment, the next window, and what is read below it.
    pub(crate) async fn ahead(
        &self,
        plan: &Plan,
        state: &TableState,
        run_started_at: Timestamp,
        call: Call,
    ) -> Result<Ahead> {
        let source = self.source(&plan.table)?;
        let request = BoundRequest { plan, low: state.low(), run_started_at, undrained: state.undrained.as_ref() };
        let bound = match self.round.as_ref().filter(|_| plan.table.bound == BoundMode::Overlap) {
            Some(round) => match source.bound_since(request.clone(), round.since).await? {
                // The table was loaded by somebody else since.
                earlier if clock_went_back(state, &earlier) => source.bound(request).await?,
                shared => shared,
            },
            // What is read ends at the bound: an older one would leave out rows that are there.
            None => source.bound(request).await?,
        };
        let bound = self.not_later(bound, state.low());
        let mut progress = progress(plan, state, &bound, call, self.until);
        progress.any_age |= self.follows_resync(state).await?;
        // Asked for without a window too: it refuses rows that no window would ever contain.
        let earliest = source.earliest(plan, progress.begin()).await?;
        let window = self.ending(progress.next_window(earliest), &bound);
        let sweep = progress.sweep(window.low, clock_went_back(state, &bound));
        Ok(Ahead { bound, window, sweep })
    }

    /// The windows of one call, from this one on, and whether there are more of them than are told. Where no index finds the
    /// first row of a window, only this one is.
    pub(crate) async fn windows_ahead(
        &self,
        plan: &Plan,
        state: &TableState,
        ahead: &Ahead,
    ) -> Result<(Vec<Window>, bool)> {
        let (source, bound) = (self.source(&plan.table)?, &ahead.bound);
        let mut windows = vec![ahead.window];
        let mut window = ahead.window;
        while !self.is_last(window, bound) {
            if windows.len() == LISTED || !plan.watermark_indexed {
                return Ok((windows, true));
            }
            let (last_extracted_at, read_high) = (Some(window.watermark), window.high);
            let then = TableState { last_extracted_at, read_high, ..state.clone() };
            let progress = progress(plan, &then, bound, Call::Next, self.until);
            let earliest = source.earliest(plan, progress.begin()).await?;
            window = self.ending(progress.next_window(earliest), bound);
            windows.push(window);
        }
        Ok((windows, false))
    }

    /// Whether the run before was a resync: a row that got another key between two of its chunks, under the stamp that it
    /// had, may be in none of them, and bronze has no row of the old key any more.
    async fn follows_resync(&self, state: &TableState) -> Result<bool> {
        // Its chunks have higher numbers.
        let Some(last) = state.last_run_id.filter(|last| state.is_newer_than(*last)) else { return Ok(false) };
        Ok(self.run_of(last).await?.is_some_and(|run| run.kind == RunKind::Resync))
    }

    /// The bound, but not after the moment up to which is read.
    fn not_later(&self, mut bound: SafeBound, low: Timestamp) -> SafeBound {
        if let Some(until) = self.until.filter(|_| bound.rule != BoundRule::Number) {
            bound.watermark = bound.watermark.min(until).max(low);
        }
        bound
    }

    /// The window that reads no further, where its end is not decided yet.
    fn ending(&self, window: Window, bound: &SafeBound) -> Window {
        let until = self.until.filter(|until| *until <= bound.source_clock).map(|until| until.max(window.low));
        Window { high: window.high.or(until), ..window }
    }

    /// Whether no further window follows in this call.
    fn is_last(&self, window: Window, bound: &SafeBound) -> bool {
        let ends = window.high.zip(self.until).is_some_and(|(high, until)| high >= until);
        window.is_last(bound.watermark) || (ends && window.watermark >= bound.watermark)
    }

    /// Whether a further window follows this one at once.
    pub(super) fn goes_on(&self, slice: &Slice) -> bool {
        slice.window.zip(slice.bound.as_ref()).is_some_and(|(window, bound)| !self.is_last(window, bound))
    }

    /// Says so where the target's clock went back since the last load, and rows are dated by it.
    pub(super) fn tell_target_clock(&self, table: &TableConfig, state: &TableState, began: Timestamp) {
        if let Some(loaded) = state.last_loaded_at.filter(|loaded| table.is_dated() && began < *loaded) {
            self.warn(
                &table.name,
                &format!(
                    "the target's clock went back: the last load was at {loaded}. `{UPLOADED_AT}` of this run is {began}, after \
                     that of the runs before it"
                ),
            );
        }
    }

    fn tell_bound(&self, plan: &Plan, state: &TableState, ahead: &Ahead, call: Call, run: &mut TableRun) {
        let (name, bound) = (&plan.table.name, &ahead.bound);
        let rule = &bound.rule;
        if ahead.window.low.is_finite() && clock_went_back(state, bound) {
            self.warn(name, "the source's clock went back since the last run: the sweep looks through all history");
        }
        if bound.watermark <= state.low() && *rule != BoundRule::Number {
            run.held_by = Some(rule.to_string());
        }
        if call == Call::Next {
            return;
        }
        let at = finite(state.low()).map_or_else(|| "before the first row".to_owned(), |low| format!("at {low}"));
        if let Some(holder) = &run.held_by {
            let way_out = match rule {
                BoundRule::PreparedTransaction(_) => ". End it with COMMIT PREPARED or ROLLBACK PREPARED",
                _ => "",
            };
            self.warn(
                name,
                &format!("the watermark is held {at} by {holder}; rows above it are delivered all the same{way_out}"),
            );
        }
        match rule {
            BoundRule::FixedLag { .. } => self.warn(
                name,
                "`fixed_lag` proves nothing: rows that commit later than the lag are found by the sweep only",
            ),
            BoundRule::Unproven { reason, .. } => self.warn(
                name,
                &format!("{reason}: nothing proves that no row appears late; `late_window` is read again in each run"),
            ),
            _ => {}
        }
    }
}

fn clock_went_back(state: &TableState, bound: &SafeBound) -> bool {
    state.source_clock.is_some_and(|highest| bound.source_clock < highest)
}

fn progress(plan: &Plan, state: &TableState, bound: &SafeBound, call: Call, until: Option<Timestamp>) -> Progress {
    let (table, kind) = (&plan.table, plan.source.kind);
    // Rows of another server have no number that could be compared.
    let unseen = matches!(bound.rule, BoundRule::Unproven { .. });
    let by_number = bound.rule == BoundRule::Number;
    Progress {
        low: state.low(),
        read_high: state.read_high,
        bound: bound.watermark,
        now: until.map_or(bound.source_clock, |until| until.min(bound.source_clock)),
        window: table.window,
        late_window: table.late_window,
        // Above the largest number there is nothing yet.
        mode: if by_number { BoundMode::Hold } else { table.bound },
        since: state.snapshot_xmin.filter(|_| kind.has_xmin() && !unseen),
        look_back: unseen || state.snapshot_xmin.is_none(),
        any_age: kind == RelationKind::MaterializedView || by_number,
        call,
    }
}
