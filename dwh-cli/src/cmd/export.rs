//! `dwh export`.

use dwh_core::Result;
use dwh_core::operate::ExportRequest;

use super::Context;
use crate::args::{ExportArgs, ExportFormat};
use crate::exit::Exit;

/// Writes the archive of a table as Parquet, or tells what that would be.
pub async fn export(args: ExportArgs, context: &Context) -> Result<Exit> {
    let ExportFormat::Parquet = args.format;
    let mut request = ExportRequest::new(args.table, args.to);
    (request.from, request.to_time) = (args.from, args.to_time);
    request.as_text = args.as_text;
    request.accept_gaps = args.accept_gaps;
    request.dry_run = args.dry_run;
    let report = context.pipeline()?.export(&request, &context.cancel).await?;
    context.printer.show(&report)?;
    Ok(Exit::DONE)
}
