//! An open transaction of a source in memory.

use super::MemorySource;
use crate::schema::TableRef;
use crate::watermark::Timestamp;

/// An open transaction of a [`MemorySource`]; dropped without `commit`, its rows are gone.
#[derive(Debug)]
pub struct MemoryTransaction {
    pub(super) source: MemorySource,
    pub(super) number: u64,
    pub(super) started_at: Timestamp,
}

impl MemoryTransaction {
    /// Writes a row, stamped with the transaction's start as `default now()` does.
    pub fn insert(&self, table: &TableRef, line: &str) {
        self.source.lock().write(table, None, Some((line, self.started_at)), self.number);
    }

    /// Replaces a row by another version of it, stamped as an inserted one.
    pub fn update(&self, table: &TableRef, old: &str, line: &str) {
        self.source.lock().write(table, Some(old), Some((line, self.started_at)), self.number);
    }

    /// Deletes a row.
    pub fn delete(&self, table: &TableRef, line: &str) {
        self.source.lock().write(table, Some(line), None, self.number);
    }

    /// The stamp of its rows.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Makes its rows visible.
    pub fn commit(self) {
        self.source.lock().open.remove(&self.number);
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        self.source.lock().roll_back(self.number);
    }
}
