//! The options of `dwh alert`, `dwh export` and `dwh maintain`.

use clap::{Args, ValueEnum};
use dwh_core::Timestamp;

use super::options::moment;

/// `dwh alert`.
#[derive(Debug, Args)]
pub struct AlertArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Send a message for trying to every alert, and look at nothing
    #[arg(long, conflicts_with = "tables")]
    pub test: bool,
    /// Print what would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh maintain`.
#[derive(Debug, Args)]
pub struct MaintainArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Print the steps, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Name of the table in the configuration
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Where the folder of the table goes: a folder, or a prefix of a bucket of the store that `[blob]` describes
    #[arg(long, value_name = "DIR|s3://…")]
    pub to: String,
    /// What the files are
    #[arg(long, value_enum, default_value = "parquet")]
    pub format: ExportFormat,
    /// Only CSV files with rows from this moment on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Timestamp>,
    /// Only CSV files with rows up to this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to_time: Option<Timestamp>,
    /// Write this column as the text that PostgreSQL prints; may be given several times
    #[arg(long, value_name = "COLUMN")]
    pub as_text: Vec<String>,
    /// Go on with what there is, though CSV files that were loaded once are gone
    #[arg(long)]
    pub accept_gaps: bool,
    /// Print the files and the types of the columns, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What an export writes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExportFormat {
    /// Apache Parquet; geometry as GeoParquet
    Parquet,
}
