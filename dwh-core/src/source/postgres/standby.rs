//! A standby as the source. It does not know the primary's sessions, so the primary is asked, and the standby is given
//! time to replay what had ended there.

use std::time::Duration;
use tokio::time::{Instant as Clock, sleep};
use tokio_postgres::Client;

use super::ask::ask_one;
use super::identity::{Answered, identify, same_process};
use super::primary::Looks;
use super::time::Instant;
use super::{PgSource, pool::Pool};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::source::BoundRequest;
use crate::watermark::{BoundRule, Micros, SafeBound, Server, refuse_future};

/// Between two looks at how far the standby is.
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn bound(
    source: &PgSource,
    standby: &Client,
    answered: &Answered,
    request: &BoundRequest<'_>,
    step: Micros,
) -> Result<SafeBound> {
    if let Some(primary) = &source.primary {
        return through_primary(source, primary, (standby, &answered.server), request, step).await;
    }
    if !request.plan.can_sweep() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("source `{}` is a standby: the transactions open on its primary cannot be seen", source.name),
        )
        .with_hint("set `primary_url` of the source, read from the primary, or set `late_window` on a table"));
    }
    refuse_future(request.low, answered.at)?;
    Ok(SafeBound { watermark: request.low, rule: BoundRule::SweepOnly, source_clock: answered.at, server: None })
}

async fn through_primary(
    source: &PgSource,
    pool: &Pool,
    standby: (&Client, &Server),
    request: &BoundRequest<'_>,
    step: Micros,
) -> Result<SafeBound> {
    let primary = pool.take().await?;
    primary.batch_execute(&source.begin()).await.map_err(sort)?;
    let there = identify(&primary).await?.server;
    primary.batch_execute("commit").await.map_err(sort)?;
    let same = standby.1.system_identifier == there.system_identifier && standby.1.database == there.database;
    if there.in_recovery || !same {
        return Err(Error::new(
            ErrorKind::Config,
            format!("source `{}`: `primary_url` does not lead to the primary of this standby", source.name),
        )
        .with_hint("name the server and the database that the standby replicates from"));
    }
    let looks = Looks {
        client: &primary,
        server: &there,
        function: source.activity_function.as_ref(),
        drain_timeout: source.drain_timeout,
        step,
    };
    let bound = looks.bound(request).await?;
    // Read after the looks: everything that had ended by then is in the log below this place.
    let sql = "select pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.pg_postmaster_start_time()";
    let row = ask_one(&primary, sql, &[]).await?;
    same_process(&there, row.get::<_, Instant>(1).0)?;
    primary.give_back();
    replayed(source, standby, row.get(0)).await?;
    Ok(bound)
}

/// Waits until the standby that will be read has replayed its log up to `place`.
async fn replayed(source: &PgSource, (standby, server): (&Client, &Server), place: &str) -> Result<()> {
    let patience = Duration::from_micros(u64::try_from(source.drain_timeout.0).unwrap_or(0));
    let deadline = Clock::now() + patience;
    // A standby that was promoted meanwhile is a server of its own: it may have left the end of the log behind.
    let sql = format!(
        "select pg_catalog.pg_last_wal_replay_lsn() >= '{place}'::pg_catalog.pg_lsn and pg_catalog.pg_is_in_recovery(), \
         pg_catalog.pg_postmaster_start_time()"
    );
    loop {
        let row = ask_one(standby, &sql, &[]).await?;
        same_process(server, row.get::<_, Instant>(1).0)?;
        if row.get::<_, Option<bool>>(0).unwrap_or(false) {
            return Ok(());
        }
        if Clock::now() >= deadline {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("source `{}`: the standby has not replayed its primary up to {place} in time", source.name),
            )
            .with_hint("run it again when the standby has caught up, or set a longer `drain_timeout`"));
        }
        sleep(POLL).await;
    }
}
