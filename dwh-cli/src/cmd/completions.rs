//! `dwh completions`.

use clap_complete::env::Shells;
use dwh_core::{Error, ErrorKind, Result};

use super::Context;
use crate::args::CompletionsArgs;
use crate::complete::VARIABLE;
use crate::exit::Exit;

/// Prints the script by which a shell asks `dwh` at each TAB.
pub fn completions(args: &CompletionsArgs, context: &Context) -> Result<Exit> {
    let shell = args.shell.to_string();
    let unknown = || Error::new(ErrorKind::Internal, format!("shell `{shell}`: nothing is known of it"));
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_else(unknown)?;
    let written = completer.write_registration(VARIABLE, "dwh", "dwh", "dwh", &mut script);
    written.map_err(|error| unknown().with_source(error))?;
    context.printer.raw(&script)?;
    Ok(Exit::DONE)
}
