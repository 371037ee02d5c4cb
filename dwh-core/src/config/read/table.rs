//! The rules of `[[table]]`.

use std::collections::BTreeMap;
use std::path::Path;

use super::raw::{Metadata, RawTable};
use super::section::Section;
use super::{files, value};
use crate::config::problems::did_you_mean;
use crate::config::{
    DELETES_EVERY, DELETES_MAX, Deletes, FileColumn, Mode, OnConflict, OnMissingColumn, OnNewColumn, OnSchemaChange,
    SourceConfig, TableConfig, Thresholds,
};
use crate::schema::TableRef;
use crate::watermark::Micros;

const DAY: Micros = Micros::seconds(86_400);

type Sources = BTreeMap<String, SourceConfig>;
/// What was read of a table as sections of their own.
type Own = (Thresholds, Vec<FileColumn>);

/// What the tables lie in.
pub(super) struct Around<'a> {
    /// Schema of the bronze tables.
    pub bronze: &'a str,
    /// Folder of the configuration.
    pub base: &'a Path,
    /// The orchestrator's name of this run; empty if it has none.
    pub task_instance: &'a str,
    /// The columns that are added to a table that does not say it by itself.
    pub metadata: &'a [Metadata],
}

/// The tables, and what is wrong between them: no two of a name, no two into the same bronze table.
pub(super) fn tables(
    sections: &[Section<'_, RawTable>],
    own: &[Own],
    sources: &Sources,
    around: &Around<'_>,
) -> Vec<TableConfig> {
    let each = sections.iter().zip(own);
    let tables: Vec<TableConfig> = each.map(|(section, own)| table(section, own, sources, around)).collect();
    for (at, (section, own)) in sections.iter().zip(&tables).enumerate() {
        let first = |same: fn(&TableConfig, &TableConfig) -> bool| {
            tables[..at].iter().position(|other| !other.name.is_empty() && same(own, other))
        };
        if let Some(other) = first(|a, b| a.name == b.name) {
            let line = sections[other].line();
            section.problem("name", &format!("the table of line {line} has this name already"));
        } else if let Some(other) = first(|a, b| a.target == b.target) {
            let line = sections[other].line();
            section.problem("target", &format!("the table of line {line} is loaded into the same bronze table"));
        }
    }
    tables
}

fn table(section: &Section<'_, RawTable>, own: &Own, sources: &Sources, around: &Around<'_>) -> TableConfig {
    let name = name(section, sources);
    let mut table = common(section, &own.0, sources, around);
    table.target = target(section, &name, &table);
    table.name = name;
    let of_files = sources.get(&table.source).is_some_and(|source| source.files.is_some());
    if of_files || table.mode == Mode::Files {
        files::table(section, &mut table, own.1.clone(), around.base, of_files);
    } else {
        files::refuse(section, &own.1);
        agree_on_rows(section, &table);
        agree(section, &table);
    }
    table
}

/// What the tables of a source's patterns have in common: name, relation and, if it is not said, the key are each one's own.
pub(super) fn template(
    section: &Section<'_, RawTable>,
    thresholds: &Thresholds,
    sources: &Sources,
    around: &Around<'_>,
) -> TableConfig {
    let table = common(section, thresholds, sources, around);
    if table.mode == Mode::Files {
        section.problem("mode", "`files` is only for a source of `files`");
    } else {
        agree(section, &table);
    }
    table
}

/// What does not depend on which rows are read; the target has the schema alone.
fn common(
    section: &Section<'_, RawTable>,
    thresholds: &Thresholds,
    sources: &Sources,
    around: &Around<'_>,
) -> TableConfig {
    let raw = &section.raw;
    let source = source(section, sources);
    let schema = sources.get(&source).and_then(|source| source.schema.as_deref()).unwrap_or(around.bronze);
    let length = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::duration);
    let mut table = TableConfig {
        target: TableRef::new(schema, ""),
        source,
        relation: section.checked("relation", raw.relation.as_deref(), value::relation),
        query: section.checked("query", raw.query.as_deref(), value::query),
        files: None,
        name: String::new(),
        mode: raw.mode.unwrap_or(Mode::Snapshot),
        watermark: section.checked("watermark", raw.watermark.as_deref(), value::identifier),
        watermark_zone: section.checked("watermark_timezone", raw.watermark_timezone.as_deref(), value::zone),
        key: columns(section, "key", raw.key.as_deref()),
        on_conflict: raw.on_conflict.unwrap_or_default(),
        exclude: columns(section, "exclude", raw.exclude.as_deref()),
        on_missing_column: raw.on_missing_column.unwrap_or_else(|| on_missing(raw)),
        on_new_column: raw.on_new_column.unwrap_or_else(|| on_new(raw)),
        on_schema_change: raw.on_schema_change.unwrap_or_default(),
        chunk_rows: rows(section, raw.chunk_rows),
        geometry: raw.geometry.unwrap_or_default(),
        window: length("window", &raw.window).unwrap_or(DAY),
        late_window: length("late_window", &raw.late_window).unwrap_or(DAY),
        bound: raw.bound.unwrap_or_default(),
        fixed_lag: length("fixed_lag", &raw.fixed_lag),
        allow_empty: raw.allow_empty.unwrap_or_default(),
        replace: raw.replace.unwrap_or_default(),
        deletes: raw.deletes.unwrap_or_default(),
        deletes_every: length("deletes_every", &raw.deletes_every).unwrap_or(DELETES_EVERY),
        deletes_max: section.checked("deletes_max", raw.deletes_max.as_deref(), value::percent).unwrap_or(DELETES_MAX),
        select: select(section),
        columns: None,
        filter: None,
        loaded_at: false,
        run_id: false,
        uploaded_at: false,
        task_instance: None,
        manifest: None,
        thresholds: thresholds.clone(),
    };
    add(&mut table, raw.metadata.as_deref().unwrap_or(around.metadata), around.task_instance);
    table
}

/// Gives the table the columns that dwh adds, beside those that it has.
pub(super) fn add(table: &mut TableConfig, metadata: &[Metadata], task_instance: &str) {
    for column in metadata {
        match column {
            Metadata::UploadedAt => table.uploaded_at = true,
            Metadata::TaskInstance => table.task_instance = Some(task_instance.to_owned()),
            Metadata::LoadedAt => table.loaded_at = true,
            Metadata::RunId => table.run_id = true,
        }
    }
}

/// The name, which a relation has by itself: below that of its source.
fn name(section: &Section<'_, RawTable>, sources: &Sources) -> String {
    if section.has("name") {
        return section.checked("name", section.raw.name.as_deref(), value::label).unwrap_or_default();
    }
    let Some(relation) = section.raw.relation.as_deref().filter(|_| !section.has("query")) else {
        if !section.has("relation") {
            section.problem("name", "is missing");
        }
        return String::new();
    };
    // What is wrong with either is told where it is read.
    let only = || sources.keys().next().filter(|_| sources.len() == 1);
    let source = section.raw.source.as_ref().or_else(only);
    let Some((source, relation)) = source.zip(value::relation(relation).ok()) else { return String::new() };
    let name = format!("{source}.{}", relation.name);
    match value::label(&name) {
        Ok(name) => name,
        Err(message) => {
            section.problem("name", &format!("is missing, and that of the relation {message}"));
            String::new()
        }
    }
}

/// Where bronze follows the source, a column that only came or went is no reason to stop.
fn on_new(raw: &RawTable) -> OnNewColumn {
    match raw.on_schema_change {
        Some(OnSchemaChange::Resync) => OnNewColumn::Add,
        _ => OnNewColumn::default(),
    }
}

fn on_missing(raw: &RawTable) -> OnMissingColumn {
    let keyed = raw.mode == Some(Mode::Incremental) || raw.key.as_ref().is_some_and(|key| !key.is_empty());
    match raw.on_schema_change {
        Some(OnSchemaChange::Resync) if keyed => OnMissingColumn::Keep,
        Some(OnSchemaChange::Resync) => OnMissingColumn::Null,
        _ => OnMissingColumn::default(),
    }
}

fn rows(section: &Section<'_, RawTable>, rows: Option<u64>) -> u64 {
    if rows == Some(0) {
        section.problem("chunk_rows", "is 0; a chunk has at least one row");
    }
    rows.unwrap_or(TableConfig::CHUNK_ROWS)
}

/// That rows come from one place, and have what their mode needs.
fn agree_on_rows(section: &Section<'_, RawTable>, table: &TableConfig) {
    match (section.has("relation"), section.has("query")) {
        (false, false) => section.problem("relation", "is missing; write `relation = \"schema.table\"` or `query`"),
        (true, true) => section.problem("query", "stands beside `relation`; keep one of them"),
        _ => {}
    }
    let keyless = section.raw.mode == Some(Mode::Incremental) && table.key.is_empty();
    if keyless && !section.refused("key") {
        section.problem("key", "is missing or empty, and mode `incremental` needs it");
    }
}

/// What one key demands of another.
fn agree(section: &Section<'_, RawTable>, table: &TableConfig) {
    if section.raw.mode == Some(Mode::Incremental) {
        if !section.has("watermark") {
            section.problem("watermark", "is missing, and mode `incremental` needs it");
        }
    } else if section.raw.mode.is_some() && table.on_conflict != OnConflict::Nothing {
        let word = if table.on_conflict == OnConflict::Update { "update" } else { "append" };
        section.problem("on_conflict", &format!("`{word}` is only for mode `incremental`"));
    }
    if section.raw.mode.is_some_and(|mode| mode != Mode::Incremental) && table.deletes != Deletes::Keep {
        section.problem("deletes", "is only for mode `incremental`: the others show what the source has at each load");
    }
    for key in ["deletes_every", "deletes_max"] {
        if section.has(key) && table.deletes == Deletes::Keep {
            section.problem(key, "means nothing without `deletes = \"mark\"` or `\"remove\"`");
        }
    }
    if section.has("replace") && section.raw.mode.is_some_and(|mode| mode != Mode::Snapshot) {
        section.problem("replace", "is only for mode `snapshot`: the others never empty a table");
    }
    if let Some(column) = table.watermark.as_ref().filter(|column| table.select.contains_key(*column)) {
        section.problem(
            "select",
            &format!(
                "reshapes `{column}`, which is the `watermark`: windows are cut by the column as it is. Take `{column}` out \
                 of `select`, or give the expression a name of its own"
            ),
        );
    }
    let keeps = table.on_missing_column == OnMissingColumn::Keep;
    if keeps && table.mode == Mode::Snapshot && table.key.is_empty() && !section.refused("key") {
        section.problem("on_missing_column", "`keep` of a snapshot needs `key`, by which old values find their rows");
    }
    for column in table.key.iter().chain(&table.watermark).filter(|column| table.exclude.contains(column)) {
        section.problem("exclude", &format!("leaves out `{column}`, which `key` or `watermark` needs"));
    }
}

fn source(section: &Section<'_, RawTable>, sources: &Sources) -> String {
    let known = || sources.keys().map(String::as_str);
    match (&section.raw.source, sources.len()) {
        (Some(name), _) if sources.contains_key(name) => name.clone(),
        // Without any source that was reported already.
        (Some(name), 1..) => {
            let _refused = section.checked("source", Some(name), |name| {
                Err::<(), _>(format!("is none of the sources{}", did_you_mean(name, known())))
            });
            String::new()
        }
        (None, 2..) if !section.has("source") => {
            let names: Vec<&str> = known().collect();
            section.problem("source", &format!("is missing; there are several: {}", names.join(", ")));
            String::new()
        }
        _ => known().next().unwrap_or_default().to_owned(),
    }
}

fn target(section: &Section<'_, RawTable>, name: &str, table: &TableConfig) -> TableRef {
    let bronze = table.target.schema.as_str();
    if section.has("target") {
        let found = section.checked("target", section.raw.target.as_deref(), |text| value::relation_in(bronze, text));
        // A name of its own, so that it clashes with no other table's target.
        return found.unwrap_or_else(|| TableRef::new(bronze, format!("line {}", section.line())));
    }
    if let Some(relation) = table.relation.as_ref().filter(|_| !section.has("name")) {
        return TableRef::new(bronze, &relation.name);
    }
    if !name.is_empty() && value::identifier(name).is_err() {
        section.problem("name", "is longer than 63 bytes, so the bronze table needs a name of its own in `target`");
    }
    TableRef::new(bronze, name)
}

fn columns(section: &Section<'_, RawTable>, key: &str, names: Option<&[String]>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names.unwrap_or_default() {
        let Some(column) = section.checked(key, Some(name), value::identifier) else { continue };
        if found.contains(&column) {
            section.problem(key, &format!("names `{column}` twice"));
        }
        found.push(column);
    }
    found
}

fn select(section: &Section<'_, RawTable>) -> BTreeMap<String, String> {
    let select = section.raw.select.clone().unwrap_or_default();
    for (column, expression) in &select {
        section.checked("select", Some(column), value::identifier);
        if expression.trim().is_empty() {
            section.problem("select", &format!("column `{column}` has no expression"));
        }
    }
    select
}
