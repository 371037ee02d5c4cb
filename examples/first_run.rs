//! The shortest program: one run of all tables. `cargo run -p dwh-examples --example first_run -- dwh.toml`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dwh_core::config::Environment;
use dwh_core::{Config, Pipeline, Result, RunReport, RunRequest};
use tokio_util::sync::CancellationToken;

/// One run of all tables.
pub async fn run(path: &Path) -> Result<RunReport> {
    let config = Config::load(path, Environment::of_process())?;
    let pipeline = Pipeline::from_config(config)?;
    pipeline.run(&RunRequest::default(), &CancellationToken::new()).await
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("dwh.toml"), PathBuf::from);
    let report = run(&path).await?;
    Ok(report.exit_code().into())
}
