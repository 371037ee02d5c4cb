//! `dwh rebuild`.

use dwh_core::Result;
use dwh_core::pipeline::RebuildRequest;

use super::Context;
use crate::args::RebuildArgs;
use crate::exit::Exit;

/// Makes bronze and control schema anew from the blobs, or tells what that would do.
pub async fn rebuild(args: RebuildArgs, context: &Context) -> Result<Exit> {
    let mut request = RebuildRequest::new(args.tables);
    request.dry_run = args.dry_run;
    request.reset = args.reset;
    request.accept_gaps = args.accept_gaps;
    let report = context.pipeline()?.rebuild(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    context.printer.table_errors(report.tables.iter().map(|table| (&table.table, &table.error)));
    Ok(Exit(report.exit_code()))
}
