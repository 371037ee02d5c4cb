//! Rows that appear without being written by a transaction of this database that could be seen: by DDL, by a refresh, from
//! another server, from a function. Each run here goes on from what the one before left, as the pipeline does.

use dwh_core::TableConfig;
use dwh_core::identity::Member;
use dwh_core::schema::TableRef;
use dwh_core::source::{BoundRequest, ReadRequest, Sweep};
use dwh_core::testing::{TestDb, events_table};
use dwh_core::watermark::{BoundRule, Micros, SafeBound, Window};
use dwh_core::{ErrorKind, PgSource, Source, Timestamp};

use crate::source::{events, pg, plan_of};

/// What a loaded run leaves behind.
struct Follower {
    db: TestDb,
    source: PgSource,
    table: TableConfig,
    low: Timestamp,
    since: Option<u64>,
    known: Option<Vec<Member>>,
}

struct Run {
    bound: SafeBound,
    ids: Vec<i64>,
    late: u64,
    sweep: Sweep,
}

impl Follower {
    async fn new(test: &str, sql: &str, table: TableConfig) -> Self {
        let db = TestDb::new(test).await;
        db.src(sql).await;
        let source = pg(&db, "app_ro", |_| {});
        Self { db, source, table, low: Timestamp::NEG_INFINITY, since: None, known: None }
    }

    async fn run(&mut self) -> Run {
        let plan = plan_of(&self.source, &self.table).await;
        let request = BoundRequest { plan: &plan, low: self.low, run_started_at: Timestamp::INFINITY, undrained: None };
        let bound = self.source.bound(request).await.expect("a bound");
        let day = Micros::seconds(86_400);
        let sweep = match self.since {
            Some(since) if plan.source.kind.has_xmin() => Sweep::Xmin { since, back_to: self.low.minus(day) },
            _ => Sweep::LookBack { back_to: self.low },
        };
        let request = ReadRequest {
            window: Some(Window { low: self.low, high: None, watermark: bound.watermark }),
            sweep,
            known: self.known.as_deref(),
            bound: Some(&bound),
            ..ReadRequest::whole(&plan, Timestamp::INFINITY)
        };
        let mut reading = self.source.read(request).await.expect("a reading");
        let sweep = reading.sweep().expect("a sweep");
        let snapshot = reading.snapshot().clone();
        let mut text = Vec::new();
        while let Some(piece) = reading.next().await.expect("a piece") {
            text.extend_from_slice(&piece);
        }
        let late = reading.late_rows().await.expect("counted");
        reading.finish().await.expect("finished");
        let text = String::from_utf8(text).expect("UTF-8");
        let id = |line: &str| line.split(',').next().expect("id").parse().expect("a number");
        let mut ids: Vec<i64> = text.lines().skip(1).map(id).collect();
        ids.sort_unstable();
        (self.low, self.since, self.known) = (bound.watermark, Some(snapshot.xmin), snapshot.relations);
        Run { bound, ids, late, sweep }
    }

    /// A run that must find exactly these, all of them below the watermark.
    async fn finds(&mut self, sql: &str, ids: &[i64]) {
        self.db.src(sql).await;
        let run = self.run().await;
        assert_eq!(run.ids, ids, "{sql}");
        assert_eq!(run.late, ids.len() as u64, "{sql}: they count as late");
    }
}

const PARTITIONED: &str = "create table events (id bigint, note text, recorded_at timestamptz not null default now())
        partition by range (recorded_at);
    create table e26 partition of events for values from ('2026-01-01') to ('2200-01-01');
    create table e24 (like events); create table e25 (like events);
    insert into events values (1, '', '2026-01-05Z');
    insert into e24 values (24, '', '2024-03-01Z'), (240, '', '2024-04-01Z'); insert into e25 values (25, '', '2025-03-01Z');";

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_partition_that_is_attached_is_delivered() {
    let mut table = Follower::new("attached", PARTITIONED, events()).await;
    assert_eq!(table.run().await.ids, [1]);
    assert_eq!(table.run().await.ids, Vec::<i64>::new(), "nothing new, nothing read");
    table
        .finds("alter table events attach partition e24 for values from ('2024-01-01') to ('2025-01-01')", &[24, 240])
        .await;
    assert_eq!(table.run().await.ids, Vec::<i64>::new(), "once only");
    // Taken out, filled anew, put back: the same table with another file.
    table
        .finds(
            "alter table events detach partition e24; truncate e24; insert into e24 values (241, '', '2024-05-01Z');
             alter table events attach partition e24 for values from ('2024-01-01') to ('2025-01-01')",
            &[241],
        )
        .await;
    // Exchange of a partition: the old one goes, another takes its place.
    table
        .finds(
            "begin; alter table events detach partition e24; alter table events attach partition e25
               for values from ('2024-01-01') to ('2026-01-01'); commit",
            &[25],
        )
        .await;
    // A partition that has nothing below the watermark costs no reading of history.
    table.db.src("create table e30 partition of events for values from ('2200-01-01') to ('2300-01-01')").await;
    let run = table.run().await;
    assert!(run.ids.is_empty() && matches!(run.sweep, Sweep::Xmin { .. }));
    assert!(table.known.as_ref().is_some_and(|known| known.iter().any(|member| member.name == "public.e30")));
    // The file was rewritten: rows may have been put into it in any way.
    table.finds("vacuum full e25", &[25]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_child_and_a_renamed_table_are_delivered() {
    let sql = "create table events (id bigint, note text, recorded_at timestamptz not null default now());
        create table child (like events); create table other (like events including all);
        insert into events values (1, '', '2026-01-05Z');
        insert into child values (2, '', '2020-01-01Z'); insert into other values (3, '', '2020-02-01Z');";
    let mut table = Follower::new("inherited", sql, events()).await;
    assert_eq!(table.run().await.ids, [1]);
    table.finds("alter table child inherit events", &[2]).await;
    table.finds("begin; truncate only events; insert into events values (4, '', '2020-03-01Z'); commit", &[4]).await;
    table.finds("begin; alter table events rename to gone; alter table other rename to events; commit", &[3]).await;
    assert_eq!(table.run().await.ids, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_view_or_a_query_shows_is_followed_to_its_tables() {
    let view = format!("{PARTITIONED} create view shown as select * from (select * from events where id > 0) e");
    let mut query = events();
    (query.relation, query.query) = (None, Some("select * from public.shown -- all".to_owned()));
    for (test, config) in [("view_grows", events_table(TableRef::new("public", "shown"))), ("query_grows", query)] {
        let mut table = Follower::new(test, &view, config).await;
        assert_eq!(table.run().await.ids, [1]);
        let quiet = table.run().await;
        assert!(quiet.ids.is_empty() && quiet.bound.rule.is_proven(), "{}", quiet.bound.rule);
        // Which rows came with it cannot be told: all are read.
        table
            .finds(
                "alter table events attach partition e24 for values from ('2024-01-01') to ('2025-01-01')",
                &[1, 24, 240],
            )
            .await;
        assert_eq!(table.run().await.ids, Vec::<i64>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refreshed_materialized_view_is_read_whole() {
    let sql = "create table base (id bigint, recorded_at timestamptz); insert into base values (1, '2026-01-05Z');
        create materialized view events as select id, ''::text as note, recorded_at from base;
        create unique index on events (id); grant select on events to app_ro;";
    let mut table = Follower::new("refreshed", sql, events()).await;
    assert_eq!(table.run().await.ids, [1]);
    // Rows of a refresh are frozen, and older than any window.
    table.finds("insert into base values (2, '2020-01-05Z'); refresh materialized view events", &[1, 2]).await;
    assert_eq!(table.run().await.ids, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stamped_minus_infinity_are_never_out_of_reach() {
    let sql = "create table events (id bigint primary key, note text, recorded_at timestamptz not null default now());
        create index on events (recorded_at); insert into events values (1, '', '2026-01-05Z');";
    let mut table = Follower::new("ancient", sql, events()).await;
    assert_eq!(table.run().await.ids, [1]);
    table.finds("insert into events values (2, '', '-infinity')", &[2]).await;
    let view = format!("{sql} create view shown as select * from events");
    let mut table = Follower::new("ancient_view", &view, events_table(TableRef::new("public", "shown"))).await;
    assert_eq!(table.run().await.ids, [1]);
    table.finds("insert into events values (2, '', '-infinity')", &[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_database_does_not_write_is_not_called_proven() {
    let sql = format!(
        "{PARTITIONED}
         create extension file_fdw; create server files foreign data wrapper file_fdw;
         create foreign table far (id bigint, note text, recorded_at timestamptz) server files
           options (filename '/dev/null', format 'csv');
         create view shown as select * from far union all select * from events;
         create function app_rows() returns setof events language plpgsql stable
           as $$ begin return query select * from events; end $$;
         create function plain(n bigint) returns setof bigint language sql immutable as $$ select generate_series(1, n) $$;
         create materialized view kept as select * from events; create view of_kept as select * from kept;
         create view computed as select p as id, ''::text as note, recorded_at from events, plain(id) p;"
    );
    let named = |name: &str| events_table(TableRef::new("public", name));
    let query = |sql: &str| {
        let mut table = events();
        (table.relation, table.query) = (None, Some(sql.to_owned()));
        table
    };
    let mut follower = Follower::new("unseen", &sql, named("far")).await;
    // It may read files by name through this alone.
    follower.source = pg(&follower.db, "postgres", |_| {});
    for (table, reason) in [
        (named("far"), Some("rows of `public.far` are written on another server")),
        (named("shown"), Some("rows of `public.far` are written on another server")),
        (query("select * from public.events join public.far using (id, note, recorded_at)"), Some("`public.far`")),
        (query("select * from public.app_rows()"), Some("`public.app_rows` does not show which tables")),
        (query("select (public.app_rows()).*"), Some("`public.app_rows` does not show which tables")),
        (named("of_kept"), Some("rows of `public.kept` appear when it is refreshed")),
        (query("select k.* from public.kept k join public.events using (id)"), Some("`public.kept`")),
        (named("kept"), None),
        (named("events"), None),
        (named("computed"), None),
        (query("select n as id, now() as recorded_at from generate_series(1, 3) n"), None),
    ] {
        let what = format!("{:?} {:?}", table.relation, table.query);
        let plan = plan_of(&follower.source, &table).await;
        let low = Timestamp::NEG_INFINITY;
        let request = BoundRequest { plan: &plan, low, run_started_at: Timestamp::INFINITY, undrained: None };
        let rule = follower.source.bound(request).await.expect("a bound").rule;
        assert_eq!(rule.is_proven(), reason.is_none(), "{what}: {rule}");
        assert!(rule.to_string().contains(reason.unwrap_or_default()), "{what}: {rule}");
    }
    // One foreign partition is enough.
    follower
        .db
        .src(
            "create foreign table e23 partition of events for values from ('2023-01-01') to ('2024-01-01')
              server files options (filename '/dev/null', format 'csv')",
        )
        .await;
    follower.table = events();
    let run = follower.run().await;
    let BoundRule::Unproven { reason, here } = &run.bound.rule else { panic!("{}", run.bound.rule) };
    assert!(reason.contains("`public.e23`") && here.is_proven(), "{reason}");
    assert_eq!(run.ids, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_server_is_refused() {
    let sql = "create table events (id bigint, note text, recorded_at timestamptz not null default now())";
    let follower = Follower::new("two_servers", sql, events()).await;
    let plan = plan_of(&follower.source, &follower.table).await;
    let low = Timestamp::NEG_INFINITY;
    let request = BoundRequest { plan: &plan, low, run_started_at: Timestamp::INFINITY, undrained: None };
    let bound = follower.source.bound(request).await.expect("a bound");
    let server = bound.server.clone().expect("a server");
    let window = Some(Window { low, high: None, watermark: bound.watermark });
    let read = async |server| {
        let bound = SafeBound { server: Some(server), ..bound.clone() };
        let (sweep, run_started_at) = (Sweep::Off, Timestamp::INFINITY);
        let request = ReadRequest { window, sweep, bound: Some(&bound), ..ReadRequest::whole(&plan, run_started_at) };
        follower.source.read(request).await.map(drop)
    };
    read(server.clone()).await.expect("the same server");
    let mut other = server.clone();
    other.started_at = other.started_at.plus(Micros::seconds(1));
    let error = read(other).await.expect_err("started again, or a copy");
    assert_eq!(error.kind(), ErrorKind::Contract);
    assert!(error.to_string().contains("table `events`") && error.to_string().contains("start time"), "{error}");
    assert!(error.hint().contains("load balancer"), "{}", error.hint());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_default_of_role_or_database_reaches_a_read() {
    let sql = "create table events (id bigint primary key, note text, recorded_at timestamptz not null default now(),
          span interval, x float8, price money, raw bytea, doc xml, list text[], \"Mixed\" text);
        insert into events values (1, 'ä', '2026-02-03 04:05:06.000007Z', '1 year -2 days 3.000001 s', 0.1 + 0.2::float8, 1234.5,
          '\\xdeadbeef', '<a/>', array['NULL', null], 'x');
        create view shown as select e.*, xmlelement(name b, raw) as element from events e, (select pg_sleep(0.3)) longer;";
    let table = events_table(TableRef::new("public", "shown"));
    let mut plain = Follower::new("defaults_plain", sql, table.clone()).await;
    let mut worst = Follower::new("defaults_worst", sql, table).await;
    let role = format!("worst_{}", worst.db.name());
    let worst_of_all = [
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
        ("statement_timeout", "200"),
        ("idle_in_transaction_session_timeout", "1"),
        ("lock_timeout", "1"),
        ("datestyle", "'SQL, DMY'"),
        ("intervalstyle", "sql_standard"),
        ("timezone", "'Asia/Kathmandu'"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-15"),
        ("lc_monetary", "'C.UTF-8'"),
        ("xmloption", "document"),
        ("xmlbinary", "hex"),
        ("array_nulls", "off"),
        ("quote_all_identifiers", "on"),
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "off"),
        ("transform_null_equals", "on"),
        ("client_min_messages", "debug5"),
        ("search_path", "pg_temp, public"),
    ];
    worst
        .db
        .src(&format!("create role {role} login password 'it''s 50% @ /home'; grant select on shown to {role}"))
        .await;
    worst.db.src(&format!("grant pg_read_all_stats to {role}")).await;
    for (name, value) in worst_of_all {
        worst.db.src(&format!("alter role {role} set {name} = {value}")).await;
    }
    worst.source = pg(&worst.db, &role, |_| {});
    let read = async |follower: &mut Follower| {
        let plan = plan_of(&follower.source, &follower.table).await;
        follower.run().await;
        let request = ReadRequest::whole(&plan, Timestamp::INFINITY);
        let mut reading = follower.source.read(request).await.expect("a reading");
        let piece = reading.next().await.expect("a piece").expect("rows");
        assert!(reading.next().await.expect("the end").is_none());
        reading.finish().await.expect("finished");
        String::from_utf8(piece.to_vec()).expect("UTF-8")
    };
    let (good, bad) = (read(&mut plain).await, read(&mut worst).await);
    assert_eq!(good, bad);
    assert!(
        good.contains("0.30000000000000004") && good.contains(r"\xdeadbeef") && good.contains("1 year -2 days"),
        "{good}"
    );
}
