//! `dwh status`.

use dwh_core::{Pipeline, Result};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

use super::Context;
use crate::args::StatusArgs;
use crate::exit::Exit;

/// Says whether all is well, once or again and again.
pub async fn status(args: &StatusArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    if let Some(seconds) = args.watch {
        return watch(&pipeline, &args.tables, seconds, context).await;
    }
    let report = context.unless_cancelled(pipeline.status(&args.tables)).await?;
    context.printer.show(&report)?;
    Ok(if args.check { Exit(report.exit_code()) } else { Exit::DONE })
}

/// Shows a screen a round until Ctrl-C, or until nobody reads any more; a round that fails is shown too.
async fn watch(pipeline: &Pipeline, tables: &[String], seconds: u32, context: &Context) -> Result<Exit> {
    // A name that matches nothing will not do so in five seconds either.
    context.unless_cancelled(pipeline.tables(tables)).await?;
    let mut rounds = interval(Duration::from_secs(seconds.into()));
    // After a slow round the next one is not hurried.
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let round = async {
            rounds.tick().await;
            pipeline.status(tables).await
        };
        let report = tokio::select! {
            report = round => report,
            () = context.cancel.cancelled() => return Ok(Exit::DONE),
        };
        if !context.printer.screen(&report)? {
            return Ok(Exit::DONE);
        }
    }
}
