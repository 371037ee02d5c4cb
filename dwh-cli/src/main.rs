//! The command `dwh`: arguments → settings → one call of the engine → print.

mod args;
mod cmd;
mod complete;
mod exit;
mod interrupt;
mod output;
#[cfg(test)]
mod reference;
mod settings;
mod usage;

use clap::Parser;
use dwh_core::{Error, ErrorKind, Result};
use std::process::ExitCode;
use std::sync::OnceLock;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::args::Cli;
use crate::cmd::Context;
use crate::exit::Exit;
use crate::output::Printer;
use crate::settings::Settings;

fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&error).into(),
    };
    let settings = Settings::resolve(&cli.global);
    let printer = Printer::new(&settings);
    printer.log(&settings);
    let context = Context { settings, printer, cancel: CancellationToken::new(), signal: OnceLock::new() };
    let ended = work(cli, &context);
    let exit = ended.unwrap_or_else(|error| {
        context.printer.fail(&error);
        Exit(error.exit_code())
    });
    // What was done before the signal came is done; else it was the signal that ended it, as shells have it.
    let stopped = context.signal.get().filter(|_| exit != Exit::DONE);
    stopped.copied().unwrap_or(exit).into()
}

/// Runs the verb until it ends, or until somebody insists on ending it.
fn work(cli: Cli, context: &Context) -> Result<Exit> {
    let runtime = Runtime::new()
        .map_err(|error| Error::new(ErrorKind::Internal, "threads: cannot be started").with_source(error))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = cmd::dispatch(cli.command, context) => ended,
            insisted = interrupt::twice(context) => insisted.map(|()| Exit::INTERRUPTED),
        }
    });
    // Threads that hang in a read of stdin or in a name lookup are not waited for.
    runtime.shutdown_background();
    ended
}
