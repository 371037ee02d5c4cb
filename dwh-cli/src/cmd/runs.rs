//! `dwh runs`.

use dwh_core::sink::RunFilter;
use dwh_core::{Result, RunState};

use super::Context;
use crate::args::RunsArgs;
use crate::exit::Exit;
use crate::output::Runs;

/// Shows the run log.
pub async fn runs(args: RunsArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    if let Some(table) = &args.table {
        pipeline.config().table(table)?;
    }
    let states = if args.failed { vec![RunState::Failed] } else { Vec::new() };
    let filter = RunFilter { table: args.table, states, limit: Some(args.limit), ..RunFilter::default() };
    let runs = context.unless_cancelled(pipeline.runs(&filter)).await?;
    context.printer.show(&Runs { runs })?;
    Ok(Exit::DONE)
}
