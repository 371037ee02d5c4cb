//! A view over a table, with all that is needed to make it again.

use super::TableRef;

/// A view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewDef {
    /// Its name.
    pub view: TableRef,
    /// The query.
    pub definition: String,
    /// Its options, as SQL has them.
    pub options: Option<String>,
    /// Its owner.
    pub owner: String,
    /// What others may do with it, as it follows `grant`.
    pub grants: Vec<String>,
    /// Its comment.
    pub comment: Option<String>,
    /// Columns with the comments that they have.
    pub column_comments: Vec<(String, String)>,
    /// Why it cannot be made again as it was, a few words.
    pub stuck: Option<String>,
    /// What a materialized view has that is stuck for that reason alone.
    pub filled: Option<FilledView>,
}

/// What a materialized view has besides what every view has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilledView {
    /// Its indexes, as statements.
    pub indexes: Vec<String>,
    /// Whether it has rows that can be read.
    pub populated: bool,
}

impl ViewDef {
    /// Why it cannot be made again even by one who computes the rows of materialized views anew.
    pub(crate) fn holds(&self) -> Option<&str> {
        self.stuck.as_deref().filter(|_| self.filled.is_none())
    }
}
