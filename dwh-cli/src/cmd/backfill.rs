//! `dwh backfill`.

use dwh_core::pipeline::BackfillRequest;
use dwh_core::{Result, RunId};

use super::Context;
use crate::args::BackfillArgs;
use crate::exit::Exit;

/// Reads a range of history again.
pub async fn backfill(args: BackfillArgs, context: &Context) -> Result<Exit> {
    let mut request = BackfillRequest::new(args.table, args.from);
    request.to = args.to;
    request.since_run = args.since_run.map(RunId);
    request.wait = args.again.wait;
    request.restart = args.again.restart;
    request.dry_run = args.again.dry_run;
    let report = context.pipeline()?.backfill(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    context.printer.table_errors(report.runs.iter().map(|run| (&run.table, &run.error)));
    Ok(Exit(report.exit_code()))
}
