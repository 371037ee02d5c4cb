//! `dwh completions`.

use clap::CommandFactory;
use dwh_core::Result;

use super::Context;
use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;

/// Prints the script that completes `dwh` in a shell.
pub fn completions(args: &CompletionsArgs, context: &Context) -> Result<Exit> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dwh", &mut script);
    context.printer.raw(&script)?;
    Ok(Exit::DONE)
}
