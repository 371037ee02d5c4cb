//! `[models]`: SELECTs in files, `<schema>/<name>.sql`, that become tables and views of the warehouse. They are read when they
//! are asked for, so that a wrong one keeps no table from being loaded.

mod header;
mod order;
mod query;

use globset::Glob;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::problems::{Problems, did_you_mean};
use super::{Config, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;

pub(crate) use query::with_prefix;

/// `[models]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelsConfig {
    /// The folder with a folder for each schema.
    pub dir: PathBuf,
}

/// What becomes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A table, built anew each time.
    #[default]
    Table,
    /// A view.
    View,
    /// A materialized view, refreshed each time.
    MaterializedView,
}

impl ModelKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Table, Self::View, Self::MaterializedView];

    /// The words in a file and in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    /// Schema and name, as folder and file are called.
    pub(crate) name: TableRef,
    /// The file.
    pub(crate) path: PathBuf,
    pub(crate) kind: ModelKind,
    pub(crate) key: Vec<String>,
    /// Each as it stands in `create index`, behind the table.
    pub(crate) indexes: Vec<String>,
    /// The SELECT, with its variables, without a `;`.
    pub(crate) query: String,
    /// The relations that it reads, models and others.
    pub(crate) reads: BTreeSet<TableRef>,
    /// The models that come before it: those that it reads, and those of `after`.
    pub(crate) after: BTreeSet<TableRef>,
}

/// All models, each behind those that come before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Models(pub(crate) Vec<Model>);

impl Config {
    /// The models of the folder that `[models]` names.
    ///
    /// # Errors
    /// `Config` without such a section, or with all that is wrong with the files.
    pub(crate) fn read_models(&self) -> Result<Models> {
        let Some(ModelsConfig { dir }) = &self.models else {
            return Err(Error::new(ErrorKind::Config, format!("`{}` has no `[models]`", self.path.display()))
                .with_hint("say where they are: `[models]`, `dir = \"models\"`; a model is a file `models/<schema>/<name>.sql` with one SELECT"));
        };
        let problems = Problems::new(dir, "");
        let mut models = Vec::new();
        for path in files(dir)? {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            let own = Problems::new(&path, &text);
            models.extend(self.read_model(dir, &path, &text, &own));
            problems.absorb(1, own);
        }
        let models = order::linked(models, &problems);
        problems.into_result().map_err(|error| {
            error.with_hint(
                "correct the files that are named; a model is one SELECT, with lines such as `-- kind: view` before it",
            )
        })?;
        order::ordered(models)
    }

    fn read_model(&self, dir: &Path, path: &Path, text: &str, problems: &Problems<'_>) -> Option<Model> {
        let name = named(dir, path, problems)?;
        if let Some(taken) = self.holds(&name) {
            problems.add(1, "name", &format!("`{name}` is {taken}: give the model another name or schema"));
        }
        let text = match filled(&self.environment, text) {
            Ok(text) => text,
            Err(message) => {
                problems.add(1, "variables", &message);
                return None;
            }
        };
        let header = header::header(&text, problems);
        let taken = match query::take(&text, header.after.is_some()) {
            Ok(taken) => taken,
            Err(message) => {
                problems.add(query::line_of(&text, &message), "select", &message);
                return None;
            }
        };
        let reads = taken.reads.into_iter().map(|(schema, name)| {
            // As the server looks it up.
            TableRef::new(schema.unwrap_or_else(|| self.target.bronze_schema.clone()), name)
        });
        let named = header.after.into_iter().flatten().map(|(schema, name)| TableRef::new(schema, name));
        let named: BTreeSet<TableRef> = named.collect();
        let reads: BTreeSet<TableRef> = reads.collect();
        Some(Model {
            name,
            path: path.to_owned(),
            kind: header.kind,
            key: header.key,
            indexes: header.indexes,
            query: taken.text,
            // Of what is not understood here, the file tells it.
            reads: if reads.is_empty() { named.clone() } else { reads },
            after: named,
        })
    }

    /// What has this name already, that is no model.
    pub(crate) fn holds(&self, name: &TableRef) -> Option<String> {
        if name.schema == self.target.control_schema {
            return Some("in the schema of the run log".to_owned());
        }
        let full = name.to_string();
        let table = self.tables.iter().find(|table| table.target == *name || table.name == full)?;
        Some(format!("table `{}` of `{}`", table.name, self.path.display()))
    }
}

impl Models {
    /// Those that match any of the globs, in their order; all of them if there are no globs. With `upstream` also what they
    /// read, with `downstream` also what reads them, directly or not.
    ///
    /// # Errors
    /// `Config` for a glob that cannot be read or matches nothing.
    pub(crate) fn chosen(&self, globs: &[String], upstream: bool, downstream: bool) -> Result<Vec<&Model>> {
        if globs.is_empty() {
            return Ok(self.0.iter().collect());
        }
        let mut hit: BTreeSet<&TableRef> = BTreeSet::new();
        for text in globs {
            let glob = Glob::new(text)
                .map_err(|error| Error::new(ErrorKind::Config, format!("`{text}` is no pattern")).with_source(error))?
                .compile_matcher();
            let hits = self.0.iter().map(|model| &model.name).filter(|name| glob.is_match(name.to_string()));
            let hits: Vec<&TableRef> = hits.collect();
            if hits.is_empty() {
                let names: Vec<String> = self.0.iter().map(|model| model.name.to_string()).collect();
                return Err(Error::new(ErrorKind::Config, format!("no model matches `{text}`"))
                    .with_hint(format!("the models there are: {}", names.join(", "))));
            }
            hit.extend(hits);
        }
        let mut chosen = hit.clone();
        if downstream {
            chosen.extend(self.behind(hit.iter().copied()));
        }
        if upstream {
            // From the last one on: what a model reads stands before it.
            let mut wanted = hit;
            for model in self.0.iter().rev() {
                if wanted.contains(&model.name) {
                    wanted.extend(&model.after);
                    chosen.insert(&model.name);
                }
            }
        }
        Ok(self.0.iter().filter(|model| chosen.contains(&model.name)).collect())
    }

    /// The models that read any of these relations, or come after one of these models, directly or not.
    pub(crate) fn behind<'a>(&'a self, relations: impl IntoIterator<Item = &'a TableRef>) -> BTreeSet<&'a TableRef> {
        let mut reached: BTreeSet<&TableRef> = relations.into_iter().collect();
        let mut found = BTreeSet::new();
        for model in &self.0 {
            if model.reads.iter().chain(&model.after).any(|name| reached.contains(name)) {
                reached.insert(&model.name);
                found.insert(&model.name);
            }
        }
        found
    }
}

/// A byte order mark is no part of the SQL.
fn filled(environment: &Environment, text: &str) -> std::result::Result<String, String> {
    environment.fill(text.trim_start_matches('\u{feff}'))
}

/// All `.sql` files below the folder, in the order of their names.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
            let entry = entry.map_err(|error| unreadable(&folder, error))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|end| end == "sql") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("`{}` cannot be read", path.display()))
        .with_hint("`dir` of `[models]` names the folder of the models, from the folder of `dwh.toml`")
        .with_source(error)
}

/// Schema and name of a file.
fn named(dir: &Path, path: &Path, problems: &Problems<'_>) -> Option<TableRef> {
    let below = path.strip_prefix(dir).unwrap_or(path).with_extension("");
    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
    match parts.as_deref() {
        Some([schema, name]) if [schema, name].iter().all(|part| part.len() <= 63) => {
            Some(TableRef::new(*schema, *name))
        }
        Some([_, _]) => {
            problems.add(1, "name", "PostgreSQL keeps 63 bytes of a name: shorten that of the folder or the file");
            None
        }
        _ => {
            problems.add(
                1,
                "name",
                &format!("a model is a file `<schema>/<name>.sql` in `{}`: move it", dir.display()),
            );
            None
        }
    }
}

/// `` ; did you mean `…`? `` for a model that is not there.
fn near(name: &TableRef, models: &[Model]) -> String {
    let names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
    did_you_mean(&name.to_string(), names.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
