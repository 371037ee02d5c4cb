//! What was done with designs, and how they differ from the tables that are there.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::ErrorReport;
use crate::pipeline::report::one_code;

/// Which designs are meant.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DesignRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// The folder; `None`: that of `[target] designs`.
    pub folder: Option<PathBuf>,
    /// Write files anew that are there.
    pub force: bool,
    /// Only tell what would be written.
    pub dry_run: bool,
}

impl DesignRequest {
    /// The designs of the tables that match.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// How a design stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DesignState {
    /// It was written, or would be.
    Written,
    /// It was there, and was left as it is.
    Kept,
    /// There is none: `migrate` makes the table as the source has it.
    Missing,
    /// The table is not there yet; `migrate` makes it by the design.
    NotMade,
    /// The table is as the design says.
    Same,
    /// The table is another one.
    Different,
    /// It cannot be written, or not be used: the error says why.
    Failed,
}

impl DesignState {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Kept => "kept",
            Self::Missing => "missing",
            Self::NotMade => "not_made",
            Self::Same => "same",
            Self::Different => "different",
            Self::Failed => "failed",
        }
    }
}

/// The design of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableDesign {
    /// The table's name in the configuration.
    pub table: String,
    /// The bronze table.
    pub target: String,
    /// The file.
    pub file: String,
    /// How it stands.
    pub state: DesignState,
    /// What the design has and the table has not, a line each.
    pub only_in_design: Vec<String>,
    /// What the table has and the design has not.
    pub only_live: Vec<String>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

/// What was done with designs, or how they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DesignReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The folder of the files.
    pub folder: String,
    /// In the order of the configuration.
    pub tables: Vec<TableDesign>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl DesignReport {
    pub(super) fn new(folder: &Path, dry_run: bool) -> Self {
        Self { dry_run, folder: folder.display().to_string(), tables: Vec::new(), notes: Vec::new() }
    }

    /// One more table; what is wrong with a server is not told once a table.
    pub(super) fn add(
        &mut self,
        table: &TableConfig,
        file: &Path,
        state: Result<DesignState>,
    ) -> Result<&mut TableDesign> {
        let (state, error): (DesignState, Option<Error>) = match state {
            Ok(state) => (state, None),
            Err(error) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Auth | ErrorKind::Busy) => {
                return Err(error);
            }
            Err(error) => (DesignState::Failed, Some(error)),
        };
        let at = self.tables.len();
        self.tables.push(TableDesign {
            table: table.name.clone(),
            target: table.target.to_string(),
            file: file.display().to_string(),
            state,
            only_in_design: Vec::new(),
            only_live: Vec::new(),
            error: error.as_ref().map(ErrorReport::from),
        });
        Ok(&mut self.tables[at])
    }

    /// What went wrong, and tables that are not as their designs say.
    #[must_use]
    pub fn failures(&self) -> Vec<ErrorReport> {
        let failure = |one: &TableDesign| match (&one.error, one.state) {
            (Some(error), _) => Some(error.clone()),
            (None, DesignState::Different) => {
                let told = format!("table `{}`: {} is not as `{}` says", one.table, one.target, one.file);
                let error = Error::new(ErrorKind::Drift, told).with_hint("alter the table, or correct the file");
                Some(ErrorReport::from(&error))
            }
            (None, _) => None,
        };
        self.tables.iter().filter_map(failure).collect()
    }

    /// 0 if all is well; 4 if a table is not as its design says; the one code of all that failed, or 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.failures().iter().map(|failure| failure.exit_code))
    }
}
