//! A run whose servers go silent: it ends with 3, says who was silent, harms no other table, and the next run goes on.

use dwh_core::testing::{Clusters, Proxy, S3Server, TestDb, Way, When, Whom, assert_equal_tables};
use std::time::{Duration, Instant};

use crate::support::{Output, Project, READABLE, table};

const TABLES: &str = "create schema app;
    create table app.large (id bigint primary key, note text, recorded_at timestamptz not null default now());
    create table app.small (like app.large including all);
    create index on app.large (recorded_at); create index on app.small (recorded_at);
    insert into app.large select n, repeat('x', 2000) from generate_series(1, 10000) n;
    insert into app.small select n, 'y' from generate_series(1, 10) n;";

/// Two tables, and how the project of this configuration is changed before it is migrated.
async fn project(test: &str, change: impl FnOnce(&TestDb, Project) -> Project) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    db.src(TABLES).await;
    db.src(&format!("{READABLE} grant select on all tables in schema app to app_ro")).await;
    let incremental = "watermark = \"recorded_at\"\nkey = [\"id\"]";
    let config = table("large", "app.large", "incremental", incremental)
        + &table("small", "app.small", "incremental", incremental);
    let project = change(&db, Project::new(&db, &config));
    project.ok(&["migrate"]);
    (db, project)
}

/// The same with a server's address replaced by the proxy's, in the section with this URL.
fn through(project: &Project, proxy: &Proxy, server: u16, url: &str) -> Project {
    let line = format!("url = \"{url}\"");
    project.config_with(&line, &format!("url = \"{}\"\nidle_timeout = \"2s\"", proxy.on_the_way_to(server, url)))
}

/// Bound after the databases, a proxy is closed before they are dropped: a login that hangs in it would hold them up.
const fn closed_first(proxy: Proxy) -> Proxy {
    proxy
}

/// Ends with 3 within double the idle timeout and what a busy machine adds.
fn ends_with_3(project: &Project) -> Output {
    let began = Instant::now();
    let output = project.fails(3, &["run", "-vv"]);
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}: {}", began.elapsed(), output.all());
    output
}

async fn heals(db: &TestDb, project: &Project) {
    project.ok(&["run"]);
    for name in ["large", "small"] {
        let same = |schema: &str| format!("select * from {schema}.{name}");
        assert_equal_tables(db, &same("app"), &same("bronze")).await;
    }
    // Ends well only if there is nothing to recover.
    project.ok(&["recover", "--dry-run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_stops_in_the_middle_of_a_copy() {
    let port = Clusters::shared().source.port();
    let proxy = Proxy::before(port);
    let (db, project) =
        project("silent_source", |db, it| through(&it, &proxy, port, &db.source_url_as("app_ro"))).await;
    let proxy = closed_first(proxy);
    proxy.silence_when(Way::Down, When::Bytes(2_000_000), Whom::ThisOne);
    let output = ends_with_3(&project);
    let failure = output.failure("large");
    failure.names(&["table `large`", "source `app`: 127.0.0.1:", "sent nothing for", "the connection was cut"]);
    assert_eq!(failure.code, "unreachable");
    for look in ["it is asked over another connection", "and is looked at once more", "the connection was cut"] {
        assert!(output.stderr.lines().any(|line| line.contains("sent nothing for") && line.contains(look)), "{look}");
    }
    let report = output.json();
    let small = report["runs"].as_array().expect("runs").iter().find(|run| run["table"] == "small").expect("its run");
    assert_eq!(small["status"], "loaded", "the other table is not harmed: {}", output.all());
    heals(&db, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_stops_taking_rows() {
    let port = Clusters::shared().target.port();
    let proxy = Proxy::before(port);
    let (db, project) =
        project("silent_target", |db, it| through(&it, &proxy, port, &db.target_url_as("dwh_loader"))).await;
    let proxy = closed_first(proxy);
    proxy.silence_when(Way::Up, When::Bytes(1_000_000), Whom::Everyone);
    let failure = ends_with_3(&project).failure("large");
    // Whoever notices it first says it: a session that waits, or a new one.
    failure.names(&["table `large`", "target: 127.0.0.1:"]);
    let words = ["sent nothing for", "does not answer within 2 s"];
    assert!(words.iter().any(|words| failure.message.contains(words)), "{failure:?}");
    proxy.resume();
    // What was held back ends the sessions of the run before.
    project.ok(&["run", "--wait"]);
    heals(&db, &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_takes_no_more_bytes() {
    let server = S3Server::start_in_process().await;
    let port = server.endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("port");
    let proxy = Proxy::before(port);
    let (db, project) = project("silent_bucket", |db, it| {
        let section = format!(
            "url = \"s3://bronze/wip\"\nendpoint = \"http://127.0.0.1:{}\"\nidle_timeout = \"2s\"",
            proxy.port()
        );
        it.config_with(&format!("url = \"{}\"", db.blob_url()), &section)
            .env("AWS_ACCESS_KEY_ID", &server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &server.secret_key)
    })
    .await;
    let proxy = closed_first(proxy);
    proxy.silence_when(Way::Up, When::Bytes(1_000_000), Whom::Everyone);
    let failure = ends_with_3(&project).failure("large");
    failure.names(&["table `large`", "S3 server `http://127.0.0.1:", "sent nothing for"]);
    proxy.resume();
    heals(&db, &project).await;
}
