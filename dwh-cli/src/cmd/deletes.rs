//! `dwh deletes`.

use dwh_core::Result;
use dwh_core::pipeline::DeletesRequest;

use super::Context;
use crate::args::DeletesArgs;
use crate::exit::Exit;

/// Marks or removes rows of bronze that the source has deleted.
pub async fn deletes(args: DeletesArgs, context: &Context) -> Result<Exit> {
    let mut request = DeletesRequest::new(args.tables);
    (request.wait, request.force, request.dry_run) = (args.wait, args.force, args.dry_run);
    let report = context.pipeline()?.deletes(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    context.printer.table_errors(report.tables.iter().map(|table| (&table.table, &table.error)));
    Ok(Exit(report.exit_code()))
}
