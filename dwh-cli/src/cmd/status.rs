//! `dwh status`.

use dwh_core::Result;

use super::Context;
use crate::exit::Exit;

/// Shows freshness, lag and failures.
pub async fn status(context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let report = context.unless_cancelled(pipeline.status()).await?;
    context.printer.show(&report)?;
    Ok(Exit::DONE)
}
