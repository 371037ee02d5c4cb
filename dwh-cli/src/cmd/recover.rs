//! `dwh recover`.

use dwh_core::Result;
use dwh_core::pipeline::RecoverRequest;
use dwh_core::watermark::Micros;

use super::Context;
use crate::args::RecoverArgs;
use crate::exit::Exit;

/// Mends what is stuck, or tells what is; or takes one CSV out of the way.
pub async fn recover(args: RecoverArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let report = match args.set_aside {
        Some(what) => context.unless_cancelled(pipeline.set_aside(&what, args.dry_run)).await?,
        None => {
            let uploads_older_than = Some(Micros::seconds(i64::from(args.uploads_older_than) * 3600));
            let mut request = RecoverRequest::new(args.tables);
            request.dry_run = args.dry_run;
            request.uploads_older_than = uploads_older_than;
            pipeline.recover(&request, &context.cancel).await?
        }
    };
    context.printer.show(&report)?;
    report.notes.iter().for_each(|note| context.printer.warning(note));
    let failed = report.found.iter().filter_map(|found| Some((found.table.clone()?, found.error.clone())));
    let unread = report.errors.iter().map(|error| (error.table.clone(), Some(error.error.clone())));
    let errors: Vec<_> = failed.chain(unread).collect();
    context.printer.table_errors(errors.iter().map(|(table, error)| (table, error)));
    Ok(Exit(report.exit_code()))
}
