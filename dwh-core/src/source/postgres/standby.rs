//! A standby as the source. It does not know the primary's sessions, so the primary is asked, and the standby is given
//! time to replay what had ended there.

use std::time::Duration;
use tokio::time::{Instant as Clock, sleep};
use tokio_postgres::Client;

use super::bound::{clock, in_recovery, on_primary};
use super::identity::identity;
use super::{PgSource, pool::Pool};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::source::BoundRequest;
use crate::watermark::{BoundRule, Micros, SafeBound, refuse_future};

/// Between two looks at how far the standby is.
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn bound(
    source: &PgSource,
    standby: &Client,
    request: &BoundRequest<'_>,
    step: Micros,
) -> Result<SafeBound> {
    if let Some(primary) = &source.primary {
        return through_primary(source, primary, standby, request, step).await;
    }
    if !request.plan.can_sweep() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("source `{}` is a standby: the transactions open on its primary cannot be seen", source.name),
        )
        .with_hint("set `primary_url` of the source, read from the primary, or set `late_window` on a table"));
    }
    let clock = clock(standby).await?;
    refuse_future(request.low, clock)?;
    Ok(SafeBound { watermark: request.low, rule: BoundRule::SweepOnly, source_clock: clock })
}

async fn through_primary(
    source: &PgSource,
    pool: &Pool,
    standby: &Client,
    request: &BoundRequest<'_>,
    step: Micros,
) -> Result<SafeBound> {
    let primary = pool.take().await?;
    let (here, there) = (identity(standby).await?, identity(&primary).await?);
    let same = here.system_identifier == there.system_identifier && here.database == there.database;
    if in_recovery(&primary).await? || !same {
        return Err(Error::new(
            ErrorKind::Config,
            format!("source `{}`: `primary_url` does not lead to the primary of this standby", source.name),
        )
        .with_hint("name the server and the database that the standby replicates from"));
    }
    let bound = on_primary(source, &primary, request, step).await?;
    // Read after the looks: everything that had ended by then is in the log below this place.
    let sql = "select pg_catalog.pg_current_wal_insert_lsn()::text";
    let place: String = primary.query_typed_one(sql, &[]).await.map_err(sort)?.get(0);
    primary.give_back();
    replayed(source, standby, &place).await?;
    Ok(bound)
}

async fn replayed(source: &PgSource, standby: &Client, place: &str) -> Result<()> {
    let patience = Duration::from_micros(u64::try_from(source.drain_timeout.0).unwrap_or(0));
    let deadline = Clock::now() + patience;
    // A standby that was promoted meanwhile is a server of its own: it may have left the end of the log behind.
    let sql = format!(
        "select pg_catalog.pg_last_wal_replay_lsn() >= '{place}'::pg_catalog.pg_lsn and pg_catalog.pg_is_in_recovery()"
    );
    while !standby.query_typed_one(&sql, &[]).await.map_err(sort)?.get::<_, Option<bool>>(0).unwrap_or(false) {
        if Clock::now() >= deadline {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("source `{}`: the standby has not replayed its primary up to {place} in time", source.name),
            )
            .with_hint("run it again when the standby has caught up, or set a longer `drain_timeout`"));
        }
        sleep(POLL).await;
    }
    Ok(())
}
