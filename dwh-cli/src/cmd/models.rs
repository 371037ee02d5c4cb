//! `dwh models …`.

use dwh_core::Result;
use dwh_core::operate::ModelsRequest;
use serde::Serialize;
use std::fs;

use super::Context;
use super::report::write;
use crate::args::ModelsCommand;
use crate::exit::Exit;
use crate::output::{Paint, Show};

/// Where the sources of dbt went, for programs.
#[derive(Debug, Serialize)]
struct Sources {
    path: String,
    bytes: usize,
}

/// Builds models, lists them, or writes the sources of dbt.
pub async fn models(command: ModelsCommand, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    match command {
        ModelsCommand::Run(args) => {
            let mut request = ModelsRequest::new(args.models);
            (request.upstream, request.downstream) = (args.upstream, args.downstream);
            (request.prefix, request.replace, request.dry_run) = (args.prefix, args.replace, args.dry_run);
            let report = pipeline.run_models(&request, &context.cancel).await?;
            context.printer.show(&report)?;
            context.printer.errors(report.models.iter().filter_map(|model| model.error.as_ref()));
            Ok(Exit(report.exit_code()))
        }
        ModelsCommand::List(args) => {
            let list = context.unless_cancelled(pipeline.list_models(&args.models)).await?;
            context.printer.show(&list)?;
            Ok(Exit::DONE)
        }
        ModelsCommand::DbtSources(args) => {
            let text = context.unless_cancelled(pipeline.dbt_sources(&args.tables)).await?;
            if args.output_file.as_os_str() == "-" {
                context.printer.raw(text.as_bytes())?;
                return Ok(Exit::DONE);
            }
            // `dbt/models` may not be there yet. What cannot be made, the write tells.
            let _ = args.output_file.parent().map(fs::create_dir_all);
            write(&args.output_file, &text)?;
            context.printer.show(&Sources { path: args.output_file.display().to_string(), bytes: text.len() })?;
            Ok(Exit::DONE)
        }
    }
}

impl Show for Sources {
    fn text(&self, _paint: Paint) -> String {
        format!("wrote {}\n", self.path)
    }
}
