//! The file as it is written: every key optional, so that all that is missing can be told at once.
//!
//! These structs are the JSON Schema; allowed and required keys are taken from it.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::globs::Globs;
use crate::config::{
    AlertOn, Compression, Deletes, FileEncoding, FileFormat, GeometryForm, Mode, OnConflict, OnInvalid,
    OnMissingColumn, OnNewColumn, OnSchemaChange, Replace, Validate,
};
use crate::watermark::BoundMode;

/// Configuration of dwh. `${NAME}` and `${NAME:-default}` in any text stand for variables of the environment or of
/// `.env` beside the file; `$${` writes `${`. Lengths of time: `90s`, `30m`, `6h`, `1d`, `2w`, `0`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "dwh.toml")]
#[allow(dead_code, reason = "only its schema is used: each section is read on its own, to find all problems")]
pub(super) struct RawConfig {
    /// The project.
    #[schemars(required)]
    pub project: Option<RawProject>,
    /// The source databases, by a name of your own: `[source.NAME]`.
    #[schemars(required)]
    pub source: Option<BTreeMap<String, RawSource>>,
    /// The warehouse.
    #[schemars(required)]
    pub target: Option<RawTarget>,
    /// The object store.
    #[schemars(required)]
    pub blob: Option<RawBlob>,
    /// How long things are kept; without it nothing is ever removed.
    pub retention: Option<RawRetention>,
    /// When `dwh status` speaks up.
    pub thresholds: Option<RawThresholds>,
    /// Who is told when something is wrong, each under an `[[alert]]` of its own.
    pub alert: Option<Vec<RawAlert>>,
    /// SELECTs in files that become tables and views of the warehouse.
    pub models: Option<RawModels>,
    /// The tables, each under a `[[table]]` of its own.
    pub table: Option<Vec<RawTable>>,
    /// Manifests of postgres_pipeline, whose tables are tables like those of `[[table]]`.
    pub manifest: Option<Vec<RawManifest>>,
}

/// The project.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProject {
    /// First folder of every blob.
    #[schemars(required)]
    pub name: Option<String>,
    /// IANA name of the zone that stamps the names of CSV files: `20261001_0800_EAT_4711.csv`, the last number being
    /// the run.
    #[schemars(extend("default" = "UTC"))]
    pub timezone: Option<String>,
    /// How often you run; a table is fresh while its last load is younger than twice this.
    #[schemars(extend("default" = "3h"))]
    pub cadence: Option<String>,
    /// Columns that dwh adds to every table that does not say it by itself; those of `metadata` of a `[[table]]`.
    #[schemars(extend("default" = []))]
    pub metadata: Option<Vec<Metadata>>,
    /// Whether `dwh run` ends as if `dwh alert` came after it, for the tables that it ran. An alert that cannot be sent is
    /// a warning.
    #[schemars(extend("default" = false))]
    pub alert_after_run: Option<bool>,
}

/// A source: a database, or a folder of files.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Source")]
pub(super) struct RawSource {
    /// `postgresql://…` or `key=value`, as a rule `${DWH_SOURCE_URL}`. Either this or `files`.
    pub url: Option<String>,
    /// The folder of raw files, `file:///folder` or `s3://bucket[/prefix]`; nothing in it is ever changed but by
    /// `dwh files archive`. S3 is reached as `[blob]` says. Either this or `url`.
    pub files: Option<String>,
    /// Schema of its bronze tables; `bronze_schema` of `[target]`, if left out.
    pub schema: Option<String>,
    /// Relations that become tables by themselves, `<NAME>.<table>`: globs over `schema.table`, or over the table alone.
    /// Partitions, views and what belongs to extensions never match. `dwh migrate` looks for them.
    pub include: Option<Globs>,
    /// Relations that do not, though they match `include`.
    pub exclude: Option<Globs>,
    /// What the tables of its relations have in common, `[source.NAME.defaults]`.
    #[allow(dead_code, reason = "only its schema is used: it is read as a section of its own")]
    pub defaults: Option<RawDefaults>,
    /// Files: where those that were loaded are copied to, under the same paths.
    pub validated: Option<String>,
    /// Files: where what such a copy overwrites is kept.
    pub backups: Option<String>,
    /// The primary, when `url` is a standby: only there can it be seen who is writing.
    pub primary_url: Option<String>,
    /// How long a read waits for a table that is being altered.
    #[schemars(extend("default" = "30s"))]
    pub lock_timeout: Option<String>,
    /// How long a run waits for transactions that it may not see.
    #[schemars(extend("default" = "30s"))]
    pub drain_timeout: Option<String>,
    /// `schema.function` that shows activity to a role without `pg_read_all_stats`.
    pub activity_function: Option<String>,
    /// How long the server may be silent while something is asked of it; then it counts as unreachable. A statement
    /// that it is working on may take longer.
    #[schemars(extend("default" = "60s"))]
    pub idle_timeout: Option<String>,
}

/// The warehouse.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    /// `postgresql://…` or `key=value`, as a rule `${DWH_TARGET_URL}`.
    #[schemars(required)]
    pub url: Option<String>,
    /// The same as an administrator, for `dwh setup` and `dwh user` alone; as a rule `${DWH_ADMIN_URL:-}`, so that no other
    /// command needs the variable.
    pub admin_url: Option<String>,
    /// Folder of the table designs, one SQL file a table: `<schema>/<table>.sql`; relative to this file.
    #[schemars(extend("default" = "designs"))]
    pub designs: Option<String>,
    /// Schema of the copied tables.
    #[schemars(extend("default" = "bronze"))]
    pub bronze_schema: Option<String>,
    /// Schema of watermarks and run log.
    #[schemars(extend("default" = "dwh_control"))]
    pub control_schema: Option<String>,
    /// Role that owns and writes both schemas.
    #[schemars(extend("default" = "dwh_owner"))]
    pub owner_role: Option<String>,
    /// Role that reads both.
    #[schemars(extend("default" = "grafana_ro"))]
    pub reader_role: Option<String>,
    /// Tables at the same time; each uses two connections while it works, and one more is for all. A pooler before the
    /// target must have as many sessions: with fewer, tables wait for each other.
    #[schemars(range(min = 1, max = 100), extend("default" = 4))]
    pub connections: Option<i64>,
    /// How long a load waits for a bronze table that somebody holds.
    #[schemars(extend("default" = "30s"))]
    pub lock_timeout: Option<String>,
    /// How long the server may be silent while something is asked of it; then it counts as unreachable. A statement
    /// that it is working on may take longer.
    #[schemars(extend("default" = "60s"))]
    pub idle_timeout: Option<String>,
}

/// The object store.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBlob {
    /// `file:///folder` or `s3://bucket[/prefix]`; access keys are not written here.
    #[schemars(required)]
    pub url: Option<String>,
    /// How CSV files are stored.
    #[schemars(extend("default" = "none"))]
    pub compression: Option<Compression>,
    /// Address of an S3 server that is not Amazon's: `https://host:port`.
    pub endpoint: Option<String>,
    /// Region.
    #[schemars(extend("default" = "us-east-1"))]
    pub region: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`; true by default where `endpoint` is set.
    pub path_style: Option<bool>,
    /// Section of the AWS credentials file.
    pub profile: Option<String>,
    /// How long an S3 server may be silent while something is asked of it; then it counts as unreachable.
    #[schemars(extend("default" = "60s"))]
    pub idle_timeout: Option<String>,
}

/// How long `dwh prune` keeps what; a key that is left out: for ever.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Retention")]
pub(super) struct RawRetention {
    /// Loaded CSV files in `processed/`; at least as long as `exports`.
    pub processed: Option<String>,
    /// Loaded CSV files that were left in `exports/` beside their copy in `processed/`.
    pub exports: Option<String>,
    /// Files in `set_aside/`, which were never loaded.
    pub set_aside: Option<String>,
    /// Rows of the run log.
    pub runs: Option<String>,
}

/// When `dwh status` speaks up, for all tables, or for one in its `[table.thresholds]`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Thresholds")]
pub(super) struct RawThresholds {
    /// A table is fresh while its last load is younger than this; twice the cadence if not said.
    pub max_lag: Option<String>,
    /// Percent of the runs of the last 7 days that must have been loaded.
    #[schemars(range(min = 0, max = 100), extend("default" = 90))]
    pub success_rate: Option<f64>,
    /// How long a run may take.
    pub max_duration: Option<String>,
    /// Rows that must be loaded in 24 hours at least.
    #[schemars(range(min = 0))]
    pub min_rows_per_day: Option<i64>,
    /// Rows that may be loaded in 24 hours at most.
    #[schemars(range(min = 0))]
    pub max_rows_per_day: Option<i64>,
    /// How full, in percent, the disks of the spool and of a folder store may be; for the whole project only.
    #[schemars(range(min = 0, max = 100), extend("default" = 85))]
    pub disk_used: Option<f64>,
}

/// What `dwh alert` sends, and how: exactly one of `webhook`, `smtp` and `command`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Alert")]
pub(super) struct RawAlert {
    /// What it is called; what was sent is kept under this name.
    #[schemars(required)]
    pub name: Option<String>,
    /// Address that takes `{"text": …}` by HTTP POST, such as those of Slack, Mattermost and Teams.
    pub webhook: Option<String>,
    /// Mail server: `smtps://user:password@host[:port]` speaks TLS from the first byte, `smtp://…` by STARTTLS, which it must
    /// have; `smtp://localhost` and `smtp://…?tls=none` do without.
    pub smtp: Option<String>,
    /// Mail: the sender.
    pub from: Option<String>,
    /// Mail: who gets it.
    pub to: Option<Vec<String>>,
    /// Program and arguments, without a shell; it gets the message as JSON on stdin.
    pub command: Option<Vec<String>>,
    /// What it tells of.
    #[schemars(extend("default" = ["failure", "breach", "recovered"]))]
    pub on: Option<Vec<AlertOn>>,
    /// When something that goes on is told again; `0`: never.
    #[schemars(extend("default" = "6h"))]
    pub repeat: Option<String>,
    /// How long sending may take, from one second to sixty.
    #[schemars(extend("default" = "10s"))]
    pub timeout: Option<String>,
}

/// SELECTs in files that `dwh models run` makes tables and views of.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Models")]
pub(super) struct RawModels {
    /// Their folder, from the folder of `dwh.toml`; a model is a file `<schema>/<name>.sql` in it.
    #[schemars(required)]
    pub dir: Option<String>,
}

/// A column that dwh adds.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) enum Metadata {
    #[serde(rename = "_uploaded_at")]
    UploadedAt,
    #[serde(rename = "_task_instance")]
    TaskInstance,
    #[serde(rename = "_loaded_at")]
    LoadedAt,
    #[serde(rename = "_run_id")]
    RunId,
}

/// A table.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Table")]
pub(super) struct RawTable {
    /// Its watermark row, its blob folder and, unless `target` says otherwise, its bronze table. May be left out of a
    /// relation: `<source>.<table>`, and the bronze table is `<table>`.
    pub name: Option<String>,
    /// Which of the sources; may be left out when there is one.
    pub source: Option<String>,
    /// The table at the source, `schema.table`; parts with dots in double quotes. Either this or `query`.
    pub relation: Option<String>,
    /// A query at the source, without `;`. Either this or `relation`.
    pub query: Option<String>,
    /// The bronze table, `schema.table` or just `table`.
    pub target: Option<String>,
    /// How it is moved.
    #[schemars(required)]
    pub mode: Option<Mode>,
    /// Incremental: the column with the time of insertion, set by the source's clock, never a device's.
    pub watermark: Option<String>,
    /// IANA name of the writers' zone, for a `timestamp` or `date` column.
    pub watermark_timezone: Option<String>,
    /// Incremental: the natural key; bronze has a primary key or unique constraint over it.
    pub key: Option<Vec<String>>,
    /// What happens to a row whose key is in bronze already.
    #[schemars(extend("default" = "nothing"))]
    pub on_conflict: Option<OnConflict>,
    /// Columns that are left out.
    pub exclude: Option<Vec<String>>,
    /// What happens to a column that bronze has and the source has lost.
    #[schemars(extend("default" = "stop"))]
    pub on_missing_column: Option<OnMissingColumn>,
    /// What happens to a column that the source has and bronze has not.
    #[schemars(extend("default" = "stop"))]
    pub on_new_column: Option<OnNewColumn>,
    /// What happens when the columns of the source are not those of bronze any more. With `resync`, `on_new_column` is
    /// `add` and `on_missing_column` is `keep` (of a snapshot without a key `null`) if they are left out.
    #[schemars(extend("default" = "stop"))]
    pub on_schema_change: Option<OnSchemaChange>,
    /// Rows that a chunk of `dwh resync` has.
    #[schemars(extend("default" = 250_000), range(min = 1))]
    pub chunk_rows: Option<u64>,
    /// How geometry stands in the CSV.
    #[schemars(extend("default" = "ewkt"))]
    pub geometry: Option<GeometryForm>,
    /// Largest slice of history in one CSV; `0`: all in one.
    #[schemars(extend("default" = "1d"))]
    pub window: Option<String>,
    /// How far below the watermark late rows are looked for; `0`: not at all.
    #[schemars(extend("default" = "24h"))]
    pub late_window: Option<String>,
    /// Whether a run reads beyond its bound.
    #[schemars(extend("default" = "overlap"))]
    pub bound: Option<BoundMode>,
    /// A fixed lag instead of the safe bound; proves nothing.
    pub fixed_lag: Option<String>,
    /// Whether a snapshot of no rows may replace rows.
    #[schemars(extend("default" = false))]
    pub allow_empty: Option<bool>,
    /// How a snapshot takes the place of the rows that are there.
    #[schemars(extend("default" = "truncate"))]
    pub replace: Option<Replace>,
    /// Incremental: what happens to a row of bronze that the source has deleted.
    #[schemars(extend("default" = "keep"))]
    pub deletes: Option<Deletes>,
    /// How often `dwh run` looks for such rows; `0`: only `dwh deletes` does.
    #[schemars(extend("default" = "24h"))]
    pub deletes_every: Option<String>,
    /// How many of the rows in question may go at once; more are refused without `--force`.
    #[schemars(extend("default" = "10%"))]
    pub deletes_max: Option<String>,
    /// Columns that dwh adds. `_uploaded_at`: when the run began that read the row. `_task_instance`: what the orchestrator
    /// calls that run (`DWH_TASK_INSTANCE`). `_run_id`: its number. `_loaded_at`: when the row was written into bronze; a
    /// table of files can have this one alone. `[]`: none. As `[project]` says, if left out.
    pub metadata: Option<Vec<Metadata>>,
    /// Bronze column = expression over the source row, which is `t`: `distance_km = "t.distance_km * 1000"`.
    pub select: Option<BTreeMap<String, String>>,
    /// Files: globs over the paths below the source; `*` stays within a folder, `**` does not.
    pub files: Option<Globs>,
    /// Files: globs over paths that are left out.
    pub ignore: Option<Globs>,
    /// Files: how the records stand in a file; as the end of its name says, if left out.
    pub format: Option<FileFormat>,
    /// Files: how their letters are written.
    #[schemars(extend("default" = "unicode"))]
    pub encoding: Option<FileEncoding>,
    /// Files: JSON pointer to the records. An array holds them as elements, an object as values.
    pub records: Option<String>,
    /// Files: path of the JSON Schema, from the folder of `dwh.toml`.
    pub json_schema: Option<String>,
    /// Files: what is compared with the JSON Schema.
    #[schemars(extend("default" = "record"))]
    pub validate: Option<Validate>,
    /// Files: columns of bronze without which a record is not valid.
    pub required: Option<Vec<String>>,
    /// Files: what happens to a file with records that are not valid.
    #[schemars(extend("default" = "reject_file"))]
    pub on_invalid: Option<OnInvalid>,
    /// Files: whether a file with a warning is not loaded.
    #[schemars(extend("default" = false))]
    pub fail_on_warning: Option<bool>,
    /// Files: bronze column = where its value stands, and its type; those of the JSON Schema, if left out.
    #[allow(dead_code, reason = "only its schema is used: each column is read as a section of its own")]
    pub columns: Option<BTreeMap<String, RawColumn>>,
    /// What differs from `[thresholds]`.
    #[allow(dead_code, reason = "only its schema is used: it is read as a section of its own")]
    pub thresholds: Option<RawThresholds>,
}

/// What the tables of a source have in common, where they do not say otherwise: those of `include`, and each `[[table]]`
/// with a `relation`. One with another `mode` takes no key that depends on the mode.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct RawDefaults(pub RawTable);

impl RawDefaults {
    /// Keys that are each table's own.
    const OF_ONE: [&str; 16] = [
        "name",
        "source",
        "relation",
        "query",
        "target",
        "select",
        "files",
        "ignore",
        "format",
        "encoding",
        "records",
        "json_schema",
        "validate",
        "required",
        "on_invalid",
        "fail_on_warning",
    ];
    /// Keys that mean the same in every mode.
    pub(super) const OF_ANY_MODE: [&str; 6] =
        ["exclude", "geometry", "metadata", "on_new_column", "on_schema_change", "chunk_rows"];
}

impl JsonSchema for RawDefaults {
    fn schema_name() -> Cow<'static, str> {
        "Defaults".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = RawTable::json_schema(generator);
        schema.remove("required");
        let keys = schema.get_mut("properties").and_then(|keys| keys.as_object_mut());
        if let Some(keys) = keys {
            keys.retain(|key, _| {
                !Self::OF_ONE.contains(&key.as_str()) && !["columns", "thresholds"].contains(&key.as_str())
            });
            if let Some(mode) = keys.get_mut("mode").and_then(|mode| mode.as_object_mut()) {
                mode.insert("default".to_owned(), "snapshot".into());
            }
        }
        schema.insert("description".to_owned(), "What the tables of a source have in common.".into());
        schema
    }
}

/// Manifests of postgres_pipeline, read as they are. Each table of theirs is called `<export_schema>.<export_table>`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Manifest")]
pub(super) struct RawManifest {
    /// The files, as a glob: `manifests/*.yaml`; relative to the folder of this file.
    #[schemars(required)]
    pub path: Option<String>,
    /// `import_db` = source: `{ GITLAB_DB = "gitlab" }`; `"GITLAB_DB:ci"` is that of `database_type: ci`. May be left out
    /// when there is one source.
    pub source: Option<BTreeMap<String, String>>,
    /// Values of what stands in braces in the queries: `{ INTERNAL_PROJECT_IDS = "(1, 2)" }`. Those of the window
    /// (`EXECUTION_DATE`, `HOURS`, `DAYS`, `BEGIN_TIMESTAMP`, `END_TIMESTAMP`) have none.
    pub variables: Option<BTreeMap<String, String>>,
    /// What happens to a row of an incremental table whose key is in bronze already.
    #[schemars(extend("default" = "append"))]
    pub on_conflict: Option<OnConflict>,
    /// What happens when the columns of a query are not those of bronze any more.
    #[schemars(extend("default" = "resync"))]
    pub on_schema_change: Option<OnSchemaChange>,
    /// Rows that a chunk of `dwh resync` has.
    #[schemars(extend("default" = 250_000), range(min = 1))]
    pub chunk_rows: Option<u64>,
    /// Schema of the relations that the queries name without one.
    #[schemars(extend("default" = "public"))]
    pub schema: Option<String>,
    /// IANA name of the writers' zone, for columns of type `timestamp` and `date` by which windows are cut.
    #[schemars(extend("default" = "UTC"))]
    pub watermark_timezone: Option<String>,
    /// Largest slice of history in one CSV; `0`: all in one.
    #[schemars(extend("default" = "1d"))]
    pub window: Option<String>,
    /// How far below the watermark late rows are looked for; `0`: not at all.
    #[schemars(extend("default" = "24h"))]
    pub late_window: Option<String>,
    /// What happens to rows of incremental tables that the source has deleted; never to those of a table with
    /// `deletes_exempt`.
    #[schemars(extend("default" = "keep"))]
    pub deletes: Option<Deletes>,
    /// How often `dwh run` looks for such rows; `0`: only `dwh deletes` and `dwh tap --load-type deletes` do.
    #[schemars(extend("default" = "24h"))]
    pub deletes_every: Option<String>,
    /// How many of the rows in question may go at once; more are refused without `--force`.
    #[schemars(extend("default" = "10%"))]
    pub deletes_max: Option<String>,
}

/// A column of a table of files.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Column")]
pub(super) struct RawColumn {
    /// JSON pointer below the record, or the name of a CSV column; the column's own name, if left out.
    pub from: Option<String>,
    /// For a point: where its longitude stands.
    pub lon: Option<String>,
    /// For a point: where its latitude stands.
    pub lat: Option<String>,
    /// Type of the column, as PostgreSQL writes it; as the JSON Schema says, if left out.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
}
