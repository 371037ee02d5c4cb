//! The options of `dwh design`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `dwh design …`.
#[derive(Debug, Subcommand)]
pub enum DesignCommand {
    /// Write a design for each table, as the source has it
    ///
    /// One SQL file a table: columns with exact types and comments, the key, and the indexes of the source as proposals.
    /// Files that are there are left alone, so a call that was broken off goes on where it stood.
    #[command(after_help = "\
Examples:
  dwh design pull
  dwh design pull 'www.orders*' --dir ~/gits/table-designs
  dwh design pull www.orders --force     anew, over what is there")]
    Pull(PullDesignArgs),
    /// Compare the designs with the tables that are there
    ///
    /// Columns, keys, indexes, partitions, options and comments. Nothing is changed, and no source is asked. Ends with code 4
    /// if a table is not as its design says.
    #[command(after_help = "\
Examples:
  dwh design diff
  dwh design diff 'www.*'
  dwh design diff --output json | jq -r '.tables[] | select(.state == \"different\") | .table'")]
    Diff(DiffDesignArgs),
}

/// `dwh design pull`.
#[derive(Debug, Args)]
pub struct PullDesignArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// The folder [default: `designs` of `[target]`, which is also what `dwh migrate` reads]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Write files anew that are there
    #[arg(long)]
    pub force: bool,
    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh design diff`.
#[derive(Debug, Args)]
pub struct DiffDesignArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// The folder [default: `designs` of `[target]`]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}
