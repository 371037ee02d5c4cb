//! Relations that become tables by themselves: which of them match, and what each is called. Pure.

use globset::{Glob, GlobMatcher};
use std::collections::{BTreeMap, BTreeSet};

use super::{Config, Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;

/// A pattern over `schema.table`, or over the table alone if it has no dot.
#[derive(Debug, Clone)]
pub(crate) struct RelationGlob {
    pub(crate) text: String,
    matcher: GlobMatcher,
}

impl RelationGlob {
    pub(crate) fn new(text: &str) -> Result<Self> {
        let glob = Glob::new(text).map_err(|error| {
            Error::new(ErrorKind::Config, format!("`{text}` is no pattern"))
                .with_hint("write `schema.table`, `schema.*` or a part of them with `*` and `?`")
                .with_source(error)
        })?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    pub(crate) fn hits(&self, table: &TableRef) -> bool {
        let full = table.to_string();
        full == self.text
            || self.matcher.is_match(&full)
            || (!self.text.contains('.') && (table.name == self.text || self.matcher.is_match(&table.name)))
    }
}

/// `include` and `exclude` of a source.
#[derive(Debug, Clone)]
pub struct Patterns {
    pub(crate) include: Vec<RelationGlob>,
    pub(crate) exclude: Vec<RelationGlob>,
    /// A table of the source, but for its name, its relation and its key; its target has the schema alone.
    pub(crate) template: Box<TableConfig>,
}

impl Patterns {
    fn hits(&self, table: &TableRef) -> bool {
        let any = |globs: &[RelationGlob]| globs.iter().any(|glob| glob.hits(table));
        any(&self.include) && !any(&self.exclude)
    }

    fn table(&self, known: &Discovered) -> TableConfig {
        let mut table = (*self.template).clone();
        table.name.clone_from(&known.table);
        table.target = self.target(&known.relation);
        table.relation = Some(known.relation.clone());
        if table.key.is_empty() && table.mode == Mode::Incremental {
            table.key.clone_from(&known.key);
        }
        table
    }

    fn target(&self, relation: &TableRef) -> TableRef {
        TableRef::new(&self.template.target.schema, &relation.name)
    }
}

/// A relation that a pattern of a source has made a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Discovered {
    /// The source, by its name in the configuration.
    pub source: String,
    /// The relation there.
    pub relation: TableRef,
    /// The name of the table; it stays once it was given.
    pub table: String,
    /// The primary key of the relation, which is the key of an incremental table whose `defaults` name none.
    pub key: Vec<String>,
}

impl Discovered {
    /// A relation of a source under the name that its table gets.
    #[must_use]
    pub fn new(source: &str, relation: TableRef, key: Vec<String>) -> Self {
        Self { source: source.to_owned(), table: format!("{source}.{}", relation.name), relation, key }
    }
}

/// What the patterns of a source find among its relations, beside what is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Relations that become tables; their keys are not known yet.
    pub(crate) fresh: Vec<Discovered>,
    /// Relations that match and cannot become tables: the name that they would have, what is wrong, what to do.
    pub(crate) refused: Vec<(String, String, String)>,
    /// Tables whose relations are not there any more.
    pub(crate) gone: Vec<Discovered>,
    /// Patterns, with the key that they stand in, that match no relation.
    pub(crate) idle: Vec<(&'static str, String)>,
}

impl Config {
    /// Whether relations become tables by themselves.
    pub(crate) fn has_patterns(&self) -> bool {
        self.sources.values().any(|source| source.patterns.is_some())
    }

    /// The sources with patterns that may have tables which the globs match.
    pub(crate) fn pattern_sources(&self, globs: &[String]) -> Vec<&str> {
        let with = self.sources.iter().filter(|(_, source)| source.patterns.is_some()).map(|(name, _)| name.as_str());
        with.filter(|name| globs.is_empty() || globs.iter().any(|glob| may_match(glob, name))).collect()
    }

    /// The known relations that match, and that no `[[table]]` reads.
    fn still_meant<'a>(&'a self, known: &'a [Discovered]) -> impl Iterator<Item = (&'a Discovered, &'a Patterns)> {
        known.iter().filter_map(|known| {
            let patterns = self.sources.get(&known.source)?.patterns.as_ref()?;
            (patterns.hits(&known.relation) && !self.is_written(&known.source, &known.relation))
                .then_some((known, patterns))
        })
    }

    fn is_written(&self, source: &str, relation: &TableRef) -> bool {
        self.tables.iter().any(|table| table.source == source && table.relation.as_ref() == Some(relation))
    }

    /// The same with the tables that patterns have brought forth, behind those that are written.
    ///
    /// # Errors
    /// `Config` if two tables have one name or one bronze table.
    pub(crate) fn with_discovered(&self, known: &[Discovered]) -> Result<Self> {
        let mut whole = self.clone();
        for (known, patterns) in self.still_meant(known) {
            let table = patterns.table(known);
            let other = whole.tables.iter().find(|other| other.name == table.name || other.target == table.target);
            if let Some(other) = other {
                let (what, hint) = taken(known, &table.target, other);
                return Err(Error::new(ErrorKind::Config, what).with_hint(hint));
            }
            if let Some((what, hint)) = self.lacks_key(known) {
                return Err(Error::new(ErrorKind::Config, what).with_hint(hint));
            }
            whole.tables.push(table);
        }
        Ok(whole)
    }

    /// Why a relation cannot be an incremental table: nobody says what its key is.
    pub(crate) fn lacks_key(&self, known: &Discovered) -> Option<(String, String)> {
        let patterns = self.sources.get(&known.source)?.patterns.as_ref()?;
        let table = patterns.table(known);
        if table.mode != Mode::Incremental || !table.key.is_empty() {
            return None;
        }
        let (source, relation) = (&known.source, &known.relation);
        Some((
            format!("relation {relation} of source `{source}` has no primary key, and mode `incremental` needs a key"),
            format!(
                "write a `[[table]]` with `source = \"{source}\"`, `relation = \"{relation}\"` and `key`, or `mode = \"snapshot\"`; \
                 or add it to `exclude` of `[source.{source}]`"
            ),
        ))
    }

    /// What the patterns of a source find among all its relations.
    pub(crate) fn findings(&self, source: &str, relations: &[TableRef], known: &[Discovered]) -> Findings {
        let mut findings = Findings::default();
        let Some(patterns) = self.sources.get(source).and_then(|source| source.patterns.as_ref()) else {
            return findings;
        };
        for (key, globs) in [("include", &patterns.include), ("exclude", &patterns.exclude)] {
            let idle = globs.iter().filter(|glob| !relations.iter().any(|relation| glob.hits(relation)));
            findings.idle.extend(idle.map(|glob| (key, glob.text.clone())));
        }
        let there: BTreeSet<&TableRef> = relations.iter().collect();
        let of_source = self.still_meant(known).map(|(known, _)| known).filter(|known| known.source == source);
        let (old, gone): (Vec<&Discovered>, Vec<&Discovered>) =
            of_source.partition(|known| there.contains(&known.relation));
        findings.gone = gone.into_iter().cloned().collect();
        let mut named: BTreeMap<String, Vec<Discovered>> = BTreeMap::new();
        let meant = |relation: &&TableRef| patterns.hits(relation) && !self.is_written(source, relation);
        for relation in relations.iter().filter(meant).filter(|one| !old.iter().any(|known| known.relation == **one)) {
            let fresh = Discovered::new(source, relation.clone(), Vec::new());
            named.entry(fresh.table.clone()).or_default().push(fresh);
        }
        for (name, same) in named {
            self.admit(&name, same, patterns, known, &mut findings);
        }
        findings
    }

    /// Takes the relations that would have one name, if it is one relation and nothing speaks against it.
    fn admit(
        &self,
        name: &str,
        mut same: Vec<Discovered>,
        patterns: &Patterns,
        known: &[Discovered],
        findings: &mut Findings,
    ) {
        let mut refuse = |what: String, hint: String| findings.refused.push((name.to_owned(), what, hint));
        if name.chars().any(char::is_control) || name.len() > 200 {
            return refuse(
                "the name of the relation cannot be that of a folder".to_owned(),
                format!(
                    "write a `[[table]]` with a `name` for it, or add it to `exclude` of `[source.{}]`",
                    same[0].source
                ),
            );
        }
        let namesake = self.still_meant(known).map(|(known, _)| known).find(|known| known.table == name);
        if same.len() + usize::from(namesake.is_some()) > 1 {
            let all: Vec<String> = namesake.into_iter().chain(&same).map(|one| one.relation.to_string()).collect();
            let last = &same[same.len() - 1];
            return refuse(
                format!("relations {} of source `{}` would all be table `{name}`", all.join(" and "), last.source),
                apart(last),
            );
        }
        let Some(one) = same.pop() else { return };
        let target = patterns.target(&one.relation);
        let others = self.still_meant(known).map(|(known, patterns)| patterns.table(known));
        let others: Vec<TableConfig> = self.tables.iter().cloned().chain(others).collect();
        match others.iter().find(|other| other.name == name || other.target == target) {
            Some(other) => {
                let (what, hint) = taken(&one, &target, other);
                refuse(what, hint);
            }
            None => findings.fresh.push(one),
        }
    }
}

/// Why a relation cannot become a table beside another one.
fn taken(one: &Discovered, target: &TableRef, other: &TableConfig) -> (String, String) {
    let (source, relation) = (&one.source, &one.relation);
    if other.name == one.table {
        let what =
            format!("relation {relation} of source `{source}` would be table `{}`, which is there already", one.table);
        return (what, apart(one));
    }
    let what = format!(
        "relation {relation} of source `{source}` would be loaded into {target}, which is the bronze table of table `{}`",
        other.name
    );
    let hint = if other.source == *source {
        apart(one)
    } else {
        format!("give the source a bronze schema of its own: under `[source.{source}]` write `schema = \"{source}\"`")
    };
    (what, hint)
}

/// How two relations are told apart.
fn apart(one: &Discovered) -> String {
    let Discovered { source, relation, .. } = one;
    let own = format!("{}_{}", relation.schema, relation.name);
    format!(
        "name one of them: `[[table]]` with `source = \"{source}\"`, `relation = \"{relation}\"`, \
         `name = \"{source}.{own}\"`, `target = \"{own}\"` and a `mode`; or add it to `exclude` of `[source.{source}]`"
    )
}

/// Whether a glob over names of tables may match one that begins with the name of the source.
fn may_match(glob: &str, source: &str) -> bool {
    let fixed = glob.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
    let prefix = format!("{source}.");
    fixed.starts_with(&prefix) || prefix.starts_with(fixed) && (fixed.len() < glob.len() || glob == source)
}

#[cfg(test)]
#[path = "patterns_tests.rs"]
mod tests;
