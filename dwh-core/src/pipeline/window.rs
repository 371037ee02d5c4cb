//! What the next run of a table reads, and where its watermark stands then.

use super::describe::finite;
use super::transfer::Slice;
use super::{Pipeline, TableRun};
use crate::error::Result;
use crate::plan::Plan;
use crate::schema::RelationKind;
use crate::sink::TableState;
use crate::source::BoundRequest;
use crate::watermark::{BoundMode, BoundRule, Call, Progress, SafeBound, Sweep, Timestamp, Window};

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
        let progress = progress(plan, state, &bound, call);
        // Asked for without a window too: it refuses rows that no window would ever contain.
        let earliest = source.earliest(plan, progress.begin()).await?;
        let window = progress.next_window(earliest);
        let sweep = progress.sweep(window.low, clock_went_back(state, &bound));
        Ok(Ahead { bound, window, sweep })
    }

    fn tell_bound(&self, plan: &Plan, state: &TableState, ahead: &Ahead, call: Call, run: &mut TableRun) {
        let (name, bound) = (&plan.table.name, &ahead.bound);
        let rule = &bound.rule;
        if ahead.window.low.is_finite() && clock_went_back(state, bound) {
            self.warn(name, "the source's clock went back since the last run: the sweep looks through all history");
        }
        if bound.watermark <= state.low() {
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

fn progress(plan: &Plan, state: &TableState, bound: &SafeBound, call: Call) -> Progress {
    let (table, kind) = (&plan.table, plan.source.kind);
    // Rows of another server have no number that could be compared.
    let unseen = matches!(bound.rule, BoundRule::Unproven { .. });
    Progress {
        low: state.low(),
        read_high: state.read_high,
        bound: bound.watermark,
        now: bound.source_clock,
        window: table.window,
        late_window: table.late_window,
        mode: table.bound,
        since: state.snapshot_xmin.filter(|_| kind.has_xmin() && !unseen),
        look_back: unseen || state.snapshot_xmin.is_none(),
        any_age: kind == RelationKind::MaterializedView,
        call,
    }
}
