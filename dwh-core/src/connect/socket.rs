//! Connections over a Unix socket, which the driver would open where nobody can watch them.

use std::io;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{CancelToken, Client, Config, NoTls};

use super::errors::{Attempt, at_connect, not_there, sort};
use super::stream::{Dialled, WatchedStream, drive};
use super::watch::{Watch, last_row};
use crate::error::{Error, ErrorKind, Result};

/// Logs in over the socket in the folder `attempt.host`.
pub(super) async fn open(
    config: &Config,
    attempt: &Attempt<'_>,
    watch: Option<Arc<Watch>>,
    name: &str,
) -> Result<Dialled> {
    let stream = WatchedStream::new(connect(attempt).await?, watch);
    let mut config = config.clone();
    let dialled = config.ssl_mode(SslMode::Disable).connect_raw(stream, NoTls).await;
    let dialled = drive(name, dialled.map_err(|error| at_connect(error, attempt))?);
    serves(&dialled.0, config.get_target_session_attrs(), attempt).await?;
    Ok(dialled)
}

/// Asks the server to cancel what the session of this token is doing.
pub(super) async fn cancel(token: &CancelToken, attempt: &Attempt<'_>) -> Result<()> {
    token.cancel_query_raw(connect(attempt).await?, NoTls).await.map_err(sort)
}

async fn connect(attempt: &Attempt<'_>) -> Result<UnixStream> {
    let path = format!("{}/.s.PGSQL.{}", attempt.host, attempt.port);
    UnixStream::connect(path).await.map_err(|error| {
        not_there(error.kind(), &error.to_string(), attempt).unwrap_or_else(|| broken(attempt, &error))
    })
}

fn broken(attempt: &Attempt<'_>, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, format!("{}: the connection broke: {error}", attempt.place))
}

/// `target_session_attrs`, as the driver looks at it on the connections that it opens.
async fn serves(client: &Client, wanted: TargetSessionAttrs, attempt: &Attempt<'_>) -> Result<()> {
    let only_reads = match wanted {
        TargetSessionAttrs::ReadWrite => "off",
        TargetSessionAttrs::ReadOnly => "on",
        _ => return Ok(()),
    };
    let answer = client.simple_query("show transaction_read_only").await.map_err(sort)?;
    if last_row(&answer).is_some_and(|row| row.first().is_some_and(|found| found == only_reads)) {
        return Ok(());
    }
    let why = if only_reads == "off" { "database does not allow writes" } else { "database is not read only" };
    Err(not_there(io::ErrorKind::PermissionDenied, why, attempt)
        .unwrap_or_else(|| Error::new(ErrorKind::Unreachable, why)))
}
