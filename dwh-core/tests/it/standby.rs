//! A standby as the source.

use dwh_core::config::{Environment, IDLE_TIMEOUT, SourceConfig};
use dwh_core::schema::{TableRef, TableSchema};
use dwh_core::source::{BoundRequest, ReadRequest};
use dwh_core::testing::Server;
use dwh_core::watermark::{BoundRule, Micros, SafeBound, Window};
use dwh_core::{
    Config, ErrorKind, MemoryBlobs, MemorySink, PgSink, PgSource, Pipeline, Plan, RunRequest, Secret, Sink, Source,
    Timestamp,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::source::{EVENTS, events};

/// A copy of a server that follows it, half a second behind.
struct Standby {
    folder: PathBuf,
    port: u16,
}

/// Where PostgreSQL's programs are, as a user that it accepts.
fn program(name: &str) -> Command {
    let mut command = Command::new("sh");
    let script = "bin=$(pg_config --bindir 2>/dev/null || ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1); \
                  [ -x \"$bin/$0\" ] || bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1); \
                  if [ \"$(id -u)\" = 0 ]; then exec setpriv --reuid=postgres --regid=postgres --init-groups \"$bin/$0\" \"$@\"; \
                  else exec \"$bin/$0\" \"$@\"; fi";
    command.args(["-c", script, name]).current_dir("/");
    command
}

impl Standby {
    fn of(primary: &Server) -> Self {
        let folder = primary.folder().join("standby");
        let copied = program("pg_basebackup")
            .args(["-R", "-X", "stream", "-c", "fast", "-D"])
            .arg(&folder)
            .args(["-d", &primary.url("postgres", "postgres")])
            .output()
            .expect("pg_basebackup starts");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("port").port();
        let settings = format!(
            "-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
             -c max_prepared_transactions=20 -c max_connections=200 -c recovery_min_apply_delay=500ms -c timezone=UTC"
        );
        let log = folder.join("log");
        let started = program("pg_ctl")
            .args([Path::new("-D"), &folder, Path::new("-l"), &log])
            .args(["-o", &settings, "-w", "-t", "60", "start"])
            .status()
            .expect("pg_ctl starts");
        assert!(started.success(), "{}", std::fs::read_to_string(log).unwrap_or_default());
        Self { folder, port }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        drop(program("pg_ctl").arg("-D").arg(&self.folder).args(["-m", "immediate", "-w", "stop"]).output());
    }
}

fn source(url: &str, primary_url: Option<&str>, late_window: Micros) -> (PgSource, dwh_core::TableConfig) {
    let config = SourceConfig {
        url: Secret::new(url),
        files: None,
        schema: None,
        patterns: None,
        primary_url: primary_url.map(Secret::new),
        lock_timeout: Micros::seconds(10),
        drain_timeout: Micros::seconds(20),
        activity_function: None,
        idle_timeout: IDLE_TIMEOUT,
    };
    let mut table = events();
    table.late_window = late_window;
    (PgSource::new("app", &config, &Environment::default()).expect("a source"), table)
}

async fn bound(source: &PgSource, plan: &Plan) -> dwh_core::Result<SafeBound> {
    let run_started_at = "2100-01-01T00:00:00Z".parse().expect("time");
    source.bound(BoundRequest { plan, low: Timestamp::SEED, run_started_at, undrained: None }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_read_behind_its_primarys_bound() {
    let primary = Server::start("primary");
    primary.psql("postgres", EVENTS);
    let standby = Standby::of(&primary);
    let here = primary.url("postgres", "postgres");
    let there = here.replace(&format!(":{}/", primary.port()), &format!(":{}/", standby.port));
    let day = Micros::seconds(86_400);
    let (follower, table) = source(&there, Some(&here), day);
    let plan = Plan::new(&table, follower.describe(&table).await.expect("described")).expect("a plan");

    // Committed on the primary, half a second before the standby shows it.
    primary.psql("postgres", "insert into events values (1, 'x')");
    let proved = bound(&follower, &plan).await.expect("a bound");
    assert!(proved.rule.is_proven());
    let window = Window { low: Timestamp::SEED, high: None, watermark: proved.watermark };
    let request = ReadRequest { window: Some(window), ..ReadRequest::whole(&plan, Timestamp::INFINITY) };
    let mut reading = follower.read(request).await.expect("a reading");
    assert!(reading.snapshot().identity.in_recovery);
    let piece = reading.next().await.expect("a piece").expect("rows");
    assert!(String::from_utf8_lossy(&piece).contains("\n1,x,"), "a row below the bound is not in the snapshot");
    assert!(reading.next().await.expect("the end").is_none());
    reading.finish().await.expect("finished");

    // A writer of the primary holds the bound; the standby alone does not know it.
    let (writer, connection) = tokio_postgres::connect(&here, tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    writer.batch_execute("begin; insert into events values (2)").await.expect("insert");
    let held = bound(&follower, &plan).await.expect("a bound");
    assert!(matches!(held.rule, BoundRule::OpenTransaction(_)), "{}", held.rule);

    let (alone, _) = source(&there, None, day);
    let swept = bound(&alone, &plan).await.expect("a bound");
    assert_eq!((swept.rule, swept.watermark), (BoundRule::SweepOnly, Timestamp::SEED));
    let (blind, table) = source(&there, None, Micros::ZERO);
    let plan = Plan::new(&table, blind.describe(&table).await.expect("described")).expect("a plan");
    assert_eq!(bound(&blind, &plan).await.expect_err("unproved").kind(), ErrorKind::Config);
    let (itself, _) = source(&there, Some(&there), day);
    assert_eq!(bound(&itself, &plan).await.expect_err("no primary").kind(), ErrorKind::Config);
    refuses_to_be_written_to(&there).await;
    writer.batch_execute("rollback").await.expect("rollback");
    is_not_read_whole_behind_its_primary(&here, &there).await;
}

/// What a table that is read whole has from the primary is not replaced by what a standby had before.
async fn is_not_read_whole_behind_its_primary(here: &str, there: &str) {
    let text = "[project]\nname = \"fleet\"\n[source.app]\nurl = \"postgresql://app/app\"\n[target]\n\
                url = \"postgresql://warehouse/warehouse\"\n[blob]\nurl = \"file:///blobs\"\n[[table]]\n\
                name = \"events\"\nrelation = \"public.events\"\nmode = \"snapshot\"\n";
    let config = Config::parse(text, "dwh.toml".as_ref(), Environment::default()).expect("configuration");
    let table = config.table("events").expect("table");
    let (primary, _) = source(here, None, Micros::ZERO);
    let described = primary.describe(table).await.expect("described");
    let (sink, blobs) = (MemorySink::new(), Arc::new(MemoryBlobs::new()));
    sink.add_table("events", TableSchema { table: table.target.clone(), ..described });
    let run = async |url: &str| {
        let source: Arc<dyn Source> = Arc::new(source(url, None, Micros::ZERO).0);
        let sources = BTreeMap::from([("app".to_owned(), source)]);
        let pipeline = Pipeline::new(config.clone(), sources, blobs.clone(), Arc::new(sink.clone()));
        pipeline.run(&RunRequest::default(), &CancellationToken::new()).await.expect("run").runs.remove(0)
    };
    let client = async |url: &str| {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connected");
        tokio::spawn(connection);
        client
    };
    let (writer, standby) = (client(here).await, client(there).await);
    standby.batch_execute("select pg_wal_replay_pause()").await.expect("pause");
    let until = async |condition: &str| {
        let holds = async || standby.query_one(condition, &[]).await.expect(condition).get::<_, bool>(0);
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    until("select pg_get_wal_replay_pause_state() = 'paused'").await;
    writer.batch_execute("insert into events values (3)").await.expect("insert");
    let rows = run(here).await.rows_inserted;
    let behind = run(there).await;
    let error = behind.error.unwrap_or_else(|| panic!("an older state took the place of {rows} rows"));
    assert!(error.message.contains("is behind the server that was read last"), "{error:?}");
    assert_eq!(sink.rows(&table.target).len() as u64, rows);
    standby.batch_execute("select pg_wal_replay_resume()").await.expect("resume");
    until("select exists (select from events where id = 3)").await;
    assert_eq!(run(there).await.error, None);
}

/// As a target, a standby is named as what it is; what only looks is answered.
async fn refuses_to_be_written_to(url: &str) {
    let sink = PgSink::new(&crate::migrations::target(url), &Environment::default()).expect("a sink");
    assert!(sink.describe(&TableRef::new("public", "events")).await.expect("described").is_some());
    let error = sink.lease("events", false).await.err().expect("it cannot write");
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    assert!(error.to_string().contains("is a standby") && error.hint().contains("primary"), "{error}");
}
