//! The options of each verb, in the order of the verbs.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use dwh_core::operate::REPORT_DAYS;
use dwh_core::{RunKind, RunState, Timestamp};
use std::path::PathBuf;

/// `dwh config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of `dwh.toml`, for editors
    ///
    /// Put `#:schema ./dwh.schema.json` in the first line of `dwh.toml`, and the editor completes and checks it.
    #[command(after_help = "\
Examples:
  dwh config schema > dwh.schema.json")]
    Schema,
}

/// `dwh schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// Who starts the runs
    #[arg(value_name = "SCHEDULER", value_enum)]
    pub scheduler: SchedulerName,
    /// First and last hour in which a run starts, such as 5-23: none starts at night
    #[arg(long, value_name = "FROM-TO", value_parser = hours)]
    pub hours: Option<(u8, u8)>,
}

/// Who starts the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchedulerName {
    Cron,
    Systemd,
}

/// `dwh check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Show what is well, too
    #[arg(long)]
    pub all: bool,
    /// Judge instead whether this verification gate is passed
    #[arg(long, value_name = "GATE", value_enum)]
    pub gate: Option<GateName>,
}

/// A verification gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GateName {
    /// Before the first schedule: the whole check, and one table went all the way
    Deploy,
    /// After the first run: every table is loaded and is what the source is; reads every row at both ends
    FirstRun,
    /// After a day of the schedule: every table is fresh, nothing failed, rows arrive
    Steady,
}

/// `dwh migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Print what is missing and would be made, and make nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Change bronze tables, too, whose sources changed, as far as that loses nothing; tell the rest, and end with code 4
    /// if there is any
    #[arg(long)]
    pub apply_drift: bool,
    /// Print the SQL and write nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub print_sql: bool,
}

/// `dwh run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Tables at the same time, and windows of a table while no other waits [default: as many tables as `connections` of the target, one window each]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Wait for a table that another run holds, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Print what would be read, with rows, bytes and windows, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With `--dry-run`: print every statement, too
    #[arg(long, requires = "dry_run")]
    pub sql: bool,
    /// Read, count in the target what would be inserted and changed, and keep nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub preview: bool,
    /// Then build the models that read these tables; of a whole run all models
    #[arg(long, conflicts_with_all = ["dry_run", "preview"])]
    pub models: bool,
    /// Let a snapshot of no rows replace the rows that are there
    #[arg(long)]
    pub allow_empty: bool,
    /// Go on though the source is another server than before: the same database, moved
    #[arg(long)]
    pub accept_source: bool,
}

/// `dwh plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// The first moment of a range that would be read again, of tables with windows
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Timestamp>,
    /// The first moment that would not be read again any more [default: up to the watermark]
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "from")]
    pub to: Option<Timestamp>,
}

/// `dwh extract`.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// Name of the table in the configuration
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Wait if another run holds the table, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Print what would be read, with rows, bytes and windows, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With `--dry-run`: print every statement, too
    #[arg(long, requires = "dry_run")]
    pub sql: bool,
}

/// `dwh load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// What `dwh extract` printed; `-` reads it from stdin
    #[arg(long, value_name = "JSON|-", conflicts_with_all = ["table", "csv_path", "run_id", "run_started_at"])]
    pub params: Option<String>,
    /// Name of the table in the configuration
    #[arg(long, value_name = "TABLE", required_unless_present = "params")]
    pub table: Option<String>,
    /// Address of the CSV, or its key below the address of the store
    #[arg(long, value_name = "PATH", required_unless_present = "params")]
    pub csv_path: Option<String>,
    /// The run to finish; a CSV made by hand gets a new one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub run_id: Option<i64>,
    /// When that run began: it must be the run that the log has under this number
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub run_started_at: Option<Timestamp>,
    /// Load a CSV without a manifest, whose rows and bytes nobody vouches for
    #[arg(long)]
    pub accept_unverified: bool,
    /// Wait if another run holds the table, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Read the CSV, print what a load would do, with its SQL, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// End with code 4 if anything needs attention
    #[arg(long)]
    pub check: bool,
    /// Look again every so many seconds, until Ctrl-C; 5 if none are given
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", conflicts_with = "check",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub watch: Option<u32>,
}

/// `dwh report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Where the page goes; `-`: to stdout
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output_file: PathBuf,
    /// How many days it looks back, today included
    #[arg(long, value_name = "N", default_value_t = REPORT_DAYS, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub days: u16,
}

/// `dwh runs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// What else there is to see.
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// Only runs of this table, or of those that match a pattern; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub table: Vec<String>,
    /// Only runs that failed
    #[arg(long, conflicts_with = "status")]
    pub failed: bool,
    /// Only runs that stand there; may be given several times
    #[arg(long, value_name = "STATUS", value_parser = words(RunState::ALL.map(RunState::as_str)).try_map(state))]
    pub status: Vec<RunState>,
    /// Only runs that were made for this
    #[arg(long, value_name = "KIND", value_parser = words(RunKind::ALL.map(RunKind::as_str)).try_map(kind))]
    pub kind: Option<RunKind>,
    /// Only runs that began at this moment or later
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Only runs that began at this moment or earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `dwh runs …`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Tell everything that is known of one run
    ///
    /// Its window and what held its bound, its rows, its CSV and where that lies now, its manifest, whether its window
    /// joins those of the runs before and after it, and what there is to do.
    #[command(after_help = "\
Examples:
  dwh runs show 4711
  dwh runs show 4711 --output json | jq -r .csv.path")]
    Show(RunsShowArgs),
}

/// `dwh runs show`.
#[derive(Debug, Args)]
pub struct RunsShowArgs {
    /// Number of the run
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub run_id: i64,
}

/// `dwh verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Compare only so many of a hundred windows, the same ones each time
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub sample: u8,
    /// Compare only rows after this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Name at most so many keys, and problems of files, for each table
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Read the files in `processed/` too: bytes, hashes, rows, and windows without a gap
    #[arg(long)]
    pub blobs: bool,
    /// Read the windows that differ again, in the place of what bronze has there, and compare once more
    #[arg(long, conflicts_with = "sample")]
    pub repair: bool,
    /// Print what would be repaired, and repair nothing
    #[arg(long, requires = "repair")]
    pub dry_run: bool,
    /// Wait where another run holds a table, instead of failing with code 5
    #[arg(long, requires = "repair")]
    pub wait: bool,
    /// Let a window that is empty at the source remove the rows that bronze has there
    #[arg(long, requires = "repair")]
    pub allow_empty: bool,
}

/// `dwh backfill`.
#[derive(Debug, Args)]
pub struct BackfillArgs {
    /// Name of the table in the configuration
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The first moment to read again
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Timestamp,
    /// The first moment not to read again any more [default: up to the watermark]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<Timestamp>,
    /// Windows of this range by runs above this one are done, so that the call may be made any number of times
    #[arg(long, value_name = "RUN", conflicts_with = "restart")]
    pub since_run: Option<i64>,
    /// Options shared with `reseed`.
    #[command(flatten)]
    pub again: AgainArgs,
}

/// `dwh reseed`.
#[derive(Debug, Args)]
pub struct ReseedArgs {
    /// Names of tables, or patterns such as 'trip*'; none is begun unless each of them can be
    #[arg(value_name = "TABLE", required = true)]
    pub tables: Vec<String>,
    /// Overwrite rows that differ, and remove rows that the source has no more
    #[arg(long)]
    pub replace: bool,
    /// Let a window that is empty at the source remove the rows that bronze has there
    #[arg(long)]
    pub allow_empty: bool,
    /// Options shared with `backfill`.
    #[command(flatten)]
    pub again: AgainArgs,
}

/// `dwh resync`.
#[derive(Debug, Args)]
pub struct ResyncArgs {
    /// Names of tables, or patterns such as 'trip*'
    #[arg(value_name = "TABLE", required = true)]
    pub tables: Vec<String>,
    /// Chunks of a table at the same time [default: as many as `[target] connections`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Let a table of no rows take the place of rows
    #[arg(long)]
    pub allow_empty: bool,
    /// Wait where another run holds the table, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Read all chunks, though an earlier call that was cut off has some of them
    #[arg(long)]
    pub restart: bool,
    /// Print in how many chunks the tables would be read, and read none
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh deletes`.
#[derive(Debug, Args)]
pub struct DeletesArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all that mark or remove deleted rows
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Go on though the source has no key, or more rows would go than `deletes_max` allows
    #[arg(long)]
    pub force: bool,
    /// Wait for a table that another run holds, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Count, print the first keys, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `backfill` and `reseed`.
#[derive(Debug, Args)]
pub struct AgainArgs {
    /// Wait where another run holds the table, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Begin anew, though an earlier call of the same range was cut off half-way
    #[arg(long)]
    pub restart: bool,
    /// Print the windows that would be read, and read none
    #[arg(long)]
    pub dry_run: bool,
}

/// `dwh completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `dwh recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Print what is stuck and what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Move a CSV that was never loaded out of the way of its table: a run, or a file in `exports/`
    #[arg(long, value_name = "RUN_ID|CSV", conflicts_with_all = ["tables", "uploads_older_than"])]
    pub set_aside: Option<String>,
    /// How old an unfinished upload is before its parts are removed
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub uploads_older_than: u32,
}

/// `dwh replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Name of the table in the configuration
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Only CSV files with rows from this moment on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<Timestamp>,
    /// Only CSV files with rows up to this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<Timestamp>,
    /// Wait if another run holds the table, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Print which files would be loaded, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with what there is, though CSV files that were loaded once are gone
    #[arg(long)]
    pub accept_gaps: bool,
}

/// `dwh rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Move what is there of these tables into a schema `dwh_backup_…` first, instead of refusing
    #[arg(long)]
    pub reset: bool,
    /// Go on with what there is, though CSV files that were loaded once are gone
    #[arg(long)]
    pub accept_gaps: bool,
}

/// `dwh prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Print what would be removed, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: dwh_core::Error| format!("{}; {}", error.chain(), error.hint()))
}

pub(super) fn words<const N: usize>(words: [&'static str; N]) -> PossibleValuesParser {
    PossibleValuesParser::new(words)
}

fn state(word: String) -> Result<RunState, dwh_core::Error> {
    RunState::parse(&word)
}

fn kind(word: String) -> Result<RunKind, dwh_core::Error> {
    RunKind::parse(&word)
}

fn hours(text: &str) -> Result<(u8, u8), String> {
    let hour = |text: &str| text.parse().ok().filter(|hour| *hour <= 23);
    text.split_once('-')
        .and_then(|(from, to)| Some((hour(from)?, hour(to)?)))
        .ok_or_else(|| "write the first and the last hour, each from 0 to 23, such as 5-23".to_owned())
}
