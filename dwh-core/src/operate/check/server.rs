//! What both ends must have: an answer, TLS that proves who answers, a version, room for our connections.

use std::collections::BTreeSet;
use std::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::about::About;
use super::words::Word;
use crate::config::{Environment, Secret, TargetConfig};
use crate::connect::{Connector, SslMode, look, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{TableRef, quote_ident};
use crate::source::survey::Survey;
use crate::watermark::{Micros, Timestamp};

/// The oldest server whose snapshots can be read as the safe bound needs them.
const OLDEST_SERVER: i32 = 130_000;
/// Limits of the role that would end a long read, were they not switched off for each transaction.
const TIMEOUTS: &str = "select name::text || ' = ' || reset_val || coalesce(unit, '') \
     from pg_catalog.pg_settings where reset_val <> '0' and name in ('statement_timeout', \
     'idle_in_transaction_session_timeout', 'transaction_timeout') order by name";

/// A server that answered.
pub(super) struct Server {
    /// Looks at it, and at rows for a few seconds at most.
    pub(super) survey: Survey,
    connector: Connector,
    pub(super) role: String,
    pub(super) superuser: bool,
    /// Schemas of a target that the role cannot work in, which is told.
    pub(super) closed: BTreeSet<String>,
}

impl Server {
    /// The rows of a statement over catalogs.
    pub(super) async fn ask(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        self.survey.rows(sql, values).await
    }

    /// The one row of a statement over catalogs.
    pub(super) async fn ask_one(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row> {
        self.survey.row(sql, values).await
    }
}

impl Server {
    /// The same on a connection of its own.
    pub(super) async fn again(&self) -> Result<Self> {
        let survey = Survey { client: self.connector.connect().await? };
        let (connector, role, closed) = (self.connector.clone(), self.role.clone(), self.closed.clone());
        Ok(Self { survey, connector, role, superuser: self.superuser, closed })
    }

    /// Whom a right is granted to: the owner role where the login works through it.
    pub(super) async fn grantee(&self, target: &TargetConfig) -> Result<String> {
        let sql = "select exists (select from pg_catalog.pg_roles where rolname = $1 and pg_catalog.pg_has_role(oid, 'usage'))";
        let member: bool = self.ask_one(sql, &[(&target.owner_role, Type::TEXT)]).await?.get(0);
        Ok(if member { target.owner_role.clone() } else { self.role.clone() })
    }

    /// Whether `LOCK TABLE` is allowed; asked inside a transaction.
    pub(super) async fn may_lock(&self, table: &TableRef) -> Result<bool> {
        let sql = "select pg_catalog.has_table_privilege($1, 'select')";
        let row = self.survey.client.query_typed_one(sql, &[(&table.sql(), Type::TEXT)]).await.map_err(sort)?;
        Ok(row.get(0))
    }
}

/// Where a remedy is applied.
pub(super) fn place(about: &About<'_>) -> &'static str {
    if about.subject == "target" { "target" } else { "source" }
}

/// Connects, and looks at what every server must have. `wanted`: the connections that a run opens.
pub(super) async fn open(
    url: &Secret,
    environment: &Environment,
    idle_timeout: Micros,
    wanted: usize,
    about: &mut About<'_>,
) -> Option<Server> {
    let opened = async {
        let connector = Connector::patient(&about.subject, url, environment, idle_timeout)?;
        let client = connector.connect().await?;
        let sql = "select current_user::text, rolsuper, pg_catalog.current_setting('server_version'), \
                   pg_catalog.current_setting('server_version_num')::integer, \
                   pg_catalog.current_setting('server_encoding') \
                   from pg_catalog.pg_roles where rolname = current_user";
        let row = look(&client, async { client.query_typed_one(sql, &[]).await.map_err(sort) }).await?;
        Ok::<_, Error>((connector, client, row))
    };
    let (connector, client, row) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            about.error(Word::Connection, &error);
            return None;
        }
    };
    about.ok(Word::Connection, connector.summary());
    tls(&connector, about);
    let version: String = row.get(2);
    if row.get::<_, i32>(3) < OLDEST_SERVER {
        let remedy = "take a server of PostgreSQL 13 or later";
        about.fail(Word::Version, ErrorKind::Contract, format!("PostgreSQL {version} is too old"), remedy);
    } else {
        about.ok(Word::Version, format!("PostgreSQL {version}"));
    }
    encoding(row.get(4), about);
    let (role, superuser, closed) = (row.get(0), row.get(1), BTreeSet::new());
    let server = Server { survey: Survey { client }, connector, role, superuser, closed };
    let looked = timeouts(&server, about).await;
    about.unless(Word::Timeouts, looked);
    let looked = connections(&server, wanted, about).await;
    about.unless(Word::Connections, looked);
    Some(server)
}

fn tls(connector: &Connector, about: &mut About<'_>) {
    let mode = connector.sslmode();
    let said = format!("`sslmode={}`", mode.as_str());
    match mode {
        SslMode::VerifyCa | SslMode::VerifyFull => about.ok(Word::Tls, said),
        SslMode::Disable | SslMode::Require if connector.is_local() => {
            about.ok(Word::Tls, format!("{said}; the server is on this machine"));
        }
        SslMode::Disable | SslMode::Require => about.warn(
            Word::Tls,
            format!("{said} lets anyone on the way pose as the server"),
            "say `sslmode=verify-full` in the URL, with `sslrootcert=/path/ca.pem` for a CA of your own",
        ),
    }
}

fn encoding(encoding: &str, about: &mut About<'_>) {
    match encoding {
        "UTF8" => about.ok(Word::Encoding, "UTF8"),
        "SQL_ASCII" => about.warn(
            Word::Encoding,
            "SQL_ASCII: the server does not know what its text means; bytes that are no UTF-8 fail the load",
            "find such rows before the first load, or copy the database into one with encoding UTF8",
        ),
        other => about.warn(
            Word::Encoding,
            format!("{other}: a character that it, or UTF8, does not have fails the run"),
            "nothing, while both ends hold the same characters; otherwise a database with encoding UTF8",
        ),
    }
}

async fn timeouts(server: &Server, about: &mut About<'_>) -> Result<()> {
    let rows = server.ask(TIMEOUTS, &[]).await?;
    let limits: Vec<String> = rows.iter().map(|row| format!("`{}`", row.get::<_, &str>(0))).collect();
    if limits.is_empty() {
        about.ok(Word::Timeouts, "none that would end a long COPY");
    } else {
        about.ok(Word::Timeouts, format!("{} of the role, switched off in each transaction of dwh", limits.join(", ")));
    }
    Ok(())
}

/// Room for the connections of a run, under the limits of role, database and server.
async fn connections(server: &Server, wanted: usize, about: &mut About<'_>) -> Result<()> {
    if server.superuser {
        return Ok(());
    }
    let sql = "select r.rolconnlimit, d.datconnlimit, pg_catalog.current_setting('max_connections')::integer \
               - pg_catalog.current_setting('superuser_reserved_connections')::integer, \
               (select count(*) from pg_catalog.pg_stat_activity a where a.usesysid = r.oid), \
               (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid), \
               (select count(*) from pg_catalog.pg_stat_activity a where a.usesysid is not null), d.datname::text \
               from pg_catalog.pg_roles r, pg_catalog.pg_database d \
               where r.rolname = current_user and d.datname = pg_catalog.current_database()";
    let row = server.ask_one(sql, &[]).await?;
    let at = place(about);
    let (role, database) = (quote_ident(&server.role), quote_ident(row.get(6)));
    // This one is counted among those that are open, and ends with this look.
    let free = |limit: i32, open: i64| i64::from(limit) - open + 1;
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
    let limits = [
        (row.get::<_, i32>(0), row.get::<_, i64>(3), format!("in the {at}: alter role {role} connection limit -1;")),
        (row.get(1), row.get(4), format!("in the {at}: alter database {database} connection limit -1;")),
        (
            row.get(2),
            row.get(5),
            "raise `max_connections` of the server, or lower `connections` in `[target]`".to_owned(),
        ),
    ];
    for (limit, open, remedy) in limits {
        if limit >= 0 && free(limit, open) < wanted {
            let message = format!("a run opens up to {wanted}, and {} of {limit} are free", free(limit, open).max(0));
            about.warn(Word::Connections, message, remedy);
            return Ok(());
        }
    }
    about.ok(Word::Connections, format!("room for the {wanted} of a run"));
    Ok(())
}

/// How far the clocks of a source and the target are apart.
pub(super) async fn clocks(source: &Server, target: &Server, about: &mut About<'_>) -> Result<()> {
    let (here, there) = (clock(&source.survey.client).await?, clock(&target.survey.client).await?);
    let between = i64::try_from(there.1.duration_since(here.1).as_micros()).unwrap_or(i64::MAX);
    let apart = Micros(there.0.since(here.0).0.saturating_sub(between)).as_seconds();
    judge_clocks(apart, about);
    Ok(())
}

fn judge_clocks(apart: f64, about: &mut About<'_>) {
    let message =
        format!("the target's clock is {:.1} s {}", apart.abs(), if apart > 0.0 { "ahead" } else { "behind" });
    let remedy = "have both machines follow a time server: `timedatectl set-ntp true`";
    match apart.abs() {
        ..=1.0 => about.ok(Word::Clock, message),
        ..=60.0 => about.warn(Word::Clock, message, remedy),
        _ => about.fail(Word::Clock, ErrorKind::Contract, message, remedy),
    }
}

/// A server's clock, and when it was read by ours.
pub(super) async fn clock(client: &Client) -> Result<(Timestamp, Instant)> {
    let asked = Instant::now();
    let row = client.query_typed_one("select pg_catalog.clock_timestamp()", &[]).await.map_err(sort)?;
    Ok((row.get(0), asked + asked.elapsed() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::{CheckReport, Severity};

    fn told(judge: impl FnOnce(&mut About<'_>)) -> (Severity, String, Option<String>) {
        let mut report = CheckReport::default();
        judge(&mut About::new("target", &mut report));
        let finding = report.findings.pop().expect("finding");
        (finding.severity, finding.message, finding.remedy)
    }

    #[test]
    fn clocks_are_judged_by_how_far_they_are_apart() {
        for (apart, severity, word) in [
            (0.4, Severity::Ok, "ahead"),
            (-1.0, Severity::Ok, "behind"),
            (5.0, Severity::Warning, "5.0 s ahead"),
            (-60.0, Severity::Warning, "60.0 s behind"),
            (3600.0, Severity::Failure, "ahead"),
        ] {
            let found = told(|about| judge_clocks(apart, about));
            assert_eq!(found.0, severity, "{apart}");
            assert!(found.1.contains(word), "{found:?}");
        }
    }

    #[test]
    fn encodings_that_cannot_promise_are_told() {
        assert_eq!(told(|about| encoding("UTF8", about)).0, Severity::Ok);
        assert_eq!(told(|about| encoding("SQL_ASCII", about)).0, Severity::Warning);
        assert_eq!(told(|about| encoding("LATIN1", about)).0, Severity::Warning);
    }
}
