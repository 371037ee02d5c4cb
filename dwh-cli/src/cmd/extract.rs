//! `dwh extract`.

use dwh_core::Result;

use super::Context;
use super::run::show_plans;
use crate::args::ExtractArgs;
use crate::exit::Exit;

/// Extracts one window of one table and prints what `load` takes, or tells what that would do.
pub async fn extract(args: &ExtractArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    if args.dry_run {
        let plan = context.unless_cancelled(pipeline.plan_extract(&args.table)).await?;
        return show_plans(vec![plan], args.sql, context);
    }
    let params = pipeline.extract(&args.table, args.wait, &context.cancel).await?;
    context.printer.json(&params)?;
    Ok(Exit::DONE)
}
