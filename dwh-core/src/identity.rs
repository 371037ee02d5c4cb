//! What a watermark belongs to: who read it, from where, and into which bronze table. Pure.

use serde::{Deserialize, Serialize};

/// What a watermark was read for. A watermark means nothing for another project, source, relation or column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `[project] name`.
    pub project: String,
    /// `system_identifier` of the source's cluster; empty where the server does not tell it.
    pub system_identifier: String,
    /// The source's database.
    pub database: String,
    /// The relation, as `schema.name`; for a configured query, its text.
    pub relation: String,
    /// The watermark column; `None` for a table that is read whole.
    pub watermark: Option<String>,
}

/// Which bronze table rows were loaded into: a table that was dropped and made again has another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BronzeId {
    /// The warehouse: `system_identifier` of its cluster and oid of its database, as `7412…/16384`.
    pub warehouse: String,
    /// Oid of the table of watermarks: another one says that the control schema was restored from a dump, and so that
    /// the oids in it are those of the database that was dumped.
    pub control: u32,
    /// Schema and name of the bronze table.
    pub table: String,
    /// Its oid.
    pub oid: u32,
    /// What its rows are stored in (`pg_relation_filenode` of it and its partitions): another one says that they were
    /// rewritten (`truncate`, `vacuum full`, a changed type).
    pub file: String,
}

/// One table of those that a relation is read from: itself, its partitions and children, or what a view shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its oid.
    pub oid: u32,
    /// `pg_relation_filenode`; 0 for what has no file.
    pub file: u32,
    /// Schema and name, for people.
    pub name: String,
    /// Whether its rows lie on another server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}
