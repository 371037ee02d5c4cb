//! The options of `dwh setup` and `dwh user`.

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};
use dwh_core::operate::UserGroup;

use super::options::words;

/// `dwh setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Read the password of the login of `url` from stdin; else it is that of `url`, or asked for, or made up
    #[arg(long)]
    pub password_stdin: bool,
    /// Print what would be made, with its SQL, and make nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh user …`.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a login that reads the warehouse, or writes it
    ///
    /// A login that is there keeps its password, and gets the rights that it lacks. Without `--password-stdin` the password
    /// is asked for on a terminal, and else made up and shown once. The server gets a verifier, never the password.
    #[command(after_help = "\
Examples:
  dwh user add tom
  dwh user add spark_etl --group etl --password-stdin < secret
  dwh user add tom --schema     and a schema `tom` in which he makes tables
  dwh user add tom --dry-run")]
    Add(AddUserArgs),
    /// Remove a login, unless it owns something
    ///
    /// What it owns is named, and nothing is removed: with `--reassign` it goes to the owner role first.
    #[command(after_help = "\
Examples:
  dwh user remove tom --dry-run
  dwh user remove tom
  dwh user remove tom --reassign")]
    Remove(RemoveUserArgs),
}

/// `dwh user add`.
#[derive(Debug, Args)]
pub struct AddUserArgs {
    /// The login
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it may do: `reader` reads bronze and control, `etl` writes them as well
    #[arg(long, value_name = "GROUP", default_value = "reader")]
    #[arg(value_parser = words(UserGroup::ALL.map(UserGroup::as_str)).try_map(group))]
    pub group: UserGroup,
    /// A schema of its own, in which it makes tables; named as the login, if no name is given
    #[arg(long, value_name = "SCHEMA", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub schema: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Print what would be made, with its SQL, and make nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh user remove`.
#[derive(Debug, Args)]
pub struct RemoveUserArgs {
    /// The login
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Give what it owns to the owner role
    #[arg(long)]
    pub reassign: bool,
    /// Print what would be done, with its SQL, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn group(word: String) -> Result<UserGroup, String> {
    let known = UserGroup::ALL.into_iter().find(|group| group.as_str() == word);
    known.ok_or_else(|| format!("`{word}` is no group"))
}
