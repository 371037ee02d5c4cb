//! The options of `tap`, with the words of postgres_pipeline.

use clap::Args;
use clap::builder::TypedValueParser;
use dwh_core::Timestamp;
use dwh_core::operate::LoadType;
use std::path::PathBuf;

use super::options::{moment, words};

/// `dwh tap`.
#[derive(Debug, Args)]
pub struct TapArgs {
    /// The manifest; a `[[manifest]]` of the configuration reads it
    #[arg(value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Tables as the manifest calls them; none: all that the load type is for
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// What is done with them
    #[arg(long, value_name = "TYPE", alias = "load_type")]
    #[arg(value_parser = words(LoadType::ALL.map(LoadType::as_str)).try_map(load_type))]
    pub load_type: LoadType,
    /// The end of the window, inclusive [default: now]
    #[arg(long, value_name = "TIME", alias = "execution_date", value_parser = moment)]
    pub execution_date: Option<Timestamp>,
    /// How many hours before that the window begins
    #[arg(long, value_name = "N", requires = "execution_date", conflicts_with = "days")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub hours: Option<u32>,
    /// How many days before that the window begins
    #[arg(long, value_name = "N", requires = "execution_date", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,
    /// The orchestrator's name of this run, for `_task_instance` [default: DWH_TASK_INSTANCE]
    #[arg(long, value_name = "NAME")]
    pub task_instance: Option<String>,
    /// Tables at the same time [default: `connections` of the target]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Wait for a table that another run holds, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Print the tables that would be worked on, and do nothing; `dwh run --dry-run` prints their SQL
    #[arg(long)]
    pub dry_run: bool,
}

fn load_type(word: String) -> Result<LoadType, String> {
    let known = LoadType::ALL.into_iter().find(|kind| kind.as_str() == word);
    known.ok_or_else(|| format!("`{word}` is no load type"))
}
