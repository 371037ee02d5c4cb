//! `dwh runs`.

use dwh_core::sink::RunFilter;
use dwh_core::{Pipeline, Result, RunId, RunState};

use super::Context;
use crate::args::{RunsArgs, RunsCommand};
use crate::exit::Exit;
use crate::output::Runs;

/// Shows the run log, or one run of it.
pub async fn runs(args: RunsArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    if let Some(RunsCommand::Show(show)) = args.command {
        let details = context.unless_cancelled(pipeline.run_details(RunId(show.run_id))).await?;
        context.printer.show(&details)?;
        return Ok(Exit::DONE);
    }
    let listed = async { pipeline.runs(&filter(args, &pipeline).await?).await };
    let runs = context.unless_cancelled(listed).await?;
    context.printer.show(&Runs { runs })?;
    Ok(Exit::DONE)
}

async fn filter(args: RunsArgs, pipeline: &Pipeline) -> Result<RunFilter> {
    let tables = match args.table.as_slice() {
        [] => Vec::new(),
        globs => pipeline.tables(globs).await?.into_iter().map(|table| table.name).collect(),
    };
    Ok(RunFilter {
        tables,
        states: if args.failed { vec![RunState::Failed] } else { args.status },
        kind: args.kind,
        since: args.since,
        until: args.until,
        limit: Some(args.limit),
        ..RunFilter::default()
    })
}
