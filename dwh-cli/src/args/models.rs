//! The options of `dwh models`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `dwh models …`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Build models, each behind those that it reads
    ///
    /// A table is built beside what is there and takes its place in one transaction, with its grants and comments; a view is
    /// replaced, a materialized view refreshed, or made anew when its SELECT changed. A model that fails is as it was; those
    /// that read it are skipped, all others are built. Each is a run of kind `model` in the run log.
    #[command(after_help = "\
Examples:
  dwh models run                              all of them, in their order
  dwh models run --dry-run                    the order, and how each would be built
  dwh models run analytics.dim_order --downstream
  dwh models run -p wip 'analytics.dim_*'     into wip_analytics, to try a change")]
    Run(RunModelsArgs),
    /// Show the models in the order in which they are built, and their newest runs
    ///
    /// With what each reads. Says what is wrong with a file, and which models read each other in a circle.
    #[command(after_help = "\
Examples:
  dwh models list
  dwh models list 'analytics.*'
  dwh models list --output json | jq -r '.models[] | select(.last_run.status == \"failed\") | .model'")]
    List(ListModelsArgs),
    /// Write the bronze tables as sources of a dbt project
    ///
    /// A source for each schema, how fresh each table should be by its `max_lag`, and tests of its key. For those who need
    /// more than a SELECT in a file.
    #[command(after_help = "\
Examples:
  dwh models dbt-sources -o dbt/models/sources.yml
  dwh models dbt-sources 'position_*' -o -")]
    DbtSources(DbtSourcesArgs),
}

/// `dwh models run`.
#[derive(Debug, Args)]
pub struct RunModelsArgs {
    /// Names of models, or patterns such as 'analytics.dim_*'; none: all models
    #[arg(value_name = "GLOB")]
    pub models: Vec<String>,
    /// Also those that the chosen ones read, directly or not
    #[arg(long)]
    pub upstream: bool,
    /// Also those that read the chosen ones, directly or not
    #[arg(long)]
    pub downstream: bool,
    /// Build into <PREFIX>_<schema>; what the same call builds is read there, all else where it is
    #[arg(short, long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Take the place of a table or view that no run of the model made
    #[arg(long)]
    pub replace: bool,
    /// Print the order and how each would be built, and build nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh models list`.
#[derive(Debug, Args)]
pub struct ListModelsArgs {
    /// Names of models, or patterns such as 'analytics.dim_*'; none: all models
    #[arg(value_name = "GLOB")]
    pub models: Vec<String>,
}

/// `dwh models dbt-sources`.
#[derive(Debug, Args)]
pub struct DbtSourcesArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Where it goes; `-`: to stdout
    #[arg(short, long, value_name = "FILE", default_value = "sources.yml")]
    pub output_file: PathBuf,
}
