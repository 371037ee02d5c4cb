//! `dwh config …`.

use dwh_core::{Error, ErrorKind, Result};

use super::Context;
use crate::args::ConfigCommand;
use crate::exit::Exit;

/// Prints the JSON Schema of the configuration, indented: it becomes a file that people read.
pub fn config(command: &ConfigCommand, context: &Context) -> Result<Exit> {
    let ConfigCommand::Schema = command;
    let schema = serde_json::to_string_pretty(&dwh_core::config::json_schema())
        .map_err(|error| Error::new(ErrorKind::Internal, "schema: no JSON").with_source(error))?;
    context.printer.raw(format!("{schema}\n").as_bytes())?;
    Ok(Exit::DONE)
}
