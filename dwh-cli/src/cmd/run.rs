//! `dwh run`.

use dwh_core::operate::{PlanReport, PlanRequest};
use dwh_core::{Result, RunRequest};
use std::time::Instant;

use super::Context;
use crate::args::RunArgs;
use crate::exit::Exit;
use crate::output::{Plans, ended};

/// Extracts, loads and archives, or tells what that would do.
pub async fn run(args: RunArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    if args.dry_run {
        let plans = context.unless_cancelled(pipeline.plan(&PlanRequest::new(args.tables))).await?;
        return show_plans(plans, args.sql, context);
    }
    let mut request = RunRequest::new(args.tables);
    request.jobs = args.jobs.map(usize::from);
    request.wait = args.wait;
    request.allow_empty = args.allow_empty;
    request.accept_source = args.accept_source;
    request.preview = args.preview;
    let began = Instant::now();
    let report = match args.models {
        true => pipeline.run_with_models(&request, &context.cancel).await?,
        false => pipeline.run(&request, &context.cancel).await?,
    };
    context.printer.show(&report)?;
    context.printer.table_errors(report.runs.iter().map(|run| (&run.table, &run.error)));
    context.printer.errors(report.models.iter().filter_map(|model| model.error.as_ref()));
    context.printer.note(&ended(&report, began.elapsed().as_secs_f64()));
    if !request.preview && !context.cancel.is_cancelled() {
        tokio::select! {
            () = pipeline.alert_after_run(&request.tables) => {}
            () = context.cancel.cancelled() => {}
        }
    }
    Ok(Exit(report.exit_code()))
}

/// Prints what a run or an extract would do.
pub fn show_plans(plans: Vec<PlanReport>, sql: bool, context: &Context) -> Result<Exit> {
    let report = Plans { plans, sql };
    context.printer.show(&report)?;
    context.printer.table_errors(report.plans.iter().map(|plan| (&plan.table, &plan.error)));
    Ok(Exit::of(report.plans.iter().filter_map(|plan| plan.error.as_ref())))
}
