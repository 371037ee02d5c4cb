//! `dwh verify`.

use dwh_core::Result;
use dwh_core::operate::{RepairRequest, VerifyRequest};

use super::Context;
use crate::args::VerifyArgs;
use crate::exit::Exit;

/// Compares source and bronze, and repairs what differs if that is asked for.
pub async fn verify(args: VerifyArgs, context: &Context) -> Result<Exit> {
    let mut request = VerifyRequest::new(args.tables);
    request.since = args.since;
    request.sample_percent = args.sample;
    request.limit = args.limit as usize;
    request.blobs = args.blobs;
    let pipeline = context.pipeline()?;
    let report = if args.repair {
        let mut repair = RepairRequest::new(request);
        (repair.dry_run, repair.wait, repair.allow_empty) = (args.dry_run, args.wait, args.allow_empty);
        pipeline.repair(&repair, &context.cancel).await?
    } else {
        context.unless_cancelled(pipeline.verify(&request)).await?
    };
    context.printer.show(&report)?;
    context.printer.table_errors(report.tables.iter().map(|table| (&table.table, &table.error)));
    Ok(Exit(report.exit_code()))
}
