//! The engine inside a program: `cargo run -p dwh-examples --example embed -- dwh.toml [TABLE…]`.
//!
//! Tells what happens as it happens, and stops at Ctrl-C between two steps; the next run goes on where this one stood.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use dwh_core::config::Environment;
use dwh_core::{Config, Error, Event, Pipeline, Result, RunReport, RunRequest};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        say("usage: embed dwh.toml [TABLE...]");
        return ExitCode::from(2);
    };
    let stop = CancellationToken::new();
    tokio::spawn(cancelled_by_ctrl_c(stop.clone()));
    match run(&path, arguments.collect(), &stop).await {
        Ok(report) => outcome(&report),
        Err(error) => explain(&error),
    }
}

async fn cancelled_by_ctrl_c(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
}

/// Runs the tables that match, all of them if none is named.
pub async fn run(path: &str, tables: Vec<String>, stop: &CancellationToken) -> Result<RunReport> {
    let config = Config::load(path.as_ref(), Environment::of_process())?;
    let pipeline = Pipeline::from_config(config)?.with_observer(Arc::new(tell));
    pipeline.run(&RunRequest::new(tables), stop).await
}

/// Called from any thread, so it must not wait for anything.
pub fn tell(event: &Event) {
    match event {
        Event::Warning { table, message } => say(&format!("{table}: {message}")),
        Event::RunFinished(run) => say(&format!("{}: {}, {} rows", run.table, run.status, run.rows_loaded)),
        _ => {}
    }
}

/// A table that fails does not stop the others: each has its own error in the report.
pub fn outcome(report: &RunReport) -> ExitCode {
    for run in &report.runs {
        if let Some(error) = &run.error {
            say(&format!("{}: {}\nhint: {}", run.table, error.message, error.hint));
        }
    }
    report.exit_code().into()
}

/// What kept the call from beginning at all.
pub fn explain(error: &Error) -> ExitCode {
    say(&format!("{}\nhint: {}", error.chain(), error.hint()));
    if error.is_retryable() {
        say("the same call may go through later, without a change");
    }
    error.exit_code().into()
}

fn say(line: &str) {
    // A closed stderr is no reason to stop copying.
    let _ = writeln!(std::io::stderr(), "{line}");
}
