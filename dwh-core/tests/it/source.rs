//! The source: the contract, and what only PostgreSQL has.

use async_trait::async_trait;
use dwh_core::config::{Environment, IDLE_TIMEOUT, ManifestTable, SourceConfig, TableConfig};
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema};
use dwh_core::source::{MemoryTransaction, ReadRequest, Sweep};
use dwh_core::testing::{OpenRow, SourceUnderTest, TestDb, events_table, source_contract};
use dwh_core::watermark::{Micros, Window};
use dwh_core::{ErrorKind, MemorySource, PgSource, Plan, Secret, Source, Timestamp};
use tokio_postgres::Client;

pub fn events() -> TableConfig {
    events_table(TableRef::new("public", "events"))
}

pub const EVENTS: &str =
    "create table events (id bigint primary key, note text, recorded_at timestamptz not null default now())";

/// The source of a test's database, as `role`.
pub fn pg(db: &TestDb, role: &str, change: impl FnOnce(&mut SourceConfig)) -> PgSource {
    let mut config = SourceConfig {
        url: Secret::new(db.source_url_as(role)),
        files: None,
        schema: None,
        patterns: None,
        primary_url: None,
        lock_timeout: Micros::seconds(20),
        drain_timeout: Micros::seconds(20),
        activity_function: None,
        idle_timeout: IDLE_TIMEOUT,
    };
    change(&mut config);
    PgSource::new("app", &config, &Environment::default()).expect("a source")
}

/// The plan of a table as its source is now.
pub async fn plan_of(source: &PgSource, table: &TableConfig) -> Plan {
    Plan::new(table, source.describe(table).await.expect("described")).expect("a plan")
}

pub async fn clock(client: &Client) -> Timestamp {
    let row =
        client.query_one("select (extract(epoch from clock_timestamp()) * 1000000)::int8", &[]).await.expect("clock");
    Timestamp::from_micros(row.get(0))
}

struct Postgres {
    db: TestDb,
    source: PgSource,
}

#[async_trait]
impl SourceUnderTest for Postgres {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    fn table(&self) -> TableConfig {
        events()
    }

    async fn insert(&self, id: i64, note: Option<&str>) {
        self.db.source().execute("insert into events values ($1, $2)", &[&id, &note]).await.expect("insert");
    }

    async fn begin(&self, id: i64, note: Option<&str>) -> Box<dyn OpenRow> {
        let client = self.db.another_source().await;
        client.batch_execute("begin").await.expect("begin");
        client.execute("insert into events values ($1, $2)", &[&id, &note]).await.expect("insert");
        Box::new(Open(client))
    }

    async fn now(&self) -> Timestamp {
        clock(self.db.source()).await
    }
}

struct Open(Client);

#[async_trait]
impl OpenRow for Open {
    async fn commit(self: Box<Self>) {
        self.0.batch_execute("commit").await.expect("commit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let db = TestDb::new("source_contract").await;
    db.src(EVENTS).await;
    let source = pg(&db, "app_ro", |_| {});
    source_contract(&Postgres { db, source }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract_beside_a_transaction_of_another_database() {
    // It holds the horizon of the whole server, so the sweep delivers older rows again.
    let neighbour = TestDb::new("source_neighbour").await;
    neighbour.src("begin; create table held ()").await;
    let db = TestDb::new("source_held").await;
    db.src(EVENTS).await;
    let source = pg(&db, "app_ro", |_| {});
    source_contract(&Postgres { db, source }).await;
    neighbour.src("rollback").await;
}

struct Memory(MemorySource);

impl Memory {
    fn line(id: i64, note: Option<&str>, at: Timestamp) -> String {
        let note = note.map(|note| match note.contains(['"', ',', '\n']) || note.is_empty() {
            true => format!("\"{}\"", note.replace('"', "\"\"")),
            false => note.to_owned(),
        });
        format!("{id},{},{at}", note.unwrap_or_default())
    }
}

#[async_trait]
impl SourceUnderTest for Memory {
    fn source(&self) -> &dyn Source {
        &self.0
    }

    fn table(&self) -> TableConfig {
        events()
    }

    async fn insert(&self, id: i64, note: Option<&str>) {
        let at = self.0.advance(Micros(10));
        self.0.insert(&TableRef::new("public", "events"), &Self::line(id, note, at), at);
    }

    async fn begin(&self, id: i64, note: Option<&str>) -> Box<dyn OpenRow> {
        let at = self.0.advance(Micros(10));
        let open = self.0.begin();
        open.insert(&TableRef::new("public", "events"), &Self::line(id, note, at));
        Box::new(OpenMemory(open))
    }

    async fn now(&self) -> Timestamp {
        self.0.advance(Micros(10))
    }
}

struct OpenMemory(MemoryTransaction);

#[async_trait]
impl OpenRow for OpenMemory {
    async fn commit(self: Box<Self>) {
        self.0.commit();
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let column = |name: &str, type_name: &str, not_null| Column {
        not_null,
        ..Column::new(name, type_name.parse().expect("a type"))
    };
    let source = MemorySource::new(Timestamp::SEED);
    source.create(TableSchema {
        table: TableRef::new("public", "events"),
        kind: RelationKind::Table,
        columns: vec![
            column("id", "bigint", true),
            column("note", "text", false),
            column("recorded_at", "timestamp with time zone", true),
        ],
        keys: vec![],
        indexed: vec![],
        row_estimate: -1,
        types: Vec::new(),
    });
    source_contract(&Memory(source)).await;
}

/// What a read delivers, and the plan behind it.
pub async fn read(source: &PgSource, table: &TableConfig, low: &str, high: &str, sweep: Sweep) -> (Plan, String, u64) {
    let schema = source.describe(table).await.expect("described");
    let plan = Plan::new(table, schema).expect("a plan");
    let (low, high): (Timestamp, Timestamp) = (low.parse().expect("low"), high.parse().expect("high"));
    let window = plan.watermark.as_ref().map(|_| Window { low, high: Some(high), watermark: high });
    let request = ReadRequest { window, sweep, ..ReadRequest::whole(&plan, high) };
    let mut reading = source.read(request).await.expect("a reading");
    let mut text = Vec::new();
    while let Some(piece) = reading.next().await.expect("a piece") {
        text.extend_from_slice(&piece);
    }
    let late = reading.late_rows().await.expect("counted");
    reading.finish().await.expect("finished");
    (plan, String::from_utf8(text).expect("UTF-8"), late)
}

pub fn rows(text: &str) -> Vec<&str> {
    text.lines().skip(1).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_no_window_contains_are_refused() {
    let db = TestDb::new("unreachable").await;
    db.src("create table events (id bigint primary key, note text, recorded_at timestamptz)").await;
    let source = pg(&db, "app_ro", |_| {});
    let plan = Plan::new(&events(), source.describe(&events()).await.expect("described")).expect("plan");
    assert_eq!(source.earliest(&plan, Timestamp::NEG_INFINITY).await.expect("none"), None);
    db.src("insert into events values (1, '', null), (2, '', null), (3, '', 'infinity')").await;
    let error = source.earliest(&plan, Timestamp::NEG_INFINITY).await.expect_err("unreachable");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("NULL in 2 rows and infinity in 1 row;"), "{error}");
    assert!(error.hint().contains("snapshot"), "{error:?}");
    let manifest = Some(ManifestTable { path: "m.yaml".into(), name: "events".to_owned() });
    let listed = TableConfig { manifest, ..events() };
    let plan = Plan::new(&listed, source.describe(&listed).await.expect("described")).expect("plan");
    let error = source.earliest(&plan, Timestamp::NEG_INFINITY).await.expect_err("unreachable");
    assert!(error.hint().contains("isfinite(\"recorded_at\")"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_appears_late_is_read_though_a_clock_went_back() {
    let db = TestDb::new("late_back").await;
    db.src(EVENTS).await;
    let since: i64 = db.source().query_one("select pg_current_xact_id()::text::int8", &[]).await.expect("xid").get(0);
    db.src("insert into events values (1, '', '2026-01-05Z')").await;
    let source = pg(&db, "app_ro", |_| {});
    let plan = plan_of(&source, &events()).await;
    let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
    // The watermark is held on the 1st, rows were read up to the 10th, and the target's clock says that it is the 3rd.
    let window = Window { low: at("2026-01-10T00:00:00Z"), high: None, watermark: at("2026-01-01T00:00:00Z") };
    let sweep = Sweep::Xmin { since: since.cast_unsigned(), back_to: at("2025-12-31T00:00:00Z") };
    let request = ReadRequest { window: Some(window), sweep, ..ReadRequest::whole(&plan, at("2026-01-03T00:00:00Z")) };
    let mut reading = source.read(request).await.expect("a reading");
    assert_eq!(reading.high(), Some(window.low));
    let text = reading.next().await.expect("a piece").expect("rows");
    assert_eq!(rows(std::str::from_utf8(&text).expect("UTF-8")).len(), 1, "no later run would look for it");
    assert!(reading.next().await.expect("the end").is_none());
    assert_eq!(reading.late_rows().await.expect("counted"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_is_left_out_only_where_nothing_was_written_since() {
    let db = TestDb::new("sweep_left_out").await;
    db.src(EVENTS).await;
    let source = pg(&db, "app_ro", |_| {});
    let plan = plan_of(&source, &events()).await;
    let at = |text: &str| text.parse::<Timestamp>().expect("a moment");
    let low = at("2026-01-10T00:00:00Z");
    let back_to = at("2026-01-01T00:00:00Z");
    // What the snapshot is, how many rows were late, and whether they were looked for.
    let read = async |since: u64| {
        let window = Window { low, high: None, watermark: low };
        let sweep = Sweep::Xmin { since, back_to };
        let request = ReadRequest { window: Some(window), sweep, ..ReadRequest::whole(&plan, low) };
        let mut reading = source.read(request).await.expect("a reading");
        assert_eq!(reading.sweep(), Some(sweep), "what was swept is told all the same");
        let looked = reading.statement().expect("sql").contains("xmin");
        while reading.next().await.expect("a piece").is_some() {}
        (reading.snapshot().clone(), reading.late_rows().await.expect("counted"), looked)
    };
    // The server has other databases, in which other tests write.
    let mut since = read(0).await.0.xmax;
    let snapshot = loop {
        let (snapshot, late, looked) = read(since).await;
        assert_eq!((late, looked), (0, snapshot.xmax != since));
        if !looked {
            break snapshot;
        }
        since = snapshot.xmax;
    };
    // From here on a transaction is open, so the next snapshot looks from it, and another one writes and ends.
    let open = db.another_source().await;
    open.batch_execute("begin; select pg_current_xact_id()").await.expect("a writer");
    let held = read(snapshot.xmin).await.0;
    db.src("insert into events values (1, '', '2026-01-05Z')").await;
    let (now, late, looked) = read(held.xmin).await;
    assert!(now.xmax > held.xmin, "{held:?} {now:?}");
    assert_eq!((late, looked), (1, true));
    open.batch_execute("rollback").await.expect("ended");
}

/// Which COPY ran is seen at the server: nothing else shows whether a session has loaded PostGIS.
#[tokio::test(flavor = "multi_thread")]
async fn where_an_index_finds_nothing_new_no_geometry_is_printed() {
    let db = TestDb::new("nothing_new").await;
    db.src(
        r#"create table spots (id bigint primary key, "a ""b"", c" text, spot public.geometry(Point, 4326),
             recorded_at timestamptz not null);
           create table plain (id bigint primary key, recorded_at timestamptz not null);
           insert into spots values (1, 'x', 'SRID=4326;POINT(1 2)', '2026-01-02Z');
           insert into plain values (1, '2026-01-02Z');
           grant select on spots, plain to app_ro"#,
    )
    .await;
    let source = pg(&db, "app_ro", |_| {});
    let server = db.another_source().await;
    // What was read between two moments of January, and whether a geometry would have been printed.
    let read = async |table: &TableConfig, low: &str, high: &str, sweep: Sweep| {
        let at = |day: &str| format!("2026-01-{day}T00:00:00Z").parse::<Timestamp>().expect("a moment");
        let plan = plan_of(&source, table).await;
        let window = Window { low: at(low), high: Some(at(high)), watermark: at(high) };
        let request = ReadRequest { window: Some(window), sweep, ..ReadRequest::whole(&plan, at(high)) };
        let mut reading = source.read(request).await.expect("a reading");
        let known = reading.has_rows();
        let mut text = Vec::new();
        while let Some(piece) = reading.next().await.expect("a piece") {
            text.extend_from_slice(&piece);
        }
        let sql = "select query like 'copy (select null as %' from pg_stat_activity \
                   where datname = current_database() and query like 'copy (%'";
        let printed = !server.query_one(sql, &[]).await.expect("one COPY").get::<_, bool>(0);
        assert!(reading.statement().expect("sql").contains("recorded_at"), "what is told is the whole question");
        reading.finish().await.expect("finished");
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(!known || !rows(&text).is_empty(), "{text}");
        (text, printed, known)
    };
    let spots = events_table(TableRef::new("public", "spots"));
    // Without an index the table would be read twice.
    let (before, printed, known) = read(&spots, "02", "03", Sweep::Off).await;
    assert_eq!((printed, known), (true, false));
    assert!(!read(&spots, "01", "02", Sweep::Off).await.2);
    db.src("create index on spots (recorded_at)").await;
    let (after, printed, known) = read(&spots, "02", "03", Sweep::Off).await;
    assert_eq!((printed, known), (false, false));
    assert_eq!(after, before, "the same header, as the server writes it");
    assert_eq!(before.lines().next(), Some(r#"id,"a ""b"", c",spot,recorded_at"#));
    let (row, printed, known) = read(&spots, "01", "02", Sweep::Off).await;
    assert_eq!((rows(&row).len(), printed, known), (1, true, true), "{row}");
    // Below the window lies more than the index is asked for, and a filter may take long for each row.
    let all = Sweep::LookBack { back_to: "2026-01-02T00:00:00Z".parse().expect("a moment") };
    assert!(read(&spots, "02", "03", all).await.1);
    let mut filtered = spots.clone();
    filtered.filter = Some("id > 0".to_owned());
    assert!(read(&filtered, "02", "03", Sweep::Off).await.1);
    db.src("create index on plain (recorded_at)").await;
    assert!(read(&events_table(TableRef::new("public", "plain")), "02", "03", Sweep::Off).await.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_queries_and_odd_names_are_described() {
    let db = TestDb::new("described").await;
    db.src(
        r#"create schema "a ""b"; create schema gis; create domain gis.spot as public.geometry(Point, 4326);
           create table "a ""b"."select" (id int primary key, km numeric(6,2), at timestamptz not null default now(),
             "x y" public.geometry(Point, 4326), d gis.spot, twice numeric generated always as (km * 2) stored);
           insert into "a ""b"."select" values (1, 1.5, '2026-01-01Z', 'SRID=4326;POINT(1 2)', 'SRID=4326;POINT(0.1 0.2)'),
             (2, null, '2026-01-02Z', null, null);
           grant usage on schema gis to app_ro;
           create view v as select id, km::numeric(8,3) as km from "a ""b"."select";
           create materialized view m as select 1 as one"#,
    )
    .await;
    let source = pg(&db, "app_ro", |_| {});
    let mut table = events_table(TableRef::new("a \"b", "select"));
    table.watermark = Some("at".to_owned());
    table.select.insert("km".to_owned(), "km * 1000 -- metres".to_owned());
    table.select.insert("twice".to_owned(), "twice::numeric(9,1)".to_owned());
    table.select.insert("extra".to_owned(), "public.st_x(\"x y\")::int".to_owned());
    let (plan, text, _) = read(&source, &table, "-infinity", "infinity", Sweep::Off).await;
    let told: Vec<String> = plan.delivered().iter().map(|c| format!("{} {}", c.name, c.type_name)).collect();
    let expected = [
        "id integer",
        "km numeric",
        "at timestamp with time zone",
        "x y public.geometry(Point,4326)",
        "d gis.spot",
        "twice numeric(9,1)",
        "extra integer",
    ];
    assert_eq!(told, expected);
    let mut lines = rows(&text);
    lines.sort_unstable();
    assert_eq!(lines[1], "2,,2026-01-02 00:00:00+00,,,,");
    assert!(lines[0].starts_with("1,1500.00,2026-01-01 00:00:00+00,SRID=4326;POINT(1 2),0101000020E6"), "{text}");
    assert!(lines[0].ends_with(",3.0,1"), "{text}");

    let mut query = events();
    (query.relation, query.watermark, query.mode) = (None, None, dwh_core::config::Mode::Snapshot);
    query.query =
        Some("select v.id, v.km, g.\"x y\" from public.v join \"a \"\"b\".\"select\" g using (id); -- all".to_owned());
    query.query = query.query.map(|q| q.replace("; -- all", " -- all"));
    let (plan, text, _) = read(&source, &query, "-infinity", "infinity", Sweep::Off).await;
    let told: Vec<String> = plan.delivered().iter().map(|c| c.type_name.to_string()).collect();
    assert_eq!(told, ["integer", "numeric(8,3)", "public.geometry(Point,4326)"]);
    assert_eq!((plan.source.kind, rows(&text).len()), (RelationKind::Query, 2));
    query.query = Some("select * from nowhere".to_owned());
    let error = source.describe(&query).await.expect_err("no such table");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("nowhere"), "{error}");

    let mut matview = events_table(TableRef::new("public", "m"));
    (matview.watermark, matview.mode, matview.key) = (None, dwh_core::config::Mode::Snapshot, vec!["one".to_owned()]);
    db.src("grant select on m to app_ro").await;
    assert_eq!(rows(&read(&source, &matview, "-infinity", "infinity", Sweep::Off).await.1), ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_tables_and_rights_are_named() {
    let db = TestDb::new("rights").await;
    db.src(EVENTS).await;
    let source = pg(&db, "app_ro", |_| {});
    let error = source.describe(&events_table(TableRef::new("public", "event"))).await.expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().contains("`public.events`"), "{}", error.hint());
    let refusal = async || {
        let error = source.describe(&events()).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Permission);
        format!("{error} {}", error.hint())
    };
    db.src("revoke all on events from app_ro; grant select (id, recorded_at) on events to app_ro").await;
    assert!(refusal().await.contains(r#"grant select ("note") on "public"."events" to "app_ro""#));
    // The columns that are left are read: the lock that needs more is taken another way.
    db.src("insert into events values (1, 'x', '2026-01-01Z')").await;
    let mut table = events();
    table.exclude = vec!["note".to_owned()];
    let back_to = Timestamp::NEG_INFINITY;
    let (_, text, late) =
        read(&source, &table, "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", Sweep::Xmin { since: 3, back_to }).await;
    assert_eq!((rows(&text).len(), late), (1, 1), "without a right to xmin the look-back is read whole");
    db.src("revoke all on events from app_ro").await;
    assert!(refusal().await.contains(r#"grant select on "public"."events" to "app_ro""#));
    db.src("create schema app; alter table events set schema app; revoke usage on schema app from app_ro").await;
    let moved = events_table(TableRef::new("app", "events"));
    let error = source.describe(&moved).await.expect_err("refused");
    assert!(error.hint().contains(r#"grant usage on schema "app" to "app_ro"; grant select on"#), "{}", error.hint());
    db.src(
        "grant usage on schema app to app_ro; grant select on app.events to app_ro;
            alter table app.events enable row level security; create policy p on app.events using (id > 1)",
    )
    .await;
    let error = source.describe(&moved).await.expect_err("row security");
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(error.to_string().contains("row security"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changed_since_the_plan_is_drift() {
    let db = TestDb::new("drift_at_read").await;
    db.src(EVENTS).await;
    let source = pg(&db, "app_ro", |_| {});
    let plan = Plan::new(&events(), source.describe(&events()).await.expect("described")).expect("plan");
    db.src("alter table events alter id type int").await;
    let request = ReadRequest::whole(&plan, Timestamp::SEED);
    let error = source.read(request).await.map(drop).expect_err("drift");
    assert_eq!(error.kind(), ErrorKind::Drift);
    assert!(error.to_string().contains("`id` integer"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_and_a_killed_session_are_errors() {
    let db = TestDb::new("locked").await;
    db.src(EVENTS).await;
    db.src("insert into events select n, repeat('x', 1000) from generate_series(1, 50000) n").await;
    let source = pg(&db, "app_ro", |config| config.lock_timeout = Micros(200_000));
    let plan = Plan::new(&events(), source.describe(&events()).await.expect("described")).expect("plan");
    let request = || ReadRequest::whole(&plan, Timestamp::SEED);
    db.src("begin; lock table events").await;
    let error = source.read(request()).await.map(drop).expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Busy);
    let mut reshaped = events();
    reshaped.select.insert("note".to_owned(), "upper(t.note)".to_owned());
    let mut query = events();
    (query.relation, query.query) = (None, Some("select * from public.events".to_owned()));
    let looks = [
        source.describe(&events()).await.map(drop),
        source.earliest(&plan, Timestamp::NEG_INFINITY).await.map(drop),
        source.describe(&reshaped).await.map(drop),
        source.describe(&query).await.map(drop),
    ];
    for look in looks {
        let error = look.expect_err("locked");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(error.hint().contains("lock_timeout"), "{error}");
    }
    db.src("rollback").await;
    let mut reading = source.read(request()).await.expect("reading");
    reading.next().await.expect("piece").expect("rows");
    db.src("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app_ro' and datname = current_database()")
        .await;
    let ended = loop {
        match reading.next().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(ended.is_some(), "a cut stream looked complete");
    assert!(source.earliest(&plan, Timestamp::NEG_INFINITY).await.expect("a new connection").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_read_ends_its_statement_at_once() {
    let db = TestDb::new("dropped").await;
    db.src(EVENTS).await;
    let source = pg(&db, "app_ro", |_| {});
    let mut slow = events();
    (slow.relation, slow.watermark, slow.mode) = (None, None, dwh_core::config::Mode::Snapshot);
    let rows =
        "select n as id, repeat('x', 100000) as note, pg_sleep(0.01)::text as pause from generate_series(1, 100000) n";
    slow.query = Some(rows.to_owned());
    let plan = Plan::new(&slow, source.describe(&slow).await.expect("described")).expect("plan");
    let request = ReadRequest::whole(&plan, Timestamp::SEED);
    let mut reading = source.read(request).await.expect("reading");
    reading.next().await.expect("piece").expect("rows");
    assert_ne!(busy(&db).await, 0);
    drop(reading);
    ends(&db).await;
    // A future that is dropped while it waits for the lock.
    let plan = Plan::new(&events(), source.describe(&events()).await.expect("described")).expect("plan");
    let locker = db.another_source().await;
    locker.batch_execute("begin; lock table events").await.expect("lock");
    let request = ReadRequest::whole(&plan, Timestamp::SEED);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(500), source.read(request)).await;
    assert!(waited.is_err(), "it waits");
    ends(&db).await;
    drop(locker);
}

/// Sessions of the reading role that are in a transaction.
async fn busy(db: &TestDb) -> i64 {
    let sql = "select count(*) from pg_stat_activity where usename = 'app_ro' and datname = current_database() \
               and xact_start is not null";
    db.source().query_one(sql, &[]).await.expect("activity").get(0)
}

async fn ends(db: &TestDb) {
    // Far below the lock timeout, and the time that the statement would take.
    let patience = std::time::Duration::from_secs(5);
    let ended = tokio::time::timeout(patience, async {
        while busy(db).await != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    ended.await.expect("the session is still at it");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_hypertables_are_swept_without_xmin() {
    let db = TestDb::new("hypertable").await;
    db.src(EVENTS).await;
    db.src(
        "insert into events select n, '', '2026-01-01Z'::timestamptz + n * interval '1 day' from generate_series(1, 5) n;
         create schema _timescaledb_catalog; create schema timescaledb_information;
         create table _timescaledb_catalog.hypertable as select 'public' as schema_name, 'events' as table_name;
         create table timescaledb_information.hypertables as
           select 'public' as hypertable_schema, 'events' as hypertable_name, false as compression_enabled",
    )
    .await;
    let source = pg(&db, "app_ro", |_| {});
    let back_to = "2026-01-02T12:00:00Z".parse().expect("time");
    let since: i64 = db.source().query_one("select pg_current_xact_id()::text::int8", &[]).await.expect("xid").get(0);
    let sweep = Sweep::Xmin { since: since.cast_unsigned(), back_to };
    let (low, high) = ("2026-01-05T12:00:00Z", "2026-01-09T00:00:00Z");
    let (plan, text, late) = read(&source, &events(), low, high, sweep).await;
    assert_eq!((plan.source.kind, rows(&text).len(), late), (RelationKind::Hypertable, 1, 0));
    db.src("update timescaledb_information.hypertables set compression_enabled = true").await;
    let (_, text, late) = read(&source, &events(), low, high, sweep).await;
    assert_eq!((rows(&text).len(), late), (4, 3), "the look-back is read whole");
    // So it is where the numbers cannot be compared.
    db.src("update timescaledb_information.hypertables set compression_enabled = false").await;
    let (_, _, late) = read(&source, &events(), low, high, Sweep::Xmin { since: 1 << 40, back_to }).await;
    assert_eq!(late, 3, "the source moved backwards");
}
