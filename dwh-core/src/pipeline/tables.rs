//! Which tables there are: those that are written, and those that patterns have brought forth.

use std::sync::Arc;

use crate::config::{Config, Discovered, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;

impl Pipeline {
    /// The tables that match any of the globs, all of them if there are none; those that `include` of a source has
    /// brought forth are among them, as [`migrate`](Pipeline::migrate) found them. No source is asked, and the target
    /// only if there are patterns.
    ///
    /// # Errors
    /// `Config` for a glob that cannot be read or matches nothing; `Unreachable`, `Auth` of the target.
    pub async fn tables(&self, globs: &[String]) -> Result<Vec<TableConfig>> {
        Ok(self.expanded().await?.config.select(globs)?.into_iter().cloned().collect())
    }

    /// The table of exactly that name.
    pub(crate) async fn table(&self, name: &str) -> Result<TableConfig> {
        Ok(self.expanded().await?.config.table(name)?.clone())
    }

    /// The same pipeline, with all tables in its configuration.
    pub(crate) async fn expanded(&self) -> Result<Self> {
        if !self.config.has_patterns() {
            return Ok(self.clone());
        }
        self.with_discovered(&self.known_relations().await?)
    }

    /// The relations that patterns have found; the target is asked only if there are patterns.
    pub(crate) async fn known_relations(&self) -> Result<Vec<Discovered>> {
        match self.config.has_patterns() {
            true => self.sink.discovered(&self.config.project.name).await,
            false => Ok(Vec::new()),
        }
    }

    /// The sources that the globs ask for of whose `include` `whole` knows no table yet, each with what to do: a source
    /// that nobody could look at must not be passed over as if it had none.
    pub(crate) fn unknown_sources(&self, whole: &Self, globs: &[String]) -> Vec<(String, Error)> {
        let tables =
            |config: &Config, source: &str| config.tables.iter().filter(|table| table.source == source).count();
        let unknown = |source: &&str| tables(&whole.config, source) == tables(&self.config, source);
        let told = |source: &str| {
            let message = format!("source `{source}`: no table of its `include` is known yet");
            let hint =
                "`dwh migrate` looks for them, and makes their tables; `dwh check` tells patterns that match nothing";
            (source.to_owned(), Error::new(ErrorKind::Contract, message).with_hint(hint))
        };
        // A name that a table has asks for nothing else.
        let is_name = |glob: &&String| whole.config.tables.iter().any(|table| table.name == **glob);
        let open: Vec<String> = globs.iter().filter(|glob| !is_name(glob)).cloned().collect();
        match open.is_empty() && !globs.is_empty() {
            true => Vec::new(),
            false => self.config.pattern_sources(&open).into_iter().filter(unknown).map(told).collect(),
        }
    }

    /// The same pipeline, with the tables of these relations.
    pub(crate) fn with_discovered(&self, known: &[Discovered]) -> Result<Self> {
        Ok(Self { config: Arc::new(self.config.with_discovered(known)?), ..self.clone() })
    }
}
