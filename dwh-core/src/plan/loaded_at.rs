//! The column that says when a row was written into bronze, `_loaded_at`.
//!
//! No CSV can have it, so bronze fills it: by the default of the column, on every way into bronze. That default is the
//! beginning of the statement, not of the transaction. A transaction begins before it holds the watermark row, which lets in
//! one load of a table after the other; the statements that write rows begin behind that. So later loads have greater values,
//! and whoever sees a row sees all that have smaller ones.

use crate::config::LOADED_AT;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, anonymous};
use crate::schema::{TableSchema, TypeName, quote_ident, quote_literal};

/// What fills it.
pub(super) const NOW: &str = "pg_catalog.statement_timestamp()";

/// How a catalog prints it.
const PRINTED: &str = "statement_timestamp()";

impl LoadPlan {
    /// Refuses a bronze table that does not fill the column, or fills it though nobody asks for it: its values would stay
    /// where rows are updated.
    pub(super) fn check_loaded_at(&self, bronze: &TableSchema) -> Result<()> {
        let (table, name) = (self.target.sql(), quote_ident(LOADED_AT));
        let there = bronze.column(LOADED_AT);
        let typed = there.filter(|column| column.type_name == TypeName::timestamptz());
        let default = typed.and_then(|column| column.default.as_ref());
        let fills = default.is_some_and(|text| text.ends_with(PRINTED));
        let brings = self.columns.iter().any(|column| column.name == LOADED_AT);
        let (what, hint) = match there {
            _ if self.stamped && brings => (
                format!("the CSV brings a column `{LOADED_AT}`, which bronze fills by itself"),
                format!("take the column out of the CSV, or `{LOADED_AT}` out of `metadata`"),
            ),
            _ if self.stamped == fills => return Ok(()),
            _ if !self.stamped => (
                format!("{} fills `{LOADED_AT}`, and `metadata` does not ask for it any more", self.target),
                format!(
                    "write `{LOADED_AT}` into `metadata` again, or in the target: alter table {table} drop column {name};"
                ),
            ),
            None => (
                format!("{} has no column `{LOADED_AT}`", self.target),
                "run `dwh migrate`; it adds the column".to_owned(),
            ),
            Some(_) if typed.is_some() => (
                format!("column `{LOADED_AT}` of {} has not the default that fills it", self.target),
                format!("in the target: alter table {table} alter column {name} set default {NOW};"),
            ),
            Some(column) => (
                format!(
                    "{} has a column `{LOADED_AT}` of type {}, not timestamp with time zone",
                    self.target, column.type_name
                ),
                format!(
                    "in the target: alter table {table} rename column {name} to another_name; then run `dwh migrate`, or \
                     take `{LOADED_AT}` out of `metadata`"
                ),
            ),
        };
        Err(Error::new(ErrorKind::Contract, format!("table `{}`: {what}", self.table)).with_hint(hint))
    }

    /// What an update of rows of bronze sets beside its own columns, with a comma before it.
    pub(super) fn and_loaded_at(&self) -> String {
        if self.stamped { format!(", {} = default", quote_ident(LOADED_AT)) } else { String::new() }
    }

    /// The columns that bronze alone has, each with its type, and its default where rows get one.
    pub(super) fn of_bronze(&self) -> Vec<(&'static str, &'static str)> {
        let mark = self.marks().then_some((super::DELETED_AT, ""));
        mark.into_iter().chain(self.stamped.then_some((LOADED_AT, NOW))).collect()
    }

    /// Adds each of them where it is not there, by its name. Rows that are there have NULL in it.
    #[must_use]
    pub(crate) fn add_of_bronze(&self) -> Vec<(&'static str, String)> {
        let table = self.target.sql();
        let add = |(column, default): (&'static str, &'static str)| {
            let name = quote_ident(column);
            let fill = match default {
                "" => String::new(),
                default => format!("\n        alter table {table} alter column {name} set default {default};"),
            };
            let sql = anonymous(&format!(
                "begin\n    if not exists (select from pg_catalog.pg_attribute where attrelid = {}::pg_catalog.regclass \
                 and attname = {} and not attisdropped) then\n        alter table {table} add column {name} \
                 timestamp with time zone;{fill}\n    end if;\nend",
                quote_literal(&table),
                quote_literal(column)
            ));
            (column, sql)
        };
        self.of_bronze().into_iter().map(add).collect()
    }
}
