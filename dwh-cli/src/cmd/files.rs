//! `dwh files …`.

use dwh_core::operate::{FilesReport, FilesRequest};
use dwh_core::{Result, RunId, RunRequest};

use super::Context;
use crate::args::FilesCommand;
use crate::exit::Exit;

/// Looks at raw files, or does something about them.
pub async fn files(command: FilesCommand, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let request = |paths, tables| {
        let mut request = FilesRequest::new(paths);
        request.tables = tables;
        request
    };
    match command {
        FilesCommand::List(args) => {
            let report = context.unless_cancelled(pipeline.list_files(&request(args.paths, args.table))).await?;
            context.printer.show(&report)?;
            Ok(Exit::DONE)
        }
        FilesCommand::Validate(args) => {
            let report = context.unless_cancelled(pipeline.validate_files(&request(args.paths, args.table))).await?;
            told(&report, context)
        }
        FilesCommand::Reprocess(args) if args.dry_run => {
            let report = context.unless_cancelled(pipeline.list_files(&request(args.paths, args.table))).await?;
            context.printer.show(&report)?;
            Ok(Exit::DONE)
        }
        FilesCommand::Reprocess(args) => {
            let mut request = RunRequest::new(args.table);
            request.wait = args.wait;
            let report = pipeline.reprocess_files(&args.paths, &request, &context.cancel).await?;
            context.printer.show(&report)?;
            context.printer.table_errors(report.runs.iter().map(|run| (&run.table, &run.error)));
            Ok(Exit(report.exit_code()))
        }
        FilesCommand::Archive(args) => {
            let (request, dry_run) = (request(args.paths, args.table), args.dry_run);
            let report = pipeline.archive_files(&args.before, &request, dry_run);
            told(&context.unless_cancelled(report).await?, context)
        }
        FilesCommand::Restore(args) => {
            let report = pipeline.restore_file(RunId(args.run), args.dry_run, &context.cancel).await?;
            context.printer.show(&report)?;
            context.printer.warning(&report.note);
            context.printer.table_errors(report.run.iter().map(|run| (&run.table, &run.error)));
            Ok(Exit(report.exit_code()))
        }
    }
}

fn told(report: &FilesReport, context: &Context) -> Result<Exit> {
    context.printer.show(report)?;
    let errors: Vec<_> = report.files.iter().map(|file| (file.table.clone(), file.error.clone())).collect();
    context.printer.table_errors(errors.iter().map(|(table, error)| (table, error)));
    Ok(Exit(report.exit_code()))
}
