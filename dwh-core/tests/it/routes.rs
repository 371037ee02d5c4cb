//! The ways of rows into bronze: each is taken where it should be, and ends with what staging would have ended with.

use bytes::Bytes;
use dwh_core::LoadPlan;
use dwh_core::blob::Body;
use dwh_core::config::{Environment, Mode, OnConflict};
use dwh_core::sink::{Accounting, Commit, Committed, LogEntry, Route, RunFilter, Sink, StageRequest};
use dwh_core::testing::TestDb;
use dwh_core::testing::sink_contract::{begun, body, contract_load, csv, loading};
use dwh_core::watermark::Micros;
use dwh_core::{Error, ErrorKind, PgSink, Result, RunKind};
use futures_util::{StreamExt, stream};
use std::ops::Range;
use std::sync::Arc;

use crate::migrations::target;
use crate::sink::{count, warehouse};

/// More than what a small CSV has.
const MANY: u64 = 20_000;

/// A CSV with a row for each of these numbers.
fn numbered(load: &LoadPlan, ids: Range<u64>) -> Arc<dyn Body> {
    let rows: Vec<String> = ids.map(|id| row(load, id)).collect();
    let text = Bytes::from(format!("{}\n{}", load.header(), rows.concat()));
    body(move || stream::iter(text.chunks(65_536).map(Bytes::copy_from_slice).collect::<Vec<_>>()).map(Ok).boxed())
}

fn row(load: &LoadPlan, id: u64) -> String {
    let copied = if load.mode == Mode::Scd { ",2026-03-01 00:00:00+00" } else { "" };
    format!("{id},\"a note, of some length, for row {id}\",2026-01-01 00:00:00+00{copied}\n")
}

/// Loads the body in a run of its own, as the pipeline does it.
async fn load_body(
    sink: &dyn Sink,
    load: &LoadPlan,
    kind: RunKind,
    csv: Arc<dyn Body>,
    rows: u64,
) -> Result<Committed> {
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let run_id = begun(sink, load, kind).await;
    let commit = Commit::of(run_id, Some(rows), lease.state().clone());
    let done = match sink.stage(StageRequest::new(load, csv).of(run_id, lease.state())).await {
        Ok(staged) => staged.commit(commit).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        sink.log(LogEntry::Failed { run_id, message: "failed".into(), kind: None }).await.expect("failed");
    }
    lease.release().await.expect("release");
    done
}

async fn load_many(sink: &dyn Sink, load: &LoadPlan, ids: Range<u64>) -> Result<Committed> {
    let rows = ids.end - ids.start;
    load_body(sink, load, RunKind::Run, numbered(load, ids), rows).await
}

/// The route that was taken, and its reason.
fn way(done: &Committed) -> (Route, &str) {
    let routing = done.routing.as_ref().expect("a route");
    (routing.route, &routing.reason)
}

const fn new(rows: u64) -> Accounting {
    Accounting {
        staged: rows,
        inserted: rows,
        updated: 0,
        identical: 0,
        different: 0,
        kept_newer: 0,
        removed: 0,
        marked: 0,
        unmarked: 0,
    }
}

/// What a person sees of the indexes and keys of the tables in bronze.
const SEEN: &str = "select string_agg(concat_ws(' ', c.relname, pg_get_indexdef(c.oid), pg_get_constraintdef(k.oid), i.indisclustered, \
    obj_description(c.oid, 'pg_class'), obj_description(k.oid, 'pg_constraint'), k.condeferrable, k.condeferred, s.spcname), \
    chr(10) order by c.relname) from pg_index i join pg_class c on c.oid = i.indexrelid \
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'bronze' left join pg_tablespace s on s.oid = c.reltablespace \
    left join pg_constraint k on k.conindid = c.oid";

async fn seen(db: &TestDb) -> String {
    db.target().query_one(SEEN, &[]).await.expect(SEEN).get(0)
}

/// Indexes of every sort that can be built again.
const INDEXES: &str = "set role dwh_owner;
    create index note_length on bronze.contract_incremental (length(note) desc nulls last, (note || 'x') collate \"C\") include (id) with (fillfactor = 70) where id > 5;
    create index by_time on bronze.contract_incremental using brin (recorded_at);
    alter table bronze.contract_incremental add constraint one_note unique (note, id) include (recorded_at) with (fillfactor = 60) deferrable initially deferred;
    alter table bronze.contract_incremental cluster on one_note;
    comment on index bronze.note_length is 'it''s ours'; comment on constraint one_note on bronze.contract_incremental is 'one';
    comment on index bronze.one_note is 'two'; reset role";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_takes_the_rows_first_and_its_key_afterwards() {
    let (db, sink) = warehouse("route_fresh").await;
    let load = contract_load(Mode::Incremental);
    db.tgt(INDEXES).await;
    let before = seen(&db).await;
    let done = load_many(&sink, &load, 0..MANY).await.expect("loaded");
    assert_eq!((way(&done), done.counts), ((Route::Fresh, "bronze is empty"), new(MANY)));
    assert_eq!(seen(&db).await, before);
    assert!(before.contains("DEFERRABLE INITIALLY DEFERRED") && before.contains("fillfactor"), "{before}");
    let logged =
        "select count(*) from dwh_control.extract_runs where route = 'fresh' and route_reason = 'bronze is empty'";
    assert_eq!(count(&db, logged).await, 1);
    let by_index = "select count(*) from pg_index where indrelid = 'bronze.contract_incremental'::regclass and not (indisvalid and indisready and indislive)";
    assert_eq!(count(&db, by_index).await, 0);
    // All of them were new, so the next ones should be; and what is there twice is staged.
    let done = load_many(&sink, &load, MANY..2 * MANY).await.expect("loaded");
    assert_eq!((way(&done), done.counts), ((Route::Direct, "all rows of the run before it were new"), new(MANY)));
    let done = load_many(&sink, &load, 2 * MANY - 1..2 * MANY + 9).await.expect("loaded");
    assert_eq!(way(&done), (Route::Staged, "not direct: a key of the CSV is there already, or there twice"));
    assert_eq!(done.counts, Accounting { identical: 1, inserted: 9, ..new(10) });
    let done = load_many(&sink, &load, 50_000..50_010).await.expect("loaded");
    assert_eq!((way(&done).0, done.counts), (Route::Staged, new(10)));
    let done = load_many(&sink, &load, 60_000..60_010).await.expect("loaded");
    assert_eq!((way(&done).0, done.counts), (Route::Direct, new(10)));
    assert_eq!(count(&db, "select count(*) from bronze.contract_incremental").await, 2 * MANY as i64 + 29);
    // A run of no rows takes no way.
    let done = load_many(&sink, &load, 0..0).await.expect("loaded");
    assert_eq!((done.routing, done.counts), (None, new(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_csv_has_twice_is_told_as_ever() {
    let (db, sink) = warehouse("route_twice").await;
    let load = contract_load(Mode::Incremental);
    let before = seen(&db).await;
    let twice = |ids: Range<u64>| {
        let (first, again) = (numbered(&load, ids.clone()), Bytes::from(row(&load, ids.start)));
        body(move || first.open().chain(stream::iter([Ok(again.clone())])).boxed())
    };
    for (ids, route) in [(0..MANY, "not fresh"), (0..10, "not direct")] {
        let rows = ids.end - ids.start + 1;
        let error = load_body(&sink, &load, RunKind::Run, twice(ids), rows).await.expect_err("twice");
        assert_eq!(error.kind(), ErrorKind::Data, "{route}: {error}");
        assert!(error.to_string().contains("the CSV has 1 keys more than once"), "{route}: {error}");
    }
    assert_eq!(count(&db, "select count(*) from bronze.contract_incremental").await, 0);
    assert_eq!(seen(&db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_beside_a_row_is_left_to_staging() {
    let (db, sink) = warehouse("route_obstacles").await;
    let load = contract_load(Mode::Incremental);
    let table = load.target.sql();
    db.tgt("create function noted() returns trigger language plpgsql as 'begin new.note = upper(new.note); return new; end'").await;
    let cases = [
        (
            "create trigger t before insert on T for each row execute function noted()",
            "drop trigger t on T",
            "bronze has a trigger",
        ),
        ("create rule r as on delete to T do also select 1", "drop rule r on T", "bronze has a rule"),
        (
            "alter table T enable row level security",
            "alter table T disable row level security",
            "bronze has row level security",
        ),
        (
            "create table public.heir () inherits (T)",
            "drop table public.heir",
            "bronze has partitions or children, or is one",
        ),
    ];
    for (at, (make, end, reason)) in (1_u64..).zip(cases) {
        db.tgt(&make.replace(" T", &format!(" {table}")).replace("(T)", &format!("({table})"))).await;
        let done = load_many(&sink, &load, 100 * at..100 * at + 5).await.expect(reason);
        assert_eq!((way(&done), done.counts), ((Route::Staged, reason), new(5)));
        db.tgt(&end.replace(" T", &format!(" {table}"))).await;
    }
    assert_eq!(count(&db, "select count(*) from bronze.contract_incremental where note = upper(note)").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_need_stays() {
    let (db, sink) = warehouse("route_needed").await;
    let load = contract_load(Mode::Incremental);
    let needs = [
        "create table public.points (at bigint references bronze.contract_incremental)",
        "create view public.grouped as select id, note, count(*) from bronze.contract_incremental group by id",
        "alter table bronze.contract_incremental replica identity using index contract_incremental_pkey",
    ];
    let frees = [
        "drop table public.points",
        "drop view public.grouped",
        "alter table bronze.contract_incremental replica identity default",
    ];
    for (need, free) in needs.iter().zip(frees) {
        db.tgt(need).await;
        let before = seen(&db).await;
        let done = load_many(&sink, &load, 0..MANY).await.expect(need);
        let reason = "bronze is empty, but one of its indexes cannot be dropped and built again";
        assert_eq!((way(&done), done.counts), ((Route::Direct, reason), new(MANY)), "{need}");
        assert_eq!(seen(&db).await, before);
        db.tgt(free).await;
        db.tgt("truncate bronze.contract_incremental").await;
    }
    // Somebody reads it: nobody waits for anybody.
    let reader = db.another_target().await;
    reader.batch_execute("begin; select from bronze.contract_incremental").await.expect("read");
    let done = load_many(&sink, &load, 0..MANY).await.expect("beside a reader");
    assert_eq!(way(&done), (Route::Direct, "bronze is empty, but another session uses bronze"));
}

#[tokio::test(flavor = "multi_thread")]
async fn older_rows_and_replays_are_staged_unless_there_is_nothing() {
    let (_db, sink) = warehouse("route_older").await;
    let load = LoadPlan { on_conflict: OnConflict::Update, ..contract_load(Mode::Incremental) };
    let older = LoadPlan { older: true, ..load.clone() };
    let done = load_body(&sink, &older, RunKind::Replay, numbered(&load, 0..10), 10).await.expect("into nothing");
    assert_eq!((way(&done), done.counts), ((Route::Direct, "bronze is empty"), new(10)));
    let done = load_body(&sink, &older, RunKind::Replay, numbered(&load, 5..15), 10).await.expect("older");
    assert_eq!(way(&done), (Route::Staged, "bronze may hold newer versions of its rows"));
    assert_eq!(done.counts, Accounting { inserted: 5, identical: 5, ..new(10) });
    let done = load_body(&sink, &load, RunKind::Backfill, numbered(&load, 10..20), 10).await.expect("read again");
    assert_eq!(way(&done), (Route::Staged, "bronze may have some of its rows"));
    assert_eq!(done.counts, Accounting { inserted: 5, identical: 5, ..new(10) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_takes_the_place_of_rows_and_never_without_rows() {
    let (db, sink) = warehouse("route_replace").await;
    let load = contract_load(Mode::Snapshot);
    db.tgt("set role dwh_owner; alter table bronze.contract_snapshot add primary key (id); reset role").await;
    let before = seen(&db).await;
    for _ in 0..2 {
        let done = load_many(&sink, &load, 0..MANY).await.expect("loaded");
        assert_eq!((way(&done), done.counts), ((Route::Replace, "a snapshot takes the place of all rows"), new(MANY)));
        assert_eq!(count(&db, "select count(*) from bronze.contract_snapshot").await, MANY as i64);
        assert_eq!(seen(&db).await, before);
    }
    let error = load_many(&sink, &load, 0..0).await.expect_err("no rows");
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    // A row that is there twice: the key refuses it, and nothing has changed.
    let (first, again) = (numbered(&load, 0..MANY), Bytes::from(row(&load, 3)));
    let twice = body(move || first.open().chain(stream::iter([Ok(again.clone())])).boxed());
    let error = load_body(&sink, &load, RunKind::Run, twice, MANY + 1).await.expect_err("twice");
    assert!(error.to_string().contains("bronze.contract_snapshot"), "{error}");
    let done = load_many(&sink, &load, 0..10).await.expect("few");
    assert_eq!((way(&done).0, done.counts), (Route::Staged, new(10)));
    let done = load_body(&sink, &load, RunKind::Replay, numbered(&load, 0..MANY), MANY).await.expect("again");
    assert_eq!(way(&done), (Route::Staged, "bronze may hold this copy, or a newer one"));
    // A foreign key that points at it: refused, as ever.
    db.tgt("create table public.points (at bigint references bronze.contract_snapshot)").await;
    let error = load_many(&sink, &load, 0..MANY).await.expect_err("a foreign key");
    assert!(error.hint().contains("replace = \"delete\""), "{error}");
    assert_eq!(count(&db, "select count(*) from bronze.contract_snapshot").await, MANY as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dated_copy_is_appended_once() {
    let (db, sink) = warehouse("route_scd").await;
    let load = contract_load(Mode::Scd);
    let first = load_many(&sink, &load, 0..MANY).await.expect("into nothing");
    assert_eq!((way(&first).0, first.counts), (Route::Fresh, new(MANY)));
    // Rows that are not dated as their run is: they are compared with the copies that are there.
    let same = load_many(&sink, &load, 0..MANY).await.expect("the same copy");
    assert_eq!(way(&same), (Route::Staged, "not direct: bronze has rows of this copy already"));
    assert_eq!(same.counts, Accounting { inserted: 0, identical: MANY, ..new(MANY) });
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let run_id = loading(&sink, &load).await;
    let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
    let began = sink.runs(&filter).await.expect("runs")[0].run_started_at;
    let dated = csv(&load, &[&format!("1,a,2026-01-01 00:00:00+00,{began}")]);
    let staged = sink.stage(StageRequest::new(&load, dated).of(run_id, lease.state())).await.expect("staged");
    let done = staged.commit(Commit::of(run_id, Some(1), lease.state().clone())).await.expect("committed");
    assert_eq!((way(&done), done.counts), ((Route::Direct, "a dated copy beside the others"), new(1)));
    assert_eq!(count(&db, "select count(*) from bronze.contract_scd").await, MANY as i64 + 1);
}

/// The start of a CSV, then what this call does, then its end.
fn broken_by(
    load: &LoadPlan,
    ids: Range<u64>,
    then: impl Fn() -> Result<()> + Send + Sync + Clone + 'static,
) -> Arc<dyn Body> {
    let (start, end) = (numbered(load, ids.clone()), Bytes::from(row(load, ids.end)));
    body(move || {
        let (then, end) = (then.clone(), end.clone());
        start.open().chain(stream::once(async move { then().map(|()| end) })).boxed()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_ends_in_the_middle_leaves_nothing() {
    let (db, sink) = warehouse("route_crash").await;
    let kill = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy %' and datname = current_database()";
    for mode in [Mode::Incremental, Mode::Snapshot] {
        let load = contract_load(mode);
        let table = load.target.sql();
        db.tgt(&format!("set role dwh_owner; create index on {table} (note); reset role")).await;
        if mode == Mode::Snapshot {
            load_many(&sink, &load, 0..MANY).await.expect("the rows before");
        }
        let state = format!("select count(*) from {table}");
        let (before, rows) = (seen(&db).await, count(&db, &state).await);
        // The bytes end in an error, which comes out as it is.
        let disk = || Err(Error::new(ErrorKind::Disk, "spool broke"));
        let error =
            load_body(&sink, &load, RunKind::Run, broken_by(&load, 0..2 * MANY, disk), 0).await.expect_err("broken");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Disk, "spool broke"));
        // The session is killed while it copies.
        let killer = Arc::new(db.another_target().await);
        let (start, end) = (numbered(&load, 0..2 * MANY), Bytes::from(row(&load, 2 * MANY)));
        let body = body(move || {
            let (killer, end) = (killer.clone(), end.clone());
            let dies = async move {
                while killer.query(kill, &[]).await.expect(kill).is_empty() {
                    tokio::task::yield_now().await;
                }
                Ok(end)
            };
            start.open().chain(stream::once(dies)).boxed()
        });
        let error = load_body(&sink, &load, RunKind::Run, body, 2 * MANY + 1).await.expect_err("killed");
        assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Busy), "{error}");
        assert_eq!((seen(&db).await, count(&db, &state).await), (before.clone(), rows));
        // And it can be done again.
        let done = load_many(&sink, &load, 0..MANY).await.expect("again");
        assert!(matches!(way(&done).0, Route::Fresh | Route::Replace), "{done:?}");
        assert_eq!(seen(&db).await, before);
    }
}

/// A sink that waits a second for a lock, and lets others wait no longer for rows.
fn impatient(db: &TestDb) -> PgSink {
    let mut config = target(&db.target_url_as("dwh_loader"));
    config.lock_timeout = Micros::seconds(1);
    PgSink::new(&config, &Environment::default()).expect("a sink")
}

/// [`MANY`] rows and one more, which comes two seconds later.
async fn slow(db: &TestDb, load: &LoadPlan) -> Arc<dyn Body> {
    let wait = Arc::new(db.another_target().await);
    let (start, end) = (numbered(load, 0..MANY), Bytes::from(row(load, MANY)));
    body(move || {
        let (wait, end) = (wait.clone(), end.clone());
        let slow = async move {
            wait.batch_execute("select pg_sleep(2)").await.expect("a while");
            Ok(end)
        };
        start.open().chain(stream::once(slow)).boxed()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_wait_long_for_rows_that_come_slowly() {
    let (db, _) = warehouse("route_slow").await;
    let sink = impatient(&db);
    for (mode, first) in [(Mode::Incremental, "not fresh"), (Mode::Snapshot, "not replace")] {
        let load = contract_load(mode);
        let body = slow(&db, &load).await;
        let done = load_body(&sink, &load, RunKind::Run, body, MANY + 1).await.expect("loaded");
        let reason = format!("{first}: the rows came slowly, and nobody could use bronze meanwhile");
        assert_eq!((way(&done), done.counts), ((Route::Staged, reason.as_str()), new(MANY + 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_made_anew_waits_for_rows_that_come_slowly() {
    let (db, _) = warehouse("route_anew").await;
    let sink = impatient(&db);
    let load = contract_load(Mode::Incremental);
    let state = sink.overview().await.expect("overview").tables.remove(&load.table).expect("a row").state;
    let run_id = loading(&sink, &load).await;
    let request = StageRequest::new(&load, slow(&db, &load).await).of(run_id, &state).together();
    assert_eq!(sink.stage(request).await.expect("by the short way").rows(), MANY + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_row_is_held_from_the_start_and_a_lost_race_ends_there() {
    let (db, sink) = warehouse("route_race").await;
    let load = contract_load(Mode::Incremental);
    let state = sink.overview().await.expect("overview").tables.remove(&load.table).expect("a row").state;
    let (first, second) = (loading(&sink, &load).await, loading(&sink, &load).await);
    let rows = csv(&load, &["1,a,2026-01-01 00:00:00+00"]);
    let one = sink.stage(StageRequest::new(&load, rows.clone()).of(first, &state)).await.expect("staged");
    let free = "select count(*) from (select from dwh_control.extract_watermarks where table_name = 'contract_incremental' for update skip locked) x";
    assert_eq!(count(&db, free).await, 0, "held");
    // Another one goes beside it, and loses at its commit; one that comes later loses at once.
    let two = sink.stage(StageRequest::new(&load, rows.clone()).of(second, &state)).await.expect("staged beside");
    one.commit(Commit::of(first, Some(1), state.clone())).await.expect("the first");
    let lost = two.commit(Commit::of(second, Some(1), state.clone())).await.expect_err("the second");
    assert_eq!(lost.kind(), ErrorKind::Locked, "{lost}");
    // The server gives the row free once the session of the second has ended.
    while count(&db, free).await == 0 {}
    let late = sink.stage(StageRequest::new(&load, rows).of(second, &state)).await.err().expect("the third");
    assert_eq!(late.kind(), ErrorKind::Locked, "{late}");
}
