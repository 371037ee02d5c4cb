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

use crate::error::Result;
use crate::pipeline::Pipeline;
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
    /// are looked at, all of them if it is empty; servers and blob store always are.
    ///
    /// # Errors
    /// `Config` if no table matches. All else is a finding.
    pub async fn check(&self, tables: &[String]) -> Result<CheckReport> {
        let chosen = self.config.select(tables)?;
        let mut report = CheckReport::default();
        secrets::check(&self.config, &mut About::new("configuration", &mut report));
        let target = target::check(&self.config, &mut About::new("target", &mut report)).await;
        let mut sources = BTreeMap::new();
        for (name, config) in self.config.sources.iter().filter(|(_, config)| config.files.is_none()) {
            let mut about = About::new(format!("source {name}"), &mut report);
            let tables: Vec<_> = self.config.tables.iter().filter(|table| table.source == *name).collect();
            if let Some(server) = source::check(&self.config, config, &tables, &mut about).await {
                if let Some(target) = &target {
                    let compared = clocks(&server, target, &mut about).await;
                    about.unless(Word::Clock, compared);
                }
                sources.insert(name.clone(), server);
            }
        }
        for (name, config) in &self.config.sources {
            if let Some(files) = &config.files {
                files::check(self, name, files, &mut report).await;
            }
        }
        files::tables(self, &chosen, target.as_ref(), &mut report).await;
        let sizes = tables::check(self, &chosen, Ends { sources, target }, &mut report).await;
        store::check(self, &mut About::new("blob", &mut report)).await;
        space::check(self, sizes, &mut report).await;
        Ok(report)
    }
}
