//! `dwh check`.

use dwh_core::Result;

use super::Context;
use crate::exit::Exit;

/// Looks at everything a run depends on.
pub async fn check(context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let report = context.unless_cancelled(async { Ok(pipeline.check().await) }).await?;
    context.printer.show(&report)?;
    Ok(Exit(report.exit_code()))
}
