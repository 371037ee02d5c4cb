//! What was loaded before a CSV is read: stands in its manifest, so that years later the archive alone can tell a run
//! that found nothing from a CSV that was lost.

use crate::chain::{Before, EmptyRun, Link};
use crate::config::{Mode, TableConfig};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::pipeline::links::named_by_us;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};
use crate::watermark::{Timestamp, Window};

/// Rows of the log that are asked for at once; the first one is nearly always the one that is wanted.
const AT_ONCE: u32 = 8;

impl Pipeline {
    /// What the manifest of the next CSV says; `None` where the run log cannot tell, or does not answer: the CSV is
    /// worth more than its trace.
    pub(super) async fn before(&self, table: &TableConfig, state: &TableState, kind: RunKind) -> Option<Before> {
        match self.look_back(table, state, kind).await {
            Ok(before) => before,
            Err(error) => {
                tracing::warn!(table = table.name, error = %error.chain(), "the manifest cannot name the CSV before it");
                None
            }
        }
    }

    async fn look_back(&self, table: &TableConfig, state: &TableState, kind: RunKind) -> Result<Option<Before>> {
        let newest = self.newest_csv(table, None).await?;
        if newest.is_none() && state.last_run_id.is_some() && table.mode != Mode::Incremental {
            return Ok(None);
        }
        let csv = newest.as_ref().map(Link::named);
        let Some(last) = state.last_run_id.filter(|_| table.mode == Mode::Incremental) else {
            return Ok(Some(Before { csv, empty: None }));
        };
        let ordinary = match newest {
            Some(link) if link.kind == RunKind::Run => Some(link),
            Some(_) => self.newest_csv(table, Some(RunKind::Run)).await?,
            None => None,
        };
        if ordinary.as_ref().is_some_and(|link| link.run_id() == last) || kind != RunKind::Run {
            return Ok(Some(Before { csv, empty: None }));
        }
        let low = match ordinary.as_ref().and_then(Link::span) {
            Some(span) => span.end,
            // Every run found nothing so far, if the log goes back to the first one.
            None if self.log_is_whole(table).await? => Timestamp::NEG_INFINITY,
            None => return Ok(None),
        };
        let Some(record) = self.run_of(last).await? else { return Ok(None) };
        // Where the watermark is held, the next run goes on where the last one read up to.
        let high = state.read_high.map_or(state.low(), |high| high.max(state.low()));
        let window = Window { low, high: Some(high), watermark: state.low() };
        let empty = (low < high).then_some(EmptyRun { run_id: last, run_started_at: record.run_started_at, window });
        Ok(Some(Before { csv, empty }))
    }

    /// The newest loaded run that wrote a CSV, of this kind or of any but a replay and the chunks of a resync, which knows
    /// them itself.
    async fn newest_csv(&self, table: &TableConfig, kind: Option<RunKind>) -> Result<Option<Link>> {
        let mut filter = RunFilter {
            table: Some(table.name.clone()),
            kind,
            states: vec![RunState::Loaded],
            with_csv: true,
            limit: Some(AT_ONCE),
            ..RunFilter::default()
        };
        loop {
            let records = self.sink.runs(&filter).await?;
            if let Some(record) = records.iter().find(|record| named_by_us(record) && record.kind != RunKind::Chunk) {
                return Ok(Some(record.into()));
            }
            // Replays, and files that people made.
            let Some(oldest) = records.last() else { return Ok(None) };
            filter.before = Some(oldest.run_id);
        }
    }

    /// Whether the log has the run that began with the first row.
    async fn log_is_whole(&self, table: &TableConfig) -> Result<bool> {
        let first = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::Run),
            states: vec![RunState::Loaded],
            after: Some(RunId(0)),
            limit: Some(1),
            ..RunFilter::default()
        };
        let first: Vec<RunRecord> = self.sink.runs(&first).await?;
        Ok(first.first().is_some_and(|run| run.window_low.is_none()))
    }
}
