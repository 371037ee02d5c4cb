//! The options of `dwh init`.

use clap::Args;
use std::path::PathBuf;

/// `dwh init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Tables as 'schema.table' or 'schema.*'; none: all that the role may read
    #[arg(value_name = "GLOB", conflicts_with_all = ["files", "manifests"])]
    pub tables: Vec<String>,
    /// Tables that are left out; may be given several times
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["files", "manifests"])]
    pub exclude: Vec<String>,
    /// Tables that are copied whole, whatever was seen of them; may be given several times
    #[arg(long, value_name = "GLOB", conflicts_with_all = ["files", "manifests"])]
    pub snapshot: Vec<String>,
    /// Take every proposal, and ask nothing on a terminal
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Address of the source; in the environment other people do not see it
    #[arg(long, value_name = "URL", env = "DWH_SOURCE_URL", hide_env_values = true)]
    pub source: Option<String>,
    /// A folder or bucket of files as the source instead: file:///folder or s3://bucket[/prefix]
    #[arg(long, value_name = "URL")]
    pub files: Option<String>,
    /// A folder of postgres_pipeline manifests, which name databases and tables
    #[arg(long, value_name = "FOLDER", conflicts_with = "files")]
    pub manifests: Option<PathBuf>,
    /// Add the source to the configuration that is there, as [source.NAME], with a bronze schema of that name; or, with a
    /// GLOB such as 'fleet.*', tables of its sources, as --update GLOB does
    #[arg(long, value_name = "NAME|GLOB", conflicts_with_all = ["files", "manifests", "blob", "name", "timezone"])]
    pub add: Option<String>,
    /// Look again: add the tables that are new at the sources of the configuration, and tell what is gone
    #[arg(long, conflicts_with_all = ["files", "manifests", "add", "blob", "name", "timezone"])]
    pub update: bool,
    /// Address of the target; it need not answer yet
    #[arg(long, value_name = "URL", env = "DWH_TARGET_URL", hide_env_values = true)]
    pub target: Option<String>,
    /// Where CSV files go: file:///folder or s3://bucket[/prefix]
    #[arg(long, value_name = "URL")]
    pub blob: Option<String>,
    /// Name of the project, first folder of every file [default: the source's database]
    #[arg(long, value_name = "PROJECT")]
    pub name: Option<String>,
    /// Time zone that stamps the names of files [default: the machine's]
    #[arg(long, value_name = "TZ")]
    pub timezone: Option<String>,
    /// Where the configuration goes; `.env` and `grants.sql` go beside it
    #[arg(long, value_name = "FILE", default_value = "dwh.toml")]
    pub output_file: PathBuf,
    /// Print the configuration and write nothing
    #[arg(long)]
    pub dry_run: bool,
}
