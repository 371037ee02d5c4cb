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
}
