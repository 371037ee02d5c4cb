//! From what run log, watermark row and listing say of a table to its numbers. Pure.

use super::{RunningRun, TableStatus, WaitingCsvs};
use crate::config::TableConfig;
use crate::error::Error;
use crate::run::{RunKind, RunState};
use crate::sink::{RunRecord, TableOverview};
use crate::watermark::{Micros, Timestamp};

/// As far back as rows, loads and failures are counted.
const DAY: Micros = Micros::seconds(24 * 3600);
/// As far back as the success rate looks.
pub(super) const WEEK: Micros = Micros::seconds(7 * 24 * 3600);

/// So far ahead of the target's clock a stamp may lie that the same clock gave: another machine took over, or it was set
/// right by seconds. What lies further ahead was stamped before that clock was set back, and tells no age.
const AHEAD: Micros = Micros::seconds(300);

/// How far ahead of the target's clock the last load is stamped, if that is more than clocks differ by.
pub(in crate::operate) fn ahead(status: &TableStatus) -> Option<Micros> {
    let ahead = Micros::from_seconds(-status.lag_seconds?);
    (ahead > AHEAD).then_some(ahead)
}

/// All that is known of a table.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// Its configuration.
    pub table: &'a TableConfig,
    /// The target's clock.
    pub now: Timestamp,
    /// Its runs of the last 7 days or the newest one, newest first.
    pub runs: &'a [RunRecord],
    /// Its watermark row and its holder, if the sink can tell.
    pub overview: Option<&'a TableOverview>,
    /// Its complete CSV files that are not loaded: when their runs began; `None` if the store does not say.
    pub waiting: Option<&'a [Timestamp]>,
    /// Why the watermark cannot be used.
    pub conflict: Option<&'a Error>,
}

/// The numbers of a table.
pub(super) fn table_status(facts: &Facts<'_>) -> TableStatus {
    let (table, now, runs) = (facts.table, facts.now, facts.runs);
    // A backfill brings nothing new: it makes no table fresh.
    let is_load = |run: &&RunRecord| run.status == RunState::Loaded && run.kind.moves_watermark();
    let within = |span: Micros| move |run: &&RunRecord| ended(run) > now.minus(span);
    let loaded = runs.iter().find(is_load);
    let state = facts.overview.map(|overview| &overview.state);
    // The watermark row remembers what has gone from the log.
    let last_loaded_at = loaded.and_then(|run| run.run_finished_at).max(state.and_then(|state| state.last_loaded_at));
    let watermark = match state {
        Some(state) => Some(state.low()).filter(|low| low.is_finite()),
        None => loaded.and_then(|run| run.watermark),
    };
    let lag = last_loaded_at.map(|at| now.since(at));
    let limit = now.minus(Micros(-AHEAD.0));
    let today = || runs.iter().filter(is_load).filter(within(DAY)).filter(|run| ended(run) <= limit);
    let counts = |run: &&RunRecord| run.kind.moves_watermark() && run.status.is_final() && !run.was_interrupted();
    let week = || runs.iter().filter(counts).filter(within(WEEK));
    let (ended_7d, failed_7d) = (week().count(), week().filter(has_failed).count());
    // What a look for deletes could not do, no load of rows has done since, nor the load of a file what that of another one
    // could not; but a run that found no file to read has them all.
    let settles = |run: &RunRecord, failed: &RunRecord| match (failed.kind, &failed.file) {
        (RunKind::Keys, _) => run.status == RunState::Loaded && run.kind == RunKind::Keys,
        (RunKind::File, Some(file)) => is_load(&run) && run.file.as_ref().is_none_or(|own| own.path == file.path),
        _ => is_load(&run),
    };
    // The chunks of a resync have higher numbers than it has itself, and it is loaded after all of them.
    let is_later = |run: &RunRecord, failed: &RunRecord| {
        run.run_id > failed.run_id || (run.kind == RunKind::Resync && ended(run) > ended(failed))
    };
    let settled = |failed: &RunRecord| runs.iter().any(|run| is_later(run, failed) && settles(run, failed));
    let failures = || runs.iter().filter(has_failed).filter(within(DAY));
    TableStatus {
        table: table.name.clone(),
        mode: table.mode,
        watermark,
        // A number tells no time.
        extract_lag_seconds: watermark.filter(|at| at.number().is_none()).map(|at| now.since(at).as_seconds()),
        last_loaded_at,
        lag_seconds: lag.map(Micros::as_seconds),
        max_lag_seconds: table.thresholds.max_lag.as_seconds(),
        fresh: lag.is_some_and(|lag| lag < table.thresholds.max_lag && lag.0 >= -AHEAD.0),
        rows_last_24h: today().filter_map(|run| run.rows_loaded).filter_map(|rows| u64::try_from(rows).ok()).sum(),
        loads_last_24h: today().count() as u64,
        failures_last_24h: failures().count() as u64,
        interruptions_last_24h: runs.iter().filter(|run| run.was_interrupted()).filter(within(DAY)).count() as u64,
        runs_last_7d: ended_7d as u64,
        failures_last_7d: failed_7d as u64,
        success_rate_7d: (ended_7d > 0).then(|| (ended_7d - failed_7d) as f64 * 100.0 / ended_7d as f64),
        last_run_seconds: loaded.map(|run| took(run).as_seconds()),
        longest_run_seconds_24h: today().map(took).max().map(Micros::as_seconds),
        running: running(facts),
        waiting: facts.waiting.map(|began| waiting(began, now)),
        unresolved_failure: failures().find(|failed| !settled(failed)).cloned(),
        last_run: cut_off(runs).or_else(|| runs.first()).cloned(),
        conflict: facts.conflict.map(Into::into),
    }
}

/// A resync that waits for its chunks, whose runs have higher numbers.
fn cut_off(runs: &[RunRecord]) -> Option<&RunRecord> {
    let newest = runs.iter().find(|run| run.kind == RunKind::Resync)?;
    (newest.status == RunState::Uploaded).then_some(newest)
}

fn running(facts: &Facts<'_>) -> Option<RunningRun> {
    let holder = facts.overview?.holder.as_ref()?;
    let run = facts.runs.first().filter(|run| !run.status.is_final());
    Some(RunningRun {
        run_id: run.map(|run| run.run_id),
        status: run.map(|run| run.status),
        since: holder.since,
        seconds: facts.now.since(holder.since).as_seconds(),
        host: holder.host.clone(),
    })
}

fn waiting(began: &[Timestamp], now: Timestamp) -> WaitingCsvs {
    let oldest = began.iter().min().copied();
    let oldest_seconds = oldest.map(|at| now.since(at).as_seconds());
    WaitingCsvs { files: began.len() as u64, oldest, oldest_seconds }
}

/// Whether it failed, and was not stopped by somebody.
fn has_failed(run: &&RunRecord) -> bool {
    run.status == RunState::Failed && !run.was_interrupted()
}

/// When nothing more happened to the run, or when it began if it is not over.
fn ended(run: &RunRecord) -> Timestamp {
    run.run_finished_at.unwrap_or(run.run_started_at)
}

fn took(run: &RunRecord) -> Micros {
    ended(run).since(run.run_started_at)
}
