//! Several runs in one commit.

use std::time::Duration;

use super::{contract_load, csv, kind, loading, state};
use crate::config::Mode;
use crate::error::ErrorKind;
use crate::run::{RunId, RunState};
use crate::sink::{Accounting, Commit, LogEntry, RunFilter, Sink, StageRequest, Staged};

/// All of them become `loaded`, each with its own rows, or nothing changes. A sink that does not offer it is never asked.
pub(super) async fn runs_are_loaded_together(sink: &dyn Sink) {
    if !sink.loads_together() {
        return;
    }
    let load = contract_load(Mode::Incremental);
    let rows = ["9001,a,1990-01-01 00:00:00+00", "9002,b,1990-01-01 00:00:00+00", "9003,c,1990-01-01 00:00:00+00"];
    let now = state(sink, &load.table).await;
    let (first, second, third) = (loading(sink, &load).await, loading(sink, &load).await, loading(sink, &load).await);
    let request = |rows: &[&str]| StageRequest::new(&load, csv(&load, rows)).of(third, &now).together();
    let commit = |together| Commit { together, ..Commit::of(third, Some(3), now.clone()) };
    // Nobody could tell which of them brought the row.
    assert!(sink.stage(request(&[rows[0], rows[1], rows[0]])).await.is_err(), "a key that is there twice");
    // A run among them that is not at `loading`.
    let failed = |run_id| LogEntry::Failed { run_id, message: "stopped".to_owned(), kind: None };
    sink.log(failed(second)).await.expect("failed");
    let staged = sink.stage(request(&rows)).await.expect("nothing is held any more");
    assert_eq!(kind(staged.commit(commit(vec![(first, 1), (second, 1)])).await), ErrorKind::Contract);
    // More rows than there are.
    let staged = soon(sink, || request(&rows)).await;
    assert_eq!(kind(staged.commit(commit(vec![(first, 4)])).await), ErrorKind::Data);
    sink.log(LogEntry::Loading { run_id: second, upload: None }).await.expect("once more");
    assert_eq!(state(sink, &load.table).await, now, "nothing has changed");
    assert_eq!(told(sink, [first, second, third]).await, [(RunState::Loading, None); 3]);

    let staged = soon(sink, || request(&rows)).await;
    assert_eq!(staged.rows(), 3);
    let done = staged.commit(commit(vec![(first, 2), (second, 0)])).await.expect("loaded");
    assert_eq!(done.counts, Accounting::of_new(3));
    assert_eq!((done.state.newest_run_id, done.state.last_run_id), (Some(third), now.last_run_id));
    assert_eq!(state(sink, &load.table).await, done.state, "the commit tells what the next one expects");
    let loaded = |rows| (RunState::Loaded, Some(rows));
    assert_eq!(told(sink, [first, second, third]).await, [loaded(2), loaded(0), loaded(1)]);
    // Bronze has them now.
    let again = loading(sink, &load).await;
    let request = StageRequest::new(&load, csv(&load, &rows)).of(again, &done.state).together();
    assert!(sink.stage(request).await.is_err(), "rows that are there already");
    sink.log(failed(again)).await.expect("failed");
}

/// The rows, once a transaction that was given up a moment ago is over.
async fn soon<'a>(sink: &dyn Sink, request: impl Fn() -> StageRequest<'a>) -> Box<dyn Staged> {
    for _ in 0..500 {
        if let Ok(staged) = sink.stage(request()).await {
            return staged;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sink.stage(request()).await.expect("nothing is held any more")
}

/// How the runs ended, and what they brought; their rows say the same in all their counts.
async fn told(sink: &dyn Sink, runs: [RunId; 3]) -> [(RunState, Option<i64>); 3] {
    let mut told = [(RunState::Extracting, None); 3];
    for (told, run_id) in told.iter_mut().zip(runs) {
        let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        let run = sink.runs(&filter).await.expect("runs").remove(0);
        if run.status == RunState::Loaded {
            let counts = [run.rows_extracted, run.rows_loaded, run.rows_inserted];
            assert_eq!(counts, [run.rows_loaded; 3], "{run:?}");
            let others = [run.rows_updated, run.rows_identical, run.rows_different, run.rows_kept_newer];
            assert_eq!((others, run.run_finished_at.is_some()), ([Some(0); 4], true), "{run:?}");
            assert!(run.bronze.is_some() && run.error_message.is_none(), "{run:?}");
        }
        *told = (run.status, run.rows_loaded);
    }
    told
}
