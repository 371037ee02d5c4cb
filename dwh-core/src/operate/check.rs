//! `check`: everything that a run depends on, each thing looked at on its own, each finding with what to do; and the
//! gates, which ask on top of it whether what should have happened by then has happened.

mod about;
mod bronze;
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
use crate::error::{ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::failure::repeated;
use about::About;
use server::clocks;
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
        let target = target::check(&this.config, &mut About::new("target", &mut report)).await;
        let with_patterns = this.config.pattern_sources(tables);
        let is_meant = |name: &str| {
            tables.is_empty() || with_patterns.contains(&name) || chosen.iter().any(|table| table.source == name)
        };
        let mut sources = BTreeMap::new();
        let meant = || this.config.sources.iter().filter(|(name, _)| is_meant(name));
        for (name, config) in meant().filter(|(_, config)| config.files.is_none()) {
            let mut about = About::new(format!("source {name}"), &mut report);
            let tables: Vec<_> = this.config.tables.iter().filter(|table| table.source == *name).collect();
            if let Some(server) = source::check(&this.config, config, &tables, &mut about).await {
                if let Some(target) = &target {
                    let compared = clocks(&server, target, &mut about).await;
                    about.unless(Word::Clock, compared);
                }
                if let (Some(_), Ok(known)) = (&config.patterns, &known) {
                    let told = patterns::tell(&self.config, name, &server.survey, known).await;
                    match told {
                        Ok(told) => tell(told, &mut about),
                        Err(error) => about.error(Word::Patterns, &error),
                    }
                }
                sources.insert(name.clone(), server);
            }
        }
        for (name, config) in meant() {
            if let Some(files) = &config.files {
                files::check(&this, name, files, &mut report).await;
            }
        }
        files::tables(&this, &chosen, target.as_ref(), &mut report).await;
        let sizes = tables::check(&this, &chosen, Ends { sources, target }, &mut report).await;
        store::check(&this, &mut About::new("blob", &mut report)).await;
        space::check(&this, sizes, &mut report).await;
        Ok(report)
    }
}

fn tell(told: patterns::Told, about: &mut About<'_>) {
    about.ok(Word::Patterns, format!("{} tables by `include`", told.known));
    told.doubts.into_iter().for_each(|(message, remedy)| about.warn(Word::Patterns, message, remedy));
    for (message, remedy) in told.failures {
        about.fail(Word::Patterns, ErrorKind::Config, message, remedy);
    }
}
