//! `dwh init`.

use dwh_core::config::{Environment, Secret};
use dwh_core::operate::InitRequest;
use dwh_core::{Result, operate};

use super::Context;
use crate::args::{Format, InitArgs};
use crate::exit::Exit;

/// Looks at a live source and writes a configuration.
pub async fn init(args: InitArgs, context: &Context) -> Result<Exit> {
    let source = Secret::new(args.source.unwrap_or_default());
    // Both are there, unless a source is added to a configuration that has them.
    let (target, blob) = (Secret::new(args.target.unwrap_or_default()), args.blob.unwrap_or_default());
    let mut request = InitRequest::new(source, target, blob, args.output_file);
    request.add = args.add;
    request.files = args.files;
    request.manifests = args.manifests;
    request.tables = args.tables;
    request.exclude = args.exclude;
    request.name = args.name;
    request.timezone = args.timezone.unwrap_or_else(machine_zone);
    request.dry_run = args.dry_run;
    let report = context.unless_cancelled(operate::init(&request, &Environment::of_process())).await?;
    report.warnings.iter().for_each(|warning| context.printer.warning(warning));
    match &report.config {
        // The bare file, so that it can be redirected.
        Some(text) if context.settings.format == Format::Text => context.printer.raw(text.as_bytes())?,
        _ => context.printer.show(&report)?,
    }
    Ok(Exit::DONE)
}

/// The zone of this machine, if it has one with a name.
fn machine_zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    zone.iana_name().filter(|name| *name != "Etc/Unknown").unwrap_or("UTC").to_owned()
}
