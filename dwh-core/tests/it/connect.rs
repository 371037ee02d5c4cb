//! Settings, passwords and errors of connections, against real servers.

use dwh_core::config::Environment;
use dwh_core::testing::internals::{Connector, sort};
use dwh_core::testing::{Clusters, Server, TestDb};
use dwh_core::{Error, ErrorKind, Secret, Timestamp};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A part of every wrong password here; must be in no error.
const CANARY: &str = "hunter2canary";

pub fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().copied().collect()
}

pub fn connector(url: &str, variables: &[(&str, &str)]) -> Result<Connector, Error> {
    Connector::new("source `fleet`", &Secret::new(url), &environment(variables))
}

/// Connects, expects to fail, and looks for the canary in all that the error can say.
pub async fn refused(url: &str, variables: &[(&str, &str)]) -> Error {
    let error = match connector(url, variables) {
        Ok(connector) => match connector.connect().await {
            Ok(_) => panic!("connected: {}", connector.summary()),
            Err(error) => {
                assert!(!format!("{connector:?}{}", connector.summary()).contains("canary"));
                error
            }
        },
        Err(error) => error,
    };
    let said = format!("{error}\n{error:?}\n{}\n{}", error.chain(), error.hint());
    assert!(!said.contains("canary"), "{said}");
    assert!(error.to_string().starts_with("source `fleet`: "), "{error}");
    assert!(!error.hint().is_empty());
    error
}

async fn user_of(connector: &Connector) -> String {
    let client = connector.connect().await.expect("connects");
    client.query_one("select current_user::text", &[]).await.expect("select").get(0)
}

fn passfile(folder: &tempfile::TempDir, text: &str, mode: u32) -> String {
    let path = folder.path().join(".pgpass");
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    path.to_str().expect("path").to_owned()
}

#[tokio::test]
async fn a_password_with_blanks_quotes_percent_and_at_arrives_from_every_place() {
    let db = TestDb::new("odd_password").await;
    let (port, name) = (Clusters::shared().source.port().to_string(), db.name());
    let home = tempfile::tempdir().expect("folder");
    passfile(
        &home,
        &format!("# comment\nlocalhost:*:*:*:no\n127.0.0.1:{port}:{name}:app_ro:{}\n", Server::PASSWORD),
        0o600,
    );
    let home = home.path().to_str().expect("path");
    let service = format!("{home}/services");
    fs::write(
        &service,
        format!("[other]\nuser=x\n\n[fleet]\nhost=127.0.0.1\nport={port}\ndbname={name}\nuser=app_ro\n"),
    )
    .expect("file");
    let bare = format!("postgresql://app_ro@127.0.0.1:{port}/{name}");
    let quoted = Server::PASSWORD.replace('\'', "\\'");
    let socket = Clusters::shared().source.folder().display();
    let socket_url = format!("host={socket} port={port} dbname={name} user=app_ro password='{quoted}'");
    let cases: [(&str, &[(&str, &str)]); 8] = [
        (&db.source_url_as("app_ro"), &[]),
        (&format!("host=127.0.0.1 port={port} dbname={name} user=app_ro password = '{quoted}'"), &[]),
        (&socket_url, &[]),
        (&bare, &[("PGPASSWORD", Server::PASSWORD)]),
        (&bare, &[("HOME", home)]),
        ("service=fleet", &[("PGSERVICEFILE", &service), ("HOME", home)]),
        ("", &[("PGSERVICE", "fleet"), ("PGSERVICEFILE", &service), ("PGPASSWORD", Server::PASSWORD)]),
        (
            "postgresql://",
            &[
                ("PGHOST", "127.0.0.1"),
                ("PGPORT", &port),
                ("PGUSER", "app_ro"),
                ("PGDATABASE", name),
                ("PGPASSWORD", Server::PASSWORD),
            ],
        ),
    ];
    for (url, variables) in cases {
        let connector = connector(url, variables).expect("settings");
        assert_eq!(user_of(&connector).await, "app_ro", "{connector:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_named_without_being_shown() {
    let server = &Clusters::shared().source;
    server.psql("postgres", "create role once_only login password 'other'");
    let port = server.port();
    let url = format!("postgresql://once_only:{CANARY}%20{CANARY}@127.0.0.1:{port},127.0.0.1:{port}/postgres");
    let error = refused(&url, &[]).await;
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(!error.is_retryable());
    assert_eq!(error.to_string(), format!("source `fleet`: 127.0.0.1:{port} refuses the password of user `once_only`"));
    assert!(error.hint().contains("the connection string"), "{}", error.hint());
    let log = fs::read_to_string(server.folder().join("log")).expect("server log");
    assert_eq!(log.matches("password authentication failed for user \"once_only\"").count(), 1);

    server.psql("postgres", &format!("alter role once_only password '{CANARY}' valid until '2020-01-01'"));
    let error = refused(&format!("postgresql://once_only@127.0.0.1:{port}/postgres"), &[("PGPASSWORD", CANARY)]).await;
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.hint().contains("`PGPASSWORD`") && error.hint().contains("expired"), "{}", error.hint());
}

#[tokio::test]
async fn passfiles_are_private_and_must_exist_when_they_are_named() {
    let server = &Clusters::shared().source;
    let url = format!("postgresql://app_ro@127.0.0.1:{}/postgres", server.port());
    let home = tempfile::tempdir().expect("folder");
    for mode in [0o644, 0o640, 0o604, 0o660] {
        let file = passfile(&home, &format!("*:*:*:*:{CANARY}\n"), mode);
        let error = refused(&url, &[("PGPASSFILE", &file)]).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.hint(), format!("chmod 600 {file}"));
    }
    let error = refused(&url, &[("PGPASSFILE", "/nowhere/pgpass")]).await;
    assert!(error.to_string().contains("passfile `/nowhere/pgpass` cannot be read"), "{error}");

    let file = passfile(&home, &format!("*:*:*:someone:{CANARY}\n"), 0o600);
    let error = refused(&url, &[("PGPASSFILE", &file)]).await;
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("asks for a password, and none is configured"), "{error}");
}

#[tokio::test]
async fn each_way_of_not_being_there_has_its_own_sentence() {
    let server = &Clusters::shared().source;
    let error = refused(&server.url("app_ro", "nowhere"), &[]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().ends_with("has no database `nowhere`"), "{error}");

    let error = refused(&format!("postgresql://nobody_here:{CANARY}@127.0.0.1:{}/postgres", server.port()), &[]).await;
    assert_eq!(error.kind(), ErrorKind::Auth);

    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let port = free.local_addr().expect("address").port();
    let silent = format!("postgresql://u:{CANARY}@127.0.0.1:{port}/x?connect_timeout=2");
    let error = refused(&silent, &[]).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("does not answer within 2 s"), "{error}");
    drop(free);
    let error = refused(&silent, &[]).await;
    assert_eq!(error.to_string(), format!("source `fleet`: nothing answers at 127.0.0.1:{port}"));

    let error = refused(&format!("postgresql://u:{CANARY}@no-such-host.invalid/x"), &[]).await;
    assert!(error.to_string().contains("`no-such-host.invalid`"), "{error}");

    let (port, good) = (port, server.port());
    let url = format!("host=127.0.0.1,127.0.0.1 port={port},{good} dbname=postgres user=app_ro");
    let second = connector(&url, &[("PGPASSWORD", Server::PASSWORD)]).expect("settings");
    assert_eq!(user_of(&second).await, "app_ro");
}

#[tokio::test]
async fn settings_that_cannot_be_kept_are_refused_by_name_and_never_by_value() {
    for (url, words) in [
        ("postgresql://u:hunter2canary@h/d?sslmode=prefer", "`sslmode=prefer`"),
        ("postgresql://u:hunter2canary@h/d?sslmode=hunter2canary", "`sslmode`"),
        ("postgresql://u:p@h/d?sslrootcart=hunter2canary", "`sslrootcart` is no option"),
        ("postgresql://u:p@h/d?sslpassword=hunter2canary", "`sslpassword`"),
        ("postgresql://u:p@h/d?gssencmode=require", "`gssencmode`"),
        ("postgresql://u:12/hunter2canary@h/d", "`@`"),
        ("postgresql://u:hunter2canary/d", "port"),
        ("host=h user=u password=a hunter2canary=b", "what follows `password`"),
        ("host=h user=u password=a hunter2canary", "after `password`"),
        ("hunter2canary=a", "begins with what is no option"),
        ("host=h user=u password='hunter2canary", "quote"),
        ("host=h user=u service=none", "`none`"),
        ("host=h", "no user"),
    ] {
        let error = refused(url, &[]).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
        assert!(error.to_string().contains(words), "{url}: {error}");
    }
}

#[tokio::test]
async fn sessions_have_a_name_and_nothing_else_of_ours_and_moments_travel_exactly() {
    let db = TestDb::new("pinned").await;
    let url = format!("{}?options=-c%20geqo%3Doff", db.source_url_as("app_ro"));
    let client = connector(&url, &[]).expect("settings").connect().await.expect("connects");
    for (setting, value) in [
        ("application_name", "dwh"),
        ("geqo", "off"),
        // What a transaction relies on it sets itself: whoever gets the session from a pooler must not inherit it.
        ("search_path", "\"$user\", public"),
        ("row_security", "on"),
        ("extra_float_digits", "1"),
    ] {
        let found: String = client.query_one("select current_setting($1)", &[&setting]).await.expect("show").get(0);
        assert_eq!(found, value, "{setting}");
    }
    for text in ["infinity", "-infinity", "2026-04-24 11:00:00.123456+00", "1999-12-31 23:59:59.999999+00"] {
        let row = client.query_one("select $1::text::timestamptz", &[&text]).await.expect("moment");
        let at: Timestamp = row.get(0);
        let row = client.query_one("select $1 = $2::text::timestamptz", &[&at, &text]).await.expect("same");
        assert!(row.get::<_, bool>(0), "{text} became {at}");
    }
}

#[tokio::test]
async fn a_statement_is_cancelled_from_outside() {
    let db = TestDb::new("cancelled").await;
    let connector = connector(&db.source_url_as("app_ro"), &[]).expect("settings");
    let client = connector.connect().await.expect("connects");
    let token = client.cancel_token();
    let sleeping = client.batch_execute("select pg_sleep(60)");
    let cancel = async {
        while db.source().query_one("select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and datname = current_database()", &[]).await.expect("activity").get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
        connector.cancel(&token).await.expect("told");
    };
    let (slept, ()) = tokio::join!(sleeping, cancel);
    assert_eq!(sort(slept.expect_err("cancelled")).kind(), ErrorKind::Busy);
    client.batch_execute("select 1").await.expect("the session goes on");
}

#[tokio::test]
async fn server_errors_are_sorted_and_keep_row_values_to_themselves() {
    let db = TestDb::new("sorted").await;
    db.tgt("create table t (email text primary key, n int not null check (n > 0)); insert into t values ('canary', 1)")
        .await;
    let client = db.target();
    for (sql, kind, words) in [
        ("insert into t values ('canary', 1)", ErrorKind::Contract, "SQLSTATE 23505"),
        ("insert into t values ('canary2', -5)", ErrorKind::Data, "SQLSTATE 23514"),
        ("insert into t values ('canary2', null)", ErrorKind::Data, "null value in column \"n\""),
        ("select 'canary'::text::int", ErrorKind::Data, "type integer: \"…\""),
        ("select * from nowhere", ErrorKind::NotFound, "\"nowhere\" does not exist"),
        ("set role nobody", ErrorKind::Data, "SQLSTATE 22023"),
        ("begin read only; create table x ()", ErrorKind::Permission, "read-only"),
        (
            "rollback; set lock_timeout = 1; select pg_terminate_backend(pg_backend_pid())",
            ErrorKind::Unreachable,
            "57P01",
        ),
        ("select 1", ErrorKind::Unreachable, "closed"),
    ] {
        let error = sort(client.batch_execute(sql).await.expect_err(sql));
        let said = format!("{error:?}");
        assert!(!said.contains("canary"), "{said}");
        assert_eq!(error.kind(), kind, "{sql}: {said}");
        assert!(said.contains(words), "{sql}: {said}");
    }
}
