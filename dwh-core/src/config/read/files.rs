//! The rules of `files`: of a source, and of a table.

use globset::Glob;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::globs::Globs;
use super::raw::{Metadata, RawColumn, RawSource, RawTable};
use super::section::{Reader, Section};
use super::value;
use crate::config::{
    FILE, FieldFrom, FileColumn, FileFormat, FileTable, FilesConfig, Mode, OnConflict, RECORD, SourceConfig,
    TableConfig,
};
use crate::schema::TypeName;

/// Keys of a table that only files have.
const OF_FILES: [&str; 10] = [
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
/// Keys of a table that files do not have.
const OF_DATABASES: [&str; 18] = [
    "relation",
    "query",
    "watermark",
    "watermark_timezone",
    "on_conflict",
    "exclude",
    "geometry",
    "window",
    "late_window",
    "bound",
    "fixed_lag",
    "replace",
    "select",
    "on_schema_change",
    "chunk_rows",
    "deletes",
    "deletes_every",
    "deletes_max",
];
/// Keys of a source that only databases have.
const OF_SERVERS: [&str; 7] =
    ["primary_url", "lock_timeout", "drain_timeout", "activity_function", "idle_timeout", "include", "exclude"];

/// Where the files of a source lie; `None` for a database.
pub(super) fn source(section: &Section<'_, RawSource>) -> Option<FilesConfig> {
    let raw = &section.raw;
    let place = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::blob_url);
    match (section.has("url"), section.has("files")) {
        (false, false) => section.problem("url", "is missing; write `url`, or `files` for a folder of files"),
        (true, true) => section.problem("files", "stands beside `url`; keep one of them"),
        _ => {}
    }
    if !section.has("files") {
        for key in ["validated", "backups"].into_iter().filter(|key| section.has(key)) {
            section.problem(key, "is only for a source of `files`; leave it out");
        }
        return None;
    }
    for key in OF_SERVERS.into_iter().filter(|key| section.has(key)) {
        section.problem(key, "is only for a database; leave it out");
    }
    let files = FilesConfig {
        url: place("files", &raw.files).unwrap_or_default(),
        validated: place("validated", &raw.validated),
        backups: place("backups", &raw.backups),
    };
    let places = [("validated", &files.validated), ("backups", &files.backups)];
    for (at, (key, place)) in places.iter().enumerate() {
        let Some(place) = place else { continue };
        let others = places[..at].iter().filter_map(|(other, url)| Some((*other, url.as_ref()?)));
        for (other, url) in std::iter::once(("files", &files.url)).chain(others).filter(|(_, url)| !url.is_empty()) {
            if within(place, url) || within(url, place) {
                section.problem(key, &format!("lies in the same folder as `{other}`; name another one beside it"));
            }
        }
    }
    if files.backups.is_some() && files.validated.is_none() && !section.refused("validated") {
        section.problem(
            "backups",
            "keeps what a copy into `validated` overwrites, and there is no `validated`; write that, too",
        );
    }
    Some(files)
}

/// Refuses a folder that two sources would write: files of one path would take each other's places. What one writes may well
/// be what another reads.
pub(super) fn apart(section: &Section<'_, RawSource>, own: &FilesConfig, others: &BTreeMap<String, SourceConfig>) {
    let written = |files: &FilesConfig| [("validated", files.validated.clone()), ("backups", files.backups.clone())];
    for (name, other) in others.iter().filter_map(|(name, other)| Some((name, other.files.as_ref()?))) {
        for (key, place) in written(own) {
            let Some(place) = place else { continue };
            let shared = |taken: &String| within(&place, taken) || within(taken, &place);
            if let Some((taken, _)) = written(other).into_iter().find(|(_, taken)| taken.as_ref().is_some_and(shared)) {
                section.problem(
                    key,
                    &format!("lies in the same folder as `{taken}` of source `{name}`; name another one beside it"),
                );
            }
        }
    }
}

/// Whether one address lies in the other.
fn within(inner: &str, outer: &str) -> bool {
    let parts = |address: &str| -> Vec<String> {
        address.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect()
    };
    parts(inner).starts_with(&parts(outer))
}

/// `[table.columns]` of each table, in the order of the file.
pub(super) fn columns_of_tables(document: &DeTable<'_>, reader: Reader<'_>) -> Vec<Vec<FileColumn>> {
    let items = document.get("table").and_then(|tables| tables.get_ref().as_array());
    items.into_iter().flat_map(|items| items.iter()).map(|item| columns(item, reader)).collect()
}

fn columns(item: &Spanned<DeValue<'_>>, reader: Reader<'_>) -> Vec<FileColumn> {
    let Some((key, value)) = item.get_ref().as_table().and_then(|table| table.get_key_value("columns")) else {
        return Vec::new();
    };
    let Some(table) = value.get_ref().as_table() else {
        let line = reader.problems.line(key.span().start);
        reader.problems.add(line, "table.columns", "must be a section `[table.columns]`");
        return Vec::new();
    };
    let has_schema = item.get_ref().as_table().is_some_and(|table| table.contains_key("json_schema"));
    // In the order in which a person wrote them.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let read = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &Spanned<std::borrow::Cow<'_, str>> = name;
        column((name.get_ref(), name.span().start), value, has_schema, reader)
    };
    entries.into_iter().filter_map(read).collect()
}

fn column(
    (name, at): (&str, usize),
    value: &Spanned<DeValue<'_>>,
    has_schema: bool,
    reader: Reader<'_>,
) -> Option<FileColumn> {
    let (line, path) = (reader.problems.line(at), format!("table.columns.{}", name.escape_debug()));
    let Some(table) = value.get_ref().as_table() else {
        reader.problems.add(line, &path, "must be written `{ from = \"/pointer\", type = \"text\" }`");
        return None;
    };
    let section: Section<'_, RawColumn> = Section::read(reader, &path, line, table);
    if let Err(message) = value::identifier(name) {
        section.problem("", &format!("the name {message}"));
    }
    if [FILE, RECORD].contains(&name) {
        section.problem("", "is a column that every table of files has by itself; take another name");
    }
    let raw = &section.raw;
    let from = match (&raw.from, &raw.lon, &raw.lat) {
        (Some(from), None, None) => section.checked("from", Some(from), field).map(FieldFrom::Field),
        (None, None, None) => None,
        (None, Some(lon), Some(lat)) => {
            let (lon, lat) = (section.checked("lon", Some(lon), field), section.checked("lat", Some(lat), field));
            lon.zip(lat).map(|(lon, lat)| FieldFrom::Point { lon, lat })
        }
        _ => {
            section.problem("", "needs either `from`, or both `lon` and `lat`");
            None
        }
    };
    let type_name = section.checked("type", raw.type_name.as_deref(), type_name);
    let is_point = matches!(from, Some(FieldFrom::Point { .. }));
    if !has_schema && !is_point && !section.has("type") {
        section.problem("type", "is missing, and there is no `json_schema` to say it; write one such as `text`");
    }
    if is_point && !section.refused("type") {
        let point = type_name.as_ref().is_some_and(|name| matches!(name.name(), "geometry" | "geography"));
        if !point {
            section.problem("type", "of a point must be `geometry(Point,4326)`, or another `geometry` or `geography`");
        }
    }
    Some(FileColumn { name: name.to_owned(), from, type_name })
}

fn field(text: &str) -> Result<String, String> {
    match text.strip_prefix('/') {
        _ if text.trim().is_empty() => Err("is empty".to_owned()),
        Some(_) => pointer(text),
        None => Ok(text.to_owned()),
    }
}

/// A JSON pointer: every `~` is `~0` or `~1`.
fn pointer(text: &str) -> Result<String, String> {
    let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    match text {
        "" => Ok(String::new()),
        _ if !text.starts_with('/') => Err("is no JSON pointer; write one such as `/grants`".to_owned()),
        _ if !escaped => Err("is no JSON pointer: `~` is written `~0`, and `/` within a name `~1`".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// The name of a type, in any spelling that SQL knows, as a catalog prints it.
pub(super) fn type_name(text: &str) -> Result<TypeName, String> {
    let fail =
        || "is not the name of a type; write one such as `text`, `numeric(12,2)`, `timestamptz` or `date`".to_owned();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (stem, brackets) = words.split_at(words.find("[]").unwrap_or(words.len()));
    let (name, modifiers) = stem.split_at(stem.find('(').unwrap_or(stem.len()));
    // Behind the modifiers: `timestamp(3) with time zone`.
    let (modifiers, behind) = modifiers.split_at(modifiers.find(')').map_or(modifiers.len(), |at| at + 1));
    let modifiers = modifiers.replace(", ", ",");
    let lower = name.trim().to_ascii_lowercase();
    let (known, zone) = match lower.as_str() {
        "int" | "int4" => ("integer", ""),
        "int8" => ("bigint", ""),
        "int2" => ("smallint", ""),
        "bool" => ("boolean", ""),
        "float8" | "float" => ("double precision", ""),
        "float4" => ("real", ""),
        "decimal" => ("numeric", ""),
        "varchar" => ("character varying", ""),
        "char" => ("character", ""),
        "timestamptz" => ("timestamp", " with time zone"),
        "timetz" => ("time", " with time zone"),
        "timestamp" | "time" if behind.is_empty() => (lower.as_str(), " without time zone"),
        "timestamp with time zone" => ("timestamp", " with time zone"),
        _ => (name.trim(), ""),
    };
    let words = [known, &modifiers, zone, behind, brackets].concat();
    words.parse().map_err(|_| fail())
}

/// What a table says of its files. `of_files`: whether its source is one of files.
pub(super) fn table(
    section: &Section<'_, RawTable>,
    table: &mut TableConfig,
    columns: Vec<FileColumn>,
    base: &Path,
    of_files: bool,
) {
    let raw = &section.raw;
    if !of_files && !table.source.is_empty() {
        section.problem("mode", &format!("`files` needs a source of files, and `{}` is a database", table.source));
    }
    if raw.mode.is_some_and(|mode| mode != Mode::Files) {
        section.problem("mode", "must be `files`, since the source is one of files");
    }
    for key in OF_DATABASES.into_iter().filter(|key| section.has(key)) {
        section.problem(key, "is only for a table of a database; leave it out");
    }
    if !section.has("files") {
        section.problem("files", "is missing; write the files of the table such as `files = \"*/data.json\"`");
    }
    let records = section.checked("records", raw.records.as_deref(), pointer);
    if records.is_some() && matches!(raw.format, Some(FileFormat::Csv | FileFormat::Jsonl)) {
        section
            .problem("records", "is only for `json` and `geojson`: each line of the others is a record; leave it out");
    }
    let schema = section.checked("json_schema", raw.json_schema.as_deref(), value::filled);
    if columns.is_empty() && schema.is_none() && !section.refused("json_schema") {
        section.problem(
            "columns",
            "is missing: write `[table.columns]`, or `json_schema`, whose properties become columns",
        );
    }
    if schema.is_none() && section.has("validate") {
        section.problem(
            "validate",
            "compares with a JSON Schema, and there is no `json_schema`; write one, or leave it out",
        );
    }
    if !columns.is_empty() {
        for (key, names) in [("key", &raw.key), ("required", &raw.required)] {
            let unknown = |name: &&String| !columns.iter().any(|column| column.name == **name);
            for name in names.iter().flatten().filter(unknown) {
                section.problem(key, &format!("names `{name}`, which is no column of `[table.columns]`"));
            }
        }
    }
    let named = raw.metadata.iter().flatten();
    if named.clone().any(|column| *column != Metadata::LoadedAt) {
        section.problem(
            "metadata",
            "of files can be `_loaded_at` alone: the others stand in the CSV of a database's rows",
        );
    }
    (table.uploaded_at, table.task_instance, table.run_id) = (false, None, false);
    table.mode = Mode::Files;
    table.on_conflict = OnConflict::Update;
    if table.key.is_empty() {
        table.key = vec![FILE.to_owned(), RECORD.to_owned()];
    }
    table.files = Some(Box::new(FileTable {
        patterns: globs(section, "files", raw.files.as_ref()),
        ignore: globs(section, "ignore", raw.ignore.as_ref()),
        format: raw.format,
        encoding: raw.encoding.unwrap_or_default(),
        records,
        json_schema: schema.map(|path| base.join(path)),
        validate: raw.validate.unwrap_or_default(),
        required: raw.required.clone().unwrap_or_default(),
        on_invalid: raw.on_invalid.unwrap_or_default(),
        fail_on_warning: raw.fail_on_warning.unwrap_or_default(),
        columns,
    }));
}

fn globs(section: &Section<'_, RawTable>, key: &str, globs: Option<&Globs>) -> Vec<String> {
    let globs = globs.map(|globs| globs.0.as_slice()).unwrap_or_default();
    let fine = |text: &str| match Glob::new(text) {
        Ok(_) if !text.is_empty() && !text.starts_with('/') => Ok(text.to_owned()),
        Ok(_) => Err("must be a pattern over paths below the source, such as `*/data.json`".to_owned()),
        Err(_) => Err("is no pattern; write one such as `*/data.json`".to_owned()),
    };
    globs.iter().filter_map(|glob| section.checked(key, Some(glob), fine)).collect()
}

/// Refuses what only files have in a table of a database.
pub(super) fn refuse(section: &Section<'_, RawTable>, columns: &[FileColumn]) {
    for key in OF_FILES.into_iter().filter(|key| section.has(key)) {
        section.problem(key, "is only for a table of files, and its source is a database; leave it out");
    }
    if !columns.is_empty() {
        section.problem("columns", "is only for a table of files; the columns of a database are those of its relation");
    }
}
