//! Every `sslmode` against servers with good, wrong and no certificates.

use crate::connect::{connector, refused};
use dwh_core::config::Environment;
use dwh_core::testing::internals::{Connector, SslMode, sort};
use dwh_core::testing::{Clusters, Proxy, Server, Way, When, Whom};
use dwh_core::watermark::Micros;
use dwh_core::{ErrorKind, Secret};
use std::path::Path;
use std::process::Command;

/// A server, and a folder with certificates that openssl made.
struct Tls {
    server: Server,
    folder: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let tls = Self { server: Server::start("tls"), folder };
        for ca in ["ca", "other"] {
            tls.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"
            ));
        }
        tls.sign("good", "DNS:localhost,IP:127.0.0.1", "20200101000000Z", "20990101000000Z");
        tls.sign("elsewhere", "DNS:db.example", "20200101000000Z", "20990101000000Z");
        tls.sign("expired", "DNS:localhost,IP:127.0.0.1", "20200101000000Z", "20200102000000Z");
        tls.sign("certified", "DNS:client", "20200101000000Z", "20990101000000Z");
        tls.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=own -keyout own.key -out own.pem \
             -addext subjectAltName=DNS:localhost,IP:127.0.0.1",
        );
        for name in ["good", "elsewhere", "expired", "own"] {
            for file in [format!("{name}.pem"), format!("{name}.key")] {
                tls.server.install(&file, &std::fs::read(tls.folder.path().join(&file)).expect("made"));
            }
        }
        tls.server.install("ca.pem", &std::fs::read(tls.folder.path().join("ca.pem")).expect("made"));
        tls
    }

    fn openssl(&self, arguments: &str) {
        let output =
            Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.folder.path()).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A certificate of the CA, with dates of its own, which only `openssl ca` can set.
    fn sign(&self, name: &str, hosts: &str, from: &str, to: &str) {
        let at = |file: &str| self.folder.path().join(file);
        std::fs::write(at("index"), "").expect("write");
        std::fs::write(at("extensions"), format!("subjectAltName={hosts}\n")).expect("write");
        std::fs::write(
            at("ca.cnf"),
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n",
        )
        .expect("write");
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -extfile extensions -notext -in {name}.csr \
             -out {name}.pem -startdate {from} -enddate {to}"
        ));
    }

    /// Has the server show this certificate.
    fn show(&self, name: &str) {
        self.server.psql("postgres", &format!("alter system set ssl_cert_file = '{name}.pem'"));
        self.server.psql("postgres", &format!("alter system set ssl_key_file = '{name}.key'"));
        self.server.psql("postgres", "alter system set ssl_ca_file = 'ca.pem'");
        self.server.psql("postgres", "alter system set ssl = on");
        self.server.psql("postgres", "select pg_reload_conf()");
        // A new session has the settings, and the certificates, that the server had when it began.
        while self.server.psql("postgres", "select current_setting('ssl_cert_file')") != format!("{name}.pem") {
            std::thread::yield_now();
        }
    }

    fn url(&self, host: &str, mode: &str, root: &str) -> String {
        let port = self.server.port();
        let root = match root {
            "" => String::new(),
            "system" => "sslrootcert=system".to_owned(),
            root => format!("sslrootcert={}", self.path(&format!("{root}.pem"))),
        };
        let password = Server::PASSWORD.replace('\'', "\\'");
        format!("host={host} port={port} user=postgres dbname=postgres password='{password}' sslmode={mode} {root}")
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    async fn accepts(&self, host: &str, mode: &str, root: &str) {
        let connector =
            connector(&self.url(host, mode, root), &[("SSL_CERT_FILE", &self.path("other.pem"))]).expect("settings");
        let client = connector.connect().await.unwrap_or_else(|error| panic!("{host} {mode} {root}: {error:?}"));
        let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        assert!(client.query_one(sql, &[]).await.expect("pg_stat_ssl").get::<_, bool>(0), "{mode} is not encrypted");
        connector.cancel(&client.cancel_token()).await.expect("cancelling goes through TLS, too");
    }

    async fn refuses(&self, host: &str, mode: &str, root: &str, words: &str) {
        let error = refused(&self.url(host, mode, root), &[("SSL_CERT_FILE", &self.path("other.pem"))]).await;
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(error.to_string().contains(words), "{host} {mode} {root}: {error:?}");
    }
}

const UNKNOWN: &str = "from a CA that is not trusted";

#[tokio::test]
async fn every_mode_verifies_what_it_says_and_nothing_else_passes() {
    let tls = Tls::new();

    tls.show("good");
    for host in ["localhost", "127.0.0.1"] {
        for (mode, root) in [("require", ""), ("require", "ca"), ("verify-ca", "ca"), ("verify-full", "ca")] {
            tls.accepts(host, mode, root).await;
        }
    }
    for (mode, root) in [
        ("require", "other"),
        ("verify-ca", "other"),
        ("verify-full", "other"),
        ("verify-full", "system"),
        ("verify-ca", ""),
    ] {
        tls.refuses("localhost", mode, root, UNKNOWN).await;
    }
    tls.accepts("localhost", "verify-full channel_binding=require", "ca").await;

    tls.show("elsewhere");
    tls.accepts("localhost", "require", "").await;
    tls.accepts("localhost", "verify-ca", "ca").await;
    tls.refuses("localhost", "verify-full", "ca", "not for `localhost`").await;
    tls.refuses("127.0.0.1", "verify-full", "ca", "not for `127.0.0.1`").await;

    tls.show("expired");
    tls.accepts("localhost", "require", "").await;
    tls.refuses("localhost", "verify-ca", "ca", "has expired").await;
    tls.refuses("localhost", "verify-full", "ca", "has expired").await;

    tls.show("own");
    tls.accepts("localhost", "verify-full", "own").await;
    tls.refuses("localhost", "verify-full", "ca", UNKNOWN).await;

    tls.show("good");
    silence(&tls).await;
    client_certificate(&tls).await;
    old_versions(&tls).await;
}

/// The silence is noticed inside TLS, where the messages are; the second look goes through TLS as well.
async fn silence(tls: &Tls) {
    let proxy = Proxy::before(tls.server.port());
    let url = tls.url("localhost", "verify-full channel_binding=require", "ca");
    let url = url.replace(&format!("port={}", tls.server.port()), &format!("port={}", proxy.port()));
    let connector =
        Connector::patient("source `fleet`", &Secret::new(url), &Environment::default(), Micros::seconds(2));
    let connector = connector.expect("settings");
    let client = connector.connect().await.expect("connects");
    client.batch_execute("select pg_sleep(5)").await.expect("work is no silence");
    proxy.silence_when(Way::Down, When::Bytes(1), Whom::EachOne);
    let error = sort(client.batch_execute("select repeat('x', 100000)").await.expect_err("no answer"));
    assert!(error.to_string().contains("sent nothing for "), "{error:?}");
}

async fn client_certificate(tls: &Tls) {
    tls.server.psql("postgres", "create role certified login");
    let hba = b"hostssl all nobody_here all trust\nhostssl all certified all cert\nhost all all all scram-sha-256\n";
    tls.server.install("pg_hba.conf", hba);
    tls.server.psql("postgres", "select pg_reload_conf()");
    while tls.server.psql("postgres", "select count(*) from pg_hba_file_rules") != "3" {
        std::thread::yield_now();
    }
    let base = tls.url("localhost", "verify-full", "ca").replace("user=postgres", "user=certified");
    let url = |name: &str| {
        format!("{base} sslcert={} sslkey={}", tls.path(&format!("{name}.pem")), tls.path(&format!("{name}.key")))
    };
    connector(&url("certified"), &[]).expect("settings").connect().await.expect("by certificate");
    let no_certificate = refused(&base, &[]).await;
    assert_eq!(no_certificate.kind(), ErrorKind::Auth);
    assert!(no_certificate.hint().contains("pg_hba.conf"), "{}", no_certificate.hint());
    // A role that is not there is no matter of pg_hba.conf, nor is one that may not log in.
    let nobody = refused(&base.replace("user=certified", "user=nobody_here"), &[]).await;
    assert!(nobody.to_string().contains("role \"nobody_here\" does not exist"), "{nobody}");
    assert!(nobody.hint().contains("create role \"nobody_here\" login"), "{}", nobody.hint());
    assert!(!nobody.hint().contains("pg_hba"), "{}", nobody.hint());
    tls.server.psql("postgres", "create role nobody_here");
    let closed = refused(&base.replace("user=certified", "user=nobody_here"), &[]).await;
    assert!(closed.hint().contains("alter role \"nobody_here\" login;"), "{}", closed.hint());
    assert_eq!(refused(&url("good"), &[]).await.kind(), ErrorKind::Auth);
    let key = tls.path("certified.key");
    std::fs::set_permissions(Path::new(&key), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("mode");
    assert_eq!(refused(&url("certified"), &[]).await.hint(), format!("chmod 600 {key}"));
}

async fn old_versions(tls: &Tls) {
    tls.server.psql("postgres", "alter system set ssl_min_protocol_version = 'TLSv1'");
    tls.server.psql("postgres", "alter system set ssl_max_protocol_version = 'TLSv1.1'");
    tls.server.psql("postgres", "select pg_reload_conf()");
    let plain = |sql: &str| tls.server.psql("postgres", sql);
    while plain("select current_setting('ssl_max_protocol_version')") != "TLSv1.1" {
        std::thread::yield_now();
    }
    tls.refuses("localhost", "require", "", "TLS").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_by_every_mode_that_asks_for_it() {
    let server = &Clusters::shared().source;
    let url = server.url("app_ro", "postgres");
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = refused(&format!("{url}?sslmode={mode}"), &[]).await;
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.to_string().ends_with("the server does not offer TLS"), "{error}");
        assert!(error.hint().contains("ssl = on"), "{}", error.hint());
    }
    let plain = connector(&url, &[]).expect("settings");
    assert_eq!(plain.sslmode(), SslMode::Disable, "this machine is spoken to in the clear");
    plain.connect().await.expect("connects");
    let bound = refused(&format!("{url}?channel_binding=require"), &[]).await;
    assert_eq!(bound.kind(), ErrorKind::Auth);
    let remote = connector("postgresql://u@db.example/x", &[]).expect("settings");
    assert_eq!(remote.sslmode(), SslMode::VerifyFull, "other machines are verified");
    assert!(!remote.is_local());
}
