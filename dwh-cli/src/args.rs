//! What a person may type: clap types only, nothing is looked up or decided here.

mod access;
mod design;
mod files;
mod init;
mod models;
mod options;
mod tap;
mod upkeep;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

use crate::exit;

pub use access::{AddUserArgs, RemoveUserArgs, SetupArgs, UserCommand};
pub use design::DesignCommand;
pub use files::*;
pub use init::InitArgs;
pub use models::*;
pub use options::*;
pub use tap::TapArgs;
pub use upkeep::{AlertArgs, ExportArgs, ExportFormat, MaintainArgs};

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
    /// Say more on stderr: -v decisions, -vv each statement and its time; never values or secrets
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What is printed on stdout: a text for people, or one JSON document
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Colours; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// What is printed on stdout.
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
  dwh init --blob file:///var/lib/dwh --dry-run  look only, and print the file
  dwh init --files file:///srv/data/raw --blob file:///var/lib/dwh
  dwh init --update             the tables that are new since; what is gone is told
  dwh init --add www            one more source, behind what dwh.toml has; its address in DWH_SOURCE_URL")]
    Init(InitArgs),
    /// Make the roles, rights and schemas that dwh needs in the target, as an administrator
    ///
    /// Logs in by `admin_url` of `[target]`, which nothing else uses. Makes the owner and the reader role, which are also
    /// the groups of users, the login of `url`, their rights on the database, and the schemas of control, bronze and each
    /// source. May be called as often as you like: what is there stays as it is. All of it is made, or nothing.
    #[command(after_help = "\
Examples:
  dwh setup --dry-run           what is missing, with its SQL
  dwh setup
  dwh setup --password-stdin < secret")]
    Setup(SetupArgs),
    /// Make and remove logins of people and programs
    ///
    /// Logs in by `admin_url` of `[target]`.
    #[command(
        subcommand,
        after_help = "\
Examples:
  dwh user add tom
  dwh user add spark_etl --group etl --password-stdin < secret
  dwh user remove tom"
    )]
    User(UserCommand),
    /// Look at everything a run depends on, and say how to mend it
    ///
    /// Every connection, TLS, roles, privileges, keys, watermark columns, drift, clocks, the blob store, free space and
    /// what earlier runs left are looked at on their own. Nothing is written but tiny objects in the blob store, which
    /// are removed again. Each failure comes with its remedy. Exit code 4, or that of the failure, if anything fails.
    #[command(after_help = "\
Examples:
  dwh check
  dwh check 'position_*'        the tables that match, their sources, the target and the blob store
  dwh check --gate deploy       before the first schedule
  dwh check --gate first-run    after the first `dwh run`
  dwh check --gate steady       after a day of the schedule
  dwh check --output json | jq '.findings[] | select(.severity == \"failure\")'")]
    Check(CheckArgs),
    /// Create control schema, roles, views and bronze tables, or assert them
    ///
    /// May be called as often as you like: what is there already is checked and left alone. With `--dry-run` or
    /// `--print-sql` nothing is written: the one says what is missing, the other prints all of the SQL for a DBA.
    #[command(after_help = "\
Examples:
  dwh migrate
  dwh migrate --dry-run         what is missing, and what would be refused
  dwh migrate trips             no other bronze table than this one
  dwh migrate --apply-drift     new columns and wider types, too; tells what is left
  dwh migrate --print-sql > for-the-dba.sql")]
    Migrate(MigrateArgs),
    /// Write a SQL design of each table, and compare it with the table
    ///
    /// Where there is a design, `dwh migrate` makes the table from it: with partitions, more indexes, storage parameters or
    /// columns of your own. The columns that are copied and the key stay required.
    #[command(
        subcommand,
        after_help = "\
Examples:
  dwh design pull
  dwh design pull 'www.orders*' --dir ~/gits/table-designs
  dwh design diff"
    )]
    Design(DesignCommand),
    /// Extract, load and archive the tables that match
    ///
    /// Finishes first what an earlier run left. A table that fails stops no other; the exit code tells why it failed,
    /// or 1 if tables failed for different reasons.
    #[command(after_help = "\
Examples:
  dwh run                       every table
  dwh run trips 'position_*'    the tables that match
  dwh run --dry-run             what would be read: rows, bytes, windows; with `--sql` each statement
  dwh run --jobs 2 --wait       two tables at a time; wait where another run holds one
  dwh run --jobs 4 trips        a large first load: four windows are read at a time
  dwh run --models              every table, and then the models")]
    Run(RunArgs),
    /// Say what work there is for each table, and the command that does it
    ///
    /// The windows of the next run, the windows and chunks that a call which was cut off left, about how many rows they have,
    /// and who holds the table now. Nothing is moved, written or held. For those who hand out work to several processes or
    /// machines.
    #[command(after_help = "\
Examples:
  dwh plan
  dwh plan 'position_*'         the tables that match
  dwh plan trips --from 2026-03-01T00:00:00Z    and a range of history that `backfill` would read
  dwh plan --output json | jq -r '.plans[].units[].command'")]
    Plan(PlanArgs),
    /// Extract the next window of one table, and print what `load` takes
    ///
    /// Stops once the CSV and its manifest are in the blob store. Prints one line of JSON, in either output format.
    #[command(after_help = "\
Examples:
  dwh extract trips
  dwh extract trips --dry-run   what would be read: rows, bytes, windows
  dwh extract trips | dwh load --params -")]
    Extract(ExtractArgs),
    /// Load one CSV from the blob store, and archive it
    ///
    /// A CSV that is loaded already counts as done. A CSV made by hand has no manifest and loads with
    /// `--accept-unverified` only; the watermark stays where it is for it. With `--dry-run` the CSV is read to its
    /// end, and what a load would do is told, or the error that it would meet.
    #[command(after_help = "\
Examples:
  dwh extract trips | dwh load --params -
  dwh load --params '{\"table\":\"trips\",\"csv_path\":\"fleet/exports/trips/261001.csv\",\"run_id\":7}'
  dwh load --table trips --csv-path fleet/exports/trips/mended.csv --accept-unverified
  dwh load --params - --dry-run < trips.json")]
    Load(LoadArgs),
    /// Say whether all is well, and if not, what is wrong and what to type next
    ///
    /// Freshness, lag, rows, failures and success rate of every table, files that wait for their load, and the disks.
    /// What breaks a limit of `[thresholds]` is listed below with a remedy. With `--check` that ends with code 4, for
    /// cron and monitoring.
    #[command(after_help = "\
Examples:
  dwh status
  dwh status trips 'position_*'                  the tables that match
  dwh status --check --quiet > /dev/null || echo 'something is wrong'
  dwh status --watch                             look again every 5 seconds, until Ctrl-C
  dwh status --output json | jq -r '.breaches[] | .message'")]
    Status(StatusArgs),
    /// Tell those of `[[alert]]` what needs attention, once, and that it is over
    ///
    /// Looks as `dwh status --check` does, and sends what is new, what goes on for as long as `repeat` says, and what is
    /// over. What was sent stands in the control schema, so that several machines send one message. What cannot be sent is
    /// due again the next time, and the command ends with code 3.
    #[command(after_help = "\
Examples:
  dwh alert --test              a message for trying, to every alert
  dwh alert --dry-run           what would be sent
  dwh alert                     from cron, every five minutes
  dwh alert 'position_*'        of the tables that match")]
    Alert(AlertArgs),
    /// Write the state of the warehouse as one HTML page with pictures
    ///
    /// Freshness, failures, rows and duration a day, the largest tables, storage. The page needs no network and no script,
    /// reads in light and dark, and printed: for a mail, a wall, or a web server.
    #[command(after_help = "\
Examples:
  dwh report                    writes report.html
  dwh report -o /var/www/html/dwh.html --days 90
  dwh report -o - | mail -s 'dwh' -a 'Content-Type: text/html' team@example.org")]
    Report(ReportArgs),
    /// Show the run log, newest first
    ///
    /// One line a run, with its rows and what went wrong. `dwh runs show` tells everything that is known of one run.
    #[command(after_help = "\
Examples:
  dwh runs
  dwh runs --table trips --failed
  dwh runs --table 'position_*' --since 2026-10-01T00:00:00Z --limit 100
  dwh runs show 4711
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
  dwh verify --repair trips
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
  dwh reseed trips --replace
  dwh reseed trips --dry-run")]
    Reseed(ReseedArgs),
    /// Read tables anew as a whole, beside bronze, and put them in its place
    ///
    /// In chunks by key, several at a time, each a run with its own CSV. Bronze stays as it is until the last chunk is
    /// there; then columns and rows become those of the source in one transaction, and grants, comments, indexes and
    /// views stay. A call that was cut off goes on where it stood when it is made again, or with the next run. A table
    /// that is read whole is run, once bronze takes its columns.
    #[command(after_help = "\
Examples:
  dwh resync trips
  dwh resync trips --jobs 8
  dwh resync 'position_*' --dry-run")]
    Resync(ResyncArgs),
    /// Find rows of bronze that the source has deleted, and mark or remove them
    ///
    /// The keys of the source are read in one snapshot and compared with the rows of bronze up to the bound of that
    /// snapshot; what is inserted meanwhile is safe. `deletes` of the table says what happens to a row that is gone, and a
    /// row that comes back loses its mark. Nothing goes when the source has no key, or when more would go than
    /// `deletes_max` allows. `dwh run` does it too, every `deletes_every`.
    #[command(after_help = "\
Examples:
  dwh deletes --dry-run         how many rows, and the first keys
  dwh deletes trips
  dwh deletes trips --force     though there are more than `deletes_max` allows")]
    Deletes(DeletesArgs),
    /// Copy the tables of a postgres_pipeline manifest, by its load types
    ///
    /// `incremental` goes on from the watermark up to the end of the window, so that nothing between two calls is
    /// missed, and reads a window again that was read before. `scd` appends a copy of each table without a window.
    /// `backfill` reads a window, or all history, once more. `deletes` marks or removes rows that the source has
    /// deleted. `test` tries rows without keeping them. `validate` compares source and bronze.
    #[command(after_help = "\
Examples:
  dwh tap manifests/gitlab.yaml --load-type scd
  dwh tap manifests/gitlab.yaml --load-type incremental --execution-date 2026-10-01T06:00:00Z --hours 6
  dwh tap manifests/gitlab.yaml issues notes --load-type backfill --execution-date 2026-10-01T00:00:00Z --days 7
  dwh tap manifests/gitlab.yaml --load-type validate")]
    Tap(TapArgs),
    /// Put run log, blobs and bronze in agreement, and say what only a person can decide
    ///
    /// Finds what crashes and people left: CSV files that were not loaded, moved or finished, runs that nobody works
    /// on, files that are missing, gaps between windows. Mends what it can. Ends with 4 if something is left to decide.
    /// A CSV that can never be loaded keeps its table waiting until `--set-aside` takes it out of the way.
    #[command(after_help = "\
Examples:
  dwh recover --dry-run         what is stuck, and what would be done
  dwh recover
  dwh recover --set-aside 4711  a CSV that bronze refuses: its rows are read again from the source
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
    /// Vacuum what was loaded, refresh materialized views, and let go what is old
    ///
    /// For example once a week. `VACUUM (ANALYZE)` of the tables that were written since the last one, the materialized
    /// views in the schemas of bronze, `[retention]` as `dwh prune` does it, and old rows of what alerts told. A step that
    /// fails stops no other.
    #[command(after_help = "\
Examples:
  dwh maintain --dry-run        the steps, and why
  dwh maintain
  dwh maintain 'position_*'     the tables that match, and the views that read them")]
    Maintain(MaintainArgs),
    /// Write the archived CSV files of a table as Parquet
    ///
    /// Together they have the rows that bronze has. One file each, and `_export.json` with counts and hashes. Every value is exact: a column that Parquet cannot hold
    /// is refused with its name, unless `--as-text` says to write it as text. Needs no source, and holds no table.
    #[command(after_help = "\
Examples:
  dwh export trips --to /srv/lake
  dwh export trips --to /srv/lake --dry-run     the files, and the types of the columns
  dwh export trips --to s3://lake/bronze --from 2026-09-01T00:00:00Z
  dwh export trips --to /srv/lake --as-text fare")]
    Export(ExportArgs),
    /// Look at raw files, read them again, archive them, and put old versions back
    ///
    /// For tables with `mode = "files"`. `dwh run` loads what is new; these are for all else.
    #[command(
        subcommand,
        after_help = "\
Examples:
  dwh files list
  dwh files validate 'sff/**'
  dwh files reprocess 'sff/dumps/2025-10-30/*'
  dwh files archive --before 2024-01-01 --dry-run
  dwh files restore --run 4711"
    )]
    Files(FilesCommand),
    /// Build tables and views of the warehouse out of SELECTs in files
    ///
    /// Each file `<schema>/<name>.sql` of the folder that `[models]` names is a model. Their order comes from the SQL.
    /// `dwh run --models` builds them after a run.
    #[command(
        subcommand,
        after_help = "\
Examples:
  dwh models list
  dwh models run --dry-run
  dwh models run 'analytics.*'
  dwh models dbt-sources -o -"
    )]
    Models(ModelsCommand),
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
    /// At each TAB the shell asks `dwh`, which knows verbs, options, and the names of tables by the configuration alone: no server is asked.
    #[command(after_help = "\
Examples:
  dwh completions bash > /etc/bash_completion.d/dwh
  dwh completions zsh > ~/.dwh-completions.zsh     and `source` it in ~/.zshrc, behind `compinit`
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

#[cfg(test)]
mod hints_tests;
#[cfg(test)]
mod tests;
