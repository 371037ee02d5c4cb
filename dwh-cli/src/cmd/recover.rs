//! `dwh recover`.

use dwh_core::Result;

use super::Context;
use crate::args::RecoverArgs;
use crate::exit::Exit;

/// Mends what is stuck, or tells what is.
pub async fn recover(args: &RecoverArgs, context: &Context) -> Result<Exit> {
    let report = context.pipeline()?.recover(&args.tables, args.dry_run, &context.cancel).await?;
    context.printer.show(&report)?;
    report.notes.iter().for_each(|note| context.printer.warning(note));
    let failed = report.found.iter().filter_map(|found| Some((found.table.clone()?, found.error.clone())));
    let unread = report.errors.iter().map(|error| (error.table.clone(), Some(error.error.clone())));
    let errors: Vec<_> = failed.chain(unread).collect();
    context.printer.table_errors(errors.iter().map(|(table, error)| (table, error)));
    Ok(Exit(report.exit_code()))
}
