//! Table designs: written from what the sources have, and compared with the tables that are there.

mod report;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::Permissions;
use std::io::{ErrorKind as Io, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::MigrateReport;
use super::patterns::Unasked;
use crate::config::TableConfig;
use crate::connect::Connector;
use crate::error::{Error, ErrorKind, Result};
use crate::migrate::{TypesThere, both_lines, design_of};
use crate::pipeline::Pipeline;
use crate::plan::{Plan, Remarks, design_file, design_text};
use crate::source::survey::Survey;

pub use report::{DesignReport, DesignRequest, DesignState, TableDesign};

/// Who is asked, once he has to be.
#[derive(Default)]
struct Asked {
    target: Option<TypesThere>,
    sources: BTreeMap<String, Survey>,
}

impl Pipeline {
    /// Writes the design of each matching table: the SQL with which `migrate` would make it, comments, and the indexes of
    /// the source as proposals. A file that is there stays as it is, unless `force`; so a call that was broken off goes on.
    /// Each file is there whole, or not at all.
    ///
    /// # Errors
    /// `Config` if no table matches; `Unreachable`, `Auth`. What keeps one table's design from being written stands in the
    /// report.
    pub async fn pull_designs(&self, request: &DesignRequest) -> Result<DesignReport> {
        let mut unplanned = MigrateReport::default();
        // Patterns are known to the control schema, once there is one.
        let known = match self.known_relations().await {
            Err(error) if error.kind() == ErrorKind::Contract => Vec::new(),
            known => known?,
        };
        let mut unasked = Unasked::new();
        let (this, _) = self.discover(&request.tables, known, &mut unplanned, &mut unasked).await?;
        if let Some((_, error)) = unasked.pop_first() {
            return Err(error);
        }
        let folder = self.designs(request);
        let mut report = DesignReport::new(&folder, request.dry_run);
        report.notes = unplanned.refused.iter().map(|one| format!("{} ({})", one.cause, one.tables_told())).collect();
        let mut asked = Asked::default();
        for table in this.config.select(&request.tables)? {
            let file = design_file(&folder, &table.target);
            let pulled = if file.exists() && !request.force {
                Ok(DesignState::Kept)
            } else {
                match this.design(table, &mut asked).await {
                    Ok(_) if request.dry_run => Ok(DesignState::Written),
                    Ok(text) => write(&file, &text, request.force),
                    Err(error) => Err(error),
                }
            };
            report.add(table, &file, pulled)?;
        }
        Ok(report)
    }

    /// Compares the design of each matching table with the table that is there. No source is asked, and nothing is changed.
    ///
    /// # Errors
    /// `Config` if no table matches; `Unreachable`, `Auth`. A design that cannot be used stands in the report.
    pub async fn diff_designs(&self, request: &DesignRequest) -> Result<DesignReport> {
        let tables = self.tables(&request.tables).await?;
        let folder = self.designs(request);
        let client = Connector::to_target(&self.config.target, &self.config.environment)?.connect().await?;
        let mut report = DesignReport::new(&folder, true);
        for table in &tables {
            let file = design_file(&folder, &table.target);
            let compared = match design_of(&folder, &table.target) {
                Ok(None) => Ok((DesignState::Missing, Vec::new(), Vec::new())),
                Ok(Some(design)) => both_lines(&client, &design, &table.target).await.map(differences),
                Err(error) => Err(error),
            };
            let (state, only_in_design, only_live) = match compared {
                Ok((state, design, live)) => (Ok(state), design, live),
                Err(error) => (Err(error), Vec::new(), Vec::new()),
            };
            let told = report.add(table, &file, state)?;
            (told.only_in_design, told.only_live) = (only_in_design, only_live);
        }
        Ok(report)
    }

    fn designs(&self, request: &DesignRequest) -> PathBuf {
        request.folder.clone().unwrap_or_else(|| self.config.target.designs.clone())
    }

    /// The text of a table's design.
    async fn design(&self, table: &TableConfig, asked: &mut Asked) -> Result<String> {
        let target = &self.config.target;
        let plan = Plan::new(table, self.source(table)?.describe(table).await?)?;
        let there = match &mut asked.target {
            Some(there) => there,
            none => none.insert(TypesThere::ask(target, &self.config.environment).await?),
        };
        let load = there.named(target, &plan.load(false)).await?;
        let from = match &table.relation {
            Some(relation) => format!("{relation} of source `{}`", table.source),
            None => format!("source `{}`", table.source),
        };
        Ok(design_text(&load, &from, &target.owner_role, &self.remarks(table, asked).await?))
    }

    /// What the source says of a table; nothing of a query, and of files.
    async fn remarks(&self, table: &TableConfig, asked: &mut Asked) -> Result<Remarks> {
        let (Some(relation), Some(source)) = (&table.relation, self.config.sources.get(&table.source)) else {
            return Ok(Remarks::default());
        };
        let survey = match asked.sources.entry(table.source.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let name = format!("source `{}`", table.source);
                place.insert(Survey::open(&name, &source.url, &self.config.environment).await?)
            }
        };
        survey.remarks(relation).await
    }
}

/// Lines that one has and the other has not.
fn differences((design, live): (Vec<String>, Vec<String>)) -> (DesignState, Vec<String>, Vec<String>) {
    if live.is_empty() {
        return (DesignState::NotMade, Vec::new(), Vec::new());
    }
    let lacks = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (only_in_design, only_live) = (lacks(&design, &live), lacks(&live, &design));
    let same = only_in_design.is_empty() && only_live.is_empty();
    (if same { DesignState::Same } else { DesignState::Different }, only_in_design, only_live)
}

/// Writes a file under another name first: a half of it is never there.
fn write(file: &Path, text: &str, force: bool) -> Result<DesignState> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Disk, format!("design `{}` cannot be written", file.display()))
            .with_hint("name a folder that may be written with `--dir`, or in `[target] designs`")
            .with_source(error)
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let beside = tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder);
    let mut beside = beside.map_err(failed)?;
    beside.write_all(text.as_bytes()).and_then(|()| beside.as_file().sync_all()).map_err(failed)?;
    let named = if force { beside.persist(file) } else { beside.persist_noclobber(file) };
    match named {
        Ok(_) => Ok(DesignState::Written),
        Err(refused) if refused.error.kind() == Io::AlreadyExists => Ok(DesignState::Kept),
        Err(refused) => Err(failed(refused.error)),
    }
}
