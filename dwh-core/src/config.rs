//! What the user wrote in `dwh.toml`, checked; all problems at once. No network.

mod added;
mod alert;
mod environment;
mod files;
mod manifest;
mod models;
mod patterns;
mod problems;
mod read;
mod secret;

use globset::{Glob, GlobMatcher};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;
use crate::watermark::{BoundMode, Micros};

pub use crate::chain::Compression;
pub use added::{DELETED_AT, LOADED_AT, RUN_ID, TASK_INSTANCE, UPLOADED_AT};
pub use alert::{AlertChannel, AlertConfig, AlertOn};
pub use environment::Environment;
pub use files::{
    FILE, FieldFrom, FileColumn, FileEncoding, FileFormat, FileTable, FilesConfig, OnInvalid, RECORD, Validate,
};
pub use manifest::ManifestTable;
pub(crate) use manifest::{Needs, needs as manifest_needs, pieces};
pub(crate) use models::{Model, with_prefix};
pub use models::{ModelKind, ModelsConfig};
pub(crate) use patterns::RelationGlob;
pub use patterns::{Discovered, Patterns};
pub use read::json_schema;
pub use secret::Secret;

/// How long a server may be silent, if not said: with everything that is tried afterwards, a run ends within two minutes.
pub const IDLE_TIMEOUT: Micros = Micros::seconds(60);

/// How a table is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// New rows by watermark, appended under a key.
    Incremental,
    /// The whole table, replaced in one transaction.
    Snapshot,
    /// The whole table, appended as a dated copy.
    Scd,
    /// File by file, each in the place of its older version.
    Files,
}

impl Mode {
    /// The word in the configuration and the run log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Snapshot => "snapshot",
            Self::Scd => "scd",
            Self::Files => "files",
        }
    }

    /// The mode of a word from the run log.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Incremental, Self::Snapshot, Self::Scd, Self::Files].into_iter().find(|mode| mode.as_str() == word)
    }

    /// Whether a row finds the one that is there by its key.
    #[must_use]
    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::Incremental | Self::Files)
    }
}

/// What happens to a row whose key is in bronze already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The row in bronze stays.
    #[default]
    Nothing,
    /// The newer row, by the watermark column, wins.
    Update,
    /// Both stay: bronze has each version of a row, dated by `_uploaded_at`. A version that it has already is not
    /// added again.
    Append,
}

/// What happens to a column that bronze has and the source has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMissingColumn {
    /// The run stops before it reads anything, and names the column.
    #[default]
    Stop,
    /// Bronze keeps the values that it has; new rows get NULL. A snapshot carries them over by `key`.
    Keep,
    /// What is loaded from now on has NULL there; in a snapshot that is every row.
    Null,
}

/// What happens to a column that the source has and bronze has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNewColumn {
    /// The run stops before it reads anything, and names the column.
    #[default]
    Stop,
    /// The run adds it to bronze, says so, and goes on.
    Add,
}

/// What happens when the columns of the source are not those of bronze any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnSchemaChange {
    /// As `on_new_column` and `on_missing_column` say; for all else the run stops and names the difference.
    #[default]
    Stop,
    /// Bronze follows: a column that only came, or only went, costs nothing; for all else the run reads the whole table
    /// again, in chunks beside bronze, and puts it in the place of what is there.
    Resync,
}

/// What happens to a row of bronze that the source has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deletes {
    /// It stays as it is; nobody looks.
    #[default]
    Keep,
    /// It stays, and `_deleted_at` says since when it is known to be gone. A row that comes back loses the mark.
    Mark,
    /// It is removed.
    Remove,
}

/// How a snapshot takes the place of the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replace {
    /// `truncate`: fast, and leaves no dead rows. It waits for readers of the table, keeps new ones out until the commit,
    /// and is refused while a foreign key of another table points at it.
    #[default]
    Truncate,
    /// `delete`: readers go on with the old rows, and foreign keys that are deferrable hold. Each load leaves the old rows
    /// for vacuum, so the table takes up to twice its size.
    Delete,
}

/// How geometry stands in the CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GeometryForm {
    /// Text with the SRID, written with 30 decimals: readable, exact for all but -0, infinities and the dimensions of empties.
    #[default]
    Ewkt,
    /// Hex EWKB, as COPY writes it by itself: exact for every value, and faster.
    Ewkb,
}

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from, for messages.
    pub path: PathBuf,
    /// `[project]`.
    pub project: Project,
    /// `[source.NAME]`, by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// `[target]`.
    pub target: TargetConfig,
    /// `[blob]`.
    pub blob: BlobConfig,
    /// `[retention]`; without it nothing is ever removed.
    pub retention: Option<Retention>,
    /// `[models]`, if there are any.
    pub models: Option<ModelsConfig>,
    /// `disk_used` of `[thresholds]`: how full, in percent, the disks of the spool and of a folder store may be. The
    /// other thresholds stand in each table.
    pub disk_used: f64,
    /// `[[alert]]`, in the order of the file.
    pub alerts: Vec<AlertConfig>,
    /// `[[table]]`, in the order of the file, then those of the manifests. Those of patterns are not among them:
    /// [`Pipeline::tables`](crate::Pipeline::tables) knows all.
    pub tables: Vec<TableConfig>,
    /// The variables that the file, the drivers and the stores may use.
    pub environment: Environment,
}

/// `[project]`.
#[derive(Debug, Clone)]
pub struct Project {
    /// Blob prefix, and the stem of default role names.
    pub name: String,
    /// Zone in which CSV files are stamped.
    pub zone: TimeZone,
    /// How often the tables are meant to run; freshness is judged against twice this.
    pub cadence: Micros,
    /// Whether a run ends with a look at what is to be told.
    pub alert_after_run: bool,
}

/// `[source.NAME]`.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Connection string; empty for files.
    pub url: Secret,
    /// Where its files lie, if it is no database.
    pub files: Option<FilesConfig>,
    /// Schema of its bronze tables, if it is not that of `[target]`.
    pub schema: Option<String>,
    /// Relations that become tables by themselves.
    pub patterns: Option<Patterns>,
    /// Connection string of the primary, when `url` is a standby: its activity decides the bound.
    pub primary_url: Option<Secret>,
    /// How long a read waits for a table's lock.
    pub lock_timeout: Micros,
    /// How long the fall-back waits for hidden transactions to end.
    pub drain_timeout: Micros,
    /// `schema.function` that a DBA installed to show activity without `pg_read_all_stats`.
    pub activity_function: Option<TableRef>,
    /// How long the server may be silent while something is asked of it. A statement that it works on may take longer.
    pub idle_timeout: Micros,
}

/// `[target]`.
#[derive(Debug, Clone)]
pub struct TargetConfig {
    /// Connection string.
    pub url: Secret,
    /// Connection string of an administrator, for `setup` and users alone.
    pub admin_url: Option<Secret>,
    /// Folder of the table designs: `<schema>/<table>.sql`.
    pub designs: PathBuf,
    /// Schema of the copied tables.
    pub bronze_schema: String,
    /// Schema of watermarks and run log.
    pub control_schema: String,
    /// Role that owns and writes both schemas.
    pub owner_role: String,
    /// Role that reads both.
    pub reader_role: String,
    /// Tables loaded at the same time; each uses two connections while it works, and one more is for all.
    pub connections: usize,
    /// How long a load waits for a table's lock.
    pub lock_timeout: Micros,
    /// How long the server may be silent while something is asked of it. A statement that it works on may take longer.
    pub idle_timeout: Micros,
}

/// `[blob]`.
#[derive(Debug, Clone)]
pub struct BlobConfig {
    /// `file:///path` or `s3://bucket[/prefix]`, without a trailing slash.
    pub url: String,
    /// How CSV files are stored.
    pub compression: Compression,
    /// Address of an S3 server that is not Amazon's.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` if not said.
    pub region: Option<String>,
    /// `http://endpoint/bucket/key` instead of `http://bucket.endpoint/key`; on by default with an endpoint.
    pub path_style: bool,
    /// Section of the AWS credentials file.
    pub profile: Option<String>,
    /// How long an S3 server may be silent while something is asked of it.
    pub idle_timeout: Micros,
}

/// `[retention]`: how long things are kept; `None` is for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Loaded CSV files; at least as long as `exports`.
    pub processed: Option<Micros>,
    /// Loaded CSV files that were left in `exports/` beside their copy in `processed/`.
    pub exports: Option<Micros>,
    /// Files in `set_aside/`, which were never loaded.
    pub set_aside: Option<Micros>,
    /// Rows of the run log.
    pub runs: Option<Micros>,
}

/// When the `status` of a table is worth a person's attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// A table is fresh while its last load is younger than this, and a CSV may wait so long; twice the cadence if not
    /// said.
    pub max_lag: Micros,
    /// Percent of the ordinary runs of the last 7 days that must have been loaded.
    pub success_rate: f64,
    /// How long a run may take.
    pub max_duration: Option<Micros>,
    /// Rows that must be loaded in 24 hours at least.
    pub min_rows_per_day: Option<u64>,
    /// Rows that may be loaded in 24 hours at most.
    pub max_rows_per_day: Option<u64>,
}

impl Thresholds {
    /// Percent of the runs, if not said.
    pub const SUCCESS_RATE: f64 = 90.0;
    /// Percent of a disk, if not said.
    pub const DISK_USED: f64 = 85.0;

    /// Those of a project that says none.
    #[must_use]
    pub const fn of_cadence(cadence: Micros) -> Self {
        Self {
            max_lag: Micros(cadence.0.saturating_mul(2)),
            success_rate: Self::SUCCESS_RATE,
            max_duration: None,
            min_rows_per_day: None,
            max_rows_per_day: None,
        }
    }
}

/// How often a run looks for rows that the source has deleted, if not said.
pub const DELETES_EVERY: Micros = Micros::seconds(86_400);

/// Percent of the rows in question that may go at once, if not said.
pub const DELETES_MAX: f64 = 10.0;

/// `[[table]]`.
#[derive(Debug, Clone)]
pub struct TableConfig {
    /// The watermark row, the blob folder and, unless `target` says otherwise, the bronze table.
    pub name: String,
    /// Which of the sources.
    pub source: String,
    /// The table at the source, if it is one.
    pub relation: Option<TableRef>,
    /// A query at the source instead.
    pub query: Option<String>,
    /// Files of the source instead.
    pub files: Option<Box<FileTable>>,
    /// The bronze table.
    pub target: TableRef,
    /// How it is moved.
    pub mode: Mode,
    /// Column with the time of insertion into the source.
    pub watermark: Option<String>,
    /// Zone of a watermark column that has none: the zone of the writers' sessions.
    pub watermark_zone: Option<TimeZone>,
    /// The natural key.
    pub key: Vec<String>,
    /// What happens to a row whose key is there already.
    pub on_conflict: OnConflict,
    /// Columns that are left out.
    pub exclude: Vec<String>,
    /// What happens to a column that bronze has and the source has lost.
    pub on_missing_column: OnMissingColumn,
    /// What happens to a column that the source has and bronze has not.
    pub on_new_column: OnNewColumn,
    /// What happens when the columns of the source are not those of bronze any more.
    pub on_schema_change: OnSchemaChange,
    /// Rows that a chunk of a resync has.
    pub chunk_rows: u64,
    /// How geometry stands in the CSV.
    pub geometry: GeometryForm,
    /// Largest slice of history in one CSV; zero: all in one.
    pub window: Micros,
    /// How far back the late-row sweep looks; zero: off.
    pub late_window: Micros,
    /// Whether a run reads beyond its bound.
    pub bound: BoundMode,
    /// A fixed lag instead of the safe bound; proves nothing.
    pub fixed_lag: Option<Micros>,
    /// Whether a snapshot of no rows may replace rows.
    pub allow_empty: bool,
    /// How a snapshot takes the place of the rows that are there.
    pub replace: Replace,
    /// What happens to a row of bronze that the source has deleted.
    pub deletes: Deletes,
    /// How often a run looks for them; zero: only `deletes` does.
    pub deletes_every: Micros,
    /// Percent of the rows in question that may go at once.
    pub deletes_max: f64,
    /// Bronze column = expression over the source row.
    pub select: BTreeMap<String, String>,
    /// Exactly these columns, in this order; those of `select` are among them. `None`: all of the relation, then the
    /// additional ones of `select`.
    pub columns: Option<Vec<String>>,
    /// A condition over the source row that every row meets.
    pub filter: Option<String>,
    /// Whether each row says in `_loaded_at` when it was written into bronze.
    pub loaded_at: bool,
    /// Whether each row says in `_run_id` which run read it.
    pub run_id: bool,
    /// Whether each row says in `_uploaded_at` when its run began, though mode and `on_conflict` do not ask for it.
    pub uploaded_at: bool,
    /// The orchestrator's name of this run, for the column `_task_instance`; empty: it is NULL. `None`: there is no such
    /// column.
    pub task_instance: Option<String>,
    /// Where it stands in a manifest, if it comes from one.
    pub manifest: Option<ManifestTable>,
    /// When `status` speaks up: `[table.thresholds]` over `[thresholds]` over the defaults.
    pub thresholds: Thresholds,
}

impl TableConfig {
    /// Rows of a chunk, if not said.
    pub const CHUNK_ROWS: u64 = 250_000;

    /// Whether bronze has each version of a row.
    #[must_use]
    pub fn is_appended(&self) -> bool {
        self.mode == Mode::Incremental && self.on_conflict == OnConflict::Append
    }

    /// Whether rows that the source has deleted are marked in bronze.
    #[must_use]
    pub fn marks_deleted(&self) -> bool {
        self.deletes == Deletes::Mark
    }
}

impl Config {
    /// The tables that match any of the globs, in the order of the file; all of them if there are no globs. With several
    /// sources a glob may begin with that of the table, as in `www.*`, or be no more than its name.
    ///
    /// # Errors
    /// `Config` for a glob that cannot be read or matches nothing.
    pub fn select(&self, globs: &[String]) -> Result<Vec<&TableConfig>> {
        if globs.is_empty() {
            return Ok(self.tables.iter().collect());
        }
        let mut chosen = vec![false; self.tables.len()];
        for text in globs {
            let glob = Glob::new(text)
                .map_err(|error| Error::new(ErrorKind::Config, format!("`{text}` is no pattern")).with_source(error))?
                .compile_matcher();
            let hits = self.hits(text, &glob);
            if hits.is_empty() {
                return Err(self.unknown_table(text));
            }
            hits.into_iter().for_each(|at| chosen[at] = true);
        }
        Ok(self.tables.iter().zip(chosen).filter_map(|(table, chosen)| chosen.then_some(table)).collect())
    }

    /// The places of the tables that one glob matches.
    fn hits(&self, text: &str, glob: &GlobMatcher) -> Vec<usize> {
        let exact = self.tables.iter().any(|table| table.name == text);
        let of_source = self.sources.len() > 1 && !exact;
        let hit = |table: &TableConfig| {
            let full = || format!("{}.{}", table.source, table.name);
            table.name == text || glob.is_match(&table.name) || (of_source && glob.is_match(full()))
        };
        let places =
            |hit: &dyn Fn(&TableConfig) -> bool| (0..self.tables.len()).filter(|at| hit(&self.tables[*at])).collect();
        let found: Vec<usize> = places(&hit);
        if found.is_empty() { places(&|table| table.source == text) } else { found }
    }

    /// The table of exactly that name.
    ///
    /// # Errors
    /// `Config`, naming those that there are.
    pub fn table(&self, name: &str) -> Result<&TableConfig> {
        self.tables.iter().find(|table| table.name == name).ok_or_else(|| self.unknown_table(name))
    }

    fn unknown_table(&self, text: &str) -> Error {
        let names: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        let more = if self.has_patterns() { "; `dwh migrate` looks for relations that `include` matches" } else { "" };
        Error::new(ErrorKind::Config, format!("no table in `{}` matches `{text}`", self.path.display()))
            .with_hint(format!("{}{more}", problems::these(text, &names)))
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
