//! `check`: everything that a run depends on, each thing looked at on its own, each finding with what to do.

mod source;
mod table;
mod target;

use std::time::Instant;
use tokio_postgres::Client;

use crate::blob;
use crate::config::{Environment, Secret};
use crate::connect::{Connector, SslMode, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{CheckReport, Finding, Pipeline, Severity};
use crate::watermark::{Micros, Timestamp};

/// The oldest server whose snapshots can be read as the safe bound needs them.
const OLDEST_SERVER: i32 = 130_000;

impl Pipeline {
    /// Looks at everything that a run depends on. Nothing is changed; a tiny object is written to the blob store and
    /// removed again.
    ///
    /// What cannot be looked at because something before it failed is left out.
    pub async fn check(&self) -> CheckReport {
        let mut report = CheckReport::default();
        let target = target::check(&self.config, &mut About::new("target", &mut report)).await;
        let mut reached = Vec::new();
        for (name, config) in &self.config.sources {
            let mut about = About::new(format!("source {name}"), &mut report);
            let tables: Vec<_> = self.config.tables.iter().filter(|table| table.source == *name).collect();
            if let Some(server) = source::check(config, &tables, &self.config.environment, &mut about).await {
                if let Some(target) = &target {
                    let compared = clocks(&server, target, &mut about).await;
                    about.unless("clock", compared);
                }
                reached.push(name);
            }
        }
        for table in self.config.tables.iter().filter(|table| reached.contains(&&table.source)) {
            let mut about = About::new(format!("table `{}`", table.name), &mut report);
            let looked = table::check(self, table, target.as_ref(), &mut about).await;
            about.unless("catalog", looked);
        }
        let mut about = About::new("blob", &mut report);
        match blob::probe(self.blobs.as_ref(), &self.config.project.name).await {
            Ok(()) => about.ok("write", format!("{} keeps, lists, copies and deletes", self.blobs.url())),
            Err(error) => about.error("write", &error),
        }
        report
    }
}

/// Findings about one subject.
struct About<'a> {
    subject: String,
    report: &'a mut CheckReport,
}

impl<'a> About<'a> {
    fn new(subject: impl Into<String>, report: &'a mut CheckReport) -> Self {
        Self { subject: subject.into(), report }
    }

    fn add(&mut self, severity: Severity, check: &str, message: String, remedy: Option<String>, exit_code: u8) {
        let (subject, check) = (self.subject.clone(), check.to_owned());
        self.report.findings.push(Finding { severity, subject, check, message, remedy, exit_code });
    }

    fn ok(&mut self, check: &str, message: impl Into<String>) {
        self.add(Severity::Ok, check, message.into(), None, 0);
    }

    fn warn(&mut self, check: &str, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Warning, check, message.into(), Some(remedy.into()), 0);
    }

    fn fail(&mut self, check: &str, kind: ErrorKind, message: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Failure, check, message.into(), Some(remedy.into()), kind.row().exit_code);
    }

    /// An error as a failure, without the subject that both name.
    fn error(&mut self, check: &str, error: &Error) {
        let chain = error.chain();
        let message = chain.strip_prefix(&format!("{}: ", self.subject)).unwrap_or(&chain);
        self.add(Severity::Failure, check, message.to_owned(), Some(error.hint().to_owned()), error.exit_code());
    }

    /// What kept a check from being made.
    fn unless(&mut self, check: &str, done: Result<()>) {
        if let Err(error) = done {
            self.error(check, &error);
        }
    }
}

/// A server that answered.
struct Server {
    client: Client,
    role: String,
    superuser: bool,
}

/// Connects, and looks at what every server must have.
async fn open(url: &Secret, environment: &Environment, about: &mut About<'_>) -> Option<Server> {
    let opened = async {
        let connector = Connector::new(&about.subject, url, environment)?;
        let client = connector.connect().await?;
        let sql = "select current_user::text, rolsuper, pg_catalog.current_setting('server_version'), \
                   pg_catalog.current_setting('server_version_num')::integer \
                   from pg_catalog.pg_roles where rolname = current_user";
        let row = client.query_typed_one(sql, &[]).await.map_err(sort)?;
        Ok::<_, Error>((connector, client, row))
    };
    let (connector, client, row) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            about.error("connection", &error);
            return None;
        }
    };
    about.ok("connection", connector.summary());
    tls(&connector, about);
    let version: String = row.get(2);
    if row.get::<_, i32>(3) < OLDEST_SERVER {
        let remedy = "take a server of PostgreSQL 13 or later";
        about.fail("version", ErrorKind::Contract, format!("PostgreSQL {version} is too old"), remedy);
    } else {
        about.ok("version", format!("PostgreSQL {version}"));
    }
    Some(Server { client, role: row.get(0), superuser: row.get(1) })
}

fn tls(connector: &Connector, about: &mut About<'_>) {
    let mode = connector.sslmode();
    let said = format!("`sslmode={}`", mode.as_str());
    match mode {
        SslMode::VerifyCa | SslMode::VerifyFull => about.ok("tls", said),
        SslMode::Disable | SslMode::Require if connector.is_local() => {
            about.ok("tls", format!("{said}; the server is on this machine"));
        }
        SslMode::Disable | SslMode::Require => about.warn(
            "tls",
            format!("{said} lets anyone on the way pose as the server"),
            "say `sslmode=verify-full` in the URL, with `sslrootcert=/path/ca.pem` for a CA of your own",
        ),
    }
}

/// How far the clocks of a source and the target are apart.
async fn clocks(source: &Server, target: &Server, about: &mut About<'_>) -> Result<()> {
    let (here, there) = (clock(&source.client).await?, clock(&target.client).await?);
    let between = i64::try_from(there.1.duration_since(here.1).as_micros()).unwrap_or(i64::MAX);
    let apart = Micros(there.0.since(here.0).0.saturating_sub(between)).as_seconds();
    let message =
        format!("the target's clock is {:.1} s {}", apart.abs(), if apart > 0.0 { "ahead" } else { "behind" });
    let remedy = "have both machines follow a time server: `timedatectl set-ntp true`";
    match apart.abs() {
        ..=1.0 => about.ok("clock", message),
        ..=60.0 => about.warn("clock", message, remedy),
        _ => about.fail("clock", ErrorKind::Contract, message, remedy),
    }
    Ok(())
}

/// A server's clock, and when it was read by ours.
async fn clock(client: &Client) -> Result<(Timestamp, Instant)> {
    let asked = Instant::now();
    let row = client.query_typed_one("select pg_catalog.clock_timestamp()", &[]).await.map_err(sort)?;
    Ok((row.get(0), asked + asked.elapsed() / 2))
}
