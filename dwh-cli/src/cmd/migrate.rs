//! `dwh migrate`.

use dwh_core::Result;
use dwh_core::operate::MigrateRequest;

use super::Context;
use crate::args::MigrateArgs;
use crate::exit::Exit;

/// Makes what the engine needs in the target, or tells what is missing, or prints the SQL that makes it.
pub async fn migrate(args: MigrateArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let mut request = MigrateRequest::new(args.tables);
    (request.dry_run, request.apply_drift) = (args.dry_run, args.apply_drift);
    if args.print_sql {
        context.printer.sql(&context.unless_cancelled(pipeline.migration_sql(&request)).await?)?;
    } else {
        let report = context.unless_cancelled(pipeline.migrate(&request)).await?;
        context.printer.show(&report)?;
        return Ok(Exit(report.exit_code()));
    }
    Ok(Exit::DONE)
}
