//! Servers that go silent, and servers that only look so: a wait for one has an end, and work is left alone.

use bytes::Bytes;
use dwh_core::config::{Environment, Mode};
use dwh_core::sink::{Commit, RunFilter, Sink, StageRequest, TableState};
use dwh_core::source::ReadRequest;
use dwh_core::testing::internals::{Connector, migrate, sort};
use dwh_core::testing::sink_contract::{body, contract_load, csv, load_rows, loading};
use dwh_core::testing::{Clusters, Proxy, Server, TestDb, Way, When, Whom};
use dwh_core::watermark::Micros;
use dwh_core::{Error, ErrorKind, PgSink, PgSource, Plan, RunState, Secret, Source};
use futures_util::{StreamExt, stream};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

use crate::migrations::{plan, target};
use crate::source::{events, pg};

/// What the servers here are allowed.
const IDLE: Micros = Micros::seconds(2);

fn connector(url: &str) -> Connector {
    Connector::patient("source `fleet`", &Secret::new(url), &Environment::default(), IDLE).expect("settings")
}

/// A database at the source behind a proxy, and a session there.
async fn behind(test: &str) -> (TestDb, Proxy, Connector, Client) {
    let db = TestDb::new(test).await;
    let port = Clusters::shared().source.port();
    let proxy = Proxy::before(port);
    let connector = connector(&proxy.on_the_way_to(port, &db.source_url_as("app_ro")));
    let client = connector.connect().await.expect("connects");
    (db, proxy, connector, client)
}

/// Within double the idle timeout, all told; a busy machine is given as much again.
fn assert_silent(error: &Error, began: Instant, words: &str) {
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("sent nothing for ") && text.contains(words), "{error:?}");
    assert!(error.hint().contains("idle_timeout"), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}

/// Waits at the server, as a clock that is not the test's own.
async fn pass(db: &TestDb, seconds: f64) {
    db.src(&format!("select pg_sleep({seconds})")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_given_up_and_not_asked_by_everyone() {
    let (_db, proxy, connector, client) = behind("silent_statement").await;
    let second = connector.connect().await.expect("connects");
    proxy.silence_when(Way::Up, When::After("select 'asked'"), Whom::Everyone);
    let began = Instant::now();
    let error = sort(client.simple_query("select 'asked'").await.expect_err("no answer"));
    assert_silent(&error, began, "answers nobody else");
    assert!(error.to_string().starts_with("source `fleet`: 127.0.0.1:"), "{error}");
    let began = Instant::now();
    let error = connector.connect().await.expect_err("it is known to be silent");
    assert!(error.to_string().contains("sent nothing for "), "{error}");
    let error = sort(second.simple_query("select 1").await.expect_err("so is this one"));
    assert!(error.to_string().contains("sent nothing for"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
    proxy.resume();
    while connector.connect().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_got_lost_ends_the_session_at_the_server_too() {
    let (db, proxy, connector, client) = behind("silent_one").await;
    client.simple_query("begin; select pg_advisory_xact_lock(1)").await.expect("locked");
    proxy.silence_when(Way::Up, When::After("select 'asked'"), Whom::ThisOne);
    let began = Instant::now();
    let error = sort(client.simple_query("select 'asked'").await.expect_err("no answer"));
    assert_silent(&error, began, "waits for our next word: the connection was cut");
    let other = connector.connect().await.expect("others pass");
    // Its lock is free without anybody closing that connection at the server's end.
    let free = other.query_one("select pg_try_advisory_lock(1)", &[]).await.expect("asked").get::<_, bool>(0);
    assert!(free, "the lock of the cut session is held");
    drop(db);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_got_lost_is_as_bad() {
    let (_db, proxy, _, client) = behind("silent_up").await;
    proxy.silence_when(Way::Up, When::Before("select 'asked'"), Whom::ThisOne);
    let began = Instant::now();
    let error = sort(client.query("select 'asked'", &[]).await.expect_err("it never came"));
    assert_silent(&error, began, "waits for our next word");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_never_answered_has_an_end() {
    let (db, proxy, _, _client) = behind("silent_login").await;
    proxy.silence();
    let url = proxy.on_the_way_to(Clusters::shared().source.port(), &db.source_url_as("app_ro"));
    for url in [url.clone(), format!("{url}?connect_timeout=0")] {
        let began = Instant::now();
        let error = connector(&url).connect().await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("does not answer within 2 s"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_a_lock_and_a_rest_are_no_silence() {
    let (db, _proxy, connector, client) = behind("silent_not").await;
    let resting = connector.connect().await.expect("connects");
    let in_transaction = connector.connect().await.expect("connects");
    in_transaction.batch_execute("begin; select 1").await.expect("begun");
    let waiting = connector.connect().await.expect("connects");
    let holder = db.another_source().await;
    holder.batch_execute("select pg_advisory_lock(7)").await.expect("locked");
    let works = client.batch_execute("select pg_sleep(7)");
    let waits = waiting.batch_execute("select pg_advisory_lock(7)");
    let frees = async {
        pass(&db, 6.0).await;
        holder.batch_execute("select pg_advisory_unlock(7)").await.expect("freed");
    };
    let (works, waits, ()) = tokio::join!(works, waits, frees);
    works.expect("a long statement goes on");
    waits.expect("so does one that waits for a lock");
    resting.batch_execute("select 1").await.expect("a connection may rest");
    in_transaction.batch_execute("select 1; commit").await.expect("so may a transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_silent_over_tcp_and_over_its_socket() {
    let server = Server::start("stopped");
    let tcp = server.url("postgres", "postgres");
    let socket = format!(
        "host={} port={} user=postgres dbname=postgres password='{}'",
        server.folder().display(),
        server.port(),
        Server::PASSWORD.replace('\'', "\\'")
    );
    for url in [tcp, socket] {
        let connector = connector(&url);
        let client = connector.connect().await.expect("connects");
        client.batch_execute("select pg_sleep(5)").await.expect("work is no silence here either");
        connector.cancel(&client.cancel_token()).await.expect("told");
        let paused = server.pause();
        let began = Instant::now();
        let error = sort(client.batch_execute("select 1").await.expect_err("nobody is there"));
        assert_silent(&error, began, "answers nobody else");
        drop(paused);
        while let Err(error) = connector.connect().await {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// A table of 40 MB behind a proxy, and what reads it.
async fn large(test: &str) -> (TestDb, Proxy, PgSource, Plan) {
    let db = TestDb::new(test).await;
    db.src(crate::source::EVENTS).await;
    db.src("insert into events select n, repeat('x', 4000) from generate_series(1, 10000) n").await;
    let port = Clusters::shared().source.port();
    let proxy = Proxy::before(port);
    let source = pg(&db, "app_ro", |config| {
        config.url = Secret::new(proxy.on_the_way_to(port, config.url.expose()));
        config.idle_timeout = IDLE;
    });
    let table = dwh_core::TableConfig { mode: Mode::Snapshot, watermark: None, ..events() };
    let plan = Plan::new(&table, source.describe(&table).await.expect("described")).expect("a plan");
    (db, proxy, source, plan)
}

fn request(plan: &Plan) -> ReadRequest<'_> {
    let run_started_at = "2026-10-01T12:00:00Z".parse().expect("a moment");
    ReadRequest::whole(plan, run_started_at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_stops_in_the_middle_of_a_row_is_given_up() {
    for (whom, words) in [(Whom::Everyone, "answers nobody else"), (Whom::ThisOne, "the connection was cut")] {
        let (_db, proxy, source, plan) = large("silent_copy").await;
        proxy.silence_when(Way::Down, When::Bytes(1_000_000), whom);
        let mut reading = source.read(request(&plan)).await.expect("it begins");
        let began = Instant::now();
        let error = loop {
            match reading.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a part counts as the whole"),
                Err(error) => break error,
            }
        };
        assert_silent(&error, began, words);
        assert!(error.to_string().starts_with("source `app`: 127.0.0.1:"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_rows_nobody_takes_for_a_while_goes_on() {
    let (db, _proxy, source, plan) = large("silent_reader").await;
    let mut reading = source.read(request(&plan)).await.expect("it begins");
    let mut bytes = reading.next().await.expect("rows").expect("some").len();
    pass(&db, 7.0).await;
    while let Some(piece) = reading.next().await.expect("the wait was ours") {
        bytes += piece.len();
    }
    assert!(bytes > 40_000_000, "{bytes}");
    reading.finish().await.expect("whole");
}

/// A migrated warehouse behind a proxy.
async fn warehouse(test: &str) -> (TestDb, Proxy, PgSink) {
    let db = TestDb::new(test).await;
    let port = Clusters::shared().target.port();
    let mut config = target(&db.target_url_as("dwh_loader"));
    let plans = [plan("contract_incremental", Mode::Incremental, &[])];
    migrate(&config, &Environment::default(), &plans).await.expect("migrated");
    let proxy = Proxy::before(port);
    config.url = Secret::new(proxy.on_the_way_to(port, config.url.expose()));
    config.idle_timeout = IDLE;
    let sink = PgSink::new(&config, &Environment::default()).expect("a sink");
    (db, proxy, sink)
}

const ROWS: [&str; 2] = ["1,a,2026-01-01 00:00:00+00", "2,b,2026-01-01 00:00:00+00"];

async fn rows(db: &TestDb) -> i64 {
    db.target().query_one("select count(*) from bronze.contract_incremental", &[]).await.expect("count").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_takes_no_more_rows_is_given_up() {
    for (whom, words) in [(Whom::Everyone, "answers nobody else"), (Whom::ThisOne, "the connection was cut")] {
        let (db, proxy, sink) = warehouse("silent_stage").await;
        let load = contract_load(Mode::Incremental);
        proxy.silence_when(Way::Up, When::Bytes(1_000_000), whom);
        let row = format!("{},2026-01-01 00:00:00+00\n", "y".repeat(10_000));
        let header = Bytes::from(format!("{}\n", load.header()));
        let body = body(move || {
            let (header, row) = (header.clone(), row.clone());
            let many = stream::iter((0..5_000).map(move |n| Ok(Bytes::from(format!("{n},{row}")))));
            stream::once(async move { Ok(header) }).chain(many).boxed()
        });
        let began = Instant::now();
        let error = sink.stage(StageRequest::new(&load, body)).await.err().expect("50 MB do not pass");
        assert_silent(&error, began, words);
        assert!(error.to_string().contains("target: 127.0.0.1:"), "{error}");
        proxy.resume();
        assert_eq!(rows(&db).await, 0);
    }
}

/// The watermark row as it is.
async fn state(sink: &PgSink, table: &str) -> TableState {
    sink.overview().await.expect("overview").tables.remove(table).expect("a row").state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_proved_or_given_up() {
    for (when, whom, stored) in [
        (When::After("commit"), Whom::ThisOne, Some(true)),
        (When::Before("commit"), Whom::ThisOne, Some(false)),
        (When::Before("commit"), Whom::Everyone, None),
    ] {
        let (db, proxy, sink) = warehouse("silent_commit").await;
        let load = contract_load(Mode::Incremental);
        let run_id = loading(&sink, &load).await;
        let staged = sink.stage(StageRequest::new(&load, csv(&load, &ROWS))).await.expect("staged");
        let commit = Commit::of(run_id, Some(2), state(&sink, &load.table).await);
        proxy.silence_when(Way::Up, when, whom);
        let began = Instant::now();
        let done = staged.commit(commit).await;
        assert!(proxy.has_been_silent());
        let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        match stored {
            Some(true) => assert_eq!(done.expect("it was committed, and the log says so").counts.inserted, 2),
            Some(false) => assert_silent(&done.expect_err("it never came"), began, "the connection was cut"),
            None => {
                assert_silent(&done.expect_err("nobody knows"), began, "answers nobody else");
                proxy.resume();
                while sink.runs(&filter).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        }
        // What is left can be gone on with at once: no session of ours holds the run or the table.
        let state = sink.runs(&filter).await.expect("log").remove(0).status;
        if stored == Some(false) {
            assert_eq!((state, rows(&db).await), (RunState::Loading, 0));
            load_rows(&sink, &load, &ROWS).await.expect("it is loaded now");
        }
        sink.lease(&load.table, true).await.expect("free").release().await.expect("given back");
        db.tgt("begin; set local lock_timeout = '1s'; lock table bronze.contract_incremental in access exclusive mode; commit").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_rows_come_slowly_and_a_lease_that_is_held_are_left_alone() {
    let (db, _proxy, sink) = warehouse("silent_rows").await;
    let load = contract_load(Mode::Incremental);
    let lease = sink.lease(&load.table, false).await.expect("lease");
    let run_id = loading(&sink, &load).await;
    let wait = std::sync::Arc::new(db.another_source().await);
    let header = Bytes::from(format!("{}\n", load.header()));
    let body = body(move || {
        let (wait, header) = (wait.clone(), header.clone());
        let late = stream::once(async move {
            wait.batch_execute("select pg_sleep(7)").await.expect("a while");
            Ok(Bytes::from("1,a,2026-01-01 00:00:00+00\n"))
        });
        stream::once(async move { Ok(header) }).chain(late).boxed()
    });
    let staged = sink.stage(StageRequest::new(&load, body)).await.expect("the wait was the source's");
    staged.commit(Commit::of(run_id, Some(1), lease.state().clone())).await.expect("committed");
    lease.release().await.expect("it was never idle in the server's eyes");
    assert_eq!(rows(&db).await, 1);
}
