//! From what the blob store and the control schema say to what is not as it should be. Pure.

use crate::blob::Manifest;
use crate::chain::Part;
use crate::config::Mode;
use crate::pipeline::recover::Trouble;
use crate::run::{RunKind, RunState};
use crate::sink::RunRecord;

use super::scene::{Bare, Foreign, Found, Mend, Scene};
use super::whole::{behind, copies, gaps, lost, missing, versions, watermark};

const DIED_EXTRACTING: &str = "the process ended before the CSV was complete; its rows are read anew";
const DIED_LOADING: &str =
    "the process ended before the load was committed, and its CSV is not in `exports/`; its rows are read anew";

/// What is not as it should be, in the order in which it is to be mended: CSV files by run, because later rows must not
/// overtake earlier ones, then runs without one, then what lies about.
pub(super) fn find(scene: &Scene) -> Vec<Found> {
    let mut found: Vec<Found> = scene.complete.iter().map(|manifest| complete(scene, manifest)).collect();
    found.extend(scene.records.values().filter_map(|record| unfinished(scene, record)));
    found.extend(scene.bare.iter().map(|bare| without_manifest(scene, bare)));
    found.extend(scene.foreign.iter().map(foreign));
    if let Some(whole) = &scene.whole {
        found.extend(behind(scene, whole));
        found.extend(copies(whole));
        found.extend(versions(whole));
        found.extend(missing(scene, whole));
        found.extend(lost(whole));
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
    let Some(record) = scene.record_of(manifest) else {
        // Its last step is left to do, whatever the log has forgotten: what is in `processed/` is judged there.
        if scene.manifest_only.contains(&manifest.csv) && scene.copies.get(&manifest.csv) == Some(&true) {
            let message =
                format!("the CSV of run {run_id} is in `processed/`, but its manifest is still in `exports/`");
            return of(Trouble::ManifestLeftBehind, message, Mend::Move(boxed()));
        }
        return unknown(scene, manifest);
    };
    if scene.aside.contains(&manifest.csv) {
        let message = format!("run {run_id} was set aside, but its files are still in `exports/`");
        return of(Trouble::SetAsideHalfway, message, Mend::SetAside(manifest.csv.clone()));
    }
    if record.status != RunState::Loaded && scene.manifest_only.contains(&manifest.csv) {
        let message = format!("run {run_id} is `{}`, and of its CSV only the manifest is left", record.status);
        return of(Trouble::CsvMissing, message, Mend::Drop(run_id, manifest.csv.manifest()));
    }
    if record.status != RunState::Loaded {
        let trouble =
            if record.status == RunState::Failed { Trouble::FailedWithCsv } else { Trouble::UploadedNotLoaded };
        let message = match &manifest.part {
            Some(Part::Cuts(cuts)) => {
                format!("resync {run_id} of {} chunks was cut off: it goes on with those that are left", cuts.len() + 1)
            }
            _ => format!("run {run_id} is `{}`, and its CSV is complete", record.status),
        };
        return of(trouble, message, Mend::Load(boxed(), Box::new(record.clone())));
    }
    match scene.copies.get(&manifest.csv) {
        Some(false) => of(
            Trouble::CopyDiffers,
            format!("run {run_id} is loaded, but its CSV in `processed/` is not the one in `exports/`: both stay"),
            Mend::Person("the one in `exports/` is as its manifest says if `dwh load` takes it; compare the two, move the wrong one away, then run `dwh recover` again".to_owned()),
        ),
        _ if scene.manifest_only.contains(&manifest.csv) => of(
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

/// A complete CSV of a run that the log does not know, or of another one than the log has under its number.
fn unknown(scene: &Scene, manifest: &Manifest) -> Found {
    let (run_id, csv) = (manifest.run_id, &manifest.csv);
    let aside = format!("take it out of the way with `dwh recover --set-aside {csv}`: nothing is deleted");
    let other = scene.records.get(&run_id);
    let (message, mend) = match other {
        _ if scene.lost.contains(csv) => (
            format!("`{csv}` is of run {run_id}, which the run log has lost: the target was restored from a backup"),
            Mend::Restore(Box::new(manifest.clone()), csv.clone()),
        ),
        Some(other) => (
            format!(
                "`{csv}` is of a run {run_id} that began at {}; run {run_id} of the run log began at {}: it stays where it is",
                manifest.run_started_at, other.run_started_at
            ),
            Mend::Person(format!("the target was restored from a backup, and the number was given again; {aside}")),
        ),
        None if scene.taken.contains(&run_id) => (
            format!("`{csv}` is of run {run_id}, which is of another table in the run log: it stays where it is"),
            Mend::Person(format!("the target was restored from a backup, and the number was given again; {aside}")),
        ),
        None => (
            format!("`{csv}` belongs to run {run_id}, which the run log does not know: it stays where it is"),
            Mend::Person(format!(
                "if the control schema was lost, `dwh rebuild` makes it anew from the blobs; if the file is of another \
                 warehouse, {aside}"
            )),
        ),
    };
    Found { trouble: Trouble::CsvOfUnknownRun, run_id: Some(run_id), csv: Some(csv.clone()), message, mend }
}

/// A manifest without a CSV says nothing that anybody can load.
fn foreign(foreign: &Foreign) -> Found {
    let key = &foreign.key;
    Found {
        trouble: Trouble::ForeignManifest,
        run_id: None,
        csv: Some(key.clone()),
        message: format!("`{key}` has no CSV, and is none of this table's: {}", foreign.why),
        mend: Mend::Person(format!("take it out of the way with `dwh recover --set-aside {key}`: nothing is deleted")),
    }
}

/// A run that is not final and has no complete CSV in `exports/`.
fn unfinished(scene: &Scene, record: &RunRecord) -> Option<Found> {
    let run_id = record.run_id;
    if record.status.is_final() || scene.has_csv_of(record) {
        return None;
    }
    // The CSV of a replay bears the number of the run that wrote it.
    let lost = record.csv_path.is_some()
        && record.kind != RunKind::Replay
        && scene.whole.as_ref().is_some_and(|whole| !whole.there.contains(&run_id))
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
/// watermark never moved, so its rows are read anew); anything else may be a person's, and stays. Rejected records without
/// their CSV are judged in the same way.
fn without_manifest(scene: &Scene, bare: &Bare) -> Found {
    let record = bare.run_id.and_then(|run_id| scene.records.get(&run_id));
    let ours = record.is_some_and(|record| {
        matches!(record.status, RunState::Extracting | RunState::Failed) && record.csv_path.is_none()
    });
    let (message, mend) = if ours {
        (format!("`{}` was never finished", bare.key), Mend::Delete(bare.key.clone()))
    } else if !bare.key.is_csv() {
        (
            format!("`{}` holds rejected records of a CSV that is not there: it stays where it is", bare.key),
            Mend::Person("nothing reads it: move it to where you want it, or delete it".to_owned()),
        )
    } else {
        (
            format!("`{}` has no manifest, and no run of the log was writing it: it stays where it is", bare.key),
            Mend::Person(format!(
                "a file made by hand is loaded with `dwh load --accept-unverified`; `dwh recover --set-aside {}` takes it out \
                 of the way",
                bare.key
            )),
        )
    };
    Found { trouble: Trouble::CsvWithoutManifest, run_id: bare.run_id, csv: Some(bare.key.clone()), message, mend }
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
