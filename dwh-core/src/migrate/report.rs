//! What `migrate` did, and what it could not do. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::error::{Error, ErrorKind};
use crate::plan::{DELETED_AT, LoadPlan};

/// How many tables of one cause a message names.
const NAMED: usize = 5;

/// What [`Pipeline::migrate`](crate::Pipeline::migrate) did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateReport {
    /// Whether nothing was done.
    #[serde(default)]
    pub dry_run: bool,
    /// Migrations applied now, or to be applied.
    pub applied: Vec<String>,
    /// Migrations that were there already.
    pub present: Vec<String>,
    /// Types created now, or to be created.
    #[serde(default)]
    pub types_created: Vec<String>,
    /// Labels that enums got now, or will get.
    #[serde(default)]
    pub labels_added: Vec<AddedLabel>,
    /// Bronze tables created now, or to be created.
    pub tables_created: Vec<String>,
    /// Files of designs by which tables were created now, or will be.
    #[serde(default)]
    pub designs: Vec<String>,
    /// Bronze tables that were there already; they are left as they are.
    pub tables_present: Vec<String>,
    /// Tables that came out of `include` of their source now, or would; bronze tables of theirs are among those created.
    #[serde(default)]
    pub tables_found: Vec<String>,
    /// What a person should know of the patterns.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What kept tables from being made; the others were made.
    #[serde(default)]
    pub refused: Vec<MigrateRefusal>,
    /// Tables whose watermarks cannot be used: they belong to something else, or bronze lost what was loaded.
    #[serde(default)]
    pub conflicts: Vec<MigrateConflict>,
    /// What was changed in bronze tables because their sources changed, or would be.
    #[serde(default)]
    pub drift_applied: Vec<MigrateDrift>,
    /// What source and bronze still differ in, and what a person does about it; empty unless it was asked for.
    #[serde(default)]
    pub drift_left: Vec<MigrateDrift>,
}

/// A difference between source and bronze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateDrift {
    /// The table's name in the configuration.
    pub table: String,
    /// What differs, or differed, one line.
    pub message: String,
    /// The statements that mended it, or what to do.
    pub remedy: String,
}

/// A label that an enum of the target got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AddedLabel {
    /// The enum.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The label.
    pub label: String,
}

/// One cause that keeps tables from being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateRefusal {
    /// The stable word of its kind, as that of an error.
    pub code: String,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub hint: String,
    /// The tables, by their names in the configuration.
    pub tables: Vec<String>,
}

impl MigrateRefusal {
    /// What kept the source of the tables from being asked, if that is the cause: nothing is known of them.
    #[must_use]
    pub fn not_asked(&self) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| kind.is_of_the_service() && kind.row().code == self.code)
    }

    /// The tables in words: how many, and the first of them.
    #[must_use]
    pub fn tables_told(&self) -> String {
        if self.tables.is_empty() {
            return "all tables".to_owned();
        }
        let first: Vec<String> = self.tables.iter().take(NAMED).map(|table| format!("`{table}`")).collect();
        let more = self.tables.len() - first.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "{} table{}: {}{more}",
            self.tables.len(),
            if self.tables.len() == 1 { "" } else { "s" },
            first.join(", ")
        )
    }
}

/// A table whose watermark cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateConflict {
    /// The table's name in the configuration.
    pub table: String,
    /// What is wrong, one line.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What is wrong, whatever table it is wrong for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) cause: String,
    pub(crate) hint: String,
}

impl MigrateReport {
    /// 0 if runs may begin; 4 if a table could not be made, its watermark cannot be used, or source and bronze still
    /// differ; 2 if nothing but the configuration is wrong; 3 if nothing but sources that could not be asked; 1 if that and
    /// something else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let (config, contract) = (ErrorKind::Config.row(), ErrorKind::Contract.row().exit_code);
        let refused = self.refused.iter().map(|one| match one.not_asked() {
            Some(kind) => kind.row().exit_code,
            None if one.code == config.code => config.exit_code,
            None => contract,
        });
        let others = !(self.conflicts.is_empty() && self.drift_left.is_empty());
        let codes: BTreeSet<u8> = refused.chain(others.then_some(contract)).collect();
        match (codes.len(), codes.last()) {
            (1, Some(code)) => *code,
            (0, _) => 0,
            _ if codes.contains(&ErrorKind::Unreachable.row().exit_code) => ErrorKind::Internal.row().exit_code,
            _ => contract,
        }
    }

    /// Notes what keeps a table from being made; a cause of several tables is one.
    pub(crate) fn refuse(&mut self, table: &str, cause: Cause) {
        self.refuse_as(ErrorKind::Contract, table, cause);
    }

    pub(crate) fn refuse_as(&mut self, kind: ErrorKind, table: &str, Cause { cause, hint }: Cause) {
        let code = kind.row().code.to_owned();
        let tables = match self.refused.iter_mut().find(|known| known.cause == cause && known.hint == hint) {
            Some(known) => &mut known.tables,
            None => {
                self.refused.push(MigrateRefusal { code, cause, hint, tables: Vec::new() });
                let Some(last) = self.refused.last_mut() else { return };
                &mut last.tables
            }
        };
        if !tables.iter().any(|known| known == table) {
            tables.push(table.to_owned());
        }
    }

    /// Notes the statements that gave, or give, bronze the columns that no CSV brings.
    pub(super) fn note_of_bronze(&mut self, load: &LoadPlan, added: Vec<(&'static str, String)>) {
        self.drift_applied.extend(added.into_iter().map(|(name, remedy)| {
            let by = if name == DELETED_AT { "`deletes = \"mark\"`" } else { "`metadata`" };
            let message = format!("column `{name}` is not in bronze, and {by} needs it");
            MigrateDrift { table: load.table.clone(), message, remedy }
        }));
    }

    /// Notes the error of one table.
    pub(crate) fn refuse_for(&mut self, table: &str, error: &Error) {
        let chain = error.chain();
        let cause = chain.strip_prefix(&format!("table `{table}`: ")).unwrap_or(&chain).to_owned();
        self.refuse_as(error.kind(), table, Cause { cause, hint: error.hint().to_owned() });
    }

    /// Notes that a source could not be asked, and which tables wait for it.
    pub(crate) fn wait_for(&mut self, error: &Error, tables: Vec<String>) {
        let hint =
            format!("{}\nnothing was done for these tables; once the source answers: `dwh migrate`", error.hint());
        self.refused.push(MigrateRefusal { code: error.code().to_owned(), cause: error.chain(), hint, tables });
    }

    /// Notes what an audit of the whole found.
    pub(super) fn refuse_audit(&mut self, error: &Error) {
        let (code, cause, hint) = (error.code().to_owned(), error.to_string(), error.hint().to_owned());
        self.refused.push(MigrateRefusal { code, cause, hint, tables: Vec::new() });
    }

    /// All that keeps tables from being made, as one error; `None` if all were made.
    pub(crate) fn refusal(&self) -> Option<Error> {
        if self.refused.is_empty() {
            return None;
        }
        let list: String =
            self.refused.iter().map(|one| format!("\n  - {} ({})", one.cause, one.tables_told())).collect();
        let mut hints: Vec<&str> = self.refused.iter().map(|one| one.hint.as_str()).collect();
        hints.dedup();
        Some(Error::new(ErrorKind::Contract, format!("tables cannot be made:{list}")).with_hint(hints.join("\n")))
    }
}
