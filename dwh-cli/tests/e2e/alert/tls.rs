//! Alerts inside TLS: they go to whom the machine trusts, and nothing goes in the clear that should not.

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

use super::servers::Server;
use super::{discreet, fleet, of};

/// Certificates that openssl made: two CAs, and of one of them a server's.
struct Certificates(TempDir);

impl Certificates {
    /// The server is known by these names alone.
    fn new(names: &str) -> Self {
        let made = Self(tempfile::tempdir().expect("folder"));
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for ca in ["ca", "other"] {
            made.openssl(&format!("req -x509 {key} -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"));
        }
        fs::write(made.path("extensions"), format!("subjectAltName={names}\n")).expect("write");
        made.openssl(&format!("req -new {key} -subj /CN=test -keyout own.key -out own.csr"));
        made.openssl(
            "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out own.pem",
        );
        made
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.0.path()).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn server(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_file(self.path("own.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path("own.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        Arc::new(config.expect("they fit"))
    }
}

/// Why an alert was not sent, and what is to be done.
fn why<'a>(report: &'a Value, alert: &str) -> (&'a str, &'a str) {
    let error = &of(report, alert)["error"];
    (error["message"].as_str().unwrap_or_default(), error["hint"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn inside_tls_it_goes_to_whom_the_machine_trusts_and_nothing_in_the_clear() {
    let made = Certificates::new("IP:127.0.0.1,IP:0.0.0.0");
    let config = made.server();
    let (hook, wrapped, begun, bare) =
        (Server::https(&config), Server::smtps(&config), Server::starttls(&config), Server::smtp());
    let mail = |name: &str, address: String| {
        format!(
            "[[alert]]\nname = \"{name}\"\nsmtp = \"{address}\"\nfrom = \"d@example.org\"\nto = [\"a@example.org\"]\n"
        )
    };
    // 0.0.0.0 leads to this machine and is not known as its own, so STARTTLS is asked for.
    let alerts = format!("[[alert]]\nname = \"hook\"\nwebhook = \"https://127.0.0.1:{}/canary\"\n", hook.port)
        + &mail("wrapped", format!("smtps://me:canary@127.0.0.1:{}", wrapped.port))
        + &mail("begun", format!("smtp://me:canary@0.0.0.0:{}", begun.port))
        + &mail("bare", format!("smtp://me:canary@0.0.0.0:{}", bare.port))
        + &mail("renamed", format!("smtps://me:canary@localhost:{}", wrapped.port))
        + &mail("no_tls", format!("smtps://me:canary@127.0.0.1:{}", bare.port));
    let (_db, project) = fleet("alert_tls", &alerts).await;
    let trusting = |ca: &str| project.config_with("", "").env("SSL_CERT_FILE", &made.path(ca).display().to_string());

    let output = trusting("ca.pem").fails(3, &["alert", "--test"]);
    let report = output.json();
    assert!(hook.texts()[0].contains("test of alert `hook`"), "{report:#}");
    for (name, server) in [("wrapped", &wrapped), ("begun", &begun)] {
        let mails = server.take();
        assert!(mails.len() == 1 && mails[0].contains("AUTH PLAIN"), "{name}: {mails:?} {report:#}");
        assert!(mails[0].contains(&format!("test of alert `{name}`")), "{mails:?}");
    }
    assert_eq!((wrapped.clear(), begun.clear()), (vec![], vec!["EHLO".to_owned(), "STARTTLS".to_owned()]));
    for (alert, words, remedy) in [
        ("bare", "the server does not offer STARTTLS, so neither password nor mail went to it", "`smtps://…`"),
        ("renamed", "the server's certificate is for another host", "the name of the server that stands in"),
        ("no_tls", "the server does not begin with TLS at this port", "`smtp://`"),
    ] {
        let (message, hint) = why(&report, alert);
        assert!(message.ends_with(words) && hint.contains(remedy), "{alert}: {report:#}");
    }
    let said = bare.clear();
    assert!(
        bare.take().is_empty() && said.iter().all(|word| !["AUTH", "MAIL", "DATA"].contains(&word.as_str())),
        "{said:?}"
    );
    discreet(&output, &bare);

    let output = trusting("other.pem").fails(3, &["alert", "--test"]);
    let report = output.json();
    for alert in ["hook", "wrapped", "begun"] {
        let (message, hint) = why(&report, alert);
        assert!(message.ends_with("the server's certificate is from a CA that is not trusted"), "{report:#}");
        assert!(hint.contains("`SSL_CERT_FILE`") && hint.contains("dwh alert --test"), "{hint}");
    }
    assert!([&hook, &wrapped, &begun].iter().all(|server| server.take().is_empty()), "nothing was said to them");
    assert_eq!((wrapped.clear(), begun.clear()), (vec![], vec!["EHLO".to_owned(), "STARTTLS".to_owned()]));
    discreet(&output, &begun);
}
