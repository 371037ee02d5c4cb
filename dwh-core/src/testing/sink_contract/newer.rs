//! Which load is newer, and what the watermark row and the run log keep of it.

use super::{contract_load, counted, csv, kind, load_as, load_rows, loading, state};
use crate::config::{Mode, OnConflict};
use crate::error::ErrorKind;
use crate::plan::LoadPlan;
use crate::run::RunKind;
use crate::sink::{Accounting, Commit, LogEntry, RunRecord, Sink, StageRequest, TableState, Upload};
use crate::watermark::{Timestamp, Window};

/// What was read later wins, whatever its stamp says; what may be older only adds.
pub(super) async fn newer_wins(sink: &dyn Sink) {
    let load = LoadPlan { on_conflict: OnConflict::Update, ..contract_load(Mode::Incremental) };
    let first = ["20,one,2026-02-02 00:00:00+00", "21,same,2026-02-02 00:00:00+00"];
    // Row 20 was written by a transaction that began earlier and committed later; its stamp is the earlier one.
    let second = ["20,two,2026-02-01 00:00:00+00", "21,same,2026-02-02 00:00:00+00", "22,more,2026-02-02 00:00:00+00"];
    assert_eq!(load_rows(sink, &load, &first).await.expect("first"), counted(2, 2, 0, 0, 0));
    assert_eq!(load_rows(sink, &load, &second).await.expect("second"), counted(3, 1, 1, 1, 0));
    assert_eq!(load_rows(sink, &load, &second).await.expect("again"), counted(3, 0, 0, 3, 0));
    // The older CSV once more: nothing goes back, though its stamp is the later one.
    let older = LoadPlan { older: true, ..load.clone() };
    let kept = |staged, inserted, identical, kept_newer| Accounting {
        kept_newer,
        ..counted(staged, inserted, 0, identical, 0)
    };
    let with_lost = [first[0], first[1], "24,lost,2026-01-01 00:00:00+00"];
    assert_eq!(load_as(sink, &older, RunKind::Replay, &with_lost).await.expect("replayed"), kept(3, 1, 1, 1));
    assert_eq!(load_rows(sink, &load, &second).await.expect("as it was"), counted(3, 0, 0, 3, 0));
    // `nothing` keeps what came first, whatever is newer.
    let nothing = LoadPlan { on_conflict: OnConflict::Nothing, ..load.clone() };
    for load in [&nothing, &LoadPlan { older: true, ..nothing.clone() }] {
        assert_eq!(load_rows(sink, load, &first).await.expect("kept"), counted(2, 0, 0, 1, 1));
    }
    // Of equal stamp: the same.
    let equal = ["20,equal,2026-02-01 00:00:00+00"];
    assert_eq!(load_rows(sink, &older, &equal).await.expect("older"), kept(1, 0, 0, 1));
    assert_eq!(load_rows(sink, &load, &equal).await.expect("newer"), counted(1, 0, 1, 0, 0));
    // By another key row 20 was a version of row 22 once: nobody can tell, so nothing is put in.
    let former = LoadPlan { former_keys: vec![vec!["note".to_owned()]], ..load.clone() };
    let version = ["25,more,2026-02-02 00:00:00+00", "26,known nowhere,2026-02-02 00:00:00+00"];
    for load in [&former, &LoadPlan { older: true, ..former.clone() }] {
        assert_eq!(kind(load_rows(sink, load, &version).await), ErrorKind::Contract);
        assert_eq!(load_rows(sink, load, &second[1..]).await.expect("known by both"), counted(2, 0, 0, 2, 0));
    }
    assert_eq!(load_rows(sink, &former, &version[1..]).await.expect("known by neither"), counted(1, 1, 0, 0, 0));
    let doubled = ["23,a,2026-02-03 00:00:00+00", "23,b,2026-02-03 00:00:00+00"];
    assert_eq!(kind(load_rows(sink, &load, &doubled).await), ErrorKind::Data);
}

/// `newest_run_id` follows every load that was read in a newer snapshot, and no other.
pub(super) async fn the_newest_run_is_known(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let row = ["30,a,2026-02-02 00:00:00+00"];
    let older = LoadPlan { older: true, ..load.clone() };
    for (load, kind, moves) in [
        (&load, RunKind::Run, true),
        (&load, RunKind::Backfill, true),
        (&load, RunKind::Reseed, true),
        (&load, RunKind::Replay, false),
        (&older, RunKind::Run, false),
    ] {
        let before = state(sink, &load.table).await;
        load_as(sink, load, kind, &row).await.expect("loaded");
        let after = state(sink, &load.table).await;
        assert_eq!(after.newest_run_id > before.newest_run_id, moves, "{kind:?}, older: {}", load.older);
        assert_eq!(TableState { newest_run_id: before.newest_run_id, ..after }, before, "the rest stays");
    }
    // A run that was begun before another was loaded is seen to be older; and who did not see that one is refused.
    let (seen, late) = (state(sink, &load.table).await, loading(sink, &load).await);
    load_rows(sink, &load, &row).await.expect("loaded");
    assert!(!seen.is_newer_than(late) && state(sink, &load.table).await.is_newer_than(late));
    let staged = sink.stage(StageRequest::new(&load, csv(&load, &row))).await.expect("staged");
    assert_eq!(kind(staged.commit(Commit::of(late, Some(1), seen)).await), ErrorKind::Locked);
    sink.log(LogEntry::Failed { run_id: late, message: "lost the race".to_owned(), kind: None }).await.expect("failed");
}

/// The CSV of a run that the log has not heard enough of: its manifest fills the row.
pub(super) async fn a_manifest_fills_the_log(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let begin = LogEntry::Begin {
        table: load.table.clone(),
        mode: load.mode,
        kind: RunKind::Run,
        task_instance: None,
        dated: false,
    };
    let run_id = sink.log(begin).await.expect("begin").run_id;
    sink.log(LogEntry::Failed { run_id, message: "the target went away".to_owned(), kind: None })
        .await
        .expect("failed");
    let at = |day: u32| format!("2026-03-0{day}T00:00:00Z").parse().expect("a moment");
    let upload = Upload {
        run_id,
        csv_path: Some("memory://p/exports/x.csv".to_owned()),
        rows: 3,
        late_rows: 1,
        bytes: 77,
        sha256: "a".repeat(64),
        window: Some(Window { low: at(1), high: Some(at(2)), watermark: at(3) }),
        bound: None,
        plan_sha256: None,
        file: None,
    };
    let enter = |upload: &Upload| LogEntry::Loading { run_id, upload: Some(Box::new(upload.clone())) };
    let told = |run: &RunRecord| {
        (run.csv_path.clone(), run.rows_extracted, run.rows_late, run.bytes, run.sha256.clone(), run.window_low)
    };
    let filled = sink.log(enter(&upload)).await.expect("loading");
    assert_eq!(told(&filled), (upload.csv_path.clone(), Some(3), Some(1), Some(77), Some("a".repeat(64)), Some(at(1))));
    assert_eq!((filled.window_high, filled.watermark), (Some(at(2)), Some(at(3))));
    // What is known already is not touched.
    sink.log(LogEntry::Failed { run_id, message: "once more".to_owned(), kind: None }).await.expect("failed");
    let other = Upload { csv_path: Some("memory://p/y.csv".to_owned()), rows: 9, window: None, ..upload };
    assert_eq!(told(&sink.log(enter(&other)).await.expect("again")), told(&filled));
    sink.log(LogEntry::Failed { run_id, message: "given up".to_owned(), kind: None }).await.expect("failed");
}

/// The newest version of a row is the one that was read last.
pub(super) async fn a_dated_run_begins_after_the_one_before(sink: &dyn Sink) {
    let load = contract_load(Mode::Scd);
    let begin = || LogEntry::Begin {
        table: load.table.clone(),
        mode: load.mode,
        kind: RunKind::Run,
        task_instance: None,
        dated: true,
    };
    let first = sink.log(begin()).await.expect("begin");
    let second = sink.log(begin()).await.expect("begin");
    assert!(first.run_started_at < second.run_started_at, "{first:?} {second:?}");
    for run_id in [first.run_id, second.run_id] {
        let failed = LogEntry::Failed { run_id, message: "only begun".to_owned(), kind: None };
        sink.log(failed).await.expect("failed");
    }
}

pub(super) async fn a_table_begins_anew(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let before = state(sink, &load.table).await;
    assert!(before.last_run_id.is_some() && before.newest_run_id.is_some(), "it was loaded: {before:?}");
    let stale = TableState { last_run_id: None, ..before.clone() };
    match sink.begin_anew(&load.table, &stale).await {
        Err(error) if error.kind() == ErrorKind::Locked => {}
        // A sink that cannot do it says so.
        other => return assert_eq!(kind(other), ErrorKind::Contract),
    }
    assert_eq!(state(sink, &load.table).await, before, "nothing has changed");
    let anew = sink.begin_anew(&load.table, &before).await.expect("as it was read");
    let (newest_run_id, last_loaded_at) = (before.newest_run_id, before.last_loaded_at);
    let last_extracted_at = Some(Timestamp::SEED);
    let seed = TableState { last_extracted_at, newest_run_id, last_loaded_at, ..TableState::default() };
    assert_eq!((&anew, &state(sink, &load.table).await), (&seed, &seed));
}
