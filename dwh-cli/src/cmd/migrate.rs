//! `dwh migrate`.

use dwh_core::Result;

use super::Context;
use crate::args::MigrateArgs;
use crate::exit::Exit;

/// Makes what the engine needs in the target, or prints the SQL that does.
pub async fn migrate(args: &MigrateArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    if args.print_sql {
        context.printer.sql(&context.unless_cancelled(pipeline.migration_sql()).await?)?;
    } else {
        context.printer.show(&context.unless_cancelled(pipeline.migrate()).await?)?;
    }
    Ok(Exit::DONE)
}
