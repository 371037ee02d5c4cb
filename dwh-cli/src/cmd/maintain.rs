//! `dwh maintain`.

use dwh_core::Result;
use dwh_core::operate::MaintainRequest;

use super::Context;
use crate::args::MaintainArgs;
use crate::exit::Exit;

/// Does what a warehouse wants done from time to time, or tells what that would be.
pub async fn maintain(args: MaintainArgs, context: &Context) -> Result<Exit> {
    let mut request = MaintainRequest::new(args.tables);
    request.dry_run = args.dry_run;
    let pipeline = context.pipeline()?;
    let report = context.unless_cancelled(pipeline.maintain(&request, &context.cancel)).await?;
    context.printer.show(&report)?;
    context.printer.errors(report.steps.iter().filter_map(|step| step.error.as_ref()));
    Ok(Exit(report.exit_code()))
}
