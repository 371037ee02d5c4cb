//! From what the blob store and the control schema say to what is not as it should be. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::blob::{BlobKey, Manifest};
use crate::config::Mode;
use crate::pipeline::recover::Trouble;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunRecord, TableState};
use crate::watermark::{Micros, Timestamp};

/// Everything that is known of a table, read under its lease: whoever worked on an unfinished run is dead.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// Complete CSV files in `exports/`, by run.
    pub complete: BTreeMap<RunId, Manifest>,
    /// Those of them whose CSV is gone while the manifest is still there.
    pub manifest_only: BTreeSet<RunId>,
    /// CSV files in `exports/` without a manifest, with the run in their name and the name that this run would give.
    pub bare: Vec<Bare>,
    /// Runs whose complete CSV is in `exports/` and in `processed/`, and whether the two are the same.
    pub copies: BTreeMap<RunId, bool>,
    /// Rows of the run log: the unfinished ones and those of the CSV files, or all of the table.
    pub records: BTreeMap<RunId, RunRecord>,
    /// What only a full look knows.
    pub whole: Option<Whole>,
}

/// What only `recover` looks at; a run has no need of it.
#[derive(Debug)]
pub(super) struct Whole {
    /// Runs that have a CSV in `processed/`.
    pub processed: BTreeSet<RunId>,
    /// The watermark row.
    pub state: TableState,
    /// How the table is moved.
    pub mode: Mode,
}

/// A CSV without a manifest.
#[derive(Debug, Clone)]
pub(super) struct Bare {
    pub key: BlobKey,
    pub run_id: Option<RunId>,
    /// Whether it has exactly the name that its run gives.
    pub named_by_us: bool,
}

/// What mends something, with all that this needs.
#[derive(Debug, Clone)]
pub(super) enum Mend {
    Load(Box<Manifest>, Box<RunRecord>),
    Move(Box<Manifest>),
    Fail(RunId, &'static str),
    Delete(BlobKey),
    Person(String),
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub trouble: Trouble,
    pub run_id: Option<RunId>,
    pub csv: Option<BlobKey>,
    pub message: String,
    pub mend: Mend,
}

const DIED_EXTRACTING: &str = "the process ended before the CSV was complete; its rows are read anew";
const DIED_LOADING: &str =
    "the process ended before the load was committed, and its CSV is not in `exports/`; its rows are read anew";

/// What is not as it should be, in the order in which it is to be mended: CSV files by run, because later rows must not
/// overtake earlier ones, then runs without one, then what lies about.
pub(super) fn find(scene: &Scene) -> Vec<Found> {
    let mut found: Vec<Found> = scene.complete.values().map(|manifest| complete(scene, manifest)).collect();
    found.extend(scene.records.values().filter_map(|record| unfinished(scene, record)));
    found.extend(scene.bare.iter().map(|bare| without_manifest(scene, bare)));
    if let Some(whole) = &scene.whole {
        found.extend(missing(scene, whole));
        if whole.mode == Mode::Incremental {
            found.extend(gaps(scene.records.values()));
        }
        found.extend(watermark(scene, whole));
    }
    found
}

fn complete(scene: &Scene, manifest: &Manifest) -> Found {
    let run_id = manifest.run_id;
    let of = |trouble, message: String, mend| Found {
        trouble,
        run_id: Some(run_id),
        csv: Some(manifest.csv.clone()),
        message,
        mend,
    };
    let boxed = || Box::new(manifest.clone());
    let Some(record) = scene.records.get(&run_id) else {
        return of(
            Trouble::CsvOfUnknownRun,
            format!("`{}` belongs to run {run_id}, which the run log does not know: it stays where it is", manifest.csv),
            Mend::Person(
                "if the control schema was lost, `dwh rebuild` makes it anew from the blobs; if the file is of another \
                 warehouse, move it away"
                    .to_owned(),
            ),
        );
    };
    if record.status != RunState::Loaded {
        let trouble =
            if record.status == RunState::Failed { Trouble::FailedWithCsv } else { Trouble::UploadedNotLoaded };
        let message = format!("run {run_id} is `{}`, and its CSV is complete", record.status);
        return of(trouble, message, Mend::Load(boxed(), Box::new(record.clone())));
    }
    match scene.copies.get(&run_id) {
        Some(false) => of(
            Trouble::CopyDiffers,
            format!("run {run_id} is loaded, but its CSV in `processed/` is not the one in `exports/`: both stay"),
            Mend::Person("the one in `exports/` is as its manifest says if `dwh load` takes it; compare the two, move the wrong one away, then run `dwh recover` again".to_owned()),
        ),
        _ if scene.manifest_only.contains(&run_id) => of(
            Trouble::ManifestLeftBehind,
            format!("run {run_id} is loaded and its CSV moved, but the manifest is still in `exports/`"),
            Mend::Move(boxed()),
        ),
        Some(true) => of(
            Trouble::InBothPlaces,
            format!("run {run_id} is loaded, and its CSV is in both folders"),
            Mend::Move(boxed()),
        ),
        None => of(
            Trouble::LoadedNotMoved,
            format!("run {run_id} is loaded, but its CSV is still in `exports/`"),
            Mend::Move(boxed()),
        ),
    }
}

/// A run that is not final and has no complete CSV in `exports/`.
fn unfinished(scene: &Scene, record: &RunRecord) -> Option<Found> {
    let run_id = record.run_id;
    if record.status.is_final() || scene.complete.contains_key(&run_id) {
        return None;
    }
    // The CSV of a replay bears the number of the run that wrote it.
    let lost = record.csv_path.is_some()
        && record.kind != RunKind::Replay
        && scene.whole.as_ref().is_some_and(|whole| !whole.processed.contains(&run_id))
        && record.status != RunState::Extracting;
    let why = if record.status == RunState::Extracting { DIED_EXTRACTING } else { DIED_LOADING };
    let (trouble, message) = if lost {
        (Trouble::CsvMissing, format!("run {run_id} is `{}`, but its CSV is in neither folder", record.status))
    } else {
        (Trouble::DeadRun, format!("run {run_id} is `{}`, and nobody works on it", record.status))
    };
    Some(Found { trouble, run_id: Some(run_id), csv: None, message, mend: Mend::Fail(run_id, why) })
}

/// A CSV without a manifest does not exist for the engine. One that a dead run of ours was writing is removed (the
/// watermark never moved, so its rows are read anew); anything else may be a person's, and stays.
fn without_manifest(scene: &Scene, bare: &Bare) -> Found {
    let record = bare.run_id.and_then(|run_id| scene.records.get(&run_id));
    let ours = bare.named_by_us
        && record.is_some_and(|record| {
            matches!(record.status, RunState::Extracting | RunState::Failed) && record.csv_path.is_none()
        });
    let (message, mend) = if ours {
        (format!("`{}` was never finished", bare.key), Mend::Delete(bare.key.clone()))
    } else {
        (
            format!("`{}` has no manifest, and no run of the log was writing it: it stays where it is", bare.key),
            Mend::Person(
                "a file made by hand is loaded with `dwh load --accept-unverified`; delete it if it is not wanted"
                    .to_owned(),
            ),
        )
    };
    Found { trouble: Trouble::CsvWithoutManifest, run_id: bare.run_id, csv: Some(bare.key.clone()), message, mend }
}

/// Loaded runs whose CSV is gone. Retention takes the oldest first and never the newest: what it took is not missed.
fn missing(scene: &Scene, whole: &Whole) -> Vec<Found> {
    let archived = |record: &&RunRecord| {
        record.status == RunState::Loaded && record.csv_path.is_some() && record.kind != RunKind::Replay
    };
    let newest = scene.records.values().rfind(archived).map(|record| record.run_id);
    let oldest_kept = whole.processed.first().copied();
    let gone = scene.records.values().filter(archived).filter(|record| {
        let run_id = record.run_id;
        !whole.processed.contains(&run_id)
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

/// Stretches between the first and the last window that no loaded run has read, whatever the order of the runs.
fn gaps<'a>(records: impl Iterator<Item = &'a RunRecord>) -> Vec<Found> {
    let loaded = records.filter(|record| record.status == RunState::Loaded && record.mode == Some(Mode::Incremental));
    let mut windows: Vec<(Timestamp, Timestamp, RunId)> = loaded
        .filter_map(|record| {
            // What an ordinary run read above its watermark is read again, so it counts up to there; the others set none.
            let end = if record.kind.moves_watermark() { record.watermark } else { record.window_high }?;
            Some((record.window_low.unwrap_or(Timestamp::NEG_INFINITY), end, record.run_id))
        })
        .collect();
    windows.sort_unstable();
    let mut found = Vec::new();
    let Some((_, mut reached, _)) = windows.first().copied() else { return found };
    for (low, end, run_id) in windows {
        // A watermark that stood nowhere yet leaves nothing behind it.
        if low > reached && reached.is_finite() {
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
fn watermark(scene: &Scene, whole: &Whole) -> Option<Found> {
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

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
