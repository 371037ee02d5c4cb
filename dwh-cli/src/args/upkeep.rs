//! The options of `dwh alert` and `dwh maintain`.

use clap::Args;

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
