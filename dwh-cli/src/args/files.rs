//! The options of `dwh files`.

use clap::{Args, Subcommand};

/// `dwh files …`.
#[derive(Debug, Subcommand)]
pub enum FilesCommand {
    /// Show every file, and where it stands
    ///
    /// Loaded, new, changed since it was loaded, failed with the reason, or gone; and the files that no table takes.
    #[command(after_help = "\
Examples:
  dwh files list
  dwh files list 'sff/**'
  dwh files list --output json | jq -r '.files[] | select(.state == \"failed\") | .error.message'")]
    List(FilesArgs),
    /// Read files to their ends and say which are valid; load nothing
    ///
    /// Compares every record with the JSON Schema and the types of the columns. The warehouse is not asked. Ends with code
    /// 4 if a file is not valid.
    #[command(after_help = "\
Examples:
  dwh files validate
  dwh files validate 'sff/dumps/2025-10-30/*'")]
    Validate(FilesArgs),
    /// Read files again that are loaded, after a schema or a column changed
    ///
    /// Rows of each are replaced in one transaction. The run log keeps the earlier runs, and `dwh files restore` puts each
    /// back.
    #[command(after_help = "\
Examples:
  dwh files reprocess 'sff/dumps/2025-10-30/*'
  dwh files reprocess '**' --table grants")]
    Reprocess(ReprocessArgs),
    /// Move old files that are loaded into _archive/<year>/ below their source
    ///
    /// The date of a file is the first one that its path names, or else when it was last written. Each move is a line in
    /// `_archive/ARCHIVE_LOG.txt`. Files that are not loaded stay, and are named.
    #[command(after_help = "\
Examples:
  dwh files archive --before 2024-01-01 --dry-run
  dwh files archive --before 2024-01-01 'funding_sources/**'")]
    Archive(ArchiveArgs),
    /// Undo the newest load of a file: the rows and the validated copy of the version before come back
    ///
    /// The raw file is not changed: while it is the newer version, the next run loads it again, so mend it or take it away
    /// first.
    #[command(after_help = "\
Examples:
  dwh files restore --run 4711 --dry-run
  dwh files restore --run 4711")]
    Restore(RestoreArgs),
}

/// `dwh files list`, `dwh files validate`.
#[derive(Debug, Args)]
pub struct FilesArgs {
    /// Patterns over paths below the source, such as 'sff/**'; none: all files
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Only files of these tables; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub table: Vec<String>,
}

/// `dwh files reprocess`.
#[derive(Debug, Args)]
pub struct ReprocessArgs {
    /// Patterns over paths below the source, such as 'sff/**'
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<String>,
    /// Only files of these tables; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub table: Vec<String>,
    /// Wait for a table that another run holds, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Print the files that match, and where they stand, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh files archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// Patterns over paths below the source; none: all files
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Only files that are older than this day
    #[arg(long, value_name = "DATE")]
    pub before: String,
    /// Only files of these tables; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub table: Vec<String>,
    /// Print what would be moved, and move nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh files restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The run that is undone: the newest of its file
    #[arg(long, value_name = "N")]
    pub run: i64,
    /// Print what would be put back, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
