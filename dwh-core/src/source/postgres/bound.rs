//! The safe bound of a moment: which server is asked, what its rule can see, and what it cannot.

use tokio_postgres::Client;

use super::identity::{Answered, identify};
use super::members::Members;
use super::moment::Moment;
use super::primary::Looks;
use super::time::Instant;
use super::{PgSource, standby};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::source::BoundRequest;
use crate::watermark::{
    BoundRule, Micros, SafeBound, Timestamp, WatermarkKind, hold_repeated_hour, refuse_future, settle,
};

pub(super) async fn bound(source: &PgSource, request: BoundRequest<'_>) -> Result<SafeBound> {
    let bound = decide(source, &request, step(request.plan)?).await;
    finished(bound, &request)
}

/// The bound that a table has from what was seen together; `None` where it has to be looked at by itself.
pub(super) fn shared(moment: &Moment, request: &BoundRequest<'_>) -> Result<Option<SafeBound>> {
    // The largest number is another one in each table.
    if request.plan.watermark == Some(WatermarkKind::Number) {
        return Ok(None);
    }
    moment.bound(request, step(request.plan)?).transpose().map(|bound| finished(bound, request)).transpose()
}

fn step(plan: &Plan) -> Result<Micros> {
    // Asked for its error: without a watermark column there is nothing to bound.
    plan.watermark_column()?;
    Ok(plan.watermark.as_ref().map_or(Micros::ZERO, |kind| kind.step()))
}

fn finished(bound: Result<SafeBound>, request: &BoundRequest<'_>) -> Result<SafeBound> {
    let mut bound = bound.map_err(|error| error.context(format!("table `{}`", request.plan.table.name)))?;
    if let Some(kind) = &request.plan.watermark {
        bound.watermark = hold_repeated_hour(bound.watermark, kind).max(request.low);
    }
    Ok(bound)
}

async fn decide(source: &PgSource, request: &BoundRequest<'_>, step: Micros) -> Result<SafeBound> {
    let client = source.pool.take().await?;
    let (answered, unseen) = look(source, &client, request.plan).await?;
    let by_number = request.plan.watermark == Some(WatermarkKind::Number);
    let bound = match request.plan.table.fixed_lag {
        _ if by_number => match unseen {
            None => largest(source, &client, &answered, request).await?,
            Some(reason) => return Err(unseen_numbers(&reason)),
        },
        Some(lag) => fixed_lag(&answered, request, lag)?,
        None if answered.server.in_recovery => standby::bound(source, &client, &answered, request, step).await?,
        None => {
            let looks = Looks {
                client: &client,
                server: &answered.server,
                function: source.activity_function.as_ref(),
                drain_timeout: source.drain_timeout,
                step,
            };
            looks.bound(request).await?
        }
    };
    client.give_back();
    let bound = match unseen {
        Some(reason) => bound.unproven(reason),
        None => bound,
    };
    Ok(SafeBound { server: Some(answered.server), ..bound })
}

/// Who answers, and what of the table he cannot see being written.
async fn look(source: &PgSource, client: &Client, plan: &Plan) -> Result<(Answered, Option<String>)> {
    client.batch_execute(&source.begin()).await.map_err(sort)?;
    let answered = identify(client).await?;
    let unseen = Members::of(client, plan).await?.unseen();
    client.batch_execute("commit").await.map_err(sort)?;
    Ok((answered, unseen))
}

/// The largest number that is visible. Whatever appears below it later is written by a transaction that the snapshot of
/// this run does not see, and the sweep of the next run tells it by that.
async fn largest(
    source: &PgSource,
    client: &Client,
    answered: &Answered,
    request: &BoundRequest<'_>,
) -> Result<SafeBound> {
    let found = match request.plan.latest() {
        Some(sql) => {
            client.batch_execute(&source.begin()).await.map_err(sort)?;
            let row = client.query_typed_one(&sql, &[]).await.map_err(sort)?;
            client.batch_execute("commit").await.map_err(sort)?;
            row.get::<_, Option<Instant>>(0).map(|largest| largest.0)
        }
        None => None,
    };
    // Of a table without a row it is known that there is none.
    let watermark = found.unwrap_or(Timestamp::of_number(0)).max(request.low);
    Ok(SafeBound::new(watermark, BoundRule::Number, answered.at))
}

fn unseen_numbers(reason: &str) -> Error {
    Error::new(ErrorKind::Contract, format!("{reason}, and no number tells which of them are new"))
        .with_hint("take a column of type timestamptz as `watermark`, or mode `snapshot`")
}

fn fixed_lag(answered: &Answered, request: &BoundRequest<'_>, lag: Micros) -> Result<SafeBound> {
    refuse_future(request.low, answered.at)?;
    let (rule, clock) = (BoundRule::FixedLag { lag }, answered.at);
    Ok(settle(clock.minus(lag), rule, request.low, request.run_started_at, Micros::ZERO, &[], clock))
}
