//! One section of the file: its keys with their lines, checked against the schema one by one.

use schemars::{JsonSchema, SchemaGenerator};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Deserializer};

use crate::config::Environment;
use crate::config::problems::{Problems, did_you_mean};

/// Keys whose values are never printed: they may carry passwords.
const SECRET: [&str; 6] = ["url", "primary_url", "endpoint", "webhook", "smtp", "command"];

/// What every section needs to be read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub problems: &'a Problems<'a>,
    pub environment: &'a Environment,
}

/// A section whose keys were read; those that were wrong are reported and left empty.
pub(super) struct Section<'a, T> {
    pub raw: T,
    path: String,
    line: usize,
    lines: BTreeMap<String, usize>,
    /// Keys whose values could not be read.
    bad: BTreeSet<String>,
    /// Keys whose values are not printed: those that may be secret, and those that came from a variable.
    veiled: BTreeSet<String>,
    problems: &'a Problems<'a>,
}

impl<'a, T: for<'de> Deserialize<'de> + JsonSchema + Default> Section<'a, T> {
    /// A section that is not there, which was reported already.
    pub(super) fn empty(reader: Reader<'a>, path: &str) -> Self {
        Self {
            raw: T::default(),
            path: path.to_owned(),
            line: 1,
            lines: BTreeMap::new(),
            bad: BTreeSet::new(),
            veiled: SECRET.iter().map(ToString::to_string).collect(),
            problems: reader.problems,
        }
    }

    /// Reads the section at `path`, whose header stands in `line`.
    pub(super) fn read(reader: Reader<'a>, path: &str, line: usize, table: &DeTable<'_>) -> Self {
        let mut section = Self { line, ..Self::empty(reader, path) };
        let (allowed, required) = keys_of::<T>();
        let mut good = DeTable::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            section.lines.insert(name.clone(), reader.problems.line(key.span().start));
            if !allowed.contains(&name) {
                let near = did_you_mean(&name, allowed.iter().map(String::as_str));
                section.problem(&name, &format!("unknown key{near}"));
                continue;
            }
            match section.value(&name, key, value.clone(), reader.environment) {
                Ok(value) => drop(good.insert(key.clone(), value)),
                Err(message) => {
                    section.problem(&name, &message);
                    section.bad.insert(name);
                }
            }
        }
        match T::deserialize(Deserializer::from(Spanned::new(0..0, good))) {
            Ok(raw) => section.raw = raw,
            Err(error) => section.problem("", error.message()),
        }
        for key in required.iter().filter(|key| !section.lines.contains_key(*key)) {
            section.problem(key, "is missing");
        }
        section
    }

    /// The value with its variables put in, if its type is right.
    fn value<'v>(
        &mut self,
        name: &str,
        key: &Spanned<DeString<'v>>,
        mut value: Spanned<DeValue<'v>>,
        environment: &Environment,
    ) -> Result<Spanned<DeValue<'v>>, String> {
        if fill(value.get_mut(), environment)? {
            self.veiled.insert(name.to_owned());
        }
        // Alone in a table of its own, so that one wrong value cannot hide the next.
        let alone: DeTable<'_> = [(key.clone(), value.clone())].into_iter().collect();
        T::deserialize(Deserializer::from(Spanned::new(value.span(), alone)))
            .map_err(|error| self.explain(name, value.get_ref(), error.message()))?;
        Ok(value)
    }

    /// A serde message without the value, unless it is one of a few words and not secret.
    fn explain(&self, key: &str, value: &DeValue<'_>, message: &str) -> String {
        let expected = message.split_once(", expected ").map_or("another type", |(_, rest)| rest);
        match value.as_str() {
            Some(text) if message.starts_with("unknown variant") => {
                let words: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
                let shown = if self.veiled.contains(key) { "the value".to_owned() } else { format!("`{text}`") };
                let near = if self.veiled.contains(key) { String::new() } else { did_you_mean(text, words) };
                format!("{shown} is not allowed, write {expected}{near}")
            }
            // `invalid type: integer `5`, expected a string`: the words before the value say what was found.
            _ => {
                let found = message.split_once(": ").map_or("", |(_, rest)| rest);
                let found = found.split(['`', '"', ',']).next().unwrap_or_default().trim_end();
                format!("expected {expected}, found {found}")
            }
        }
    }
}

impl<'a, T> Section<'a, T> {
    /// The same section, read as another one.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Section<'a, U> {
        let Self { raw, path, line, lines, bad, veiled, problems } = self;
        Section { raw: change(raw), path, line, lines, bad, veiled, problems }
    }

    /// Reports a problem of `key`.
    pub(super) fn problem(&self, key: &str, message: &str) {
        let line = self.lines.get(key).copied().unwrap_or(self.line);
        let dot = if key.is_empty() { "" } else { "." };
        self.problems.add(line, &format!("{}{dot}{key}", self.path), message);
    }

    /// Whether the key is written and its value was refused.
    pub(super) fn refused(&self, key: &str) -> bool {
        self.bad.contains(key)
    }

    /// Whether the key is written, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// The line of the section's header.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The value as `check` makes it; what it refuses is reported.
    pub(super) fn checked<V>(
        &self,
        key: &str,
        text: Option<&str>,
        check: impl Fn(&str) -> Result<V, String>,
    ) -> Option<V> {
        let text = text?;
        match check(text) {
            Ok(value) => Some(value),
            Err(message) if self.veiled.contains(key) => {
                self.problem(key, &format!("the value {message}"));
                None
            }
            Err(message) => {
                self.problem(key, &format!("`{}` {message}", text.escape_debug()));
                None
            }
        }
    }
}

/// The keys that a section may have, and those that it must have.
pub(super) fn keys_of<T: JsonSchema>() -> (Vec<String>, Vec<String>) {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let allowed = schema.get("properties").and_then(|keys| keys.as_object());
    let required = schema.get("required").and_then(|keys| keys.as_array());
    (
        allowed.into_iter().flat_map(|keys| keys.keys().cloned()).collect(),
        required.into_iter().flatten().filter_map(|key| key.as_str().map(str::to_owned)).collect(),
    )
}

/// Puts variables into every text of the value; says whether there were any.
fn fill(value: &mut DeValue<'_>, environment: &Environment) -> Result<bool, String> {
    let each = |any: bool, item: &mut Spanned<DeValue<'_>>| Ok(fill(item.get_mut(), environment)? || any);
    match value {
        DeValue::String(text) if text.contains("${") => {
            *text = environment.fill(text)?.into();
            Ok(true)
        }
        DeValue::Array(items) => items.iter_mut().try_fold(false, each),
        DeValue::Table(table) => table.iter_mut().try_fold(false, |any, (_, item)| each(any, item)),
        _ => Ok(false),
    }
}
