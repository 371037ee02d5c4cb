//! The rules of `[source.NAME]`, its patterns and its `defaults`.

use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{RawDefaults, RawSource, RawTable};
use super::section::{Reader, Section, keys_of};
use super::table::{self, Around};
use super::{TIMEOUT, files, idle_timeout, value};
use crate::config::{Mode, Patterns, RelationGlob, Secret, SourceConfig, Thresholds};

/// `include` and `exclude`.
type Globs = (Vec<RelationGlob>, Vec<RelationGlob>);

/// The sources, and the patterns of those that have some.
pub(super) fn sources(
    document: &DeTable<'_>,
    reader: Reader<'_>,
) -> (BTreeMap<String, SourceConfig>, BTreeMap<String, Globs>) {
    let (mut sources, mut globs) = (BTreeMap::new(), BTreeMap::new());
    let Some((key, value)) = document.get_key_value("source") else {
        reader.problems.add(1, "source", "section `[source.NAME]` is missing; give the source a name of your own");
        return (sources, globs);
    };
    let line = reader.problems.line(key.span().start);
    let wrong = || reader.problems.add(line, "source", "must be sections `[source.NAME]`, NAME being one of your own");
    let Some(named) = value.get_ref().as_table().filter(|named| !named.is_empty()) else {
        wrong();
        return (sources, globs);
    };
    // `[source]` with the keys right in it: one sentence, not one for each key.
    if !named.values().all(|value| value.get_ref().is_table()) {
        wrong();
    }
    for (name, value) in named {
        let Some(table) = value.get_ref().as_table() else { continue };
        let (line, path) = (reader.problems.line(name.span().start), format!("source.{}", name.get_ref()));
        if let Err(message) = value::label(name.get_ref()) {
            reader.problems.add(line, &path.escape_debug().to_string(), &format!("the name {message}"));
        }
        let mut table = table.clone();
        // A section of its own, with problems of its own.
        let defaults = table.remove("defaults").is_some();
        let section = Section::read(reader, &path, line, &table);
        if defaults && section.has("files") {
            section.problem("defaults", "is only for a database; leave it out");
        }
        globs.extend(globs_of(&section).map(|globs| (name.get_ref().to_string(), globs)));
        let source = source(&section);
        if let Some(files) = &source.files {
            files::apart(&section, files, &sources);
        }
        sources.insert(name.get_ref().to_string(), source);
    }
    (sources, globs)
}

fn source(section: &Section<'_, RawSource>) -> SourceConfig {
    let raw = &section.raw;
    let secret = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::filled).map(Secret::new);
    let timeout = |key, text: &Option<String>| section.checked(key, text.as_deref(), value::duration);
    SourceConfig {
        url: secret("url", &raw.url).unwrap_or_else(|| Secret::new("")),
        files: files::source(section),
        schema: section.checked("schema", raw.schema.as_deref(), value::identifier),
        patterns: None,
        primary_url: secret("primary_url", &raw.primary_url),
        lock_timeout: timeout("lock_timeout", &raw.lock_timeout).unwrap_or(TIMEOUT),
        drain_timeout: timeout("drain_timeout", &raw.drain_timeout).unwrap_or(TIMEOUT),
        activity_function: section.checked("activity_function", raw.activity_function.as_deref(), value::relation),
        idle_timeout: idle_timeout(section, raw.idle_timeout.as_deref()),
    }
}

/// The patterns of a source that has some.
fn globs_of(section: &Section<'_, RawSource>) -> Option<Globs> {
    let globs = |key, globs: Option<&super::globs::Globs>| {
        let texts = globs.into_iter().flat_map(|globs| &globs.0);
        let read = |text: &String| section.checked(key, Some(text), glob);
        texts.filter_map(read).collect::<Vec<_>>()
    };
    let raw = &section.raw;
    let both = (globs("include", raw.include.as_ref()), globs("exclude", raw.exclude.as_ref()));
    if section.has("exclude") && !section.has("include") {
        section.problem("exclude", "leaves out what `include` matches, and there is no `include`; write that, too");
    }
    (!both.0.is_empty() && !section.has("files")).then_some(both)
}

fn glob(text: &str) -> Result<RelationGlob, String> {
    value::filled(text)?;
    RelationGlob::new(text).map_err(|_| "is no pattern; write `schema.table` or `schema.*`".to_owned())
}

/// Puts the patterns into their sources, each with what its tables have in common.
pub(super) fn patterns(
    document: &DeTable<'_>,
    reader: Reader<'_>,
    globs: BTreeMap<String, Globs>,
    sources: &mut BTreeMap<String, SourceConfig>,
    around: &Around<'_>,
    thresholds: &Thresholds,
) {
    let (written, none) = (sections(document), DeTable::new());
    let mut templates = BTreeMap::new();
    for (name, _) in sources.iter().filter(|(_, source)| source.files.is_none()) {
        let found = written.get(name.as_str());
        let line = found.map_or(1, |(at, _)| reader.problems.line(*at));
        let Some(table) = found.map_or(Some(&none), |(_, value)| value.as_table()) else {
            let path = format!("source.{name}.defaults");
            reader.problems.add(line, &path, &format!("must be a section `[{path}]`"));
            continue;
        };
        let section: Section<'_, RawDefaults> = Section::read(reader, &format!("source.{name}.defaults"), line, table);
        let own = |raw: RawDefaults| RawTable {
            source: Some(name.clone()),
            mode: raw.0.mode.or(Some(Mode::Snapshot)),
            ..raw.0
        };
        templates.insert(name.clone(), table::template(&section.map(own), thresholds, sources, around));
    }
    for (name, (include, exclude)) in globs {
        let both = sources.get_mut(&name).zip(templates.remove(&name));
        if let Some((source, template)) = both {
            source.patterns = Some(Patterns { include, exclude, template: Box::new(template) });
        }
    }
}

/// Where each `[source.NAME.defaults]` stands, and what it says.
fn sections<'a, 'd>(document: &'a DeTable<'d>) -> BTreeMap<&'a str, (usize, &'a DeValue<'d>)> {
    let named = document.get("source").and_then(|sources| sources.get_ref().as_table());
    let defaults = named.into_iter().flatten().filter_map(|(name, source)| {
        let (key, value) = source.get_ref().as_table()?.get_key_value("defaults")?;
        Some((name.get_ref().as_ref(), (key.span().start, value.get_ref())))
    });
    defaults.collect()
}

/// `[source.NAME.defaults]` of all sources, for the tables that are written.
pub(super) struct Defaults<'a, 'd> {
    sections: BTreeMap<&'a str, (usize, &'a DeValue<'d>)>,
    /// The only source there is.
    only: Option<&'a str>,
    /// Where each source stands, if there are several.
    several: Vec<(usize, &'a str)>,
    keys: Vec<String>,
}

impl<'a, 'd> Defaults<'a, 'd> {
    pub(super) fn of(document: &'a DeTable<'d>) -> Self {
        let named = document.get("source").and_then(|sources| sources.get_ref().as_table());
        let places = named.into_iter().flatten().map(|(name, _)| (name.span().start, name.get_ref().as_ref()));
        let several: Vec<(usize, &str)> = places.collect();
        let (only, several) = match several[..] {
            [(_, only)] => (Some(only), Vec::new()),
            _ => (None, several),
        };
        Self { sections: sections(document), only, several, keys: keys_of::<RawDefaults>().0 }
    }

    /// The source of a table that names none, where one alone of several stands above it: a source that is added at the
    /// end of a file takes no table from the one that was there.
    fn only_above(&self, table: &DeTable<'_>) -> Option<&'a str> {
        let at = table.keys().map(|key| key.span().start).min().filter(|_| !table.contains_key("source"))?;
        let mut above = self.several.iter().filter(|(place, _)| *place < at);
        let only = above.next().map(|(_, name)| *name);
        only.filter(|_| above.next().is_none())
    }

    /// Puts into a `[[table]]` what it does not say itself.
    pub(super) fn fill(&self, table: &mut DeTable<'d>) {
        if let Some(only) = self.only_above(table) {
            let source = DeValue::String(only.to_owned().into());
            drop(table.insert(Spanned::new(0..0, "source".into()), Spanned::new(0..0, source)));
        }
        let source = table.get("source").map_or(self.only, |source| source.get_ref().as_str());
        let defaults = source.and_then(|source| self.sections.get(source)).and_then(|(_, value)| value.as_table());
        let Some(defaults) = defaults.filter(|_| table.contains_key("relation")) else { return };
        let mode = |table: &DeTable<'_>| table.get("mode").and_then(|mode| mode.get_ref().as_str()).map(str::to_owned);
        let same = mode(table).is_none_or(|own| own == mode(defaults).unwrap_or_else(|| "snapshot".to_owned()));
        let more: Vec<_> = defaults
            .iter()
            .filter(|(key, _)| {
                let name: &str = key.get_ref();
                self.keys.iter().any(|known| known == name)
                    && !table.contains_key(name)
                    && (same || RawDefaults::OF_ANY_MODE.contains(&name))
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        more.into_iter().for_each(|(key, value)| drop(table.insert(key, value)));
    }
}
