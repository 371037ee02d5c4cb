//! Rows that leave a table in memory, or never come there, because a CSV stands for its window alone.

use std::collections::BTreeSet;

use super::MemoryRow;
use crate::chain::Replaced;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::schema::{Column, RowKey};
use crate::watermark::Timestamp;

/// Where a column is among those of the table.
pub(super) fn place(load: &LoadPlan, columns: &[Column], name: &str) -> Result<usize> {
    columns
        .iter()
        .position(|column| column.name == name)
        .ok_or_else(|| Error::new(ErrorKind::Data, format!("table `{}`: bronze has no column `{name}`", load.table)))
}

/// A table as far as windows are replaced in it.
pub(super) struct Windows<'a> {
    columns: &'a [Column],
    key: Vec<usize>,
    stamp: usize,
}

impl<'a> Windows<'a> {
    pub(super) fn of(load: &LoadPlan, columns: &'a [Column]) -> Result<Self> {
        load.check_stamp()?;
        let stamp = load.stamp.as_ref().map_or("", |stamp| stamp.column.as_str());
        let key = load.key.iter().map(|name| place(load, columns, name)).collect::<Result<_>>()?;
        Ok(Self { columns, key, stamp: place(load, columns, stamp)? })
    }

    fn key_of(&self, row: &MemoryRow) -> RowKey {
        self.key.iter().map(|at| row[*at].clone()).collect()
    }

    fn keys<'r>(&self, rows: impl IntoIterator<Item = &'r MemoryRow>) -> BTreeSet<RowKey> {
        rows.into_iter().map(|row| self.key_of(row)).collect()
    }

    /// A stamp that is none of ours is in no window.
    fn holds(&self, window: &Replaced, row: &MemoryRow) -> bool {
        match &row[self.stamp] {
            None => !window.low.is_finite(),
            Some(stamp) => stamp
                .parse()
                .is_ok_and(|at: Timestamp| at <= window.high && (at > window.low || !window.low.is_finite())),
        }
    }

    fn spares(&self, window: &Replaced, row: &MemoryRow) -> bool {
        let value = |name: &String| {
            let at = self.columns.iter().position(|column| column.name == *name)?;
            row[at].clone()
        };
        let key: RowKey = window.key.iter().map(value).collect();
        window.spares.contains(&key)
    }

    /// The keys that `rows` has in the window and `others` has not, but for the spared ones.
    pub(super) fn extra(&self, window: &Replaced, rows: &[MemoryRow], others: &[MemoryRow]) -> BTreeSet<RowKey> {
        let others = self.keys(others);
        let within = self.keys(rows.iter().filter(|row| self.holds(window, row) && !self.spares(window, row)));
        within.into_iter().filter(|key| !others.contains(key)).collect()
    }

    /// Removes the rows with these keys; returns how many.
    pub(super) fn remove(&self, rows: &mut Vec<MemoryRow>, keys: &BTreeSet<RowKey>) -> u64 {
        let before = rows.len();
        rows.retain(|row| !keys.contains(&self.key_of(row)));
        (before - rows.len()) as u64
    }
}
