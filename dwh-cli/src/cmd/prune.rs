//! `dwh prune`.

use dwh_core::Result;
use dwh_core::pipeline::PruneRequest;

use super::Context;
use crate::args::PruneArgs;
use crate::exit::Exit;
use crate::output::freed;

/// Says what retention lets go, then removes it.
pub async fn prune(args: PruneArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let mut request = PruneRequest::new(args.tables);
    request.dry_run = true;
    let mut report = pipeline.prune(&request, &context.cancel).await?;
    if !args.dry_run {
        context.printer.note(&format!("removing {}", freed(&report)));
        request.dry_run = false;
        report = pipeline.prune(&request, &context.cancel).await?;
    }
    context.printer.show(&report)?;
    context.printer.table_errors(report.tables.iter().map(|table| (&table.table, &table.error)));
    Ok(Exit(report.exit_code()))
}
