//! `dwh extract`.

use dwh_core::Result;

use super::Context;
use crate::args::ExtractArgs;
use crate::exit::Exit;

/// Extracts one window of one table, and prints what `load` takes.
pub async fn extract(args: &ExtractArgs, context: &Context) -> Result<Exit> {
    let params = context.pipeline()?.extract(&args.table, args.wait, &context.cancel).await?;
    context.printer.json(&params)?;
    Ok(Exit::DONE)
}
