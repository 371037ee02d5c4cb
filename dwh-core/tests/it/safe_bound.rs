//! The safe bound on a real server: each order that loses a row, done by hand and seen to lose it, and the source's own
//! order in the same place.

use dwh_core::config::TableConfig;
use dwh_core::schema::TableRef;
use dwh_core::source::{BoundRequest, ReadRequest, Sweep};
use dwh_core::testing::TestDb;
use dwh_core::watermark::{BoundRule, Micros, SafeBound, Undrained, Window};
use dwh_core::{PgSource, Plan, Source, Timestamp};
use std::time::Duration;
use tokio_postgres::Client;

use crate::source::{EVENTS, clock, events, pg};

/// A database with one row from before, and a source that reads it.
pub struct Lab {
    pub db: TestDb,
    pub source: PgSource,
    pub table: TableConfig,
    pub low: Timestamp,
}

pub struct Run {
    pub bound: SafeBound,
    pub ids: Vec<i64>,
}

impl Lab {
    async fn new(test: &str) -> Self {
        Self::of(test, |db| pg(db, "app_ro", |_| {})).await
    }

    /// With a role that may only read the table: it does not see what others do.
    pub async fn blind(test: &str, drain_timeout: Micros) -> Self {
        Self::of(test, |db| pg(db, &plain_role(db), |config| config.drain_timeout = drain_timeout)).await
    }

    pub async fn of(test: &str, source: impl FnOnce(&TestDb) -> PgSource) -> Self {
        let db = TestDb::new(test).await;
        let plain = plain_role(&db);
        db.src(EVENTS).await;
        db.src(&format!("create role {plain} login password 'it''s 50% @ /home'; grant select on events to {plain}"))
            .await;
        db.src("insert into events values (0, 'before')").await;
        let source = source(&db);
        let mut lab = Self { db, source, table: events(), low: Timestamp::NEG_INFINITY };
        let first = lab.run(None).await;
        assert_eq!(first.ids, [0]);
        lab.low = first.bound.watermark;
        lab
    }

    async fn plan(&self) -> Plan {
        Plan::new(&self.table, self.source.describe(&self.table).await.expect("described")).expect("plan")
    }

    pub async fn bound(&self, undrained: Option<&Undrained>) -> SafeBound {
        // A target far ahead, so that its clock never saves a wrong bound.
        let run_started_at = clock(self.db.source()).await.plus(Micros::seconds(3600));
        let plan = self.plan().await;
        let request = BoundRequest { plan: &plan, low: self.low, run_started_at, undrained };
        self.source.bound(request).await.expect("a bound")
    }

    /// Nobody holds the bound. A session that has answered but does not wait for its client yet holds it for a moment.
    pub async fn becomes_quiet(&self) {
        for _ in 0..50 {
            let rule = self.bound(None).await.rule;
            match rule {
                BoundRule::Quiet => return,
                BoundRule::Unpublished(_) => {}
                other => panic!("{other}"),
            }
        }
        panic!("never quiet");
    }

    pub async fn read(&self, bound: &SafeBound) -> Vec<i64> {
        let plan = self.plan().await;
        let window = Window { low: self.low, high: None, watermark: bound.watermark };
        let run_started_at = Timestamp::INFINITY;
        let request = ReadRequest { window: Some(window), ..ReadRequest::whole(&plan, run_started_at) };
        let mut reading = self.source.read(request).await.expect("a reading");
        let mut text = Vec::new();
        while let Some(piece) = reading.next().await.expect("a piece") {
            text.extend_from_slice(&piece);
        }
        reading.finish().await.expect("finished");
        let text = String::from_utf8(text).expect("UTF-8");
        let mut ids: Vec<i64> =
            text.lines().skip(1).map(|l| l.split(',').next().expect("id").parse().expect("id")).collect();
        ids.sort_unstable();
        ids
    }

    pub async fn run(&self, undrained: Option<&Undrained>) -> Run {
        let bound = self.bound(undrained).await;
        let ids = self.read(&bound).await;
        Run { bound, ids }
    }

    /// The next run, from where `run` left the watermark.
    pub async fn run_after(&mut self, run: &Run) -> Run {
        self.low = run.bound.watermark;
        let undrained = match &run.bound.rule {
            BoundRule::NotDrained(open) => Some(open.clone()),
            _ => None,
        };
        self.run(undrained.as_ref()).await
    }

    pub async fn writer(&self) -> Client {
        let writer = self.db.another_source().await;
        writer.batch_execute("begin; insert into events values (1, 'late')").await.expect("insert");
        writer
    }

    pub async fn stamp(&self, id: i64) -> Timestamp {
        let sql = "select (extract(epoch from recorded_at) * 1000000)::int8 from events where id = $1";
        Timestamp::from_micros(self.db.source().query_one(sql, &[&id]).await.expect("row").get(0))
    }
}

pub fn plain_role(db: &TestDb) -> String {
    format!("plain_{}", db.name())
}

pub async fn go(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

pub async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The oldest open transaction of other sessions, or the clock of the statement.
const OLDEST: &str = "select (extract(epoch from coalesce(min(xact_start), statement_timestamp())) * 1000000)::int8 \
     from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
     and backend_type = 'client backend'";

/// Whether the row is lost: not in the snapshot of `reader`, and not above the bound that was taken.
async fn is_lost(reader: &Client, lab: &Lab, bound: i64) -> bool {
    let seen = count(reader, "select count(*) from events where id = 1").await == 1;
    !seen && lab.stamp(1).await.micros() < bound
}

const SNAPSHOT: &str = "begin isolation level repeatable read read only; select count(*) from events";

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_before_activity_loses() {
    let mut lab = Lab::new("snapshot_first").await;
    // By hand, in one transaction: snapshot, the writer ends, activity.
    let (reader, writer) = (lab.db.another_source().await, lab.writer().await);
    go(&reader, SNAPSHOT).await;
    go(&writer, "commit").await;
    let bound = count(&reader, OLDEST).await;
    assert!(is_lost(&reader, &lab, bound).await, "the wrong order must lose here");
    go(&reader, "rollback").await;
    // The source: the writer ends between its looks and its snapshot.
    lab.db.src("delete from events where id = 1").await;
    let writer = lab.writer().await;
    let bound = lab.bound(None).await;
    go(&writer, "commit").await;
    assert!(bound.watermark < lab.stamp(1).await);
    let ids = lab.read(&bound).await;
    assert_eq!(ids, [1]);
    let after = lab.run_after(&Run { bound, ids }).await;
    assert_eq!(after.ids, [1], "above the bound, so read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_before_clock_loses() {
    let mut lab = Lab::new("clock_last").await;
    let reader = lab.db.another_source().await;
    assert_eq!(count(&reader, "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null").await, 0);
    let writer = lab.writer().await;
    let bound = clock(&reader).await.micros();
    go(&reader, SNAPSHOT).await;
    go(&writer, "commit").await;
    assert!(is_lost(&reader, &lab, bound).await, "the wrong order must lose here");
    go(&reader, "rollback").await;
    // The source: the writer begins between its looks and its snapshot.
    lab.db.src("delete from events where id = 1").await;
    let bound = lab.bound(None).await;
    let writer = lab.writer().await;
    let ids = lab.read(&bound).await;
    go(&writer, "commit").await;
    assert_eq!(ids, Vec::<i64>::new());
    assert_eq!(lab.run_after(&Run { bound, ids }).await.ids, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_before_activity_loses() {
    let mut lab = Lab::new("prepared_first").await;
    let (reader, writer) = (lab.db.another_source().await, lab.writer().await);
    assert_eq!(count(&reader, "select count(*) from pg_prepared_xacts where database = current_database()").await, 0);
    go(&writer, &format!("prepare transaction '{}'", lab.db.name())).await;
    let bound = count(&reader, OLDEST).await;
    go(&reader, SNAPSHOT).await;
    go(&writer, &format!("commit prepared '{}'", lab.db.name())).await;
    assert!(is_lost(&reader, &lab, bound).await, "the wrong order must lose here");
    go(&reader, "rollback").await;
    // The source, with the transaction prepared over two runs.
    lab.db.src("delete from events where id = 1").await;
    let writer = lab.writer().await;
    go(&writer, &format!("prepare transaction '{}'", lab.db.name())).await;
    lab.db.src("insert into events values (2, 'flows on')").await;
    let held = lab.run(None).await;
    assert_eq!((held.bound.watermark, &held.ids[..]), (lab.low, &[2][..]), "{}", held.bound.rule);
    assert!(held.bound.rule.to_string().contains(lab.db.name()), "names the gid: {}", held.bound.rule);
    assert_eq!(lab.run_after(&held).await.ids, [2]);
    go(&writer, &format!("commit prepared '{}'", lab.db.name())).await;
    let after = lab.run_after(&held).await;
    assert_eq!(after.ids, [1, 2]);
    assert_eq!(lab.run_after(&after).await.ids, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_elsewhere_holds_nothing() {
    let lab = Lab::new("prepared_elsewhere").await;
    lab.db.src("create table other (id int); create table part () inherits (events)").await;
    let writer = lab.db.another_source().await;
    go(&writer, &format!("begin; insert into other values (1); prepare transaction '{}'", lab.db.name())).await;
    lab.becomes_quiet().await;
    go(&writer, &format!("rollback prepared '{}'", lab.db.name())).await;
    go(&writer, &format!("begin; insert into part values (9); prepare transaction '{}'", lab.db.name())).await;
    let bound = lab.bound(None).await;
    assert!(matches!(bound.rule, BoundRule::PreparedTransaction(_)), "a child's row is the table's: {}", bound.rule);
    go(&writer, &format!("rollback prepared '{}'", lab.db.name())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_inside_one_transaction_sees_a_frozen_picture() {
    let lab = Lab::new("frozen").await;
    let reader = lab.db.another_source().await;
    let open = "select count(*) from pg_stat_activity where datname = current_database() \
                and pid <> pg_backend_pid() and xact_start is not null";
    go(&reader, "begin").await;
    assert_eq!(count(&reader, open).await, 0);
    let writer = lab.writer().await;
    assert_eq!(count(&reader, open).await, 0, "frozen: the writer is not seen");
    go(&reader, "rollback").await;
    assert_eq!(count(&reader, open).await, 1);
    // The source looks from one connection again and again, and sees it come and go.
    let bound = lab.bound(None).await;
    assert!(matches!(bound.rule, BoundRule::OpenTransaction(_)), "{}", bound.rule);
    go(&writer, "commit").await;
    lab.becomes_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_between_snapshot_and_lock_loses() {
    let lab = Lab::new("rewrite").await;
    lab.db.src("insert into events select n, '' from generate_series(1, 999) n").await;
    let rewrite = "begin; alter table events alter note type text using note || '.'";
    let (reader, ddl) = (lab.db.another_source().await, lab.db.another_source().await);
    // By hand: the snapshot is there before the lock; the rewrite commits in between.
    go(&ddl, rewrite).await;
    go(&reader, "begin isolation level repeatable read; select 1").await;
    let waits = tokio::spawn(async move { count(&reader, "select count(*) from events").await });
    wait_for_lock(&lab).await;
    go(&ddl, "commit").await;
    assert_eq!(waits.await.expect("count"), 0, "the wrong order must lose here");
    // The source waits for the lock first, through a relation and through a query.
    for query in [None, Some("select * from public.events".to_owned())] {
        let mut table = lab.table.clone();
        table.relation = query.is_none().then(|| TableRef::new("public", "events"));
        table.query = query;
        let plan = Plan::new(&table, lab.source.describe(&table).await.expect("described")).expect("plan");
        go(&ddl, rewrite).await;
        let (read, ()) = tokio::join!(
            async {
                let sweep = Sweep::Off;
                let request = ReadRequest { sweep, ..ReadRequest::whole(&plan, Timestamp::SEED) };
                let mut reading = lab.source.read(request).await.expect("a reading");
                let mut lines = 0;
                while let Some(piece) = reading.next().await.expect("a piece") {
                    lines += piece.iter().filter(|byte| **byte == b'\n').count();
                }
                reading.finish().await.expect("finished");
                lines
            },
            async {
                wait_for_lock(&lab).await;
                go(&ddl, "commit").await;
            }
        );
        assert_eq!(read, 1001, "1,000 rows and a header");
    }
}

pub async fn wait_for_lock(lab: &Lab) {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    while count(lab.db.source(), sql).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_writer_is_held_for_and_delivered() {
    let mut lab = Lab::new("writers").await;
    for (id, before, after) in [
        (10, "begin; savepoint a; insert into events values (10); release a", "commit"),
        (11, "begin; select 1", "insert into events values (11); commit"),
        (
            12,
            "begin; insert into events values (1012); commit and chain; select 1",
            "insert into events values (12); commit",
        ),
        (
            13,
            "begin isolation level serializable; select 1",
            "savepoint s; insert into events values (13); rollback to s; insert into events values (13); commit",
        ),
    ] {
        let writer = lab.db.another_source().await;
        go(&writer, before).await;
        let held = lab.run(None).await;
        assert!(!held.ids.contains(&id));
        assert!(matches!(held.bound.rule, BoundRule::OpenTransaction(_)), "{before}: {}", held.bound.rule);
        go(&writer, after).await;
        assert!(held.bound.watermark < lab.stamp(id).await, "{before}");
        let next = lab.run_after(&held).await;
        assert!(next.ids.contains(&id), "{before}: {:?}", next.ids);
        lab.low = next.bound.watermark;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_transaction_of_one_message_is_held_for() {
    let mut lab = Lab::new("multi_statement").await;
    let (gate, writer) = (lab.db.another_source().await, lab.db.another_source().await);
    go(&gate, "select pg_advisory_lock(7)").await;
    let message = "begin; insert into events values (20); commit; select pg_advisory_lock(7); \
                   begin; insert into events values (21); commit";
    let sent = tokio::spawn(async move { go(&writer, message).await });
    wait_for_lock(&lab).await;
    let held = lab.run(None).await;
    assert_eq!(held.ids, [20], "{}", held.bound.rule);
    let arrived = lab.stamp(20).await;
    assert!(held.bound.watermark < arrived);
    go(&gate, "select pg_advisory_unlock(7)").await;
    sent.await.expect("sent");
    assert_eq!(lab.stamp(21).await, arrived, "stamped with the arrival of the message");
    assert_eq!(lab.run_after(&held).await.ids, [20, 21]);
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_readers_hold_nothing_unless_they_can_write() {
    let lab = Lab::new("own_readers").await;
    let plan = lab.plan().await;
    let request = ReadRequest::whole(&plan, Timestamp::SEED);
    let reading = lab.source.read(request.clone()).await.expect("a reading");
    lab.becomes_quiet().await;
    drop(reading);
    let writing = pg(&lab.db, "postgres", |_| {});
    let reading = writing.read(request).await.expect("a reading");
    let now = clock(lab.db.source()).await;
    let request = BoundRequest { plan: &plan, low: lab.low, run_started_at: now, undrained: None };
    let bound = writing.bound(request).await.expect("a bound");
    assert!(matches!(bound.rule, BoundRule::OpenTransaction(_)), "{}", bound.rule);
    drop(reading);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_lag_proves_nothing_and_says_so() {
    let mut lab = Lab::new("fixed_lag").await;
    lab.low = Timestamp::SEED;
    lab.table.fixed_lag = Some(Micros::seconds(60));
    let _writer = lab.writer().await;
    let bound = lab.bound(None).await;
    assert_eq!(bound.source_clock.since(bound.watermark), Micros::seconds(60));
    assert!(!bound.rule.is_proven());
}
