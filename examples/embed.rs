//! The engine inside a program: `cargo run -p dwh-examples --example embed -- dwh.toml [TABLE…]`.
//!
//! Reads the configuration as the command does, tells what happens as it happens, and stops at Ctrl-C between two steps;
//! the next run goes on where this one stood.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use dwh_core::config::Environment;
use dwh_core::{Config, Error, ErrorKind, Event, Pipeline, Result, RunRequest};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        say("usage: embed dwh.toml [TABLE...]");
        return ExitCode::from(2);
    };
    match run(&path, arguments.collect()).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("{}\nhint: {}", error.chain(), error.hint()));
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(path: &str, tables: Vec<String>) -> Result<u8> {
    let config = Config::load(path.as_ref(), Environment::of_process())?;
    let pipeline = Pipeline::from_config(config)?.with_observer(Arc::new(tell));

    let stop = CancellationToken::new();
    let pressed = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            pressed.cancel();
        }
    });

    let report = pipeline.run(&RunRequest::new(tables), &stop).await?;
    let loaded: u64 = report.runs.iter().map(|run| run.rows_loaded).sum();
    say(&format!("{} runs, {loaded} rows loaded", report.runs.len()));
    if report.runs.is_empty() {
        return Err(Error::new(ErrorKind::Config, "the configuration has no table"));
    }
    Ok(report.exit_code())
}

/// Called from any thread, so it must not wait for anything.
fn tell(event: &Event) {
    match event {
        Event::Warning { table, message } => say(&format!("{table}: {message}")),
        Event::RunFinished(run) => say(&format!("{}: {}, {} rows", run.table, run.status, run.rows_loaded)),
        _ => {}
    }
}

fn say(line: &str) {
    // A closed stderr is no reason to stop copying.
    let _ = writeln!(std::io::stderr(), "{line}");
}
