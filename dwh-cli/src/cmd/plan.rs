//! `dwh plan`.

use dwh_core::Result;
use dwh_core::operate::PlanRequest;

use super::Context;
use crate::args::PlanArgs;
use crate::exit::Exit;
use crate::output::Work;

/// Tells what work there is.
pub async fn plan(args: PlanArgs, context: &Context) -> Result<Exit> {
    let mut request = PlanRequest::new(args.tables);
    (request.from, request.to) = (args.from, args.to);
    let pipeline = context.pipeline()?;
    let plans = context.unless_cancelled(pipeline.plan(&request)).await?;
    let report = Work { plans };
    context.printer.show(&report)?;
    context.printer.table_errors(report.plans.iter().map(|plan| (&plan.table, &plan.error)));
    Ok(Exit::of(report.plans.iter().filter_map(|plan| plan.error.as_ref())))
}
