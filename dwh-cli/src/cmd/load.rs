//! `dwh load`.

use dwh_core::{Error, ErrorKind, LoadParams, Result, RunId};

use super::Context;
use crate::args::LoadArgs;
use crate::exit::Exit;

/// Loads one CSV and archives it, or tells what that would do.
pub async fn load(args: LoadArgs, context: &Context) -> Result<Exit> {
    let (wait, accept_unverified, dry_run) = (args.wait, args.accept_unverified, args.dry_run);
    let params = context.unless_cancelled(params(args)).await?;
    let pipeline = context.pipeline()?;
    if dry_run {
        context.printer.show(&context.unless_cancelled(pipeline.plan_load(&params, accept_unverified)).await?)?;
        return Ok(Exit::DONE);
    }
    let run = pipeline.load(&params, wait, accept_unverified, &context.cancel).await?;
    context.printer.show(&run)?;
    context.printer.table_errors([(&run.table, &run.error)]);
    Ok(Exit::of(&run.error))
}

async fn params(args: LoadArgs) -> Result<LoadParams> {
    let json = match args.params {
        Some(dash) if dash == "-" => stdin().await?,
        Some(json) => json,
        None => {
            // The parser refuses a call that lacks either.
            let mut params = LoadParams::new(args.table.unwrap_or_default(), args.csv_path.unwrap_or_default());
            params.run_id = args.run_id.map(RunId);
            params.run_started_at = args.run_started_at;
            return Ok(params);
        }
    };
    serde_json::from_str(&json).map_err(|error| refused("is not what `dwh extract` prints").with_source(error))
}

/// All of stdin, read aside so that Ctrl-C still works.
async fn stdin() -> Result<String> {
    let read = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    let text = read.await.map_err(|error| refused("was not read").with_source(error))?;
    text.map_err(|error| refused("cannot be read from stdin").with_source(error))
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`--params` {what}"))
        .with_hint("pass the line that `dwh extract` prints: {\"table\":…,\"csv_path\":…,\"run_id\":…}")
}
