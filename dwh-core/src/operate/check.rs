//! `check`: everything that a run depends on, each thing looked at on its own, each finding with what to do; and the
//! gates, which ask on top of it whether what should have happened by then has happened.

mod about;
mod bronze;
mod design;
mod files;
mod gate;
mod lease;
mod rehearsal;
mod report;
mod rights;
mod secrets;
mod server;
mod source;
mod space;
mod store;
mod table;
mod tables;
mod target;
mod together;
mod types;
mod watermark;
mod words;

use std::collections::BTreeMap;

use super::patterns;
use crate::config::Discovered;
use crate::error::{ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::failure::repeated;
use about::About;
use server::{Server, clocks};
use together::Ends;
use words::Word;

pub use gate::Gate;
pub use report::{CheckReport, Finding, Severity};

impl Pipeline {
    /// Looks at everything that a run depends on. Nothing is changed in a database; tiny objects are written to the blob
    /// store and removed again. Looks at rows of a source are given up after two seconds.
    ///
    /// What cannot be looked at because something before it failed is left out. Of tables only those that match `tables`
    /// are looked at, all of them if it is empty; so are their sources. Target and blob store always are.
    ///
    /// # Errors
    /// `Config` if no table matches. All else is a finding.
    pub async fn check(&self, tables: &[String]) -> Result<CheckReport> {
        let (this, known) = self.expanded_if_known().await;
        let chosen = match (this.config.select(tables), &known) {
            // Whether there is such a table is not known.
            (Err(_), Err(error)) => return Err(repeated(error)),
            (chosen, _) => chosen?,
        };
        let mut report = CheckReport::default();
        let mut about = About::new("configuration", &mut report);
        secrets::check(&this.config, &mut about);
        // What keeps the target from being asked is told there.
        if let Err(error) = &known
            && error.kind() == ErrorKind::Config
        {
            about.error(Word::Patterns, error);
        }
        if this.config.models.is_some() {
            match this.config.read_models() {
                Ok(models) => about.ok(Word::Models, format!("{} models in an order without a circle", models.0.len())),
                Err(error) => about.error(Word::Models, &error),
            }
        }
        let target = target::check(&this.config, &mut About::new("target", &mut report)).await;
        let with_patterns = this.config.pattern_sources(tables);
        let is_meant = |name: &str| {
            tables.is_empty() || with_patterns.contains(&name) || chosen.iter().any(|table| table.source == name)
        };
        let meant: Vec<&str> = this.config.sources.keys().map(String::as_str).filter(|name| is_meant(name)).collect();
        let sources =
            self.databases(&this, &meant, tables.is_empty(), known.as_deref().ok(), target.as_ref(), &mut report).await;
        for name in meant {
            if let Some(files) = this.config.sources.get(name).and_then(|source| source.files.as_ref()) {
                files::check(&this, name, files, &mut report).await;
            }
        }
        files::tables(&this, &chosen, target.as_ref(), &mut report).await;
        let sizes = tables::check(&this, &chosen, Ends { sources, target }, &mut report).await;
        store::check(&this, &mut About::new("blob", &mut report)).await;
        space::check(&this, sizes, &mut report).await;
        Ok(report)
    }

    /// Looks at these databases; those that answered. `whole` is the same with the tables that patterns brought forth, which
    /// are `known`. `all`: whether nothing else was asked for.
    async fn databases(
        &self,
        whole: &Self,
        names: &[&str],
        all: bool,
        known: Option<&[Discovered]>,
        target: Option<&Server>,
        report: &mut CheckReport,
    ) -> BTreeMap<String, Server> {
        let mut sources = BTreeMap::new();
        for name in names {
            let Some(config) = whole.config.sources.get(*name).filter(|config| config.files.is_none()) else {
                continue;
            };
            let mut about = About::new(format!("source {name}"), report);
            let tables: Vec<_> = whole.config.tables.iter().filter(|table| table.source == *name).collect();
            let Some(server) = source::check(&whole.config, config, &tables, &mut about).await else { continue };
            if let Some(target) = target {
                let compared = clocks(&server, target, &mut about).await;
                about.unless(Word::Clock, compared);
            }
            if let (Some(_), Some(known)) = (&config.patterns, known) {
                match patterns::tell(&self.config, name, &server.survey, known).await {
                    Ok(told) => tell(told, &mut about),
                    Err(error) => about.error(Word::Patterns, &error),
                }
            }
            if all && config.patterns.is_none() {
                let told = source::not_copied(&server, &tables, &mut about).await;
                about.unless(Word::NotCopied, told);
            }
            sources.insert((*name).to_owned(), server);
        }
        sources
    }
}

fn tell(told: patterns::Told, about: &mut About<'_>) {
    about.ok(Word::Patterns, format!("{} tables by `include`", told.known));
    told.doubts.into_iter().for_each(|(message, remedy)| about.warn(Word::Patterns, message, remedy));
    for (message, remedy) in told.failures {
        about.fail(Word::Patterns, ErrorKind::Config, message, remedy);
    }
}
