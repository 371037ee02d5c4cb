//! `dwh init`.

use dwh_core::config::{Environment, Secret};
use dwh_core::operate::{InitReport, InitRequest};
use dwh_core::{Error, ErrorKind, Result, operate};
use std::path::Path;

use super::{Context, ask};
use crate::args::{Format, InitArgs};
use crate::exit::Exit;

/// Looks at a live source and writes a configuration, or adds to one what is new.
pub async fn init(args: InitArgs, context: &Context) -> Result<Exit> {
    let args = tables_to_add(args);
    let asks = !args.yes && !args.dry_run && ask::can_ask(context);
    let mut request = requested(args, asks.then_some(context)).await?;
    let environment = Environment::of_process();
    if asks {
        let mut look = request.clone();
        look.dry_run = true;
        let busy = context.printer.busy("looking at the source");
        let looked = context.unless_cancelled(operate::init(&look, &environment)).await?;
        drop(busy);
        decide(&looked, &mut request, context).await?;
    }
    let busy = context.printer.busy("looking at the source");
    let report = context.unless_cancelled(operate::init(&request, &environment)).await?;
    drop(busy);
    report.warnings.iter().for_each(|warning| context.printer.warning(warning));
    match &report.config {
        // The bare file, so that it can be redirected.
        Some(text) if context.settings.format == Format::Text && !report.updated => {
            context.printer.raw(text.as_bytes())?;
        }
        _ => context.printer.show(&report)?,
    }
    Ok(Exit::DONE)
}

/// `--add 'fleet.*'` adds tables of the sources that are there: what has a dot or a wildcard is no name of a source.
fn tables_to_add(mut args: InitArgs) -> InitArgs {
    if let Some(glob) = args.add.take_if(|name| name.contains(['.', '*', '?', '['])) {
        args.update = true;
        args.tables.push(glob);
    }
    args
}

/// What was asked for on the command line, in the environment, in `.env` beside the file that is written, and, with a
/// terminal, by answers.
async fn requested(args: InitArgs, terminal: Option<&Context>) -> Result<InitRequest> {
    let folder = args.output_file.parent().unwrap_or(Path::new(""));
    // One that cannot be read is in the way, which is told where the files are written.
    let known = Environment::of_process().with_dotenv(folder).unwrap_or_else(|_| Environment::of_process());
    let is_first = args.add.is_none() && !args.update;
    let from_database = is_first && args.files.is_none() && args.manifests.is_none();
    let needed = [
        ("--source", "DWH_SOURCE_URL", args.source, from_database || args.add.is_some(), "address of the source"),
        ("--target", "DWH_TARGET_URL", args.target, is_first, "address of the target"),
        ("--blob", "", args.blob, is_first, "where CSV files go, file:///folder or s3://bucket"),
    ];
    let (mut values, mut missing) = ([String::new(), String::new(), String::new()], Vec::new());
    for ((option, variable, given, is_needed, meaning), value) in needed.into_iter().zip(&mut values) {
        // The address of a source that is added is another one than that of the first.
        let of_file = || known.get(variable).filter(|_| args.add.is_none()).map(str::to_owned);
        match given.filter(|text| !text.is_empty()).or_else(of_file) {
            Some(known) => *value = known,
            None if is_needed => missing.push((option, meaning)),
            None => {}
        }
    }
    let [source, target, blob] = values;
    let mut request = InitRequest::new(Secret::new(source), Secret::new(target), blob, args.output_file);
    request.add = args.add;
    request.update = args.update;
    request.files = args.files;
    request.manifests = args.manifests;
    request.tables = args.tables;
    request.exclude = args.exclude;
    request.snapshot = args.snapshot;
    request.name = args.name;
    request.timezone = args.timezone.unwrap_or_else(machine_zone);
    request.dry_run = args.dry_run;
    match terminal {
        Some(context) => ask_for(&missing, &mut request, context).await?,
        None if missing.is_empty() => {}
        None => return Err(are_missing(&missing)),
    }
    Ok(request)
}

/// Asks for what is missing, unless nothing could come of it.
async fn ask_for(missing: &[(&str, &str)], request: &mut InitRequest, context: &Context) -> Result<()> {
    request.refuse_existing(&Environment::of_process())?;
    for (option, meaning) in missing {
        let typed = ask::line(&format!("{meaning}: "), context).await?;
        match *option {
            "--source" => request.source = Secret::new(typed),
            "--target" => request.target = Secret::new(typed),
            _ => request.blob = typed,
        }
    }
    Ok(())
}

fn are_missing(missing: &[(&str, &str)]) -> Error {
    let (is, it) = if missing.len() == 1 { ("is", "it") } else { ("are", "them") };
    let missing: Vec<String> = missing.iter().map(|(option, _)| format!("`{option}`")).collect();
    Error::new(ErrorKind::Config, format!("{} {is} missing", missing.join(" and "))).with_hint(format!(
        "give {it}; addresses may stand in DWH_SOURCE_URL and DWH_TARGET_URL, in the environment or in `.env`, where \
         other people do not see them"
    ))
}

/// Asks about each table of which something is doubtful, until somebody has enough of it.
async fn decide(looked: &InitReport, request: &mut InitRequest, context: &Context) -> Result<()> {
    let doubtful: Vec<_> = looked.tables.iter().filter(|table| !table.doubts.is_empty()).collect();
    for (at, table) in doubtful.iter().enumerate() {
        match ask::about(table, (at + 1, doubtful.len()), context).await? {
            ask::Answer::Take => {}
            ask::Answer::Snapshot => request.snapshot.push(table.relation.clone()),
            ask::Answer::LeaveOut => request.exclude.push(table.relation.clone()),
            ask::Answer::TakeAll => return Ok(()),
        }
    }
    Ok(())
}

/// The zone of this machine, if it has one with a name.
fn machine_zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    zone.iana_name().filter(|name| *name != "Etc/Unknown").unwrap_or("UTC").to_owned()
}
