//! `dwh report`.

use dwh_core::{Error, ErrorKind, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;

use super::Context;
use crate::args::ReportArgs;
use crate::exit::Exit;
use crate::output::{Paint, Show};

/// What was written, for programs.
#[derive(Debug, Serialize)]
struct Written {
    path: String,
    bytes: usize,
    healthy: bool,
    tables: usize,
    breaches: usize,
}

/// Writes the page.
pub async fn report(args: ReportArgs, context: &Context) -> Result<Exit> {
    let pipeline = context.pipeline()?;
    let report = context.unless_cancelled(pipeline.report(args.days)).await?;
    let page = report.html()?;
    if args.output_file.as_os_str() == "-" {
        context.printer.raw(page.as_bytes())?;
        return Ok(Exit::DONE);
    }
    write(&args.output_file, &page)?;
    context.printer.show(&Written {
        path: args.output_file.display().to_string(),
        bytes: page.len(),
        healthy: report.status.healthy,
        tables: report.status.tables.len(),
        breaches: report.status.breaches.len(),
    })?;
    Ok(Exit::DONE)
}

/// Beside it first, so that whoever reads the page at this moment has the old one or the new one.
pub fn write(path: &Path, page: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    fs::write(&beside, page).and_then(|()| fs::rename(&beside, path)).map_err(|error| {
        // What is left of it is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&beside);
        Error::new(ErrorKind::Disk, format!("`{}`: cannot be written", path.display()))
            .with_hint("give a file in a folder that is there and may be written to, with `--output-file`")
            .with_source(error)
    })
}

impl Show for Written {
    fn text(&self, _paint: Paint<'_>) -> String {
        format!("wrote {}\n", self.path)
    }
}
