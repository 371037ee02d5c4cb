//! `dwh reseed`.

use dwh_core::Result;
use dwh_core::pipeline::ReseedRequest;

use super::Context;
use crate::args::ReseedArgs;
use crate::exit::Exit;

/// Reads all history of the tables that match again.
pub async fn reseed(args: ReseedArgs, context: &Context) -> Result<Exit> {
    let mut request = ReseedRequest::new(args.tables);
    request.replace = args.replace;
    request.allow_empty = args.allow_empty;
    request.wait = args.again.wait;
    request.restart = args.again.restart;
    request.dry_run = args.again.dry_run;
    let report = context.pipeline()?.reseed(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    let runs = report.tables.iter().flat_map(|table| &table.runs);
    context.printer.table_errors(runs.map(|run| (&run.table, &run.error)));
    Ok(Exit(report.exit_code()))
}
