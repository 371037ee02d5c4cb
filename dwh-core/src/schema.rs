//! What a catalog says of a table, and the difference between two catalogs. Pure.

mod drift;
mod index_def;
mod type_def;
mod type_name;
mod view_def;

use serde::{Deserialize, Serialize};
use std::fmt;

pub use drift::{Delivered, Drift, drift, lost};
pub(crate) use index_def::{IndexDef, KeyDef};
pub use type_def::{Attribute, ObjectName, TypeDef, TypeKind, definition, named_there, needed};
pub use type_name::TypeName;
pub(crate) use view_def::{FilledView, ViewDef};

/// The key of a row: the text of each of its columns; `None` is NULL.
pub type RowKey = Vec<Option<String>>;

/// A table by schema and name, both exactly as the catalog spells them (never quoted).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableRef {
    /// The schema.
    pub schema: String,
    /// The table, view or foreign table.
    pub name: String,
}

impl TableRef {
    /// A table by schema and name.
    #[must_use]
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The table whose name has this at its end, shortened to what the server takes.
    #[must_use]
    pub(crate) fn beside(&self, suffix: &str) -> Self {
        let longest = 63 - suffix.len();
        let kept = (0..=self.name.len().min(longest)).rev().find(|at| self.name.is_char_boundary(*at)).unwrap_or(0);
        Self::new(&self.schema, format!("{}{suffix}", &self.name[..kept]))
    }

    /// Schema and name quoted for SQL.
    #[must_use]
    pub fn sql(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// An identifier as SQL writes it: always in double quotes, inner ones doubled.
///
/// ```
/// assert_eq!(dwh_core::schema::quote_ident(r#"a"b"#), r#""a""b""#);
/// ```
#[must_use]
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string as an SQL literal; safe whatever `standard_conforming_strings` says.
///
/// ```
/// assert_eq!(dwh_core::schema::quote_literal("it's"), "'it''s'");
/// assert_eq!(dwh_core::schema::quote_literal(r"a\b"), r"E'a\\b'");
/// ```
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// What kind of relation the catalog calls it (`pg_class.relkind`, and TimescaleDB's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table; read through the parent.
    Partitioned,
    /// A TimescaleDB hypertable; read through the parent.
    Hypertable,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    Foreign,
    /// Not a relation: the columns of a configured `query`.
    Query,
}

impl RelationKind {
    /// Whether rows have the system column `xmin`, which the late-row sweep needs.
    #[must_use]
    pub const fn has_xmin(self) -> bool {
        matches!(self, Self::Table | Self::Partitioned | Self::Hypertable | Self::MaterializedView)
    }

    /// Whether `LOCK TABLE` accepts it.
    #[must_use]
    pub const fn can_lock(self) -> bool {
        matches!(self, Self::Table | Self::Partitioned | Self::Hypertable | Self::View)
    }
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name, as the catalog spells it.
    pub name: String,
    /// Exact type as `format_type` prints it with an empty `search_path`: `numeric(6,2)`, `public.geometry(Point,4326)`.
    #[serde(rename = "type")]
    pub type_name: TypeName,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Whether the server computes it (`GENERATED ALWAYS AS`): it can be read, and not written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// Whether it is an identity column: overridden in a load.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub identity: bool,
    /// Whether the type, or the base type of its domain, is PostGIS `geometry` or `geography`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub geometry: bool,
    /// The default's expression, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its number among all columns that the table ever had; `None` where that says nothing of its age.
    #[serde(skip)]
    pub number: Option<i16>,
    /// The text of the value that rows have which are older than the column, where the catalog says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_value: Option<String>,
    /// What depends on its type, each with its kind: `view app.trips_today`.
    #[serde(skip)]
    pub dependents: Vec<String>,
    /// The tables at which it is defined, as SQL names them, where this one inherits it.
    #[serde(skip)]
    pub inherited: Vec<String>,
    /// Whether a partitioned table, this one or one above it, is divided by it.
    #[serde(skip)]
    pub partition_key: bool,
    /// Whether the server computes it when it is read, and stores nothing.
    #[serde(skip)]
    pub is_virtual: bool,
}

impl Column {
    /// A column that may be NULL and that nothing is said of but its name and type.
    #[must_use]
    pub fn new(name: impl Into<String>, type_name: TypeName) -> Self {
        let name = name.into();
        Self {
            name,
            type_name,
            not_null: false,
            generated: false,
            identity: false,
            geometry: false,
            default: None,
            number: None,
            old_value: None,
            dependents: Vec::new(),
            inherited: Vec::new(),
            partition_key: false,
            is_virtual: false,
        }
    }

    /// What a manifest says of it: what is written there, so that one that was read again is the same.
    pub(crate) fn for_manifest(self) -> Self {
        let Self { name, type_name, not_null, generated, identity, geometry, default, old_value, .. } = self;
        Self { not_null, generated, identity, geometry, default, old_value, ..Self::new(name, type_name) }
    }

    /// The type without its schema: `geometry(Point,4326)` for `public.geometry(Point,4326)`.
    #[must_use]
    pub fn bare_type(&self) -> &str {
        self.type_name.bare()
    }

    /// Whether a row without a value for it is refused.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.not_null && self.default.is_none() && !self.generated && !self.identity
    }
}

/// A primary key or unique index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueKey {
    /// The index's name.
    pub name: String,
    /// Its columns, in order; empty when it is over expressions.
    pub columns: Vec<String>,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Why `ON CONFLICT` cannot use it: deferrable, `without overlaps`, partial, over an expression, not valid; `None` when it
    /// can.
    pub unusable: Option<String>,
}

/// How the reason ends for which a key over a nullable column cannot serve.
pub(crate) const NULLS: &str = "may be NULL, and NULLs never conflict";
/// Why a deferrable key cannot serve.
pub(crate) const DEFERRABLE: &str = "it is deferrable";
/// Why a key over a period cannot serve (PostgreSQL 18): an exclusion keeps it.
pub(crate) const OVERLAPS: &str = "it is `without overlaps`";

impl UniqueKey {
    /// Whether no two rows that are committed have the same values of it, whatever `ON CONFLICT` says.
    pub(crate) fn tells_apart(&self) -> bool {
        self.unusable.as_deref().is_none_or(|reason| [DEFERRABLE, OVERLAPS].contains(&reason))
    }

    /// Whether only a column that may be NULL keeps it from serving.
    pub(crate) fn is_nullable(&self) -> bool {
        self.unusable.as_deref().is_some_and(|reason| reason.ends_with(NULLS))
    }
}

/// What a catalog says of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Which table.
    pub table: TableRef,
    /// What kind of relation.
    pub kind: RelationKind,
    /// Its columns, in order, dropped ones left out.
    pub columns: Vec<Column>,
    /// Its primary key and unique indexes, the primary key first.
    pub keys: Vec<UniqueKey>,
    /// Columns that lead an index, so that a range or an order by them is cheap.
    pub indexed: Vec<String>,
    /// Rows as the planner estimates them; negative when never analyzed.
    pub row_estimate: i64,
    /// The types that its columns need and that PostgreSQL itself does not bring, and those of all extensions that are there.
    #[serde(default)]
    pub types: Vec<TypeDef>,
}

impl TableSchema {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The unique key over exactly these columns, in any order.
    #[must_use]
    pub fn key_over(&self, columns: &[String]) -> Option<&UniqueKey> {
        let mut fits: Vec<&UniqueKey> = self
            .keys
            .iter()
            .filter(|key| key.columns.len() == columns.len() && columns.iter().all(|name| key.columns.contains(name)))
            .collect();
        fits.sort_by_key(|key| key.unusable.is_some());
        fits.first().copied()
    }
}
