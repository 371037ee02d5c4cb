//! The rows of a window that differs: both sides in the order of their keys' hashes, side by side.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::OnConflict;
use crate::error::Result;
use crate::pipeline::WindowReport;
use crate::plan::{Compared, NO_BUCKET, bucket_span};
use crate::watermark::Timestamp;

use super::end::{Found, Place, Seen, Session};
use super::{Difference, KeyDifference, Pair, TableVerify};

/// Keys that are looked up at the other end at once.
const LOOKUP_KEYS: usize = 500;

/// Finds out what differs.
pub(super) struct Drill<'a> {
    pub(super) pair: &'a Pair<'a>,
    pub(super) at_source: &'a Compared<'a>,
    pub(super) in_bronze: &'a Compared<'a>,
    pub(super) limit: usize,
    pub(super) found: &'a mut TableVerify,
    /// The buckets in which rows were counted.
    pub(super) differing: BTreeSet<i64>,
}

impl Drill<'_> {
    /// Compares the rows of a bucket, some thousand at a time.
    pub(super) async fn bucket(&mut self, bucket: i64) -> Result<()> {
        let mut source = self.pair.source.rows_of(self.at_source, bucket).await?;
        let mut bronze = self.pair.target.rows_of(self.in_bronze, bucket).await?;
        let (mut only_source, mut only_bronze) = (Vec::new(), Vec::new());
        loop {
            match (source.peek().await?, bronze.peek().await?) {
                (None, None) => break,
                (Some(ours), Some(theirs)) if ours.key_hash == theirs.key_hash => {
                    let equal = ours.row_hash == theirs.row_hash;
                    if let (Some(ours), Some(_), false) = (source.take(), bronze.take(), equal) {
                        self.other_values(bucket, &ours);
                    }
                }
                (Some(ours), Some(theirs)) if ours.key_hash > theirs.key_hash => only_bronze.extend(bronze.take()),
                (None, Some(_)) => only_bronze.extend(bronze.take()),
                (Some(_), _) => only_source.extend(source.take()),
            }
            if only_source.len() >= LOOKUP_KEYS {
                self.only_at_source(bucket, &mut only_source).await?;
            }
            if only_bronze.len() >= LOOKUP_KEYS {
                self.only_in_bronze(bucket, &mut only_bronze).await?;
            }
        }
        source.close().await?;
        bronze.close().await?;
        self.only_at_source(bucket, &mut only_source).await?;
        self.only_in_bronze(bucket, &mut only_bronze).await
    }

    fn other_values(&mut self, bucket: i64, row: &Seen) {
        // The next run brings the younger row, but into a table of which rows are never updated.
        let corrected = self.pair.cut.is_none() || self.pair.plan.table.on_conflict != OnConflict::Nothing;
        if row.young && corrected {
            self.found.in_flight += 1;
        } else {
            self.count(Difference::Different, bucket, row);
        }
    }

    /// Rows that bronze does not have here; it may have the key with another watermark.
    async fn only_at_source(&mut self, bucket: i64, rows: &mut Vec<Seen>) -> Result<()> {
        let elsewhere = self.elsewhere(&self.pair.target, self.in_bronze, rows).await?;
        for (row, found) in std::mem::take(rows).iter().zip(elsewhere) {
            match found {
                Some(_) => self.other_values(bucket, row),
                None if row.young => self.found.in_flight += 1,
                None => self.count(Difference::Missing, bucket, row),
            }
        }
        Ok(())
    }

    /// Rows that the source does not have here; if it has the key with a newer watermark, the row was updated since.
    async fn only_in_bronze(&mut self, bucket: i64, rows: &mut Vec<Seen>) -> Result<()> {
        let elsewhere = self.elsewhere(&self.pair.source, self.at_source, rows).await?;
        let taken = self.taken(rows, &elsewhere).await?;
        for ((row, found), taken) in std::mem::take(rows).iter().zip(elsewhere).zip(taken) {
            match found.map(|place| place.is).filter(|_| !taken) {
                None => self.count(Difference::Extra, bucket, row),
                Some(Found::Above) => self.found.in_flight += 1,
                Some(Found::Outside) => self.count(Difference::Different, bucket, row),
                // It is counted where the source has it.
                Some(Found::Compared) => {}
            }
        }
        Ok(())
    }

    /// Whether the source has the key only written in another way, which is another key in bronze: the source takes both
    /// for the same, bronze does not.
    async fn taken(&self, rows: &[Seen], elsewhere: &[Option<Place>]) -> Result<Vec<bool>> {
        let mut taken = vec![false; rows.len()];
        let (mut at, mut keys) = (Vec::new(), Vec::new());
        for (index, (row, found)) in rows.iter().zip(elsewhere).enumerate() {
            if let Some(place) = found.as_ref().filter(|place| place.key != row.key) {
                at.push(index);
                keys.push(place.key.clone());
            }
        }
        if !keys.is_empty() {
            let own = self.pair.target.find(self.in_bronze, &keys).await?;
            for (index, own) in at.into_iter().zip(own) {
                taken[index] = own.is_none_or(|own| own.key != rows[index].key);
            }
        }
        Ok(taken)
    }

    /// Where the keys are at the other end. A table that is compared whole has no elsewhere.
    async fn elsewhere(&self, end: &Session, table: &Compared<'_>, rows: &[Seen]) -> Result<Vec<Option<Place>>> {
        if rows.is_empty() || self.pair.cut.is_none() || self.pair.key.is_empty() {
            return Ok(vec![None; rows.len()]);
        }
        let keys: Vec<Vec<Option<String>>> = rows.iter().map(|row| row.key.clone()).collect();
        end.find(table, &keys).await
    }

    fn count(&mut self, difference: Difference, bucket: i64, row: &Seen) {
        self.differing.insert(bucket);
        match difference {
            Difference::Missing => self.found.missing += 1,
            Difference::Extra => self.found.extra += 1,
            Difference::Different => self.found.different += 1,
        }
        if self.found.keys.len() >= self.limit {
            return;
        }
        let key: BTreeMap<String, Option<String>> = if self.pair.key.is_empty() {
            [("row_md5".to_owned(), Some(row.row_hash.clone()))].into()
        } else {
            self.pair.key.iter().cloned().zip(row.key.iter().cloned()).collect()
        };
        self.found.keys.push(KeyDifference { difference, key, window: self.window(bucket) });
    }

    fn window(&self, bucket: i64) -> Option<WindowReport> {
        self.pair.cut?;
        if bucket == NO_BUCKET {
            return Some(WindowReport { from: None, to: Some(Timestamp::NEG_INFINITY) });
        }
        let (from, to) = bucket_span(self.pair.plan, bucket);
        Some(WindowReport { from: Some(from), to: Some(to) })
    }
}
