//! Runs whose connections all go through PgBouncer in transaction mode: any transaction may meet any server session.

use dwh_core::testing::{Clusters, Proxy, Server, TestDb, Way, When, Whom, assert_equal_tables};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::support::{Project, READABLE, number, table, total};

/// Starts PgBouncer; stops it when the pipe closes, which it does however the test ends.
const WATCH: &str = r#"PATH=$PATH:/usr/sbin; pgbouncer -q "$1" >/dev/null 2>&1 & cat >/dev/null; kill $!; wait"#;

/// Server sessions of each pool. Few, so that clients meet each other's; two tables at once need five.
const SESSIONS: usize = 5;

/// A PgBouncer before one throwaway server.
struct PgBouncer {
    port: u16,
    folder: TempDir,
    watcher: Child,
}

impl PgBouncer {
    fn start(server: &Server) -> Self {
        Self::of(server, SESSIONS)
    }

    /// With this many server sessions in each pool.
    fn of(server: &Server, sessions: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("dwh-pgbouncer-").tempdir().expect("temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        let users = folder.path().join("users.txt");
        let roles = ["app_ro", "dwh_loader"].map(|role| format!("\"{role}\" \"{}\"\n", Server::PASSWORD));
        fs::write(&users, roles.concat()).expect("users");
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\npool_mode = transaction\ndefault_pool_size = {sessions}\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\nlogfile = {}\n",
            server.port(),
            users.display(),
            folder.path().join("log").display()
        );
        let settings = folder.path().join("pgbouncer.ini");
        fs::write(&settings, ini).expect("settings");
        let mut command = Command::new("sh");
        // It refuses root as PostgreSQL does.
        if fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("mode");
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--", "sh"]);
        }
        let watcher =
            command.args(["-c", WATCH, "sh"]).arg(&settings).stdin(Stdio::piped()).spawn().expect("sh starts");
        let mut bouncer = Self { port, folder, watcher };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = bouncer.watcher.try_wait().expect("its state");
            assert!(ended.is_none(), "PgBouncer ends at once: run `make setup`\n{}", bouncer.log());
            std::thread::yield_now();
        }
        bouncer
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A server's URL with this before it.
    fn before(&self, server: &Server, url: &str) -> String {
        url.replacen(&format!(":{}/", server.port()), &format!(":{}/", self.port), 1)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // Only for order: nobody is helped by a failure here.
        drop(self.watcher.wait());
    }
}

const TRIPS: &str = "create schema app;
    create type public.state as enum ('open', 'done');
    create table app.trips (id bigint primary key, state public.state not null, place geometry(Point, 4326),
        recorded_at timestamptz not null default now());
    create index on app.trips (recorded_at);
    create function app.more() returns void language sql as $$
        insert into app.trips select (select coalesce(max(id), 0) from app.trips) + n, 'done',
        'srid=4326;point(36.8 -1.3)', now() from generate_series(1, 1000) n $$;";

/// A migrated project with both its servers behind a PgBouncer each.
async fn behind(test: &str) -> (TestDb, Project, [PgBouncer; 2]) {
    let db = TestDb::new(test).await;
    db.src(&format!("{TRIPS}{READABLE} grant select on all tables in schema app to app_ro; select app.more()")).await;
    db.tgt("create type public.state as enum ('open', 'done')").await;
    let trips = table("trips", "app.trips", "incremental", "watermark = \"recorded_at\"\nkey = [\"id\"]");
    let clusters = Clusters::shared();
    let bouncers = [PgBouncer::start(&clusters.source), PgBouncer::start(&clusters.target)];
    let (source, target) = (db.source_url_as("app_ro"), db.target_url_as("dwh_loader"));
    let project = Project::new(&db, &trips)
        .config_with(&source, &bouncers[0].before(&clusters.source, &source))
        .config_with(&target, &bouncers[1].before(&clusters.target, &target));
    project.ok(&["migrate"]);
    (db, project, bouncers)
}

async fn assert_equal(db: &TestDb) {
    let same = |schema: &str| format!("select id, state::text as state, place, recorded_at from {schema}.trips");
    assert_equal_tables(db, &same("app"), &same("bronze")).await;
}

async fn until_one_waits(watching: &Client) {
    let waits = "select count(*) from pg_locks where not granted and relation = 'bronze.trips'::regclass
        and database = (select oid from pg_database where datname = current_database())";
    while watching.query_one(waits, &[]).await.expect("locks").get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_are_kept_apart() {
    let (db, project, _bouncers) = behind("bounced_two").await;
    let blocker = db.another_target().await;
    blocker.batch_execute("begin; lock table bronze.trips in access exclusive mode").await.expect("locked");
    let mut first = project.spawn(&["run"]);
    until_one_waits(db.target()).await;
    let second = project.fails(5, &["run"]).failure("trips");
    assert_eq!(second.code, "locked", "{second:?}");
    second.names(&["trips", "another run holds it"]);
    blocker.batch_execute("commit").await.expect("free");
    assert!(first.wait().expect("an end").success(), "the first run ends well");
    assert_equal(&db).await;
    db.src("select app.more()").await;
    assert_eq!(total(&project.json(&["run"]), "trips", "rows_loaded"), 1000);
    assert_equal(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_at_once_lose_and_double_nothing() {
    let (db, project, bouncers) = behind("bounced_many").await;
    for _ in 0..3 {
        db.src("select app.more()").await;
        let runs: Vec<_> = (0..4).map(|_| project.spawn(&["run"])).collect();
        let codes: Vec<_> = runs.into_iter().map(|mut run| run.wait().expect("an end").code()).collect();
        assert!(codes.contains(&Some(0)), "{codes:?}\n{}", bouncers[1].log());
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}\n{}", bouncers[1].log());
        assert_equal(&db).await;
    }
    let held = "select count(*) from dwh_control.extract_watermarks where lease_holder is not null";
    assert_eq!(number(&db, held).await, 0, "nobody holds it any more");
}

/// The number that PgBouncer gives a session is not the server's: what the session does is told from its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_behind_it_is_no_silence_and_a_cut_connection_is() {
    let (db, project, bouncers) = behind("bounced_silence").await;
    let patient = "\nidle_timeout = \"2s\"\n\n[target]";
    let project = project.config_with("\n\n[target]", patient);
    let blocker = db.another_source().await;
    blocker.batch_execute("begin; lock table app.trips in access exclusive mode").await.expect("locked");
    let mut run = project.spawn(&["run"]);
    blocker.batch_execute("select pg_sleep(7); commit").await.expect("free");
    assert!(run.wait().expect("an end").success(), "a wait for a lock is no silence");
    assert_equal(&db).await;
    db.src("select app.more()").await;
    let proxy = Proxy::before(bouncers[0].port);
    let cut = project.config_with(&format!(":{}/", bouncers[0].port), &format!(":{}/", proxy.port()));
    proxy.silence_when(Way::Up, When::After("lock table"), Whom::ThisOne);
    cut.fails(3, &["run"]).failure("trips").names(&["source `app`: 127.0.0.1:", "sent nothing for", "was cut"]);
    cut.ok(&["run"]);
    assert_equal(&db).await;
}

/// A lease keeps the one session of the pool, and what the run asks next is never answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_too_small_is_named_as_a_possible_cause() {
    let (_db, project, bouncers) = behind("bounced_small").await;
    let small = PgBouncer::of(&Clusters::shared().target, 1);
    let small_port = format!(":{}/", small.port);
    let project = project
        .config_with(&format!(":{}/", bouncers[1].port), &small_port)
        .config_with("[target]", "[target]\nidle_timeout = \"2s\"");
    let output = project.fails(3, &["run"]);
    let failure = output.failure("trips");
    assert!(failure.message.contains("target: 127.0.0.1:"), "{failure:?}");
    assert!(failure.hint.contains("`default_pool_size` of PgBouncer"), "{failure:?}");
}

const ODD: &str =
    "create table app.odd (id bigint primary key, span interval, x float8, price money, raw bytea, day date,
        at timestamptz not null default now());
    insert into app.odd select n, n * interval '1 year -2 days 3.000001 s', 1 / n::float8, (n * 1.25)::money,
        decode(md5(n::text), 'hex'), date '2026-02-03' + n, now() from generate_series(1, 500) n;
    grant select on app.odd to app_ro;";

/// What sessions of the pool have that a run might have left there, one line for each session.
async fn settings(url: &str) -> std::collections::BTreeSet<String> {
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        // Each holds a session of its own while the others are asked.
        client.batch_execute("begin").await.expect("begin");
        clients.push(client);
    }
    let sql = "select pg_catalog.string_agg(name || '=' || setting, ' ' order by name) from pg_catalog.pg_settings
        where name in ('search_path', 'DateStyle', 'IntervalStyle', 'TimeZone', 'bytea_output', 'extra_float_digits',
            'lc_monetary', 'lc_numeric', 'lc_time', 'xmloption', 'xmlbinary', 'row_security', 'statement_timeout',
            'idle_in_transaction_session_timeout', 'lock_timeout', 'client_min_messages', 'quote_all_identifiers',
            'array_nulls', 'default_transaction_isolation', 'default_transaction_read_only', 'transaction_isolation')";
    let mut found = std::collections::BTreeSet::new();
    for client in &clients {
        found.insert(client.query_typed_one(sql, &[]).await.expect("settings").get(0));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_leaves_no_setting_to_another_client_and_takes_none_from_it() {
    let (db, project, bouncers) = behind("bounced_settings").await;
    db.src(ODD).await;
    let name = db.name();
    db.src(&format!(
        "alter database {name} set intervalstyle = sql_standard; alter database {name} set extra_float_digits = -12;
         alter database {name} set bytea_output = escape; alter database {name} set datestyle = 'SQL, DMY';
         alter database {name} set timezone = 'Asia/Kathmandu';
         alter database {name} set default_transaction_isolation = serializable"
    ))
    .await;
    db.tgt(&format!("alter database {name} set default_transaction_isolation = 'repeatable read'")).await;
    let clusters = Clusters::shared();
    // Sessions that nobody had before.
    let fresh = [PgBouncer::start(&clusters.source), PgBouncer::start(&clusters.target)];
    let odd = table("odd", "app.odd", "incremental", "watermark = \"at\"\nkey = [\"id\"]");
    let project = project
        .config_with("[[table]]", &format!("{odd}[[table]]"))
        .config_with(&format!(":{}/", bouncers[0].port), &format!(":{}/", fresh[0].port))
        .config_with(&format!(":{}/", bouncers[1].port), &format!(":{}/", fresh[1].port));
    project.ok(&["migrate", "--dry-run"]);
    project.ok(&["migrate"]);
    project.ok(&["check"]);
    let url = |at: usize, server, direct: String| fresh[at].before(server, &direct);
    let source = url(0, &clusters.source, db.source_url_as("app_ro"));
    let target = url(1, &clusters.target, db.target_url_as("dwh_loader"));
    project.ok(&["init", "--source", &source, "--target", &target, "--blob", &db.blob_url(), "--dry-run"]);
    for _ in 0..2 {
        project.ok(&["run"]);
        project.ok(&["verify"]);
        db.src("insert into app.odd select max(id) + 1, '3 days', 0.1, 7, '\\x00ff', '2026-03-02' from app.odd").await;
    }
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.odd", "select * from bronze.odd").await;
    for (server, bouncer, direct) in [
        (&clusters.source, &fresh[0], db.source_url_as("app_ro")),
        (&clusters.target, &fresh[1], db.target_url_as("dwh_loader")),
    ] {
        let (through, beside) = (settings(&bouncer.before(server, &direct)).await, settings(&direct).await);
        assert_eq!(through, beside, "a session of the pool is not as the server makes it");
    }
}
