//! `dwh design …`.

use dwh_core::Result;
use dwh_core::operate::{DesignReport, DesignRequest};

use super::Context;
use crate::args::DesignCommand;
use crate::exit::Exit;

/// Writes table designs, or compares them with the tables that are there.
pub async fn design(command: DesignCommand, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    match command {
        DesignCommand::Pull(args) => {
            let mut request = DesignRequest::new(args.tables);
            (request.folder, request.force, request.dry_run) = (args.dir, args.force, args.dry_run);
            told(&context.unless_cancelled(pipeline.pull_designs(&request)).await?, context)
        }
        DesignCommand::Diff(args) => {
            let mut request = DesignRequest::new(args.tables);
            request.folder = args.dir;
            told(&context.unless_cancelled(pipeline.diff_designs(&request)).await?, context)
        }
    }
}

fn told(report: &DesignReport, context: &Context) -> Result<Exit> {
    report.notes.iter().for_each(|note| context.printer.warning(note));
    context.printer.show(report)?;
    context.printer.table_errors(report.tables.iter().map(|one| (&one.table, &one.error)));
    Ok(Exit(report.exit_code()))
}
