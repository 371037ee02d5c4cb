//! What only a full look finds: files that are gone, windows that leave something out, a watermark and numbers that do
//! not fit the rest. Pure.

use super::scene::{Found, Mend, Scene, Whole};
use crate::blob::BlobKey;
use crate::chain::{self, Link, Lost};
use crate::config::Mode;
use crate::pipeline::archived::{mended_by, of_lost};
use crate::pipeline::files::Versions;
use crate::pipeline::recover::Trouble;
use crate::run::RunState;
use crate::sink::RunRecord;
use crate::watermark::Micros;

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

/// Dated copies that were made after the backup from which the target was restored: no run brings them again.
pub(super) fn copies(whole: &Whole) -> Vec<Found> {
    let found = whole.copies.iter().map(|(csv, manifest)| Found {
        trouble: Trouble::CopyNotLoaded,
        run_id: Some(manifest.run_id),
        csv: Some(csv.clone()),
        message: format!("the copy of run {} is in `processed/`, and the run log has lost its load", manifest.run_id),
        mend: Mend::Restore(Box::new(manifest.clone()), csv.clone()),
    });
    found.collect()
}

/// Files that were loaded after the backup from which the target was restored, and that are not there any more. Rows of other
/// files may have come since, so that a load of the CSV alone would not end with the rows that were there.
pub(super) fn versions(whole: &Whole) -> Vec<Found> {
    let found = whole.versions.iter().map(|(csv, manifest)| {
        let path = manifest.file.as_ref().map(|file| file.path.as_str()).unwrap_or_default();
        Found {
            trouble: Trouble::CopyNotLoaded,
            run_id: Some(manifest.run_id),
            csv: Some(csv.clone()),
            message: format!(
                "the CSV of file `{path}` (run {}) is in `processed/`, the run log has lost its load, and the raw file is gone",
                manifest.run_id
            ),
            mend: Mend::Person(
                "put the file back, out of `_archive/` if it is there, and `dwh run TABLE` loads it; or `dwh rebuild TABLE --reset` \
                 makes the table anew from all CSV files"
                    .to_owned(),
            ),
        }
    });
    found.collect()
}

/// Loaded runs whose CSV is gone. Retention takes the oldest first and never the newest: what it took is not missed.
pub(super) fn missing(scene: &Scene, whole: &Whole) -> Vec<Found> {
    let loaded = scene.records.values().filter(|record| record.status == RunState::Loaded);
    // Of files it takes all versions but the newest of each.
    let versions = Versions::of(scene.records.values());
    let log: Vec<Link> = loaded.filter(|record| !versions.older.contains(&record.run_id)).map(Link::from).collect();
    let waiting = scene.records.values().filter(|record| scene.has_csv_of(record)).map(|record| record.run_id);
    // What waits in `exports/` is newer than what retention takes, and says nothing of it.
    let waiting: Vec<_> = waiting.collect();
    let gone = chain::missing(&log, &whole.there, |link| !versions.newest.contains(&link.run_id()));
    let gone = gone.into_iter().filter(|run_id| !waiting.contains(run_id));
    gone.map(|run_id| Found {
        trouble: Trouble::CsvMissing,
        run_id: Some(run_id),
        csv: None,
        message: format!("run {run_id} is loaded, but its CSV is in neither folder"),
        mend: Mend::Person(
            "its rows are in bronze; without the CSV, `dwh replay` and `dwh rebuild` cannot bring them back: restore it from a backup of the store"
                .to_owned(),
        ),
    })
    .collect()
}

/// What a target that was restored has lost, and no file holds any more: the manifest alone tells of it.
///
/// What lies above the watermark is read by the next run, and a table that is replaced whole is whole after it.
pub(super) fn lost(whole: &Whole) -> Vec<Found> {
    let read_next = |lost: &Lost| lost.csv.span.is_some_and(|span| span.low >= whole.state.low());
    let of = |(lost, manifest): &(Lost, BlobKey)| {
        let (run_id, gap) = (lost.csv.run.run_id, of_lost(lost));
        let source = match whole.mode {
            Mode::Scd => "the source has no copies of the past".to_owned(),
            _ => mended_by("TABLE", std::slice::from_ref(&gap)),
        };
        let hint = format!(
            "{source}; if the CSV comes back from a backup of the store, `dwh replay TABLE` loads it; if it never will, \
             `dwh recover --set-aside {manifest}` takes the manifest out of the way"
        );
        let message =
            format!("{}, its manifest is, and the run log has lost its load: its rows may be lost", gap.message);
        Found {
            trouble: Trouble::RowsLost,
            run_id: Some(run_id),
            csv: Some(manifest.clone()),
            message,
            mend: Mend::Person(hint),
        }
    };
    match whole.mode {
        Mode::Snapshot => Vec::new(),
        _ => whole.lost.iter().filter(|(lost, _)| !read_next(lost)).map(of).collect(),
    }
}

/// Stretches between the first and the last window of ordinary runs that no loaded run has read.
pub(super) fn gaps<'a>(records: impl Iterator<Item = &'a RunRecord>) -> Vec<Found> {
    let loaded = records.filter(|record| record.status == RunState::Loaded && record.mode == Some(Mode::Incremental));
    let links: Vec<Link> = loaded.map(Link::from).collect();
    let found = chain::gaps(&links).into_iter().map(|gap| Found {
        trouble: Trouble::GapInWindows,
        run_id: Some(gap.before),
        csv: None,
        message: format!("no loaded run has read from {} to {}, where run {} begins", gap.from, gap.to, gap.before),
        // A gap ends with the moment `to`; `--to` is the first one that is not read.
        mend: Mend::Person(format!(
            "read it with `dwh backfill TABLE --from {} --to {}`",
            gap.from,
            gap.to.plus(Micros(1))
        )),
    });
    found.collect()
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
