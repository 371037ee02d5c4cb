//! `dwh resync`.

use dwh_core::Result;
use dwh_core::pipeline::ResyncRequest;

use super::Context;
use crate::args::ResyncArgs;
use crate::exit::Exit;

/// Reads the tables that match anew, and puts them in the place of what bronze has.
pub async fn resync(args: ResyncArgs, context: &Context) -> Result<Exit> {
    let mut request = ResyncRequest::new(args.tables);
    request.jobs = args.jobs.map(usize::from);
    request.allow_empty = args.allow_empty;
    request.wait = args.wait;
    request.restart = args.restart;
    request.dry_run = args.dry_run;
    let report = context.pipeline()?.resync(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    let runs = report.tables.iter().flat_map(|table| &table.runs);
    context.printer.table_errors(runs.map(|run| (&run.table, &run.error)));
    Ok(Exit(report.exit_code()))
}
