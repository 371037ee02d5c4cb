//! `dwh replay`.

use dwh_core::Result;
use dwh_core::pipeline::ReplayRequest;

use super::Context;
use crate::args::ReplayArgs;
use crate::exit::Exit;

/// Loads archived CSV files again, or tells which.
pub async fn replay(args: ReplayArgs, context: &Context) -> Result<Exit> {
    let mut request = ReplayRequest::new(args.table);
    (request.from, request.to) = (args.from, args.to);
    request.wait = args.wait;
    request.dry_run = args.dry_run;
    request.accept_gaps = args.accept_gaps;
    let report = context.pipeline()?.replay(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    context.printer.table_errors(report.runs.iter().map(|run| (&run.table, &run.error)));
    Ok(Exit(report.exit_code()))
}
