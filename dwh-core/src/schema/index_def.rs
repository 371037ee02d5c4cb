//! An index as it is, so that it can be built again.

use super::TableRef;

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexDef {
    /// Schema and name.
    pub(crate) table: TableRef,
    /// The statement that makes it, but for the tablespace.
    pub(crate) definition: String,
    /// Where it is stored; `None`: where the database is.
    pub(crate) tablespace: Option<String>,
    /// Whether the table was clustered by it.
    pub(crate) clustered: bool,
    /// What people wrote about it.
    pub(crate) comment: Option<String>,
    /// The key that it serves; always of the same name.
    pub(crate) constraint: Option<KeyDef>,
}

/// A PRIMARY KEY or UNIQUE constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyDef {
    /// Whether it is the primary key.
    pub(crate) primary: bool,
    /// Whether its check can wait.
    pub(crate) deferrable: bool,
    /// Whether it waits unless told otherwise.
    pub(crate) deferred: bool,
    /// What people wrote about it.
    pub(crate) comment: Option<String>,
}
