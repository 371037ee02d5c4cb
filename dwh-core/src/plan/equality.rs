//! When two values of a key are the same: as the unique index of the table has it, by an operator that is named in full.
//!
//! Under an empty `search_path` a bare `=` knows the server's own types only: for `ltree` there is none, and two `citext`
//! would be compared as text.

use crate::schema::quote_ident;

/// How one column of a key is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Equality {
    /// The column.
    pub(crate) column: String,
    /// Schema and name of the operator; `None`: the server's own `=`.
    pub(crate) operator: Option<(String, String)>,
    /// Schema and name of the collation, where the index has another one than its column.
    pub(crate) collation: Option<(String, String)>,
}

impl Equality {
    /// The server's own `=`.
    pub(crate) fn plain(column: &str) -> Self {
        Self { column: column.to_owned(), operator: None, collation: None }
    }

    /// Whether both values are equal. NULL is equal to nothing.
    pub(crate) fn of(&self, left: &str, right: &str) -> String {
        let operator = match &self.operator {
            // The name of an operator is no identifier, and cannot be quoted.
            Some((schema, name)) => format!("operator({}.{name})", quote_ident(schema)),
            None => "=".to_owned(),
        };
        format!("{left} {operator} {}", self.collated(right))
    }

    /// The value under the collation that decides.
    pub(crate) fn collated(&self, value: &str) -> String {
        match &self.collation {
            Some((schema, name)) => format!("{value} collate {}.{}", quote_ident(schema), quote_ident(name)),
            None => value.to_owned(),
        }
    }
}
