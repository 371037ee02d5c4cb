//! The sections of a manifest, checked: every key is known, every value is of its kind.

use std::collections::BTreeMap;
use std::path::Path;

use super::yaml::{self, Key, Node, Value};
use crate::config::problems::{Problems, did_you_mean};

const SECTIONS: [&str; 2] = ["connection_info", "tables"];
/// Of no use here: the engine connects by `[source.NAME]`.
const CONNECTION: [&str; 5] = ["database", "host", "pass", "port", "user"];
const KEYS: [&str; 14] = [
    "additional_filtering",
    "advanced_metadata",
    "database_type",
    "dbt_source_model",
    "deletes_exempt",
    "export_db",
    "export_schema",
    "export_table",
    "export_table_primary_key",
    "import_db",
    "import_query",
    "import_schema",
    "incremental_type",
    "is_incremental",
];
const REQUIRED: [&str; 5] = ["import_db", "import_query", "export_schema", "export_table", "export_table_primary_key"];

/// One table of a manifest.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) line: usize,
    fields: Vec<(Key, String)>,
    problems: &'a Problems<'a>,
}

impl Entry<'_> {
    /// The value of a key, if it is written and not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.name == key);
        found.map(|(_, text)| text.trim()).filter(|text| !text.is_empty())
    }

    /// A value that is true or false, in quotes or not.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        let text = self.get(key)?;
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => {
                self.problem(key, &format!("`{}` is neither `true` nor `false`", text.escape_debug()));
                None
            }
        }
    }

    /// Reports a problem of a key, in the line where it stands.
    pub(super) fn problem(&self, key: &str, message: &str) {
        let line = self.fields.iter().find(|(field, _)| field.name == key).map_or(self.line, |(field, _)| field.line);
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.add(line, &format!("tables.{}{dot}{key}", self.name), message);
    }
}

/// The tables of a manifest, in the order of the file; what is wrong is reported.
pub(super) fn entries<'a>(path: &Path, text: &str, problems: &'a Problems<'a>) -> Vec<Entry<'a>> {
    let root = match yaml::parse(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            problems.add(1, "tables", "is missing: the file is empty");
            return Vec::new();
        }
        Err((line, message)) => {
            problems.add(line, &path.file_name().unwrap_or_default().to_string_lossy(), &message);
            return Vec::new();
        }
    };
    let mut tables = None;
    for (key, node) in map(&root, "", problems).unwrap_or_default() {
        known(key, "", &SECTIONS, problems);
        match key.name.as_str() {
            "connection_info" => connection(node, problems),
            "tables" => tables = Some(node),
            _ => {}
        }
    }
    let Some(tables) = tables else {
        problems.add(root.line, "tables", "is missing");
        return Vec::new();
    };
    let list = map(tables, "tables", problems).unwrap_or_default();
    list.iter().filter_map(|(key, node)| entry(key, node, problems)).collect()
}

/// What `connection_info` says; [`entries`] tells what is wrong with it.
pub(super) fn connection_info(text: &str) -> BTreeMap<String, String> {
    let section = |node: &Node, name: &str| match &node.value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node.value.clone()),
        _ => None,
    };
    let root = yaml::parse(text).ok().flatten();
    let Some(Value::Map(entries)) = root.and_then(|root| section(&root, "connection_info")) else {
        return BTreeMap::new();
    };
    let text = |(key, node): (Key, Node)| match node.value {
        Value::Text(text) => Some((key.name, text)),
        _ => None,
    };
    entries.into_iter().filter_map(text).collect()
}

/// The entries of a map, each key once.
fn map<'n>(node: &'n Node, path: &str, problems: &Problems<'_>) -> Option<&'n [(Key, Node)]> {
    let Value::Map(entries) = &node.value else {
        problems.add(
            node.line,
            if path.is_empty() { "tables" } else { path },
            "must be a section of `key: value` lines",
        );
        return None;
    };
    for (at, (key, _)) in entries.iter().enumerate() {
        if let Some((first, _)) = entries[..at].iter().find(|(other, _)| other.name == key.name) {
            problems.add(key.line, &joined(path, &key.name), &format!("stands in line {} already", first.line));
        }
    }
    Some(entries)
}

fn connection(node: &Node, problems: &Problems<'_>) {
    for (key, _) in map(node, "connection_info", problems).unwrap_or_default() {
        known(key, "connection_info", &CONNECTION, problems);
    }
}

fn known(key: &Key, path: &str, all: &[&str], problems: &Problems<'_>) {
    if !all.contains(&key.name.as_str()) {
        let near = did_you_mean(&key.name, all.iter().copied());
        problems.add(key.line, &joined(path, &key.name), &format!("unknown key{near}"));
    }
}

fn entry<'a>(key: &Key, node: &Node, problems: &'a Problems<'a>) -> Option<Entry<'a>> {
    let path = joined("tables", &key.name);
    let mut fields = Vec::new();
    for (field, value) in map(node, &path, problems)? {
        known(field, &path, &KEYS, problems);
        match &value.value {
            Value::Text(text) => fields.push((field.clone(), text.clone())),
            _ => problems.add(field.line, &joined(&path, &field.name), "must be a text"),
        }
    }
    let entry = Entry { name: key.name.clone(), line: key.line, fields, problems };
    for key in REQUIRED.iter().filter(|key| entry.get(key).is_none()) {
        entry.problem(key, "is missing or empty");
    }
    Some(entry)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
