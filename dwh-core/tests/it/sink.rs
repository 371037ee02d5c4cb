//! The warehouse in PostgreSQL: its contract, and what only a real server can do to it.

use dwh_core::config::{Environment, Mode, OnConflict};
use dwh_core::identity::BronzeId;
use dwh_core::schema::{RelationKind, TableRef, TableSchema};
use dwh_core::sink::{Accounting, BronzeState, Commit, LogEntry, RunFilter, Sink, StageRequest};
use dwh_core::testing::TestDb;
use dwh_core::testing::internals::migrate;
use dwh_core::testing::sink_contract::{
    alerts_contract, contract_append, contract_load, csv, load_rows, loading, sink_contract, versions_contract,
};
use dwh_core::{ErrorKind, LoadPlan, MemorySink, PgSink, Plan, TableConfig};

use crate::migrations::{plan, target};

/// A migrated warehouse with the tables of the contract, and a sink as its loader.
pub(crate) async fn warehouse(test: &str) -> (TestDb, PgSink) {
    let db = TestDb::new(test).await;
    let mut plans: Vec<_> = [Mode::Incremental, Mode::Snapshot, Mode::Scd]
        .into_iter()
        .map(|mode| plan(&format!("contract_{}", mode.as_str()), mode, &[]))
        .collect();
    let appended = plan("contract_append", Mode::Incremental, &[]);
    let table = TableConfig { on_conflict: OnConflict::Append, ..appended.table };
    plans.push(Plan::new(&table, appended.source).expect("a plan"));
    let target = target(&db.target_url_as("dwh_loader"));
    migrate(&target, &Environment::default(), &plans).await.expect("migrated");
    let sink = PgSink::new(&target, &Environment::default()).expect("a sink");
    (db, sink)
}

pub(crate) async fn count(db: &TestDb, sql: &str) -> i64 {
    db.target().query_one(sql, &[]).await.expect(sql).get(0)
}

const ROWS: [&str; 2] = ["1,a,2026-01-01 00:00:00+00", "2,b,2026-01-01 00:00:00+00"];

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let (_db, sink) = warehouse("sink_contract").await;
    sink_contract(&sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract_of_versions() {
    let (_db, sink) = warehouse("sink_versions").await;
    versions_contract(&sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_memory_keep_the_contract_of_alerts() {
    let (_db, sink) = warehouse("sink_alerts").await;
    alerts_contract(&sink).await;
    alerts_contract(&MemorySink::new()).await;
}

/// The bronze table of a load.
pub fn bronze_of(load: &LoadPlan) -> TableSchema {
    TableSchema {
        table: load.target.clone(),
        kind: RelationKind::Table,
        columns: load.columns.clone(),
        keys: Vec::new(),
        indexed: Vec::new(),
        row_estimate: -1,
        types: Vec::new(),
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let sink = MemorySink::new();
    for mode in [Mode::Incremental, Mode::Snapshot, Mode::Scd] {
        let load = contract_load(mode);
        sink.add_table(&load.table, bronze_of(&load));
    }
    sink_contract(&sink).await;
}

#[tokio::test]
async fn memory_keeps_the_contract_of_versions() {
    let sink = MemorySink::new();
    let load = contract_append();
    sink.add_table(&load.table, bronze_of(&load));
    versions_contract(&sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_schema_migrate_is_named() {
    let db = TestDb::new("sink_no_control").await;
    let sink = PgSink::new(&target(&db.target_url()), &Environment::default()).expect("a sink");
    let error = sink.lease("trips", false).await.err().expect("nothing is there");
    assert_eq!(error.kind(), ErrorKind::Contract);
    assert!(error.to_string().contains("no control schema `dwh_control`") && error.hint().contains("dwh migrate"));
    assert_eq!(sink.runs(&RunFilter::default()).await.expect_err("nor runs").kind(), ErrorKind::Contract);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_target_drops_fail_the_load() {
    let (db, sink) = warehouse("sink_accounting").await;
    let nothing = contract_load(Mode::Incremental);
    let update = LoadPlan { on_conflict: OnConflict::Update, ..nothing.clone() };
    db.tgt("create function drops() returns trigger language plpgsql as 'begin return null; end'").await;
    for load in [nothing, update, contract_load(Mode::Snapshot), contract_load(Mode::Scd)] {
        let table = load.target.sql();
        let rows =
            ROWS.map(|row| if load.mode == Mode::Scd { format!("{row},2026-03-01 00:00:00+00") } else { row.into() });
        db.tgt(&format!(
            "create trigger t before insert on {table} for each row when (new.id > 1) execute function drops()"
        ))
        .await;
        let error = load_rows(&sink, &load, &[&rows[0], &rows[1]]).await.expect_err("a row went missing");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains("row accounting: 2 rows staged, but 1 inserted"), "{error}");
        assert_eq!(count(&db, &format!("select count(*) from {table}")).await, 0, "nothing has changed");
        db.tgt(&format!("drop trigger t on {table}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_does_not_follow_rows_that_are_gone() {
    let made_again = "create table bronze.again (like bronze.contract_incremental including all);
         alter table bronze.again owner to dwh_owner; drop table bronze.contract_incremental;
         alter table bronze.again rename to contract_incremental";
    let truncated = "truncate bronze.contract_incremental";
    for (test, sql, word) in [("sink_gone", truncated, "emptied"), ("sink_anew", made_again, "another table")] {
        let (db, sink) = warehouse(test).await;
        let load = contract_load(Mode::Incremental);
        let lease = sink.lease(&load.table, false).await.expect("lease");
        let mut state = lease.state().clone();
        let mut ends = Vec::new();
        for (row, at) in ROWS.iter().zip(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]) {
            let run_id = loading(&sink, &load).await;
            let last_extracted_at = Some(at.parse().expect("a moment"));
            let becomes = dwh_core::sink::TableState { last_extracted_at, ..state.clone() };
            let commit = Commit::of(run_id, Some(1), state.clone()).becoming(Some(becomes));
            let request = StageRequest::new(&load, csv(&load, &[row])).of(run_id, &state);
            let done = match sink.stage(request).await {
                Ok(staged) => staged.commit(commit).await,
                Err(error) => Err(error),
            };
            if let Ok(committed) = &done {
                state = committed.state.clone();
                // Somebody empties it, or makes it anew, while the next window is read.
                db.tgt(sql).await;
            }
            ends.push(done);
        }
        assert!(ends[0].is_ok(), "{ends:?}");
        let error = ends[1].as_ref().expect_err("the rows of the window before are gone");
        assert_eq!(error.kind(), ErrorKind::Contract, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(count(&db, "select count(*) from bronze.contract_incremental").await, 0);
        drop(lease);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_race_and_one_wins() {
    let (db, sink) = warehouse("sink_race").await;
    let load = contract_load(Mode::Incremental);
    let lease = sink.lease(&load.table, false).await.expect("lease");
    let becomes = dwh_core::sink::TableState {
        last_extracted_at: Some("2026-01-01T00:00:00Z".parse().expect("a moment")),
        ..lease.state().clone()
    };
    let expected = lease.state().clone();
    let mut commits = Vec::new();
    for row in ROWS {
        let run_id = loading(&sink, &load).await;
        let staged = sink.stage(StageRequest::new(&load, csv(&load, &[row]))).await.expect("staged");
        commits.push(staged.commit(Commit::of(run_id, Some(1), expected.clone()).becoming(Some(becomes.clone()))));
    }
    let (two, one) = (commits.pop().expect("two"), commits.pop().expect("one"));
    let (one, two) = tokio::join!(one, two);
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|won| **won).count(), 1);
    let lost = one.err().or(two.err()).expect("one lost");
    assert_eq!(lost.kind(), ErrorKind::Locked, "{lost}");
    assert_eq!(count(&db, "select count(*) from bronze.contract_incremental").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_commit_has_a_later_loaded_at_whichever_load_began_first() {
    let (db, sink) = warehouse("loaded_at").await;
    db.tgt("alter table bronze.contract_incremental add column _loaded_at timestamptz default statement_timestamp()")
        .await;
    let load = LoadPlan { stamped: true, ..contract_load(Mode::Incremental) };
    let early = csv(&load, &["1,early,2026-03-01T00:00:00Z"]);
    let early = sink.stage(StageRequest::new(&load, early)).await.expect("staged");
    load_rows(&sink, &load, &["2,late,2026-03-01T00:00:00Z"]).await.expect("loaded");
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let commit = Commit::of(loading(&sink, &load).await, Some(1), lease.state().clone());
    early.commit(commit).await.expect("loaded");
    let in_order = "select count(*) from bronze.contract_incremental a, bronze.contract_incremental b
        where a.id = 2 and b.id = 1 and a._loaded_at < b._loaded_at";
    assert_eq!(count(&db, in_order).await, 1, "who asks for what came after the first commit misses the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_that_was_changed_by_hand_is_seen() {
    let (db, sink) = warehouse("sink_by_hand").await;
    let load = contract_load(Mode::Incremental);
    let lease = sink.lease(&load.table, false).await.expect("lease");
    let expected = lease.state().clone();
    let run_id = loading(&sink, &load).await;
    let staged = sink.stage(StageRequest::new(&load, csv(&load, &ROWS))).await.expect("staged");
    db.tgt("update dwh_control.extract_watermarks set last_extracted_at = '2025-01-01' where table_name = 'contract_incremental'").await;
    let commit = Commit::of(run_id, Some(2), expected.clone()).becoming(Some(expected));
    let error = staged.commit(commit).await.expect_err("moved");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("by hand"), "{error}");
    lease.release().await.expect("release");
    db.tgt("alter table dwh_control.extract_watermarks alter column last_extracted_at drop not null; update dwh_control.extract_watermarks set last_extracted_at = null").await;
    assert_eq!(sink.lease(&load.table, false).await.err().map(|error| error.kind()), Some(ErrorKind::Data));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_others_lock_is_busy_by_name() {
    let (db, sink) = warehouse("sink_busy").await;
    let load = contract_load(Mode::Snapshot);
    db.tgt("begin; lock table bronze.contract_snapshot in share mode").await;
    let error = load_rows(&sink, &load, &ROWS).await.expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("bronze.contract_snapshot"), "{error}");
    db.tgt("rollback").await;
    load_rows(&sink, &load, &ROWS).await.expect("free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_are_not_held_up_by_an_incremental_load() {
    let (db, sink) = warehouse("sink_no_lock").await;
    let load = contract_load(Mode::Incremental);
    // A reader with an open snapshot and a writer with an open row.
    db.tgt("begin; insert into bronze.contract_incremental values (7, 'x', '2026-01-01'); select * from bronze.contract_incremental").await;
    assert_eq!(load_rows(&sink, &load, &ROWS).await.expect("beside them").inserted, 2);
    db.tgt("commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_keeps_views_and_grants() {
    let (db, sink) = warehouse("sink_views").await;
    let load = contract_load(Mode::Snapshot);
    db.tgt("create view public.v as select count(*) from bronze.contract_snapshot; create role seen_by_none; grant select on bronze.contract_snapshot to seen_by_none").await;
    load_rows(&sink, &load, &ROWS).await.expect("first");
    load_rows(&sink, &load, &ROWS[..1]).await.expect("second");
    assert_eq!(count(&db, "select * from public.v").await, 1);
    let kept = "select has_table_privilege('seen_by_none', 'bronze.contract_snapshot', 'select')::int::bigint";
    assert_eq!(count(&db, kept).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_session_leaves_nothing_and_frees_the_table() {
    let (db, sink) = warehouse("sink_dead").await;
    let load = contract_load(Mode::Incremental);
    let lease = sink.lease(&load.table, false).await.expect("lease");
    let run_id = loading(&sink, &load).await;
    let staged = sink.stage(StageRequest::new(&load, csv(&load, &ROWS))).await.expect("staged");
    db.tgt("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'dwh_loader' and datname = current_database()").await;
    let commit = Commit::of(run_id, Some(2), lease.state().clone());
    let error = staged.commit(commit).await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(lease.release().await.is_err(), "the lease was lost");
    sink.lease(&load.table, true).await.expect("free").release().await.expect("release");
    sink.log(LogEntry::Failed { run_id, message: "gone".into(), kind: None }).await.expect("failed");
    assert_eq!(load_rows(&sink, &load, &ROWS).await.expect("as if nothing had been").inserted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_lease_keeps_no_vacuum_waiting() {
    let (db, sink) = warehouse("sink_vacuum").await;
    let lease = sink.lease("contract_incremental", false).await.expect("lease");
    let held = "select count(*) from pg_stat_activity where usename = 'dwh_loader' and datname = current_database() and (backend_xmin is not null or backend_xid is not null)";
    assert_eq!(count(&db, held).await, 0);
    lease.release().await.expect("release");
    let written =
        "select count(*) from dwh_control.extract_watermarks where lease_holder is not null or lease_since is not null";
    assert_eq!(count(&db, written).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_loads_than_connections_wait_for_each_other() {
    let db = TestDb::new("sink_many").await;
    let names: Vec<String> = (0..8).map(|n| format!("many_{n}")).collect();
    let plans: Vec<_> = names.iter().map(|name| plan(name, Mode::Incremental, &[])).collect();
    let target = target(&db.target_url_as("dwh_loader"));
    migrate(&target, &Environment::default(), &plans).await.expect("migrated");
    let sink = PgSink::new(&target, &Environment::default()).expect("a sink");
    let loads = names.iter().map(|name| {
        let (sink, like) = (&sink, contract_load(Mode::Incremental));
        let load = LoadPlan { table: name.clone(), target: TableRef::new("bronze", name), ..like };
        async move { load_rows(sink, &load, &ROWS[..1]).await.expect("loaded") }
    });
    let counts: Vec<Accounting> = futures_util::future::join_all(loads).await;
    assert_eq!(counts.iter().map(|count| count.inserted).sum::<u64>(), 8);
    assert_eq!(count(&db, "select count(*) from dwh_control.extract_runs where status = 'loaded'").await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_compared_by_image_whatever_their_types() {
    let (db, sink) = warehouse("sink_image").await;
    db.tgt("set role dwh_owner; alter table bronze.contract_incremental add n numeric, add g public.geometry, add j json, add p point; reset role").await;
    let mut load = LoadPlan { on_conflict: OnConflict::Update, ..contract_load(Mode::Incremental) };
    for (name, type_name) in [("n", "numeric"), ("g", "public.geometry"), ("j", "json"), ("p", "point")] {
        load.columns.push(crate::migrations::column(name, type_name, false));
    }
    // json and point have no `=`; 1.0 and 1.00 are equal and yet not the same.
    let row = |n: &str| format!("1,a,2026-01-01 00:00:00+00,{n},SRID=4326;POINT(1 2),\"{{\"\"a\"\": 1}}\",\"(1,2)\"");
    assert_eq!(load_rows(&sink, &load, &[&row("1.0")]).await.expect("new").inserted, 1);
    assert_eq!(load_rows(&sink, &load, &[&row("1.0")]).await.expect("same").identical, 1);
    assert_eq!(load_rows(&sink, &load, &[&row("1.00")]).await.expect("differs").updated, 1);
    assert_eq!(load_rows(&sink, &load, &[&row("")]).await.expect("null").updated, 1);
    assert_eq!(load_rows(&sink, &load, &[&row("")]).await.expect("null again").identical, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_equal_and_written_in_another_way_is_taken_over() {
    let (db, sink) = warehouse("sink_key_image").await;
    db.tgt("alter table bronze.contract_incremental alter id type numeric").await;
    let mut load = LoadPlan { on_conflict: OnConflict::Update, ..contract_load(Mode::Incremental) };
    load.columns[0] = crate::migrations::column("id", "numeric", true);
    let row = |id: &str| format!("{id},a,2026-01-01 00:00:00+00");
    load_rows(&sink, &load, &[&row("1.0")]).await.expect("new");
    assert_eq!(load_rows(&sink, &load, &[&row("1.00")]).await.expect("written anew").updated, 1);
    assert_eq!(load_rows(&sink, &load, &[&row("1.00")]).await.expect("the same now").identical, 1);
    assert_eq!(count(&db, "select count(*) from bronze.contract_incremental where id::text = '1.00'").await, 1);
}

/// Which table bronze is, as the sink sees it and as the watermark row names it.
async fn bronze(sink: &dyn Sink, load: &LoadPlan) -> (BronzeState, Option<BronzeId>) {
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let named = lease.state().bronze.clone();
    lease.release().await.expect("release");
    (sink.bronze_id(&load.target).await.expect("asked").expect("it is there"), named)
}

/// Loads one row, and says whether bronze is whole afterwards.
async fn load_one(sink: &dyn Sink, load: &LoadPlan, row: &str, whole: bool) {
    let lease = sink.lease(&load.table, true).await.expect("lease");
    let run_id = loading(sink, load).await;
    let staged = sink.stage(StageRequest::new(load, csv(load, &[row]))).await.expect("staged");
    let commit = Commit { whole, ..Commit::of(run_id, Some(1), lease.state().clone()) };
    staged.commit(commit).await.expect("loaded");
    lease.release().await.expect("release");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bronze_table_that_was_made_again_is_another_one() {
    let (db, sink) = warehouse("sink_bronze").await;
    let load = contract_load(Mode::Incremental);
    let (first, named) = bronze(&sink, &load).await;
    assert!(first.empty && named.is_none(), "nothing was loaded yet");
    assert_eq!(sink.bronze_id(&TableRef::new("bronze", "nothing")).await.expect("asked"), None);
    load_one(&sink, &load, ROWS[0], false).await;
    let (now, named) = bronze(&sink, &load).await;
    assert_eq!((now.empty, &now.id, named.as_ref()), (false, &first.id, Some(&first.id)));
    let logged =
        "select count(*) from dwh_control.extract_runs r join dwh_control.extract_watermarks w on r.bronze = w.bronze";
    assert_eq!(count(&db, logged).await, 1);
    // Emptied: the same table with other rows. A load that does not move the watermark does not hide that.
    db.tgt("truncate bronze.contract_incremental").await;
    let (emptied, _) = bronze(&sink, &load).await;
    assert!(emptied.empty && emptied.id.oid == first.id.oid && emptied.id.file != first.id.file, "{emptied:?}");
    load_one(&sink, &load, ROWS[1], false).await;
    assert_eq!(bronze(&sink, &load).await.1.as_ref(), Some(&first.id), "rows are missing, and the row still says so");
    // Made again: another table.
    db.tgt("create table bronze.other (like bronze.contract_incremental including all); alter table bronze.other owner to dwh_owner; drop table bronze.contract_incremental; alter table bronze.other rename to contract_incremental").await;
    let (again, named) = bronze(&sink, &load).await;
    assert!(again.empty && again.id.oid != first.id.oid && named.as_ref() == Some(&first.id), "{again:?}");
    // The last CSV of a replay of everything.
    load_one(&sink, &load, ROWS[0], true).await;
    assert_eq!(bronze(&sink, &load).await.1, Some(again.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_a_bronze_table_belong_to_it() {
    let (db, sink) = warehouse("sink_bronze_parts").await;
    let load = contract_load(Mode::Incremental);
    db.tgt("drop table bronze.contract_incremental;
        create table bronze.contract_incremental (id bigint primary key, note text, recorded_at timestamptz not null) partition by range (id);
        create table bronze.low partition of bronze.contract_incremental for values from (0) to (2);
        create table bronze.high partition of bronze.contract_incremental for values from (2) to (9);
        alter table bronze.contract_incremental owner to dwh_owner; alter table bronze.low owner to dwh_owner; alter table bronze.high owner to dwh_owner").await;
    load_rows(&sink, &load, &ROWS).await.expect("loaded");
    let (loaded, named) = bronze(&sink, &load).await;
    assert_eq!(named.as_ref(), Some(&loaded.id), "the same, asked again");
    db.tgt("truncate bronze.high").await;
    assert_ne!(bronze(&sink, &load).await.0.id.file, loaded.id.file, "rows of a partition are its rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_names_the_table_as_it_leaves_it() {
    let (_db, sink) = warehouse("sink_bronze_snapshot").await;
    let load = contract_load(Mode::Snapshot);
    for _ in 0..2 {
        let before = bronze(&sink, &load).await.0.id;
        load_one(&sink, &load, ROWS[0], true).await;
        let (after, named) = bronze(&sink, &load).await;
        assert!(before.file != after.id.file && before.oid == after.id.oid, "a truncate gives it another file");
        assert_eq!(named, Some(after.id));
    }
}

#[tokio::test]
async fn a_table_in_memory_can_be_emptied_and_made_again() {
    let sink = MemorySink::new();
    let load = contract_load(Mode::Incremental);
    let add = || sink.add_table(&load.table, bronze_of(&load));
    add();
    load_one(&sink, &load, ROWS[0], false).await;
    let (first, named) = bronze(&sink, &load).await;
    assert_eq!((first.empty, named.as_ref()), (false, Some(&first.id)));
    sink.truncate(&load.target);
    let (emptied, _) = bronze(&sink, &load).await;
    assert!(emptied.empty && emptied.id.oid == first.id.oid && emptied.id.file != first.id.file);
    add();
    let (again, named) = bronze(&sink, &load).await;
    assert!(again.empty && again.id.oid != first.id.oid && named == Some(first.id));
}

/// Passes bytes on to `port`; once the client says `commit`, the answer is kept back and the connection cut.
async fn deaf_to_commits(port: u16) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its number").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("the server");
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (client.into_split(), server.into_split());
            let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut buffer = [0; 65536];
                let mut staged = false;
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    staged |= buffer[..length].windows(9).any(|bytes| bytes == b"dwh_stage");
                    let last = staged && buffer[..length].ends_with(b"commit\0");
                    if last {
                        back.abort();
                    }
                    to_server.write_all(&buffer[..length]).await.expect("passed on");
                    if last {
                        // Long enough for the server to commit, and nothing says when that is.
                        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                        break;
                    }
                }
            });
        }
    });
    at
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_the_commit_is_found_in_the_run_log() {
    let (db, _) = warehouse("sink_lost").await;
    let port = dwh_core::testing::Clusters::shared().target.port();
    let deaf = deaf_to_commits(port).await;
    let url = db.target_url_as("dwh_loader").replace(&format!(":{port}/"), &format!(":{deaf}/"));
    let sink = PgSink::new(&target(&url), &Environment::default()).expect("a sink");
    let load = contract_load(Mode::Incremental);
    assert_eq!(load_rows(&sink, &load, &ROWS).await.expect("it was committed").inserted, 2);
    assert_eq!(count(&db, "select count(*) from dwh_control.extract_runs where status = 'loaded'").await, 1);
    assert_eq!(count(&db, "select count(*) from bronze.contract_incremental").await, 2);
}
