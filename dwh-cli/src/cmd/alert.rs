//! `dwh alert`.

use dwh_core::Result;
use dwh_core::operate::AlertRequest;

use super::Context;
use crate::args::AlertArgs;
use crate::exit::Exit;

/// Sends what is due to whoever is to be told.
pub async fn alert(args: AlertArgs, context: &Context) -> Result<Exit> {
    let mut request = AlertRequest::new(args.tables);
    (request.test, request.dry_run) = (args.test, args.dry_run);
    let pipeline = context.pipeline()?;
    let report = context.unless_cancelled(pipeline.alert(&request)).await?;
    context.printer.show(&report)?;
    context.printer.errors(report.alerts.iter().filter_map(|alert| alert.error.as_ref()));
    Ok(Exit(report.exit_code()))
}
