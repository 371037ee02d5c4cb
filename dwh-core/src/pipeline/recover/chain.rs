//! What only a full look finds: files that are gone, windows that leave something out, a watermark and numbers that do
//! not fit the rest. Pure.

use super::find::{Found, Mend, Scene, Whole};
use crate::config::Mode;
use crate::pipeline::recover::Trouble;
use crate::run::{RunKind, RunState};
use crate::sink::RunRecord;
use crate::watermark::{Micros, Timestamp};

/// Files of runs that the log has not come to yet: it began anew, or was restored from a backup.
pub(super) fn behind(scene: &Scene, whole: &Whole) -> Option<Found> {
    let highest = whole.ahead?;
    let of = |message: String, mend| Found {
        trouble: Trouble::RunLogBehind,
        run_id: Some(highest),
        csv: None,
        message,
        mend,
    };
    if scene.records.values().any(|record| record.status == RunState::Loaded) {
        let message = format!(
            "`processed/` has files up to run {highest}, and the run log has not come so far: it was restored from a backup"
        );
        return Some(of(message, Mend::Number(highest)));
    }
    let message = format!("`processed/` has files up to run {highest}, and the run log has no run of this table");
    Some(of(message, Mend::Person("`dwh rebuild TABLE` brings back what they hold".to_owned())))
}

/// Loaded runs whose CSV is gone. Retention takes the oldest first and never the newest: what it took is not missed.
pub(super) fn missing(scene: &Scene, whole: &Whole) -> Vec<Found> {
    let archived = |record: &&RunRecord| {
        record.status == RunState::Loaded && record.csv_path.is_some() && record.kind != RunKind::Replay
    };
    // A file that a person made bears no number.
    let by_name = |record: &RunRecord| {
        let name = record.csv_path.as_deref().and_then(|path| path.rsplit('/').next());
        name.is_some_and(|name| whole.names.contains(name))
    };
    let newest = scene.records.values().rfind(archived).map(|record| record.run_id);
    let oldest_kept = whole.processed.first().copied();
    let gone = scene.records.values().filter(archived).filter(|record| {
        let run_id = record.run_id;
        !whole.processed.contains(&run_id)
            && !by_name(record)
            && !scene.complete.contains_key(&run_id)
            && (Some(run_id) == newest || oldest_kept.is_some_and(|oldest| run_id > oldest))
    });
    gone.map(|record| Found {
        trouble: Trouble::CsvMissing,
        run_id: Some(record.run_id),
        csv: None,
        message: format!("run {} is loaded, but its CSV is in neither folder", record.run_id),
        mend: Mend::Person(
            "its rows are in bronze; without the CSV, `dwh replay` and `dwh rebuild` cannot bring them back: restore it from a backup of the store"
                .to_owned(),
        ),
    })
    .collect()
}

/// Stretches between the first and the last window of ordinary runs that no loaded run has read, whatever the order of
/// the runs. What lies before the first is retention's: a backfill of older history begins no chain.
pub(super) fn gaps<'a>(records: impl Iterator<Item = &'a RunRecord>) -> Vec<Found> {
    let loaded = records.filter(|record| record.status == RunState::Loaded && record.mode == Some(Mode::Incremental));
    let mut windows: Vec<(Timestamp, Timestamp, &RunRecord)> = loaded
        .filter_map(|record| {
            // What an ordinary run read above its watermark is read again, so it counts up to there; the others set none.
            let end = if record.kind.moves_watermark() { record.watermark } else { record.window_high }?;
            Some((record.window_low.unwrap_or(Timestamp::NEG_INFINITY), end, record))
        })
        .collect();
    windows.sort_unstable_by_key(|(low, end, record)| (*low, *end, record.run_id));
    let mut found = Vec::new();
    let first = windows.iter().find(|(_, _, record)| record.kind.moves_watermark());
    let Some(mut reached) = first.map(|(low, ..)| *low) else { return found };
    for (low, end, record) in windows {
        // A watermark that stood nowhere yet leaves nothing behind it.
        if low > reached && reached.is_finite() {
            let run_id = record.run_id;
            found.push(Found {
                trouble: Trouble::GapInWindows,
                run_id: Some(run_id),
                csv: None,
                message: format!("no loaded run has read from {reached} to {low}, where run {run_id} begins"),
                // A gap ends with the moment `low`; `--to` is the first one that is not read.
                mend: Mend::Person(format!(
                    "read it with `dwh backfill TABLE --from {reached} --to {}`",
                    low.plus(Micros(1))
                )),
            });
        }
        reached = reached.max(end);
    }
    found
}

/// A watermark row that is not as the run left it that set it.
pub(super) fn watermark(scene: &Scene, whole: &Whole) -> Option<Found> {
    let at = whole.state.last_extracted_at?;
    let run_id = whole.state.last_run_id?;
    let record = scene.records.get(&run_id)?;
    let of = |message: String, hint: &str| Found {
        trouble: Trouble::WatermarkDiffers,
        run_id: Some(run_id),
        csv: None,
        message,
        mend: Mend::Person(hint.to_owned()),
    };
    if record.status != RunState::Loaded {
        return Some(of(
            format!("the watermark was set by run {run_id}, which is `{}`", record.status),
            "the run log was changed by hand; `dwh verify` tells whether bronze is complete",
        ));
    }
    let put = record.watermark.filter(|_| record.kind.moves_watermark()).filter(|put| put.is_finite())?;
    match at.cmp(&put) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(of(
            format!("the watermark is {at}, before {put}, where run {run_id} put it"),
            "it was set back by hand: the next run reads from there again, and rows that are there are not doubled",
        )),
        std::cmp::Ordering::Greater => Some(of(
            format!(
                "the watermark is {at}, after {put}, where run {run_id} put it: rows between the two were never read"
            ),
            "it was set by hand: set it back, or read the rows with `dwh backfill`",
        )),
    }
}
