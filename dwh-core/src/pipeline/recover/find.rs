//! From what the blob store and the control schema say to what is not as it should be. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::blob::{BlobKey, Manifest};
use crate::config::Mode;
use crate::pipeline::recover::Trouble;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunRecord, TableState};

use super::chain::{behind, gaps, missing, watermark};

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
    /// Runs of them that a person set aside, which was cut off: the copy is there, and the run log says so.
    pub aside: BTreeSet<RunId>,
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
    /// The names of all CSV files there, also of those that people made.
    pub names: BTreeSet<String>,
    /// The highest run in `processed/`, if the next run that begins would get a number at or below it.
    pub ahead: Option<RunId>,
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
    /// The run is failed if it is not yet, and the manifest, whose CSV is gone, deleted.
    Drop(RunId, BlobKey),
    /// What a person began: the copy is verified, the original deleted.
    SetAside(BlobKey),
    /// New runs get numbers above this one.
    Number(RunId),
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
        found.extend(behind(scene, whole));
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
    if scene.aside.contains(&run_id) {
        let message = format!("run {run_id} was set aside, but its files are still in `exports/`");
        return of(Trouble::SetAsideHalfway, message, Mend::SetAside(manifest.csv.clone()));
    }
    if record.status != RunState::Loaded && scene.manifest_only.contains(&run_id) {
        let message = format!("run {run_id} is `{}`, and of its CSV only the manifest is left", record.status);
        return of(Trouble::CsvMissing, message, Mend::Drop(run_id, manifest.csv.manifest()));
    }
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

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
