//! The SQL that makes a window of bronze equal to a CSV: which rows are removed, and which of an older CSV are not wanted.

use jiff::tz::TimeZone;

use super::extract::{instant, number, zone_sql};
use super::load::STAGE;
use crate::chain::Replaced;
use crate::config::{FILE, RECORD, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Equality, LoadPlan};
use crate::schema::{quote_ident, quote_literal};
use crate::watermark::Timestamp;

/// The cursor over the rows that would be removed.
pub(crate) const EXTRA: &str = "dwh_extra";

/// The watermark column of bronze, by which a window of it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Its name.
    pub column: String,
    /// The zone in which a column without one is read.
    pub zone: Option<TimeZone>,
}

impl Stamp {
    /// The watermark column of a table; `None` if it has none.
    #[must_use]
    pub fn of(table: &TableConfig) -> Option<Self> {
        table.watermark.clone().map(|column| Self { column, zone: table.watermark_zone.clone() })
    }
}

/// The condition of rows above `low` and up to `high` by a stamp of this type; those without one lie before all others.
pub(super) fn span(alias: &str, stamp: &Stamp, type_name: &str, low: Timestamp, high: Timestamp) -> String {
    let is_number = matches!(type_name, "smallint" | "integer" | "bigint");
    let zone = stamp.zone.as_ref().filter(|_| !type_name.ends_with("with time zone"));
    let at = |at: Timestamp| match zone {
        _ if is_number => number(at),
        None => instant(at),
        Some(zone) => format!("({} at time zone {})", instant(at), zone_sql(zone)),
    };
    let column = format!("{alias}.{}", quote_ident(&stamp.column));
    let to = format!("{column} <= {}", at(high));
    if low.is_finite() { format!("{column} > {} and {to}", at(low)) } else { format!("({to} or {column} is null)") }
}

impl LoadPlan {
    /// The same load, with a CSV that stands for this window alone.
    #[must_use]
    pub fn replacing(mut self, window: Option<Replaced>) -> Self {
        self.replaced = window;
        self
    }

    /// Whether a window of bronze can be told by its rows' stamps.
    ///
    /// # Errors
    /// `Config` if bronze does not get the watermark column.
    pub(crate) fn check_stamp(&self) -> Result<()> {
        self.stamp_column().map(drop)
    }

    /// The window whose rows are removed unless the CSV has them: an older CSV removes none, and versions of rows stay.
    #[must_use]
    pub fn removes(&self) -> Option<&Replaced> {
        self.replaced.as_ref().filter(|_| !self.older && !self.is_appended())
    }

    fn stamp_column(&self) -> Result<(&Stamp, &str)> {
        let found = self.stamp.as_ref().and_then(|stamp| {
            let column = self.columns.iter().find(|column| column.name == stamp.column)?;
            Some((stamp, column.bare_type()))
        });
        found.ok_or_else(|| self.no_stamp())
    }

    pub(super) fn no_stamp(&self) -> Error {
        Error::new(
            ErrorKind::Config,
            format!("table `{}`: its watermark column is not copied, so bronze has no windows", self.table),
        )
        .with_hint("take the watermark column out of `exclude`")
    }

    /// The condition of rows in a window; bronze may hold rows without a stamp, which lie before all others.
    fn within(&self, alias: &str, window: &Replaced) -> Result<String> {
        let (stamp, type_name) = self.stamp_column()?;
        Ok(span(alias, stamp, type_name, window.low, window.high))
    }

    /// The condition of rows whose keys are not among the spared ones, which are the parameters `$1`, `$2`, ….
    fn not_spared(alias: &str, window: &Replaced) -> String {
        if window.spares.is_empty() {
            return String::new();
        }
        let arrays: Vec<String> = (1..=window.key.len()).map(|at| format!("pg_catalog.unnest(${at})")).collect();
        let names: Vec<String> = (1..=window.key.len()).map(|at| format!("dwh_key_{at}")).collect();
        let same: Vec<String> = window
            .key
            .iter()
            .zip(&names)
            .map(|(key, given)| format!("{alias}.{}::text is not distinct from g.{given}", quote_ident(key)))
            .collect();
        format!(
            " and not exists (select from rows from ({}) as g({}) where {})",
            arrays.join(", "),
            names.join(", "),
            same.join(" and ")
        )
    }

    pub(super) fn same_key(&self, key: &[Equality]) -> String {
        key.iter().map(|part| self.key_equals(part)).collect::<Vec<_>>().join(" and ")
    }

    /// The condition of rows of bronze, `b`, that lie in the window and whose keys are not staged.
    fn extra(&self, window: &Replaced, key: &[Equality]) -> Result<String> {
        Ok(format!(
            "{}{} and not exists (select from {STAGE} s where {})",
            self.within("b", window)?,
            if window.at.is_some() { self.and_unmarked("b") } else { String::new() },
            self.same_key(key)
        ))
    }

    /// The file whose rows are removed unless the CSV has them: an older CSV removes none.
    #[must_use]
    pub fn removes_of_file(&self) -> Option<&str> {
        self.file.as_deref().filter(|_| !self.older)
    }

    fn extra_of_file(&self, path: &str, key: &[Equality]) -> String {
        format!(
            "{} as b where b.{} = {} and not exists (select from {STAGE} s where {})",
            self.target.sql(),
            quote_ident(FILE),
            quote_literal(path),
            self.same_key(key)
        )
    }

    /// Counts the rows that [`LoadPlan::remove_of_file`] removes.
    pub(crate) fn count_of_file(&self, path: &str, key: &[Equality]) -> String {
        format!("select count(*) from {}", self.extra_of_file(path, key))
    }

    /// Removes what bronze has of a file and the CSV has not.
    pub(crate) fn remove_of_file(&self, path: &str, key: &[Equality]) -> String {
        format!("delete from {}", self.extra_of_file(path, key))
    }

    /// The places of the first records whose key the CSV holds more than once, of a table of files.
    pub(crate) fn doubled_records(&self, key: &[Equality]) -> String {
        let parts: Vec<String> = key.iter().map(|part| part.collated(&quote_ident(&part.column))).collect();
        format!(
            "select min({0}), max({0}) from {STAGE} group by {1} having count(*) > 1 order by 1 limit 10",
            quote_ident(RECORD),
            parts.join(", ")
        )
    }

    /// A cursor over the keys, as text, that bronze has in the window and the CSV has not.
    ///
    /// # Errors
    /// `Config` if bronze does not get the watermark column.
    pub(crate) fn declare_extra(&self, window: &Replaced, key: &[Equality]) -> Result<String> {
        let (table, extra) = (self.target.sql(), self.extra(window, key)?);
        let key: Vec<String> = self.key.iter().map(|name| format!("b.{}::text", quote_ident(name))).collect();
        let keys = key.join(", ");
        Ok(format!("declare {EXTRA} no scroll cursor for select array[{keys}]::text[] from {table} as b where {extra}"))
    }

    /// Counts the rows that [`LoadPlan::remove`] removes; both take the spared keys as arrays of text, if there are some.
    ///
    /// # Errors
    /// As [`LoadPlan::declare_extra`].
    pub(crate) fn count_removed(&self, window: &Replaced, key: &[Equality]) -> Result<String> {
        let (table, extra) = (self.target.sql(), self.extra(window, key)?);
        Ok(format!("select count(*) from {table} as b where {extra}{}", Self::not_spared("b", window)))
    }

    /// Removes, or marks, what bronze has in the window and the CSV has not, but for the spared keys.
    ///
    /// # Errors
    /// As [`LoadPlan::declare_extra`].
    pub(crate) fn remove(&self, window: &Replaced, key: &[Equality]) -> Result<String> {
        let gone = self.extra(window, key)? + &Self::not_spared("b", window);
        Ok(self.take(window.at, &gone))
    }

    /// Takes out of the staging table what a newer CSV, which stands for this window alone, has removed: rows that lie
    /// there and that bronze lacks. Takes the spared keys as [`LoadPlan::remove`] does.
    ///
    /// # Errors
    /// As [`LoadPlan::declare_extra`].
    pub(crate) fn drop_overruled(&self, window: &Replaced, key: &[Equality]) -> Result<String> {
        Ok(format!(
            "delete from {STAGE} as s where {} and not exists (select from {} b where {}){}",
            self.within("s", window)?,
            self.target.sql(),
            self.same_key(key),
            Self::not_spared("s", window)
        ))
    }
}
