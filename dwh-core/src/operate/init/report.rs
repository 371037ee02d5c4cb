//! What `init` found and wrote.

use serde::Serialize;
use std::path::PathBuf;

use super::Taken;
use crate::config::{Mode, OnConflict};

/// What `init` found and wrote. Holds no address of a database.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct InitReport {
    /// Name of the project.
    pub project: String,
    /// Whether the files were written; not by a dry run.
    pub written: bool,
    /// `dwh.toml`, `.env` and `grants.sql`, wherever they are.
    pub files: Vec<PathBuf>,
    /// The tables that are copied.
    pub tables: Vec<InitTable>,
    /// The tables that are not, and what helps.
    pub left_out: Vec<LeftOut>,
    /// Tables of which the source has no relation any more; only of an update. They stay as they are.
    pub gone: Vec<InitChange>,
    /// Tables that name columns which their relations have no more; only of an update. They stay as they are.
    pub changed: Vec<InitChange>,
    /// Whether this was a second look, and `tables` are those that are new.
    pub updated: bool,
    /// What somebody should know before the first run.
    pub warnings: Vec<String>,
    /// The text of the configuration; only of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The text of `grants.sql`; only of a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<String>,
}

/// How one table is copied, and why.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct InitTable {
    /// Its name in the configuration.
    pub name: String,
    /// The table at the source.
    pub relation: String,
    /// How it is moved.
    pub mode: Mode,
    /// The watermark column of an incremental table.
    pub watermark: Option<String>,
    /// The key of an incremental table.
    pub key: Vec<String>,
    /// What happens to a row whose key is there already.
    pub on_conflict: OnConflict,
    /// Why.
    pub reasons: Vec<String>,
    /// What nobody could know from outside.
    pub doubts: Vec<String>,
}

/// A table that is not copied.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct LeftOut {
    /// The table at the source.
    pub relation: String,
    /// Why.
    pub reason: String,
    /// What helps: a statement for a DBA, or a sentence.
    pub remedy: Option<String>,
}

/// What became of a table that was configured before.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct InitChange {
    /// Its name in the configuration.
    pub table: String,
    /// The table at the source.
    pub relation: String,
    /// What is not as it was.
    pub what: String,
}

pub(super) fn table(taken: &Taken) -> InitTable {
    let choice = &taken.choice;
    InitTable {
        name: taken.name.clone(),
        relation: taken.table.to_string(),
        mode: choice.mode,
        watermark: choice.watermark.as_ref().map(|watermark| watermark.column.clone()),
        key: choice.key.clone(),
        on_conflict: choice.on_conflict,
        reasons: choice.reasons.clone(),
        doubts: choice.doubts.clone(),
    }
}
