//! The conformance suite of [`Sink`]: what the pipeline relies on, for any implementation.

mod alerts;
mod newer;
mod preview;
mod replace;
mod together;
mod versions;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::sync::Arc;

use crate::blob::{Body, ByteStream};
use crate::config::{Mode, OnConflict};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, Missing, Stamp, UPLOADED_AT};
use crate::run::{RunId, RunKind, RunState};
use crate::schema::{Column, TableRef};
use crate::sink::{Accounting, Commit, LogEntry, RunFilter, Sink, StageRequest, TableState, Upload};
use crate::watermark::{Micros, Timestamp};

pub use alerts::alerts_contract;
pub use versions::{contract_append, versions_contract};

/// The load that the suite uses: table `contract_<mode>` in schema `bronze` with `id bigint`, `note text`,
/// `recorded_at timestamptz`, key `(id)` where the mode has one, and `_uploaded_at timestamptz` where it is scd.
#[must_use]
pub fn contract_load(mode: Mode) -> LoadPlan {
    let column = |name: &str, type_name: &str, not_null| Column {
        not_null,
        ..Column::new(name, type_name.parse().expect("a type"))
    };
    let mut columns = vec![
        column("id", "bigint", true),
        column("note", "text", false),
        column("recorded_at", "timestamp with time zone", true),
    ];
    if mode == Mode::Scd {
        columns.push(column(UPLOADED_AT, "timestamp with time zone", true));
    }
    let table = format!("contract_{}", mode.as_str());
    LoadPlan {
        target: TableRef::new("bronze", &table),
        table,
        mode,
        columns,
        types: Vec::new(),
        key: if mode == Mode::Incremental { vec!["id".to_owned()] } else { Vec::new() },
        on_conflict: OnConflict::Nothing,
        missing: Missing::default(),
        allow_empty: false,
        replace: crate::config::Replace::Truncate,
        deletes: crate::config::Deletes::Keep,
        keys: None,
        file: None,
        older: false,
        replaced: None,
        waiting: Vec::new(),
        filled: Vec::new(),
        overruled: Vec::new(),
        former_keys: Vec::new(),
        stamp: Some(Stamp { column: "recorded_at".to_owned(), zone: None }),
        stamped: false,
        added: if mode == Mode::Scd { vec![UPLOADED_AT.to_owned()] } else { Vec::new() },
        apart: false,
    }
}

/// Asserts the whole contract. `sink` has the three tables of [`contract_load`], empty, each with a watermark row as
/// seeded, and no table `contract_unknown`.
///
/// # Panics
/// If the sink breaks a promise.
pub async fn sink_contract(sink: &dyn Sink) {
    leases(sink).await;
    run_log(sink).await;
    together::runs_are_loaded_together(sink).await;
    loads_account_for_every_row(sink).await;
    failures_change_nothing(sink).await;
    the_watermark_moves_once(sink).await;
    a_csv_is_set_aside(sink).await;
    numbers_can_be_raised(sink).await;
    newer::newer_wins(sink).await;
    snapshots_replace(sink).await;
    copies_are_dated(sink).await;
    newer::the_newest_run_is_known(sink).await;
    newer::a_manifest_fills_the_log(sink).await;
    newer::a_dated_run_begins_after_the_one_before(sink).await;
    replace::a_window_is_replaced(sink).await;
    newer::a_table_begins_anew(sink).await;
    preview::a_preview_tells(sink).await;
}

/// A CSV of these lines under the load's header, in pieces that break wherever it hurts.
#[must_use]
pub fn csv(load: &LoadPlan, rows: &[&str]) -> Arc<dyn Body> {
    let mut text = load.header();
    for row in rows {
        text.push('\n');
        text.push_str(row);
    }
    text.push('\n');
    let pieces: Vec<Bytes> = text.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
    body(move || stream::iter(pieces.clone()).map(Ok).boxed())
}

/// A body whose bytes this call makes, each time that it is opened.
pub fn body(open: impl Fn() -> ByteStream + Send + Sync + 'static) -> Arc<dyn Body> {
    struct Made<F>(F);
    impl<F: Fn() -> ByteStream + Send + Sync> Body for Made<F> {
        fn open(&self) -> ByteStream {
            (self.0)()
        }
    }
    Arc::new(Made(open))
}

/// A run of the load's table that stands at `loading`.
///
/// # Panics
/// If the run log refuses it.
pub async fn loading(sink: &dyn Sink, load: &LoadPlan) -> RunId {
    begun(sink, load, RunKind::Run).await
}

/// A run of the load's table, made for this, that stands at `loading`.
///
/// # Panics
/// If the run log refuses it.
pub async fn begun(sink: &dyn Sink, load: &LoadPlan, kind: RunKind) -> RunId {
    let begin = LogEntry::Begin { table: load.table.clone(), mode: load.mode, kind, task_instance: None, dated: false };
    let run_id = sink.log(begin).await.expect("begin").run_id;
    let upload = Upload {
        run_id,
        csv_path: Some(format!("memory://p/exports/{}/x.csv", load.table)),
        rows: 0,
        late_rows: 0,
        bytes: 1,
        sha256: "0".repeat(64),
        window: None,
        bound: None,
        plan_sha256: None,
        file: None,
    };
    sink.log(LogEntry::Uploaded(Box::new(upload))).await.expect("uploaded");
    sink.log(LogEntry::Loading { run_id, upload: None }).await.expect("loading");
    run_id
}

/// Loads the rows in a run of their own, under the lease, without moving the watermark; a failed run is failed in the log.
///
/// # Errors
/// Whatever the load ended in.
///
/// # Panics
/// If the table cannot be taken.
pub async fn load_rows(sink: &dyn Sink, load: &LoadPlan, rows: &[&str]) -> Result<Accounting> {
    load_as(sink, load, RunKind::Run, rows).await
}

async fn load_as(sink: &dyn Sink, load: &LoadPlan, kind: RunKind, rows: &[&str]) -> Result<Accounting> {
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let run_id = begun(sink, load, kind).await;
    let commit = Commit::of(run_id, Some(rows.len() as u64), lease.state().clone());
    let loaded = match sink.stage(StageRequest::new(load, csv(load, rows))).await {
        Ok(staged) => staged.commit(commit).await,
        Err(error) => Err(error),
    };
    if loaded.is_err() {
        sink.log(LogEntry::Failed { run_id, message: "it went wrong".to_owned(), kind: None }).await.expect("failed");
    }
    lease.release().await.expect("release");
    loaded.map(|committed| committed.counts)
}

async fn state(sink: &dyn Sink, table: &str) -> TableState {
    let lease = sink.lease(table, true).await.expect("lease");
    let state = lease.state().clone();
    lease.release().await.expect("release");
    state
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.err().map(|error| error.kind()).expect("an error")
}

const fn counted(staged: u64, inserted: u64, updated: u64, identical: u64, different: u64) -> Accounting {
    Accounting { staged, inserted, updated, identical, different, kept_newer: 0, removed: 0, marked: 0, unmarked: 0 }
}

async fn leases(sink: &dyn Sink) {
    let table = contract_load(Mode::Incremental).table;
    let lease = sink.lease(&table, false).await.expect("free at first");
    assert_eq!(lease.state().last_extracted_at, Some(Timestamp::SEED));
    assert_eq!(lease.state().low(), Timestamp::NEG_INFINITY);
    let refused = sink.lease(&table, false).await.err().expect("held");
    assert_eq!(refused.kind(), ErrorKind::Locked);
    assert!(refused.to_string().contains(&format!("table `{table}`: another run holds it: ")), "{refused}");
    // A sink that can tell shows from outside who holds what.
    let overview = sink.overview().await.expect("overview");
    if let Some(seen) = overview.tables.get(&table) {
        assert_eq!(seen.state, *lease.state());
        let holder = seen.holder.as_ref().expect("held");
        assert!(!holder.host.is_empty() && holder.since <= overview.now, "{holder:?} at {}", overview.now);
        assert_eq!(overview.tables[&contract_load(Mode::Scd).table].holder, None);
    }
    let other = sink.lease(&contract_load(Mode::Scd).table, false).await.expect("another table is free");
    other.release().await.expect("release");
    // Who waits gets it once it is free.
    let (waited, ()) = tokio::join!(sink.lease(&table, true), async {
        tokio::task::yield_now().await;
        lease.release().await.expect("release");
    });
    drop(waited.expect("free again"));
    // A dropped lease frees the table, though it may take the server a moment.
    sink.lease(&table, true).await.expect("free after a drop").release().await.expect("release");
    let overview = sink.overview().await.expect("overview");
    assert!(overview.tables.get(&table).is_none_or(|seen| seen.holder.is_none()), "nobody holds it: {overview:?}");
    assert_eq!(kind(sink.lease("contract_unknown", false).await), ErrorKind::Contract);
}

async fn run_log(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let begun = sink
        .log(LogEntry::Begin {
            table: load.table.clone(),
            mode: load.mode,
            kind: RunKind::Run,
            task_instance: None,
            dated: false,
        })
        .await
        .expect("begin");
    assert_eq!((begun.status, begun.attempt, begun.mode), (RunState::Extracting, 1, Some(Mode::Incremental)));
    assert!(begun.run_finished_at.is_none() && begun.host.is_some() && begun.engine_version.is_some());
    let run_id = begun.run_id;
    // Not before it is uploaded, and not without a run.
    assert_eq!(kind(sink.log(LogEntry::Loading { run_id, upload: None }).await), ErrorKind::Contract);
    assert_eq!(kind(sink.log(LogEntry::Loading { run_id: RunId(i64::MAX), upload: None }).await), ErrorKind::NotFound);
    let failed = LogEntry::Failed { run_id, message: "the source went away".to_owned(), kind: None };
    let failed = sink.log(failed).await.expect("failed");
    assert_eq!(failed.error_message.as_deref(), Some("the source went away"));
    assert!(failed.run_finished_at.is_some());
    // A failed run may be loaded again; that counts.
    let again = sink.log(LogEntry::Loading { run_id, upload: None }).await.expect("again");
    assert_eq!((again.status, again.attempt, again.run_finished_at), (RunState::Loading, 2, None));
    let message = "no".to_owned();
    sink.log(LogEntry::Failed { run_id, message, kind: None }).await.expect("failed again");
    let second = loading(sink, &load).await;
    let of_table = RunFilter { table: Some(load.table.clone()), ..RunFilter::default() };
    let replays = RunFilter { kind: Some(RunKind::Replay), ..of_table.clone() };
    assert!(sink.runs(&replays).await.expect("runs").is_empty(), "a filter by kind");
    let ids: Vec<RunId> = sink.runs(&of_table).await.expect("runs").iter().map(|run| run.run_id).collect();
    assert_eq!(ids, [second, run_id], "newest first");
    let failed = RunFilter { states: vec![RunState::Failed], limit: Some(1), ..of_table.clone() };
    assert_eq!(sink.runs(&failed).await.expect("runs")[0].run_id, run_id);
    filters(sink, &of_table, [run_id, second]).await;
    let message = "given up".to_owned();
    sink.log(LogEntry::Failed { run_id: second, message, kind: None }).await.expect("failed");
}

/// Each filter takes what it says, edges included. The log holds these two runs of one table.
async fn filters(sink: &dyn Sink, of_table: &RunFilter, [first, second]: [RunId; 2]) {
    let runs = sink.runs(of_table).await.expect("runs");
    let (late, early) = (runs[0].run_started_at, runs[1].run_started_at);
    let began = |wanted: &dyn Fn(Timestamp) -> bool| -> Vec<RunId> {
        runs.iter().filter(|run| wanted(run.run_started_at)).map(|run| run.run_id).collect()
    };
    let table = || of_table.table.clone().expect("one table");
    let unknown = || "contract_unknown".to_owned();
    let only = |change: &dyn Fn(&mut RunFilter)| {
        let mut filter = of_table.clone();
        change(&mut filter);
        filter
    };
    let cases: Vec<(RunFilter, Vec<RunId>)> = vec![
        (RunFilter { tables: vec![table(), unknown()], ..RunFilter::default() }, vec![second, first]),
        (only(&|filter| filter.tables = vec![unknown()]), Vec::new()),
        (only(&|filter| filter.since = Some(late)), began(&|at| at >= late)),
        (only(&|filter| filter.since = Some(late.plus(Micros(1)))), Vec::new()),
        (only(&|filter| filter.until = Some(early)), began(&|at| at <= early)),
        (only(&|filter| filter.until = Some(early.minus(Micros(1)))), Vec::new()),
        (only(&|filter| (filter.since, filter.until) = (Some(early), Some(late))), vec![second, first]),
        (only(&|filter| (filter.kind, filter.states) = (Some(RunKind::Run), vec![RunState::Loading])), vec![second]),
        (only(&|filter| filter.before = Some(second)), vec![first]),
        (only(&|filter| filter.before = Some(first)), Vec::new()),
        (only(&|filter| filter.after = Some(first)), vec![second]),
        (only(&|filter| (filter.after, filter.limit) = (Some(RunId(first.0 - 1)), Some(1))), vec![first]),
        (only(&|filter| filter.after = Some(second)), Vec::new()),
    ];
    for (filter, expected) in cases {
        let found: Vec<RunId> = sink.runs(&filter).await.expect("runs").iter().map(|run| run.run_id).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

async fn loads_account_for_every_row(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let rows = ["1,a,2026-01-01 00:00:00+00", "2,,2026-01-01 00:00:00+00", "3,\"x,\"\"\ny\",2026-01-01 00:00:00+00"];
    assert_eq!(load_rows(sink, &load, &rows).await.expect("new"), counted(3, 3, 0, 0, 0));
    assert_eq!(load_rows(sink, &load, &rows).await.expect("again"), counted(3, 0, 0, 3, 0));
    // NULL and the empty string are two values; row 2 differs now.
    let more = ["4,b,2026-01-02 00:00:00+00", "2,\"\",2026-01-01 00:00:00+00", rows[0]];
    assert_eq!(load_rows(sink, &load, &more).await.expect("mixed"), counted(3, 1, 0, 1, 1));
    // The row that was there first has stayed.
    assert_eq!(load_rows(sink, &load, &rows[1..2]).await.expect("kept"), counted(1, 0, 0, 1, 0));
    assert_eq!(load_rows(sink, &load, &[]).await.expect("empty"), counted(0, 0, 0, 0, 0));
    let filter = RunFilter { table: Some(load.table.clone()), limit: Some(3), ..RunFilter::default() };
    let run = &sink.runs(&filter).await.expect("runs")[2];
    assert_eq!(
        (run.status, run.rows_extracted, run.rows_loaded, run.rows_identical, run.rows_different),
        (RunState::Loaded, Some(3), Some(1), Some(1), Some(1))
    );
    assert!(run.run_finished_at.is_some());
}

async fn failures_change_nothing(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let row = ["9,new,2026-01-03 00:00:00+00"];
    // The stream's own error comes out as it is.
    let whole = csv(&load, &row);
    let broken =
        body(move || whole.open().chain(stream::iter([Err(Error::new(ErrorKind::Disk, "spool broke"))])).boxed());
    let error = sink.stage(StageRequest::new(&load, broken)).await.err().expect("broken");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Disk, "spool broke"));
    let other_header = Arc::new(Bytes::from_static(b"id,recorded_at,note\n"));
    assert_eq!(kind(sink.stage(StageRequest::new(&load, other_header)).await), ErrorKind::Data);
    assert_eq!(kind(load_rows(sink, &load, &["x,new,2026-01-03 00:00:00+00"]).await), ErrorKind::Data);
    assert_eq!(kind(load_rows(sink, &load, &["9,new"]).await), ErrorKind::Data);
    let doubled = ["9,one,2026-01-03 00:00:00+00", "9,two,2026-01-03 00:00:00+00"];
    assert_eq!(kind(load_rows(sink, &load, &doubled).await), ErrorKind::Data);
    // Another number of rows than the manifest says.
    let now = state(sink, &load.table).await;
    let run_id = loading(sink, &load).await;
    let staged = sink.stage(StageRequest::new(&load, csv(&load, &row))).await.expect("staged");
    assert_eq!(staged.rows(), 1);
    assert_eq!(kind(staged.commit(Commit::of(run_id, Some(2), now.clone())).await), ErrorKind::Data);
    // Not committed.
    drop(sink.stage(StageRequest::new(&load, csv(&load, &row))).await.expect("staged"));
    // The run is not at `loading`.
    sink.log(LogEntry::Failed { run_id, message: "stopped".to_owned(), kind: None }).await.expect("failed");
    let staged = sink.stage(StageRequest::new(&load, csv(&load, &row))).await.expect("staged");
    assert_eq!(kind(staged.commit(Commit::of(run_id, Some(1), now)).await), ErrorKind::Contract);
    assert_eq!(load_rows(sink, &load, &row).await.expect("still new"), counted(1, 1, 0, 0, 0));
}

async fn the_watermark_moves_once(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let expected = state(sink, &load.table).await;
    assert_eq!(expected.last_extracted_at, Some(Timestamp::SEED), "no load so far moved it");
    let at: Timestamp = "2026-01-04T00:00:00.123456Z".parse().expect("a moment");
    let becomes = TableState {
        last_extracted_at: Some(at),
        snapshot_xmin: Some(7_000_000_000),
        read_high: Some(at),
        system_identifier: Some("7".to_owned()),
        timeline: Some(1),
        source_clock: Some(at),
        ..TableState::default()
    };
    let commit = |run_id| Commit::of(run_id, Some(1), expected.clone()).becoming(Some(becomes.clone()));
    let (first, second) = (loading(sink, &load).await, loading(sink, &load).await);
    let one = sink.stage(StageRequest::new(&load, csv(&load, &["10,a,2026-01-04 00:00:00+00"]))).await.expect("staged");
    let two = sink
        .stage(StageRequest::new(&load, csv(&load, &["11,a,2026-01-04 00:00:00+00"])))
        .await
        .expect("staged beside");
    let done = one.commit(commit(first)).await.expect("first");
    let error = two.commit(commit(second)).await.expect_err("moved meanwhile");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("run {first}")), "{error}");
    let now = state(sink, &load.table).await;
    assert_eq!(done.state, now, "the commit tells what the next one expects");
    assert!(now.last_loaded_at.is_some());
    let (last_loaded_at, bronze) = (now.last_loaded_at, now.bronze.clone());
    let set = TableState { last_run_id: Some(first), newest_run_id: Some(first), last_loaded_at, bronze, ..becomes };
    assert_eq!(now, set);
    let there = sink.bronze_id(&load.target).await.expect("bronze");
    assert_eq!(now.bronze, there.map(|there| there.id), "the row names the table that the rows are in");
    let filter = |id| RunFilter { run_id: Some(id), ..RunFilter::default() };
    assert_eq!(sink.runs(&filter(first)).await.expect("runs")[0].status, RunState::Loaded);
    assert_eq!(sink.runs(&filter(second)).await.expect("runs")[0].status, RunState::Loading);
    sink.log(LogEntry::Failed { run_id: second, message: "lost the race".to_owned(), kind: None })
        .await
        .expect("failed");
    assert_eq!(
        load_rows(sink, &load, &["11,a,2026-01-04 00:00:00+00"]).await.expect("was not loaded"),
        counted(1, 1, 0, 0, 0)
    );
}

async fn a_csv_is_set_aside(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let before = state(sink, &load.table).await;
    let run_id = loading(sink, &load).await;
    let csv_path = "s3://bronze/fleet/set_aside/contract_incremental/1.csv".to_owned();
    let aside = |run_id, csv_path| LogEntry::SetAside { run_id, csv_path, message: "set aside".to_owned() };
    // From `loading`, and from `failed` once more.
    for _ in 0..2 {
        let row = sink.log(aside(run_id, csv_path.clone())).await.expect("set aside");
        assert_eq!((row.status, row.csv_path.as_ref()), (RunState::Failed, Some(&csv_path)));
        assert_eq!(row.error_message.as_deref(), Some("set aside"));
        assert!(row.run_finished_at.is_some());
    }
    assert_eq!(state(sink, &load.table).await, before, "the watermark stays");
    load_rows(sink, &load, &["12,a,2026-01-05 00:00:00+00"]).await.expect("loaded");
    let filter = RunFilter { states: vec![RunState::Loaded], limit: Some(1), ..RunFilter::default() };
    let loaded = sink.runs(&filter).await.expect("runs")[0].run_id;
    assert_eq!(kind(sink.log(aside(loaded, csv_path.clone())).await), ErrorKind::Contract);
    assert_eq!(kind(sink.log(aside(RunId(i64::MAX), csv_path)).await), ErrorKind::Contract);
}

async fn numbers_can_be_raised(sink: &dyn Sink) {
    let load = contract_load(Mode::Incremental);
    let highest = loading(sink, &load).await;
    let far = RunId(highest.0 + 1000);
    assert!(!sink.number_above(highest, false).await.expect("asked"), "it is as high as that");
    // A sink whose numbers never begin anew has nothing to do.
    if sink.number_above(far, true).await.expect("asked") {
        assert!(loading(sink, &load).await < far, "a dry run changes nothing");
        assert!(sink.number_above(far, false).await.expect("raised"));
        assert!(!sink.number_above(far, false).await.expect("again"), "once is enough");
        assert!(loading(sink, &load).await > far);
    }
}

async fn snapshots_replace(sink: &dyn Sink) {
    let load = contract_load(Mode::Snapshot);
    let rows = ["1,a,2026-01-01 00:00:00+00", "1,a,2026-01-01 00:00:00+00"];
    assert_eq!(load_rows(sink, &load, &[]).await.expect("empty over empty"), counted(0, 0, 0, 0, 0));
    assert_eq!(load_rows(sink, &load, &rows).await.expect("first"), counted(2, 2, 0, 0, 0));
    assert_eq!(load_rows(sink, &load, &rows[..1]).await.expect("second"), counted(1, 1, 0, 0, 0));
    let refused = load_rows(sink, &load, &[]).await.expect_err("would replace rows by none");
    assert_eq!(refused.kind(), ErrorKind::Data);
    let told = LoadPlan { allow_empty: true, ..load };
    assert_eq!(load_rows(sink, &told, &[]).await.expect("told to"), counted(0, 0, 0, 0, 0));
    // An older copy replaces nothing, not even none by some; the newest one, replayed, is put back.
    let older = LoadPlan { older: true, ..told.clone() };
    let kept = Accounting { kept_newer: 1, ..counted(1, 0, 0, 0, 0) };
    assert_eq!(load_rows(sink, &older, &rows[..1]).await.expect("older"), kept);
    assert_eq!(load_rows(sink, &told, &rows).await.expect("newer"), counted(2, 2, 0, 0, 0));
    assert_eq!(load_rows(sink, &older, &rows[..1]).await.expect("older"), kept);
    assert_eq!(load_rows(sink, &older, &rows).await.expect("the same"), counted(2, 0, 0, 2, 0));
    assert_eq!(load_as(sink, &told, RunKind::Replay, &rows).await.expect("the same"), counted(2, 0, 0, 2, 0));
    assert_eq!(load_as(sink, &told, RunKind::Replay, &rows[..1]).await.expect("put back"), counted(1, 1, 0, 0, 0));
}

async fn copies_are_dated(sink: &dyn Sink) {
    let load = contract_load(Mode::Scd);
    let first =
        ["1,a,2026-01-01 00:00:00+00,2026-03-01 00:00:00+00", "2,b,2026-01-01 00:00:00+00,2026-03-01 00:00:00+00"];
    let second = ["1,a,2026-01-01 00:00:00+00,2026-03-02 00:00:00+00"];
    assert_eq!(load_rows(sink, &load, &first).await.expect("first"), counted(2, 2, 0, 0, 0));
    assert_eq!(load_rows(sink, &load, &first).await.expect("the same copy"), counted(2, 0, 0, 2, 0));
    assert_eq!(load_rows(sink, &load, &second).await.expect("second"), counted(1, 1, 0, 0, 0));
    assert_eq!(kind(load_rows(sink, &load, &first[..1]).await), ErrorKind::Data);
    assert_eq!(load_rows(sink, &load, &[]).await.expect("nothing"), counted(0, 0, 0, 0, 0));
}
