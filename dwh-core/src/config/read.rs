//! Reading `dwh.toml`: spans, variables, schema, then the rules; every problem is reported, not only the first.

mod alert;
mod files;
mod globs;
mod manifest;
mod raw;
mod section;
mod sources;
mod table;
mod thresholds;
mod value;

use std::path::Path;
use toml::de::{DeTable, DeValue};

use super::manifest::{Shared, tables as manifest_tables};
use super::problems::{Problems, did_you_mean};
use super::{BlobConfig, Config, Environment, IDLE_TIMEOUT, ModelsConfig, Project, Retention, Secret, TargetConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::watermark::Micros;
use raw::{RawAlert, RawBlob, RawConfig, RawManifest, RawModels, RawProject, RawRetention, RawTable, RawTarget};
use section::{Reader, Section};

const SECTIONS: [&str; 10] =
    ["project", "source", "target", "blob", "retention", "thresholds", "alert", "models", "table", "manifest"];
const TIMEOUT: Micros = Micros::seconds(30);

/// The JSON Schema of the file, with a description of every key; editors complete and check the file with it.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}

impl Config {
    /// The configuration in the file at `path`, with the variables of `environment` and of a `.env` file beside it.
    ///
    /// # Errors
    /// `Config` if there is no file, or listing everything that is wrong with it. No message holds
    /// an address of a service, or a refused value that came from a variable.
    pub fn load(path: &Path, environment: Environment) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, path, environment.with_dotenv(folder)?)
    }

    /// The configuration in `text`; `path` is used in messages only.
    ///
    /// ```
    /// use dwh_core::config::{Config, Environment};
    /// let text = r#"
    ///     [project]
    ///     name = "fleet"
    ///     [source.main]
    ///     url = "${SOURCE}"
    ///     [target]
    ///     url = "${TARGET:-postgresql://warehouse/dwh}"
    ///     [blob]
    ///     url = "file:///var/lib/dwh"
    ///     [[table]]
    ///     name = "trips"
    ///     relation = "public.trips"
    ///     mode = "snapshot"
    /// "#;
    /// let environment = Environment::from_iter([("SOURCE", "postgresql://db/fleet")]);
    /// let config = Config::parse(text, "dwh.toml".as_ref(), environment)?;
    /// assert_eq!(config.tables[0].target.to_string(), "bronze.trips");
    /// # Ok::<(), dwh_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` listing everything that is wrong, as `file:line: key: message`.
    pub fn parse(text: &str, path: &Path, environment: Environment) -> Result<Self> {
        let problems = Problems::new(path, text);
        let document = DeTable::parse(text).map_err(|error| syntax(path, text, &problems, &error))?;
        let config = build(document.get_ref(), Reader { problems: &problems, environment: &environment }, path);
        problems.into_result()?;
        Ok(Self { environment, ..config })
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let what = if missing { "does not exist" } else { "cannot be read" };
    Error::new(ErrorKind::Config, format!("configuration `{}` {what}", path.display()))
        .with_hint("name the file with `--config` or `DWH_CONFIG`; `dwh init` writes one")
        .with_source(error)
}

/// The TOML itself is broken. Only the parser's message is shown: its `Display` quotes the line, which may be secret.
fn syntax(path: &Path, text: &str, problems: &Problems<'_>, error: &toml::de::Error) -> Error {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(problems.line_start(at)..at).unwrap_or_default();
    let place = format!("{}:{}:{}", path.display(), problems.line(at), before.chars().count() + 1);
    Error::new(ErrorKind::Config, format!("`{}`: 1 problem\n  {place}: no TOML: {}", path.display(), error.message()))
        .with_hint("texts stand in quotes, sections in brackets; `dwh config schema` prints every key")
}

fn build(document: &DeTable<'_>, reader: Reader<'_>, path: &Path) -> Config {
    for key in document.keys().filter(|key| !SECTIONS.contains(&key.get_ref().as_ref())) {
        let near = did_you_mean(key.get_ref(), SECTIONS);
        reader.problems.add(reader.problems.line(key.span().start), key.get_ref(), &format!("unknown key{near}"));
    }
    let (mut sources, globs) = sources::sources(document, reader);
    let base = path.parent().unwrap_or(Path::new(""));
    let target = target(&single(document, reader, "target"), base);
    let alerts = alert::alerts(&alert_sections(document, reader));
    let section = single(document, reader, "project");
    let project = project(&section, document.contains_key("alert"));
    let metadata = section.raw.metadata.unwrap_or_default();
    let (thresholds, disk_used) = thresholds::general(document, reader, project.cadence);
    let sections = table_sections(document, reader);
    let each = thresholds::of_tables(document, reader, &thresholds);
    let columns = files::columns_of_tables(document, reader);
    let own: Vec<_> = each.into_iter().zip(columns).collect();
    let task_instance = reader.environment.get("DWH_TASK_INSTANCE").unwrap_or_default().to_owned();
    let around =
        table::Around { bronze: &target.bronze_schema, base, task_instance: &task_instance, metadata: &metadata };
    let mut tables = table::tables(&sections, &own, &sources, &around);
    sources::patterns(document, reader, globs, &mut sources, &around, &thresholds);
    let written = tables.len();
    let shared = Shared { sources: &sources, thresholds: &thresholds, task_instance };
    for section in manifest_sections(document, reader) {
        if let Some(settings) = manifest::settings(&section, &sources) {
            manifest_tables(&settings, &shared, reader.problems, &mut tables);
        }
    }
    tables[written..].iter_mut().for_each(|table| table::add(table, &metadata, &shared.task_instance));
    Config {
        path: path.to_owned(),
        project,
        sources,
        target,
        blob: blob(&single(document, reader, "blob")),
        retention: document.contains_key("retention").then(|| retention(&single(document, reader, "retention"))),
        models: document.contains_key("models").then(|| models(&single(document, reader, "models"), base)),
        disk_used,
        alerts,
        tables,
        environment: Environment::default(),
    }
}

/// A section that stands once; reported if it is missing or no section.
fn single<'a, T>(document: &DeTable<'_>, reader: Reader<'a>, name: &str) -> Section<'a, T>
where
    T: for<'de> serde::Deserialize<'de> + schemars::JsonSchema + Default,
{
    match document.get_key_value(name) {
        Some((key, value)) => {
            let line = reader.problems.line(key.span().start);
            if let DeValue::Table(table) = value.get_ref() {
                return Section::read(reader, name, line, table);
            }
            reader.problems.add(line, name, &format!("must be a section `[{name}]`"));
        }
        None => reader.problems.add(1, name, &format!("section `[{name}]` is missing")),
    }
    Section::empty(reader, name)
}

fn table_sections<'a>(document: &DeTable<'_>, reader: Reader<'a>) -> Vec<Section<'a, RawTable>> {
    let defaults = sources::Defaults::of(document);
    repeated(document, reader, "table", "once a table", |table| {
        // Sections of their own, with problems of their own.
        table.remove("thresholds");
        table.remove("columns");
        defaults.fill(table);
    })
}

fn alert_sections<'a>(document: &DeTable<'_>, reader: Reader<'a>) -> Vec<Section<'a, RawAlert>> {
    repeated(document, reader, "alert", "once for each who is told", |_| {})
}

fn manifest_sections<'a>(document: &DeTable<'_>, reader: Reader<'a>) -> Vec<Section<'a, RawManifest>> {
    repeated(document, reader, "manifest", "once for each setting of files", |_| {})
}

/// The sections of a name that may stand several times; `trim` takes out what is read elsewhere.
fn repeated<'a, 'd, T>(
    document: &DeTable<'d>,
    reader: Reader<'a>,
    name: &str,
    once: &str,
    trim: impl Fn(&mut DeTable<'d>),
) -> Vec<Section<'a, T>>
where
    T: for<'de> serde::Deserialize<'de> + schemars::JsonSchema + Default,
{
    let Some((key, value)) = document.get_key_value(name) else { return Vec::new() };
    let read = |item: &toml::Spanned<DeValue<'d>>| {
        let mut table = item.get_ref().as_table()?.clone();
        trim(&mut table);
        Some(Section::read(reader, name, reader.problems.line(item.span().start), &table))
    };
    let sections = value.get_ref().as_array().and_then(|items| items.iter().map(read).collect());
    sections.unwrap_or_else(|| {
        let line = reader.problems.line(key.span().start);
        reader.problems.add(line, name, &format!("must be written `[[{name}]]`, {once}"));
        Vec::new()
    })
}

fn project(section: &Section<'_, RawProject>, alerts: bool) -> Project {
    let raw = &section.raw;
    if raw.alert_after_run == Some(true) && !alerts {
        section.problem("alert_after_run", "needs an `[[alert]]`, which says whom to tell");
    }
    Project {
        name: section.checked("name", raw.name.as_deref(), value::label).unwrap_or_default(),
        zone: section.checked("timezone", raw.timezone.as_deref(), value::zone).unwrap_or(jiff::tz::TimeZone::UTC),
        cadence: section
            .checked("cadence", raw.cadence.as_deref(), value::positive_duration)
            .unwrap_or(Micros::seconds(3 * 3600)),
        alert_after_run: raw.alert_after_run.unwrap_or(false),
    }
}

fn idle_timeout<T>(section: &Section<'_, T>, text: Option<&str>) -> Micros {
    section.checked("idle_timeout", text, value::patience).unwrap_or(IDLE_TIMEOUT)
}

fn target(section: &Section<'_, RawTarget>, base: &Path) -> TargetConfig {
    let raw = &section.raw;
    let name = |key, text: &Option<String>, default: &str| {
        section.checked(key, text.as_deref(), value::identifier).unwrap_or_else(|| default.to_owned())
    };
    let connections = raw.connections.unwrap_or(4);
    if !(1..=100).contains(&connections) {
        section.problem("connections", "must be from 1 to 100");
    }
    TargetConfig {
        url: Secret::new(section.checked("url", raw.url.as_deref(), value::filled).unwrap_or_default()),
        // Empty where its variable is not set: few commands need it.
        admin_url: raw.admin_url.as_deref().filter(|url| !url.trim().is_empty()).map(Secret::new),
        designs: base.join(raw.designs.as_deref().unwrap_or("designs")),
        bronze_schema: name("bronze_schema", &raw.bronze_schema, "bronze"),
        control_schema: name("control_schema", &raw.control_schema, "dwh_control"),
        owner_role: name("owner_role", &raw.owner_role, "dwh_owner"),
        reader_role: name("reader_role", &raw.reader_role, "grafana_ro"),
        connections: usize::try_from(connections).unwrap_or(1),
        lock_timeout: section.checked("lock_timeout", raw.lock_timeout.as_deref(), value::duration).unwrap_or(TIMEOUT),
        idle_timeout: idle_timeout(section, raw.idle_timeout.as_deref()),
    }
}

fn retention(section: &Section<'_, RawRetention>) -> Retention {
    let raw = &section.raw;
    let span = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::positive_duration);
    let kept = Retention {
        processed: span("processed", &raw.processed),
        exports: span("exports", &raw.exports),
        set_aside: span("set_aside", &raw.set_aside),
        runs: span("runs", &raw.runs),
    };
    if kept.processed.is_some_and(|processed| kept.exports.is_some_and(|exports| processed < exports)) {
        section.problem("processed", "must be at least as long as `exports`");
    }
    kept
}

fn models(section: &Section<'_, RawModels>, base: &Path) -> ModelsConfig {
    let dir = section.checked("dir", section.raw.dir.as_deref(), value::filled);
    ModelsConfig { dir: base.join(dir.unwrap_or_default()) }
}

fn blob(section: &Section<'_, RawBlob>) -> BlobConfig {
    let raw = &section.raw;
    let endpoint = section.checked("endpoint", raw.endpoint.as_deref(), value::endpoint);
    BlobConfig {
        url: section.checked("url", raw.url.as_deref(), value::blob_url).unwrap_or_default(),
        compression: raw.compression.unwrap_or_default(),
        path_style: raw.path_style.unwrap_or(endpoint.is_some()),
        endpoint,
        region: section.checked("region", raw.region.as_deref(), value::filled),
        profile: section.checked("profile", raw.profile.as_deref(), value::filled),
        idle_timeout: idle_timeout(section, raw.idle_timeout.as_deref()),
    }
}
