//! The SQL of a table of which bronze has each version of a row, and the check of its indexes.
//!
//! A version is dated by `_uploaded_at`, the start of the run that read it. It is added if it differs from the version of
//! the same key that was the newest before it: rows that are read again, by a sweep or because the bound was held, are not
//! added twice, and a row that goes back to what it was once is. A CSV that is loaded again finds its own rows, so it adds
//! nothing, whatever was loaded since.

use super::load::{STAGE, identical};
use crate::config::{Mode, OnConflict, UPLOADED_AT};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Equality, LoadPlan};
use crate::schema::{TableSchema, quote_ident, quote_literal};

impl LoadPlan {
    /// Whether bronze has each version of a row.
    #[must_use]
    pub fn is_appended(&self) -> bool {
        self.mode == Mode::Incremental && self.on_conflict == OnConflict::Append
    }

    /// Takes the rows out of the staging table that bronze has: from this very CSV, or unchanged in the newest version
    /// before it.
    #[must_use]
    pub(crate) fn drop_known(&self, key: &[Equality]) -> String {
        let on = |alias: &str| key.iter().map(|part| self.key_equals_of(part, alias)).collect::<Vec<_>>().join(" and ");
        let (bronze, at) = (self.target.sql(), quote_ident(UPLOADED_AT));
        let newest = format!("select pg_catalog.max(n.{at}) from {bronze} n where {} and n.{at} < s.{at}", on("n"));
        format!(
            "delete from {STAGE} as s where exists (select from {bronze} b where {} and (b.{at} = s.{at} or b.{at} = ({newest})) \
             and {})",
            on("b"),
            identical(&self.row("s."), &self.row("b."))
        )
    }

    /// The columns by which the versions of a row are found, in the order of an index.
    pub(super) fn version_columns(&self) -> String {
        format!("{}, {}", self.key_names(""), quote_ident(UPLOADED_AT))
    }

    /// Makes the index that finds the versions of a row, unless the table has an index.
    pub(super) fn version_index(&self) -> String {
        let table = self.target.sql();
        format!(
            "begin\n    if not exists (select from pg_catalog.pg_index where indrelid = {}::pg_catalog.regclass) then\n        \
             create index on {table} ({});\n    end if;\nend",
            quote_literal(&table),
            self.version_columns()
        )
    }

    /// Refuses a unique index that lets in one version of a row only.
    pub(super) fn check_versions(&self, bronze: &TableSchema) -> Result<()> {
        let single = bronze.keys.iter().find(|key| !key.columns.iter().any(|name| name == UPLOADED_AT));
        let Some(index) = single else { return Ok(()) };
        let (name, table) = (quote_ident(&index.name), bronze.table.sql());
        Err(Error::new(
            ErrorKind::Contract,
            format!("table `{}`: `{}` of {} lets in no second version of a row", self.table, index.name, bronze.table),
        )
        .with_hint(format!(
            "in the target: alter table {table} drop constraint {name}; create index on {table} ({}); or take \
             `on_conflict = \"update\"`",
            self.version_columns()
        )))
    }
}
