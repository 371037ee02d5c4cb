//! `dwh tap`.

use dwh_core::Result;
use dwh_core::operate::TapRequest;
use dwh_core::watermark::Micros;

use super::Context;
use crate::args::TapArgs;
use crate::exit::Exit;

/// Does with the tables of a manifest what the load type says.
pub async fn tap(args: TapArgs, context: &Context) -> Result<Exit> {
    let mut request = TapRequest::new(args.manifest, args.load_type);
    request.tables = args.tables;
    request.execution_date = args.execution_date;
    let hours = args.hours.or(args.days.map(|days| days.saturating_mul(24)));
    request.increment = hours.map(|hours| Micros::seconds(i64::from(hours) * 3600));
    request.task_instance = args.task_instance;
    request.jobs = args.jobs.map(usize::from);
    request.wait = args.wait;
    request.dry_run = args.dry_run;
    let report = context.pipeline()?.tap(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    context.printer.table_errors(report.errors());
    Ok(Exit(report.exit_code()))
}
