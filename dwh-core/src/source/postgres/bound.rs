//! The safe bound of a moment: the looks in the one order that loses nothing, and the fall-backs in theirs.

use std::time::Duration;
use tokio_postgres::Client;

use super::activity::{Scope, look, prepared};
use super::time::Instant;
use super::{PgSource, drain, standby};
use crate::connect::sort;
use crate::error::Result;
use crate::source::BoundRequest;
use crate::watermark::{
    BoundRule, Micros, Observation, SafeBound, Timestamp, Verdict, hold_repeated_hour, refuse_future, safe_bound,
    settle,
};

/// Between the two looks. Any length is right; a little lets busy sessions show themselves.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn bound(source: &PgSource, request: BoundRequest<'_>) -> Result<SafeBound> {
    let table = &request.plan.table;
    // Asked for its error: without a watermark column there is nothing to bound.
    request.plan.watermark_column()?;
    let step = request.plan.watermark.as_ref().map_or(Micros::ZERO, |kind| kind.step());
    let client = source.pool.take().await?;
    let bound = match table.fixed_lag {
        Some(lag) => fixed_lag(&client, &request, lag).await,
        None if in_recovery(&client).await? => standby::bound(source, &client, &request, step).await,
        None => on_primary(source, &client, &request, step).await,
    };
    let mut bound = bound.map_err(|error| error.context(format!("table `{}`", table.name)))?;
    client.give_back();
    if let Some(kind) = &request.plan.watermark {
        bound.watermark = hold_repeated_hour(bound.watermark, kind).max(request.low);
    }
    Ok(bound)
}

pub(super) async fn in_recovery(client: &Client) -> Result<bool> {
    Ok(client.query_typed_one("select pg_catalog.pg_is_in_recovery()", &[]).await.map_err(sort)?.get(0))
}

/// The server's clock when the statement arrived.
pub(super) async fn clock(client: &Client) -> Result<Timestamp> {
    let row = client.query_typed_one("select pg_catalog.statement_timestamp()", &[]).await.map_err(sort)?;
    Ok(row.get::<_, Instant>(0).0)
}

async fn fixed_lag(client: &Client, request: &BoundRequest<'_>, lag: Micros) -> Result<SafeBound> {
    let clock = clock(client).await?;
    refuse_future(request.low, clock)?;
    let rule = BoundRule::FixedLag { lag };
    Ok(settle(clock.minus(lag), rule, request.low, request.run_started_at, Micros::ZERO, &[], clock))
}

/// First look, pause, second look, prepared transactions: each a statement of its own, in this order and no other.
/// A transaction that turns from open to prepared in between is seen by the second look, because that comes first.
pub(super) async fn on_primary(
    source: &PgSource,
    client: &Client,
    request: &BoundRequest<'_>,
    step: Micros,
) -> Result<SafeBound> {
    let scope = Scope::of(client, request.plan).await?;
    let function = source.activity_function.as_ref();
    let first = look(client, function, &scope).await?;
    tokio::time::sleep(PAUSE).await;
    let second = look(client, function, &scope).await?;
    let prepared = prepared(client, &scope).await?;
    let seen = Observation {
        low: request.low,
        run_started_at: request.run_started_at,
        step,
        first: &first,
        second: &second,
        prepared: &prepared,
    };
    match safe_bound(&seen)? {
        Verdict::Bound(bound) => Ok(bound),
        Verdict::Hidden(pids) => {
            tracing::info!(table = request.plan.table.name, ?pids, "sessions are hidden, draining");
            let harmless: Vec<i32> = second.backends.iter().filter(|b| b.harmless).map(|b| b.pid).collect();
            let drain = drain::Drain { client, scope: &scope, request, step, at: first.at, harmless };
            drain.bound(source.drain_timeout).await
        }
    }
}
