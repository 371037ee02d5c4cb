//! What a person may type: clap types only, nothing is looked up or decided here.

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use dwh_core::Timestamp;
use std::path::PathBuf;

use crate::exit;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "dwh",
    version,
    about = "Copies PostgreSQL tables into a warehouse: no row lost, none twice",
    long_about = "Copies PostgreSQL tables into a warehouse: no row lost, none twice.\n\n\
        Each run reads a window of new rows, keeps it as a CSV in a blob store, and loads it in one transaction \
        together with the watermark. A run that is cut off is finished by the next one.",
    after_help = exit::HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration; a `.env` file beside it is read too
    #[arg(long, global = true, value_name = "FILE", env = "DWH_CONFIG", default_value = "dwh.toml")]
    // Not the parser of paths: it refuses an empty DWH_CONFIG, which stands for none.
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from), hide_env_values = true)]
    pub config: PathBuf,
    /// Say more on stderr: -v what happens, -vv every step; never row values or secrets
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What stands on stdout: a text for people, or one JSON document
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Colours; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// What stands on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// The verbs. The first line of each is its one-line help; `after_help` holds its examples.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at a live source and write a commented dwh.toml
    ///
    /// Chooses for each table how it is copied, by its rows, its key, its timestamps, and what was updated and deleted
    /// so far; every choice stands in the file with its reason, and what is doubtful is marked. The addresses go into a
    /// private `.env` beside it, and what a DBA has to grant into `grants.sql`. Nothing is changed in a database, and no
    /// file that is there is overwritten.
    #[command(after_help = "\
Examples:
  dwh init --blob file:///var/lib/dwh            with DWH_SOURCE_URL and DWH_TARGET_URL in the environment
  dwh init 'fleet.*' --exclude 'fleet.tmp_*' --blob s3://bronze/dwh
  dwh init --blob file:///var/lib/dwh --dry-run  look only, and print the file")]
    Init(InitArgs),
    /// Look at everything a run depends on, and say how to mend it
    ///
    /// Every connection, TLS, roles, privileges, keys, watermark columns, drift, clocks, the blob store and free
    /// space are looked at on their own. Nothing is written. Each failure comes with its remedy.
    #[command(after_help = "\
Examples:
  dwh check
  dwh check --output json | jq '.findings[] | select(.severity == \"failure\")'")]
    Check,
    /// Create control schema, roles, views and bronze tables, or assert them
    ///
    /// May be called as often as you like: what is there already is checked and left alone. With `--print-sql` nothing
    /// is written; the SQL goes to a DBA instead.
    #[command(after_help = "\
Examples:
  dwh migrate
  dwh migrate --print-sql > for-the-dba.sql")]
    Migrate(MigrateArgs),
    /// Extract, load and archive the tables that match
    ///
    /// Finishes first what an earlier run left. A table that fails stops no other; the exit code tells why it failed,
    /// or 1 if tables failed for different reasons.
    #[command(after_help = "\
Examples:
  dwh run                       every table
  dwh run trips 'position_*'    the tables that match
  dwh run --dry-run             what would be done, with its SQL
  dwh run --jobs 2 --wait       two tables at a time; wait where another run holds one")]
    Run(RunArgs),
    /// Extract the next window of one table, and print what `load` takes
    ///
    /// Stops once the CSV and its manifest are in the blob store. Prints one line of JSON, in either output format.
    #[command(after_help = "\
Examples:
  dwh extract trips
  dwh extract trips | dwh load --params -")]
    Extract(ExtractArgs),
    /// Load one CSV from the blob store, and archive it
    ///
    /// A CSV that is loaded already counts as done. A CSV made by hand has no manifest and loads with
    /// `--accept-unverified` only; the watermark moves to its `--run-started-at`.
    #[command(after_help = "\
Examples:
  dwh extract trips | dwh load --params -
  dwh load --params '{\"table\":\"trips\",\"csv_path\":\"fleet/exports/trips/261001.csv\",\"run_id\":7}'
  dwh load --table trips --csv-path fleet/exports/trips/mended.csv --accept-unverified")]
    Load(LoadArgs),
    /// Show freshness, lag and failures of every table
    ///
    /// A table is fresh if its last load is younger than twice the cadence, STALE if it is older, and `never` before
    /// its first load.
    #[command(after_help = "\
Examples:
  dwh status
  dwh status --output json | jq '.tables[] | select(.fresh | not) | .table'")]
    Status,
    /// Show the run log, newest first
    ///
    /// One line a run, with its window, its rows and what went wrong.
    #[command(after_help = "\
Examples:
  dwh runs
  dwh runs --table trips --failed
  dwh runs --limit 1 --output json")]
    Runs(RunsArgs),
    /// Compare source and bronze, and name the keys that differ
    ///
    /// Counts and content hashes per window, computed inside the servers, up to the watermark; rows that are still on
    /// their way are no difference. Windows that differ are looked through key by key. Ends with code 4 if anything
    /// differs.
    #[command(after_help = "\
Examples:
  dwh verify
  dwh verify trips --since 2026-10-01T00:00:00Z
  dwh verify --sample 5 --blobs
  dwh verify trips --output json | jq '.tables[].keys'")]
    Verify(VerifyArgs),
    /// Read a range of history again, up to the watermark
    ///
    /// Rows that bronze lacks are inserted; the watermark stays, and scheduled runs go on between two windows. Each
    /// window is a run with its own CSV. A call that was cut off goes on where it stood when it is made again.
    #[command(after_help = "\
Examples:
  dwh backfill trips --from 2026-09-01T00:00:00Z --to 2026-10-01T00:00:00Z
  dwh backfill trips --from 2026-09-01T00:00:00Z --dry-run")]
    Backfill(BackfillArgs),
    /// Read all history of a table again, up to the watermark
    ///
    /// As `backfill` does, from the first row on. A snapshot table is replaced, as by `run`.
    #[command(after_help = "\
Examples:
  dwh reseed trips
  dwh reseed trips --dry-run")]
    Reseed(ReseedArgs),
    /// Put run log, blobs and bronze in agreement, and say what only a person can decide
    ///
    /// Finds what crashes and people left: CSV files that were not loaded, moved or finished, runs that nobody works
    /// on, files that are missing, gaps between windows. Mends what it can. Ends with 4 if something is left to decide.
    #[command(after_help = "\
Examples:
  dwh recover --dry-run         what is stuck, and what would be done
  dwh recover
  dwh recover 'position_*' --output json | jq '.found[] | select(.outcome == \"person\")'")]
    Recover(RecoverArgs),
    /// Load the CSV files of a table in processed/ again
    ///
    /// In the order of their runs, each checked against its manifest, each as a run of its own. The watermark stays;
    /// an older CSV never overwrites newer rows. Of a snapshot table only the newest CSV is loaded.
    #[command(after_help = "\
Examples:
  dwh replay trips --dry-run
  dwh replay trips
  dwh replay trips --from 2026-09-01T00:00:00Z --to 2026-09-30T23:59:59Z")]
    Replay(ReplayArgs),
    /// Make bronze, watermarks and run log anew from the blob store alone
    ///
    /// For a lost database: the sources need not answer. The next `dwh run` continues where the newest CSV left off.
    /// Refuses if the tables hold rows or runs already; `--reset` moves these into a schema `dwh_backup_…` first.
    #[command(after_help = "\
Examples:
  dwh rebuild --dry-run         what the blob store holds, and what is in the way
  dwh rebuild
  dwh rebuild trips --reset     one corrupt table, the old one put aside")]
    Rebuild(RebuildArgs),
    /// Remove loaded CSV files and run-log rows that are older than `[retention]` says
    ///
    /// What is not loaded is never touched, nor the newest CSV of a table. Says first how much it removes.
    #[command(after_help = "\
Examples:
  dwh prune --dry-run
  dwh prune")]
    Prune(PruneArgs),
    /// Print a crontab or systemd units that run all tables
    ///
    /// At the cadence and in the time zone of the configuration, with absolute paths. Nothing is installed. Runs that
    /// overlap do no harm: a table that another run holds is left to it.
    #[command(after_help = "\
Examples:
  dwh schedule cron
  (crontab -l; dwh schedule cron --hours 5-23) | crontab -
  dwh schedule systemd --output json | jq -r '.files[] | .path'")]
    Schedule(ScheduleArgs),
    /// Tell about the configuration file
    ///
    /// Needs no configuration file and no network.
    #[command(
        subcommand,
        after_help = "\
Examples:
  dwh config schema > dwh.schema.json"
    )]
    Config(ConfigCommand),
    /// Print the completions of a shell
    ///
    /// Needs no configuration file and no network.
    #[command(after_help = "\
Examples:
  dwh completions bash > /etc/bash_completion.d/dwh
  dwh completions zsh > ~/.zfunc/_dwh
  dwh completions fish > ~/.config/fish/completions/dwh.fish")]
    Completions(CompletionsArgs),
    /// Print the man page
    ///
    /// Needs no configuration file and no network.
    #[command(after_help = "\
Examples:
  dwh man | man -l -
  dwh man > /usr/local/share/man/man1/dwh.1")]
    Man,
}

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

/// `dwh init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Tables as 'schema.table' or 'schema.*'; none: all that the role may read
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Tables that are left out; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Address of the source; in the environment other people do not see it
    #[arg(long, value_name = "URL", env = "DWH_SOURCE_URL", hide_env_values = true)]
    pub source: String,
    /// Address of the target; it need not answer yet
    #[arg(long, value_name = "URL", env = "DWH_TARGET_URL", hide_env_values = true)]
    pub target: String,
    /// Where CSV files go: file:///folder or s3://bucket[/prefix]
    #[arg(long, value_name = "URL")]
    pub blob: String,
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

/// `dwh schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// Who starts the runs
    #[arg(value_name = "SCHEDULER", value_enum)]
    pub scheduler: SchedulerName,
    /// First and last hour in which a run starts, such as 5-23: the night is folded
    #[arg(long, value_name = "FROM-TO", value_parser = hours)]
    pub hours: Option<(u8, u8)>,
}

/// Who starts the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchedulerName {
    Cron,
    Systemd,
}

/// `dwh migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Print the SQL and write nothing
    #[arg(long)]
    pub print_sql: bool,
}

/// `dwh run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Names of tables, or patterns such as 'trip*'; none: all tables
    #[arg(value_name = "GLOB")]
    pub tables: Vec<String>,
    /// Tables at the same time [default: `connections` of the target]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Wait for a table that another run holds, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
    /// Print what would be done, with its SQL, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Let a snapshot of no rows replace the rows that are there
    #[arg(long)]
    pub allow_empty: bool,
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
    /// When that run began; where the watermark moves for a CSV made by hand
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub run_started_at: Option<Timestamp>,
    /// Load a CSV without a manifest, whose rows and bytes nobody vouches for
    #[arg(long)]
    pub accept_unverified: bool,
    /// Wait if another run holds the table, instead of failing with code 5
    #[arg(long)]
    pub wait: bool,
}

/// `dwh runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Only runs of this table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Only runs that failed
    #[arg(long)]
    pub failed: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
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
    /// Options shared with `reseed`.
    #[command(flatten)]
    pub again: AgainArgs,
}

/// `dwh reseed`.
#[derive(Debug, Args)]
pub struct ReseedArgs {
    /// Name of the table in the configuration
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// Options shared with `backfill`.
    #[command(flatten)]
    pub again: AgainArgs,
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

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: dwh_core::Error| format!("{}; {}", error.chain(), error.hint()))
}

fn hours(text: &str) -> Result<(u8, u8), String> {
    let hour = |text: &str| text.parse().ok().filter(|hour| *hour <= 23);
    text.split_once('-')
        .and_then(|(from, to)| Some((hour(from)?, hour(to)?)))
        .ok_or_else(|| "write the first and the last hour, each from 0 to 23, such as 5-23".to_owned())
}
