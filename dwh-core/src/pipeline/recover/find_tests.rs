use std::collections::BTreeSet;

use super::super::scene::Whole;
use super::*;
use crate::blob::BlobKey;
use crate::config::OnConflict;
use crate::run::RunId;
use crate::schema::TableRef;
use crate::sink::TableState;
use crate::source::Sweep;
use crate::watermark::Timestamp;
use RunState::{Extracting, Failed, Loaded, Loading, Uploaded};

fn at(hour: i64) -> Timestamp {
    Timestamp::SEED.plus(crate::watermark::Micros::seconds(hour * 3600))
}

fn key(run_id: i64) -> BlobKey {
    BlobKey::parse(&format!("fleet/exports/trips/20261001_0000_UTC_{run_id}.csv")).expect("key")
}

fn manifest(run_id: i64) -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        project: "fleet".into(),
        table: "trips".into(),
        run_id: RunId(run_id),
        run_started_at: at(run_id),
        kind: RunKind::Run,
        mode: Mode::Incremental,
        target: TableRef::new("bronze", "trips"),
        csv: key(run_id),
        columns: Vec::new(),
        types: Vec::new(),
        key: Vec::new(),
        on_conflict: OnConflict::Nothing,
        relation: None,
        watermark_column: None,
        query: String::new(),
        window: None,
        sweep: Sweep::Off,
        late_rows: 0,
        bound: None,
        previous_run_id: None,
        before: None,
        spares: Vec::new(),
        part: None,
        plan_sha256: None,
        snapshot: None,
        file: None,
        rows: 1,
        bytes: 5,
        sha256: "0".repeat(64),
        stored: None,
        engine_version: "0".into(),
    }
}

fn record(run_id: i64, status: RunState) -> RunRecord {
    RunRecord {
        status,
        csv_path: (status != Extracting).then(|| key(run_id).to_string()),
        ..RunRecord::begun(RunId(run_id), "trips", Mode::Incremental, RunKind::Run, at(run_id))
    }
}

/// Run 1: what its row says, and where its CSV is.
struct Case {
    status: Option<RunState>,
    exports: bool,
    manifest_only: bool,
    /// The copy in `processed/`, and whether it is the same.
    copy: Option<bool>,
}

fn whole(there: BTreeSet<RunId>, state: TableState, mode: Mode) -> Whole {
    Whole { there, ahead: None, copies: Vec::new(), versions: Vec::new(), lost: Vec::new(), state, mode }
}

fn scene(case: &Case) -> Scene {
    let mut scene = Scene::default();
    if case.exports || case.manifest_only {
        scene.complete.push(manifest(1));
    }
    if case.manifest_only {
        scene.manifest_only.insert(key(1));
    }
    if let (Some(same), true) = (case.copy, case.exports || case.manifest_only) {
        scene.copies.insert(key(1), same);
    }
    scene.records.extend(case.status.map(|status| (RunId(1), record(1, status))));
    let processed = case.copy.map(|_| RunId(1)).into_iter().collect();
    scene.whole = Some(whole(processed, TableState::default(), Mode::Incremental));
    scene
}

fn words(found: &[Found]) -> Vec<(&'static str, &'static str)> {
    found
        .iter()
        .map(|found| {
            let mend = match found.mend {
                Mend::Load(..) => "load",
                Mend::Restore(..) => "restore",
                Mend::Move(_) => "move",
                Mend::Fail(..) => "fail",
                Mend::Delete(_) => "delete",
                Mend::Drop(..) => "drop",
                Mend::SetAside(_) => "set aside",
                Mend::Number(_) => "number",
                Mend::Person(_) => "person",
            };
            (found.trouble.as_str(), mend)
        })
        .collect()
}

#[test]
fn every_state_of_run_log_and_folders() {
    let case = |status, exports, manifest_only, copy| Case { status, exports, manifest_only, copy };
    let table = [
        (case(Some(Extracting), false, false, None), Some(("dead_run", "fail"))),
        (case(Some(Extracting), true, false, None), Some(("uploaded_not_loaded", "load"))),
        (case(Some(Uploaded), true, false, None), Some(("uploaded_not_loaded", "load"))),
        (case(Some(Uploaded), false, false, None), Some(("csv_missing", "fail"))),
        (case(Some(Uploaded), false, false, Some(true)), Some(("dead_run", "fail"))),
        (case(Some(Loading), true, false, None), Some(("uploaded_not_loaded", "load"))),
        (case(Some(Loading), false, false, None), Some(("csv_missing", "fail"))),
        (case(Some(Failed), true, false, None), Some(("failed_with_csv", "load"))),
        (case(Some(Failed), false, false, None), None),
        (case(Some(Uploaded), false, true, None), Some(("csv_missing", "drop"))),
        (case(Some(Failed), false, true, None), Some(("csv_missing", "drop"))),
        (case(Some(Loaded), true, false, None), Some(("loaded_not_moved", "move"))),
        (case(Some(Loaded), true, false, Some(true)), Some(("in_both_places", "move"))),
        (case(Some(Loaded), true, false, Some(false)), Some(("copy_differs", "person"))),
        (case(Some(Loaded), false, true, Some(true)), Some(("manifest_left_behind", "move"))),
        (case(Some(Loaded), false, true, Some(false)), Some(("copy_differs", "person"))),
        (case(Some(Loaded), false, false, Some(true)), None),
        (case(Some(Loaded), false, false, None), Some(("csv_missing", "person"))),
        (case(None, true, false, None), Some(("csv_of_unknown_run", "person"))),
        (case(None, false, true, Some(true)), Some(("manifest_left_behind", "move"))),
        (case(None, false, true, Some(false)), Some(("csv_of_unknown_run", "person"))),
        (case(None, false, true, None), Some(("csv_of_unknown_run", "person"))),
        (case(None, false, false, Some(true)), None),
    ];
    for (at, (case, expected)) in table.iter().enumerate() {
        assert_eq!(words(&find(&scene(case))), expected.iter().copied().collect::<Vec<_>>(), "row {at}");
    }
}

#[test]
fn a_bare_csv_is_ours_only_if_its_run_was_writing_it() {
    let table = [
        (Some(Extracting), true, "delete"),
        (Some(Extracting), false, "person"),
        (Some(Failed), true, "person"),
        (Some(Loaded), true, "person"),
        (None, true, "person"),
    ];
    for (status, named_by_us, expected) in table {
        let mut scene = Scene::default();
        scene.bare.push(Bare { key: key(1), run_id: named_by_us.then_some(RunId(1)) });
        scene.records.extend(status.map(|status| (RunId(1), record(1, status))));
        let found = words(&find(&scene));
        assert_eq!(found.last(), Some(&("csv_without_manifest", expected)), "{status:?} {named_by_us}");
    }
    // It failed before its CSV was known: the row names none.
    let mut scene = Scene::default();
    scene.bare.push(Bare { key: key(1), run_id: Some(RunId(1)) });
    scene.records.insert(RunId(1), RunRecord { csv_path: None, ..record(1, Failed) });
    assert_eq!(words(&find(&scene)), [("csv_without_manifest", "delete")]);
}

#[test]
fn loads_come_in_the_order_of_their_runs_and_before_the_rest() {
    let mut scene = Scene::default();
    for run_id in [9, 10, 12] {
        scene.complete.push(manifest(run_id));
        scene.records.insert(RunId(run_id), record(run_id, Uploaded));
    }
    scene.records.insert(RunId(1), record(1, Extracting));
    let order: Vec<i64> = find(&scene).iter().filter_map(|found| found.run_id).map(|id| id.0).collect();
    assert_eq!(order, [9, 10, 12, 1]);
}

#[test]
fn what_retention_took_is_not_missed() {
    let mut scene = Scene::default();
    scene.records.extend((1..=5).map(|run_id| (RunId(run_id), record(run_id, Loaded))));
    let processed = [RunId(3), RunId(5)].into();
    scene.whole = Some(whole(processed, TableState::default(), Mode::Snapshot));
    let missing: Vec<i64> = find(&scene).iter().filter_map(|found| found.run_id).map(|id| id.0).collect();
    scene.records.insert(RunId(6), RunRecord { kind: RunKind::Replay, ..record(6, Loaded) });
    assert_eq!(missing, find(&scene).iter().filter_map(|found| found.run_id).map(|id| id.0).collect::<Vec<_>>());
    assert_eq!(missing, [4], "1 and 2 are older than all that is kept");
}

#[test]
fn a_file_that_a_person_made_is_not_missed() {
    let mut scene = Scene::default();
    let csv_path = Some("file:///b/fleet/exports/trips/mended.csv".to_owned());
    scene.records.insert(RunId(7), RunRecord { csv_path, ..record(7, Loaded) });
    scene.whole = Some(whole([RunId(7)].into(), TableState::default(), Mode::Incremental));
    assert_eq!(words(&find(&scene)), [], "its file is there, under the name that it has");
}

#[test]
fn a_run_log_that_is_behind_its_files() {
    let ahead = Whole { ahead: Some(RunId(9)), ..whole([RunId(9)].into(), TableState::default(), Mode::Scd) };
    let mut scene = Scene { whole: Some(ahead), ..Scene::default() };
    assert_eq!(words(&find(&scene)), [("run_log_behind", "person")]);
    scene.records.insert(RunId(3), RunRecord { csv_path: None, ..record(3, Loaded) });
    assert_eq!(words(&find(&scene)), [("run_log_behind", "number")]);
}

#[test]
fn windows_that_leave_something_out() {
    let window = |run_id, low: Option<i64>, end| {
        let window_low = low.map(at);
        RunRecord { window_low, watermark: Some(at(end)), csv_path: None, ..record(run_id, Loaded) }
    };
    let of = |records: &[RunRecord]| gaps(records.iter()).len();
    let chain = [window(1, None, 1), window(2, Some(1), 2), window(3, Some(2), 3)];
    assert_eq!(of(&chain), 0);
    assert_eq!(of(&chain[1..]), 0, "the beginning may be pruned");
    assert_eq!(of(&[chain[0].clone(), chain[2].clone()]), 1);
    let mut failed = chain.clone();
    failed[1].status = Failed;
    assert_eq!(of(&failed), 1);
    // A later run that read the stretch again fills it.
    assert_eq!(of(&[chain[0].clone(), chain[2].clone(), window(4, Some(1), 2)]), 0);
    // A backfill is told by its window alone: its `watermark` is the end of the range that it is a part of.
    let backfill = RunRecord { kind: RunKind::Backfill, window_high: Some(at(2)), ..window(4, Some(1), 9) };
    assert_eq!(of(&[chain[0].clone(), chain[2].clone(), backfill.clone()]), 0);
    assert_eq!(of(&[chain[0].clone(), window(5, Some(8), 9), backfill]), 1);
    // Older history, read again after retention took its runs, begins no chain.
    let old = RunRecord { kind: RunKind::Backfill, window_high: Some(at(-5)), ..window(9, Some(-9), 9) };
    assert_eq!(of(&[chain[1].clone(), chain[2].clone(), old]), 0);
    assert_eq!(of(&[window(1, None, 1), window(2, Some(0), 1), window(3, Some(1), 3)]), 0, "windows may overlap");
}

#[test]
fn a_watermark_that_a_person_moved() {
    let run = RunRecord { watermark: Some(at(5)), ..record(1, Loaded) };
    let found = |last_extracted_at: Timestamp, record: RunRecord| {
        let mut scene = Scene::default();
        let state = TableState {
            last_extracted_at: Some(last_extracted_at),
            last_run_id: Some(RunId(1)),
            ..TableState::default()
        };
        scene.records.insert(RunId(1), record);
        let whole = whole([RunId(1)].into(), state, Mode::Incremental);
        watermark(&scene, &whole).map(|found| found.trouble)
    };
    assert_eq!(found(at(5), run.clone()), None);
    for moved in [4, 6] {
        assert_eq!(found(at(moved), run.clone()), Some(Trouble::WatermarkDiffers));
    }
    assert_eq!(found(at(5), RunRecord { status: Failed, ..run }), Some(Trouble::WatermarkDiffers));
}

#[test]
fn a_number_that_was_given_twice_is_two_runs() {
    let mut scene = Scene::default();
    scene.complete.push(manifest(1));
    let other = RunRecord { run_started_at: at(99), ..record(1, Loaded) };
    scene.records.insert(RunId(1), other);
    let found = find(&scene);
    assert_eq!(words(&found), [("csv_of_unknown_run", "person")], "never moved as if it had been loaded");
    let Mend::Person(hint) = &found[0].mend else { panic!("{found:?}") };
    assert!(hint.contains(&format!("dwh recover --set-aside {}", key(1))), "{hint}");
    // The same start and another content.
    scene.records.insert(RunId(1), RunRecord { sha256: Some("1".repeat(64)), ..record(1, Loaded) });
    assert_eq!(words(&find(&scene)), [("csv_of_unknown_run", "person")]);
    scene.records.clear();
    scene.taken.insert(RunId(1));
    assert_eq!(words(&find(&scene)), [("csv_of_unknown_run", "person")], "another table's");
    scene.taken.clear();
    scene.lost.insert(key(1));
    assert_eq!(words(&find(&scene)), [("csv_of_unknown_run", "restore")]);
}

#[test]
fn a_foreign_manifest_and_a_lost_copy_are_told_with_their_way_out() {
    let alone = BlobKey::parse("fleet/exports/trips/20261001_0000_UTC_98.manifest.json").expect("key");
    let mut scene = Scene::default();
    scene.foreign.push(Foreign { key: alone.clone(), why: "it tells of table `x`".into() });
    let copies = vec![(key(7), Manifest { mode: Mode::Scd, ..manifest(7) })];
    scene.whole = Some(Whole { copies, ..whole(BTreeSet::new(), TableState::default(), Mode::Scd) });
    let found = find(&scene);
    assert_eq!(words(&found), [("foreign_manifest", "person"), ("copy_not_loaded", "restore")]);
    let Mend::Person(hint) = &found[0].mend else { panic!("{found:?}") };
    assert!(hint.contains(&format!("--set-aside {alone}")), "{hint}");
}
