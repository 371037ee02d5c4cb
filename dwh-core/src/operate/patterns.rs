//! What the patterns of sources find: looked for by `migrate`, told by `check`.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use super::MigrateReport;
use crate::config::{Config, Discovered, SourceConfig, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::migrate::Cause;
use crate::pipeline::Pipeline;
use crate::schema::{RelationKind, TableRef};
use crate::source::survey::Survey;

/// The tables of a source that patterns look at: no views, and nothing that lies on another server.
pub(super) async fn relations(survey: &Survey) -> Result<Vec<TableRef>> {
    let is_table = |kind| matches!(kind, RelationKind::Table | RelationKind::Partitioned);
    let relations = survey.relations().await?.into_iter().filter(|relation| is_table(relation.kind));
    Ok(relations.map(|relation| relation.table).collect())
}

/// A pattern that matches nothing, in words.
pub(super) fn idle((key, glob): &(&'static str, String)) -> String {
    format!("`{glob}` of `{key}` matches no table there")
}

/// Sources that could not be asked, each with the reason.
pub(super) type Unasked = BTreeMap<String, Error>;

impl Pipeline {
    /// The same pipeline with the tables that were discovered, and those; without the target, with those that are written
    /// and the reason.
    pub(super) async fn expanded_if_known(&self) -> (Self, Result<Vec<Discovered>>) {
        let expanded = async {
            let known = self.known_relations().await?;
            Ok::<_, Error>((self.with_discovered(&known)?, known))
        };
        match expanded.await {
            Ok((whole, known)) => (whole, Ok(known)),
            Err(error) => (self.clone(), Err(error)),
        }
    }

    /// Connects to a source, and tells its tables.
    async fn ask(&self, called: &str, source: &SourceConfig) -> Result<(Survey, Vec<TableRef>)> {
        let survey = Survey::open(called, &source.url, &self.config.environment).await?;
        let relations = relations(&survey).await?;
        Ok((survey, relations))
    }

    /// Looks at the sources that have patterns, as far as the globs reach: the same pipeline with all tables, and the
    /// relations that are to be remembered. What cannot become a table goes into the report; of a source that cannot be asked
    /// there are the tables that are known.
    pub(super) async fn discover(
        &self,
        globs: &[String],
        mut known: Vec<Discovered>,
        report: &mut MigrateReport,
        unasked: &mut Unasked,
    ) -> Result<(Self, Vec<Discovered>)> {
        let mut fresh: Vec<Discovered> = Vec::new();
        for name in self.config.pattern_sources(globs) {
            let Some(source) = self.config.sources.get(name) else { continue };
            let called = format!("source `{name}`");
            let (survey, relations) = match self.ask(&called, source).await {
                Err(error) if error.kind().is_of_the_service() => {
                    unasked.insert(name.to_owned(), error);
                    continue;
                }
                asked => asked?,
            };
            let mut findings = self.config.findings(name, &relations, &known);
            for (table, cause, hint) in std::mem::take(&mut findings.refused) {
                report.refuse_as(ErrorKind::Config, &table, Cause { cause, hint });
            }
            report.notes.extend(findings.idle.iter().map(|one| format!("{called}: {}", idle(one))));
            let there: BTreeSet<&TableRef> = relations.iter().collect();
            let lacks_key =
                |one: &Discovered| one.source == name && one.key.is_empty() && there.contains(&one.relation);
            let (keyless, rest) = known.into_iter().partition(lacks_key);
            known = rest;
            let looked: Vec<Discovered> = findings.fresh.iter().cloned().chain(keyless).collect();
            let keys = survey.primary_keys(&looked.iter().map(|one| &one.relation).collect::<Vec<_>>()).await?;
            for (one, key) in looked.into_iter().zip(keys) {
                let is_new = findings.fresh.contains(&one);
                let one = Discovered { key, ..one };
                if let Some((cause, hint)) = self.config.lacks_key(&one) {
                    report.refuse_as(ErrorKind::Config, &one.table, Cause { cause, hint });
                    continue;
                }
                if is_new {
                    report.tables_found.push(one.table.clone());
                }
                fresh.push(one.clone());
                known.push(one);
            }
        }
        let whole = self.with_discovered(&known)?;
        // A table that nobody asked for is left to another call.
        let meant = whole.meant(globs, report, unasked)?;
        let meant: BTreeSet<&str> = meant.into_iter().map(|table| table.name.as_str()).collect();
        fresh.retain(|one| meant.contains(one.table.as_str()));
        report.tables_found.retain(|name| meant.contains(name.as_str()));
        Ok((whole, fresh))
    }

    /// The tables that match. A glob that matches none may mean some that cannot become tables, or some of a source that
    /// could not be asked: those are told.
    pub(super) fn meant(
        &self,
        globs: &[String],
        report: &MigrateReport,
        unasked: &Unasked,
    ) -> Result<Vec<&TableConfig>> {
        match self.config.select(globs) {
            Err(_) if !report.refused.is_empty() => Ok(Vec::new()),
            Err(_) if !unasked.is_empty() => {
                let waits = |glob: &&String| {
                    let glob = slice::from_ref(*glob);
                    self.config.pattern_sources(glob).iter().any(|name| unasked.contains_key(*name))
                        && self.config.select(glob).is_err()
                };
                let rest: Vec<String> = globs.iter().filter(|glob| !waits(glob)).cloned().collect();
                if rest.is_empty() { Ok(Vec::new()) } else { self.config.select(&rest) }
            }
            chosen => chosen,
        }
    }
}

/// What `check` says of the patterns of a source.
pub(super) struct Told {
    /// Relations that are tables.
    pub(super) known: usize,
    /// Message and remedy of each that works, and may not be meant.
    pub(super) doubts: Vec<(String, String)>,
    /// Message and remedy of each relation that cannot become a table.
    pub(super) failures: Vec<(String, String)>,
}

/// Compares what is known with what the source has.
pub(super) async fn tell(config: &Config, name: &str, survey: &Survey, known: &[Discovered]) -> Result<Told> {
    let findings = config.findings(name, &relations(survey).await?, known);
    let list = |found: &[Discovered]| found.iter().map(|one| one.relation.to_string()).collect::<Vec<_>>().join(", ");
    let mut doubts = Vec::new();
    if !findings.fresh.is_empty() {
        let message = format!("`include` matches what is no table yet: {}", list(&findings.fresh));
        doubts.push((message, "dwh migrate".to_owned()));
    }
    if !findings.gone.is_empty() {
        let message = format!("not there any more: {}; bronze keeps their rows", list(&findings.gone));
        let names: Vec<String> = findings.gone.iter().map(|one| format!("\"{}\"", one.relation)).collect();
        let remedy = format!("when that is right, add to `exclude` of `[source.{name}]`: {}", names.join(", "));
        doubts.push((message, remedy));
    }
    let correct = || format!("correct it in `[source.{name}]`, or take it out");
    doubts.extend(findings.idle.iter().map(|one| (idle(one), correct())));
    let failures = findings.refused.into_iter().map(|(_, what, hint)| (what, hint)).collect();
    let known = known.iter().filter(|one| one.source == name).count();
    Ok(Told { known, doubts, failures })
}
