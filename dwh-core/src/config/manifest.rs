//! `[[manifest]]`: files of postgres_pipeline, read as they are. Each of their tables becomes a table like any other.

mod file;
mod needs;
mod query;
mod variables;
mod yaml;

use globset::GlobBuilder;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problems::Problems;
use super::{
    Deletes, GeometryForm, Mode, OnConflict, OnMissingColumn, OnNewColumn, OnSchemaChange, Replace, SourceConfig,
    TableConfig, Thresholds,
};
use crate::schema::TableRef;
use crate::watermark::{BoundMode, Micros};
use file::Entry;
pub(crate) use needs::{Needs, needs};
use query::Taken;
pub(super) use query::folded;
pub(crate) use variables::pieces;

/// Where in a manifest a table stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestTable {
    /// The file.
    pub path: PathBuf,
    /// The table's name in it.
    pub name: String,
}

/// What `[[manifest]]` says of all tables of its files.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The line of the section.
    pub(super) line: usize,
    /// A glob, relative to the folder of the configuration.
    pub(super) path: String,
    /// `import_db` → source, for those that are written; without any, the only source there is.
    pub(super) sources: BTreeMap<String, String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) on_conflict: OnConflict,
    pub(super) on_schema_change: OnSchemaChange,
    pub(super) chunk_rows: u64,
    /// Schema of the relations that are written without one.
    pub(super) schema: String,
    /// Zone of a watermark column that has none.
    pub(super) zone: jiff::tz::TimeZone,
    pub(super) window: Micros,
    pub(super) late_window: Micros,
    pub(super) deletes: Deletes,
    pub(super) deletes_every: Micros,
    pub(super) deletes_max: f64,
}

/// What all tables of the configuration share.
pub(super) struct Shared<'a> {
    pub(super) sources: &'a BTreeMap<String, SourceConfig>,
    pub(super) thresholds: &'a Thresholds,
    /// The orchestrator's name of this run.
    pub(super) task_instance: String,
}

/// The tables of all files that match, behind those that are there already; what is wrong is reported.
pub(super) fn tables(settings: &Settings, shared: &Shared<'_>, problems: &Problems<'_>, tables: &mut Vec<TableConfig>) {
    let files = match files(problems.folder(), &settings.path) {
        Ok(files) => files,
        Err(message) => return problems.add(settings.line, "manifest.path", &message),
    };
    for path in files {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let own = Problems::new(&path, &text);
                for entry in file::entries(&path, &text, &own) {
                    add(table(&entry, &path, settings, shared), &entry, tables);
                }
                problems.absorb(settings.line, own);
            }
            Err(error) => {
                problems.add(settings.line, "manifest.path", &format!("`{}` cannot be read: {error}", path.display()));
            }
        }
    }
}

fn add(table: Option<TableConfig>, entry: &Entry<'_>, tables: &mut Vec<TableConfig>) {
    let Some(table) = table else { return };
    if tables.iter().any(|other| other.name == table.name || other.target == table.target) {
        entry.problem("export_table", &format!("another table is loaded into {} already", table.target));
    } else {
        tables.push(table);
    }
}

/// The files below a folder that match a glob, in the order of their names.
fn files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let whole = folder.join(pattern);
    let text = whole.to_string_lossy();
    let glob = GlobBuilder::new(&text).literal_separator(true).build();
    let glob = glob.map_err(|error| format!("`{pattern}` is no pattern: {}", error.kind()))?.compile_matcher();
    // The folder before the first part that is a pattern.
    let fixed: PathBuf =
        whole.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
    let mut found = Vec::new();
    let mut left = vec![fixed];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries =
                std::fs::read_dir(&path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
            left.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
        } else if glob.is_match(&path) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() { Err(format!("no file matches `{}`", whole.display())) } else { Ok(found) }
}

fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?', '[', '{'])
}

fn table(entry: &Entry<'_>, path: &Path, settings: &Settings, shared: &Shared<'_>) -> Option<TableConfig> {
    let taken = taken(entry, settings);
    let source = source(entry, settings, shared.sources);
    let advanced = entry.flag("advanced_metadata").unwrap_or_default();
    let taken = taken?;
    let by = how(entry, &taken)?;
    let key = key(entry, &taken, by.is_some());
    let exempt = entry.flag("deletes_exempt").unwrap_or_default() || by.is_none();
    let target = TableRef::new(entry.get("export_schema")?, entry.get("export_table")?);
    Some(TableConfig {
        name: target.to_string(),
        source: source?,
        target,
        mode: if by.is_some() { Mode::Incremental } else { Mode::Scd },
        watermark_zone: Some(settings.zone.clone()),
        key: key?,
        // Copies are dated as a whole.
        on_conflict: if by.is_some() { settings.on_conflict } else { OnConflict::Nothing },
        relation: taken.relation,
        query: taken.query,
        columns: taken.columns,
        select: taken.select,
        filter: taken.filter,
        loaded_at: false,
        run_id: false,
        uploaded_at: true,
        task_instance: advanced.then(|| shared.task_instance.clone()),
        // A change of the source is followed as far as it needs no new table.
        on_missing_column: OnMissingColumn::Null,
        on_new_column: OnNewColumn::Add,
        on_schema_change: settings.on_schema_change,
        chunk_rows: settings.chunk_rows,
        window: settings.window,
        late_window: settings.late_window,
        thresholds: shared.thresholds.clone(),
        manifest: Some(ManifestTable { path: path.to_owned(), name: entry.name.clone() }),
        exclude: Vec::new(),
        geometry: GeometryForm::default(),
        bound: BoundMode::default(),
        fixed_lag: None,
        allow_empty: false,
        replace: Replace::default(),
        deletes: if exempt { Deletes::Keep } else { settings.deletes },
        deletes_every: settings.deletes_every,
        deletes_max: settings.deletes_max,
        watermark: by,
        files: None,
    })
}

/// The query, with its variables and its filter, taken apart.
fn taken(entry: &Entry<'_>, settings: &Settings) -> Option<Taken> {
    let filled = |key: &str| {
        let text = entry.get(key)?;
        match variables::fill(text, &settings.variables) {
            Ok(text) => Some(text),
            Err(message) => {
                entry.problem(key, &message);
                None
            }
        }
    };
    let query = filled("import_query")?;
    let filter = match entry.get("additional_filtering") {
        Some(_) => Some(filled("additional_filtering")?),
        None => None,
    };
    let schema = entry.get("import_schema").unwrap_or(&settings.schema);
    match query::take(&query, filter.as_deref(), schema) {
        Ok(taken) => Some(taken),
        Err(message) => {
            // Without the filter it is seen which of the two is wrong.
            let of_filter = filter.is_some() && query::take(&query, None, schema).is_ok();
            entry.problem(if of_filter { "additional_filtering" } else { "import_query" }, &message);
            None
        }
    }
}

/// By which column it is read, or `None` for a dated copy; nothing if it cannot be told.
#[allow(clippy::option_option)] // not told, read whole, read by a column
fn how(entry: &Entry<'_>, taken: &Taken) -> Option<Option<String>> {
    let said = entry.flag("is_incremental");
    match entry.get("incremental_type") {
        None | Some("load_by_date") => {}
        Some("load_by_id") if said != Some(false) && taken.watermark.is_none() => return by_id(entry, taken).map(Some),
        Some("load_by_id") => {}
        Some(other) => {
            let known = "is none of `load_by_date` and `load_by_id`";
            entry.problem("incremental_type", &format!("`{}` {known}", other.escape_debug()));
            return None;
        }
    }
    match (said, &taken.watermark) {
        (Some(false), _) => Some(None),
        (Some(true), None) => {
            entry.problem(
                "is_incremental",
                "the query has no window: write a WHERE such as `updated_at BETWEEN '{BEGIN_TIMESTAMP}' AND \
                 '{END_TIMESTAMP}'`, so that it is known by which column it is read",
            );
            None
        }
        // A WHERE that is about no window is a filter.
        (_, watermark) => Some(watermark.clone()),
    }
}

/// The number by which a table is read that is only added to.
fn by_id(entry: &Entry<'_>, taken: &Taken) -> Option<String> {
    let id = entry.get("export_table_primary_key")?;
    let found = taken.key(id).ok().flatten().filter(|key| key.len() == 1 && !taken.select.contains_key(&key[0]));
    if found.is_none() {
        entry.problem(
            "incremental_type",
            "`load_by_id` needs one column that is a number as `export_table_primary_key`",
        );
    }
    found.and_then(|key| key.into_iter().next())
}

/// The key; an scd table may do without one.
fn key(entry: &Entry<'_>, taken: &Taken, incremental: bool) -> Option<Vec<String>> {
    match taken.key(entry.get("export_table_primary_key")?) {
        Ok(Some(key)) => Some(key),
        Ok(None) if !incremental => Some(Vec::new()),
        Ok(None) => {
            entry.problem("export_table_primary_key", "names columns that the query does not deliver: add them to it");
            None
        }
        Err(message) => {
            entry.problem("export_table_primary_key", &message);
            None
        }
    }
}

fn source(entry: &Entry<'_>, settings: &Settings, sources: &BTreeMap<String, SourceConfig>) -> Option<String> {
    let database = entry.get("import_db")?;
    // A database that is split in two is told apart by its type.
    let typed = entry.get("database_type").map(|kind| format!("{database}:{kind}"));
    let databases: Vec<&str> =
        sources.iter().filter(|(_, source)| source.files.is_none()).map(|(name, _)| name.as_str()).collect();
    let named = typed.and_then(|typed| settings.sources.get(&typed)).or_else(|| settings.sources.get(database));
    match named {
        Some(name) => Some(name.clone()),
        None if settings.sources.is_empty() && databases.len() == 1 => databases.first().map(|name| (*name).to_owned()),
        None => {
            let names = databases;
            let one = names.first().copied().unwrap_or("NAME");
            entry.problem(
                "import_db",
                &format!(
                    "`{database}` is no source; write `source = {{ {database} = \"{one}\" }}` under `[[manifest]]`, the \
                     sources being {}",
                    names.join(", ")
                ),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;
