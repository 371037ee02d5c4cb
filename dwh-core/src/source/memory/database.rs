//! What a [`MemorySource`](super::MemorySource) holds: tables with their row versions, and the transactions that wrote them.

use std::collections::BTreeMap;

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::schema::{TableRef, TableSchema};
use crate::source::{Snapshot, SourceIdentity};
use crate::watermark::Timestamp;

#[derive(Debug, Clone)]
pub(super) struct Database {
    pub clock: Timestamp,
    pub next_transaction: u64,
    /// Number and start of each open transaction.
    pub open: BTreeMap<u64, Timestamp>,
    pub tables: BTreeMap<TableRef, Table>,
    pub timeline: i64,
    pub next_oid: u32,
}

/// A table, or several that are read as one.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub schema: TableSchema,
    pub parts: Vec<Part>,
}

/// What lies in one file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub member: Member,
    pub rows: Vec<Row>,
}

/// One version of a row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub line: String,
    pub stamp: Timestamp,
    /// The transaction that wrote it.
    pub transaction: u64,
    /// The transaction that replaced or deleted it.
    pub ended: Option<u64>,
}

/// A row that is written: a line and its stamp.
pub(super) type New<'a> = (&'a str, Timestamp);

impl Default for Database {
    fn default() -> Self {
        // As a server begins: the three lowest numbers are no ordinary transactions, and low oids are the catalog's.
        Self {
            clock: Timestamp::SEED,
            next_transaction: 3,
            open: BTreeMap::new(),
            tables: BTreeMap::new(),
            timeline: 1,
            next_oid: 16_384,
        }
    }
}

impl Database {
    /// A new part without rows, called as `table`.
    fn part(&mut self, table: &TableRef) -> Part {
        let oid = self.next_oid;
        self.next_oid += 1;
        Part { member: Member { oid, file: oid, name: table.to_string(), foreign: false }, rows: Vec::new() }
    }

    pub fn create(&mut self, schema: TableSchema) {
        let parts = match self.tables.remove(&schema.table) {
            Some(table) => table.parts,
            None => vec![self.part(&schema.table)],
        };
        self.tables.insert(schema.table.clone(), Table { schema, parts });
    }

    /// A number for the next transaction.
    pub fn transaction(&mut self) -> u64 {
        self.next_transaction += 1;
        self.next_transaction - 1
    }

    /// Ends the version `old`, if there is one, and adds the version `new` in its place.
    pub fn write(&mut self, table: &TableRef, old: Option<&str>, new: Option<New<'_>>, transaction: u64) {
        let Self { tables, open, .. } = self;
        let Some(table) = tables.get_mut(table) else { return };
        let mut place = 0;
        if let Some(old) = old {
            let theirs = |row: &Row| row.transaction != transaction && open.contains_key(&row.transaction);
            let found = table.parts.iter_mut().enumerate().find_map(|(at, part)| {
                let mut rows = part.rows.iter_mut();
                rows.find(|row| row.line == old && row.ended.is_none() && !theirs(row)).map(|row| (at, row))
            });
            let Some((at, row)) = found else { return };
            row.ended = Some(transaction);
            place = at;
        }
        if let Some((line, stamp)) = new {
            table.parts[place].rows.push(Row { line: line.to_owned(), stamp, transaction, ended: None });
        }
    }

    /// Undoes what an open transaction wrote.
    pub fn roll_back(&mut self, transaction: u64) {
        if self.open.remove(&transaction).is_none() {
            return;
        }
        for part in self.tables.values_mut().flat_map(|table| &mut table.parts) {
            part.rows.retain(|row| row.transaction != transaction);
            for row in part.rows.iter_mut().filter(|row| row.ended == Some(transaction)) {
                row.ended = None;
            }
        }
    }

    pub fn table(&self, config: &TableConfig) -> Result<&Table> {
        let name = config.relation.clone().unwrap_or_else(|| TableRef::new("query", &config.name));
        self.tables.get(&name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("table `{}`: {name} is not there", config.name))
                .with_hint("make it with `MemorySource::create`")
        })
    }

    /// Whether a snapshot of this moment sees the row.
    pub fn sees(&self, row: &Row) -> bool {
        let done = |transaction: &u64| !self.open.contains_key(transaction);
        done(&row.transaction) && !row.ended.as_ref().is_some_and(done)
    }

    /// The rows that a snapshot of this moment sees, each with the part in which it lies.
    pub fn visible<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = (&'a Member, &'a Row)> {
        let rows = table.parts.iter().flat_map(|part| part.rows.iter().map(move |row| (&part.member, row)));
        rows.filter(|(_, row)| self.sees(row))
    }

    /// The rows of a table lie in new files and are gone.
    pub fn truncate(&mut self, table: &TableRef) {
        self.next_transaction += 1;
        let Some(table) = self.tables.get_mut(table) else { return };
        for part in &mut table.parts {
            part.rows.clear();
            part.member.file = self.next_oid;
            self.next_oid += 1;
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            taken_at: self.clock,
            xmin: self.open.keys().next().copied().unwrap_or(self.next_transaction),
            xmax: self.next_transaction,
            identity: SourceIdentity {
                system_identifier: "memory".to_owned(),
                timeline: self.timeline,
                database: "memory".to_owned(),
                server_version: "0".to_owned(),
                in_recovery: false,
            },
            relations: None,
        }
    }
}
