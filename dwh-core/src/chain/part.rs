//! A table that is read in chunks: how it is cut, and which part of it a CSV holds.

use serde::{Deserialize, Serialize};

use super::RunIdentity;
use crate::schema::RowKey;

/// Which part of its table a run of a resync reads; stands in its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The resync itself reads no row: it takes bound and snapshot before the first chunk, and says at which keys the table
    /// is cut, in their order.
    Cuts(Vec<RowKey>),
    /// One chunk.
    Chunk(Chunk),
}

/// One chunk of a resync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The resync.
    pub resync: RunIdentity,
    /// Which of its chunks, from 1.
    pub number: u32,
    /// The keys that it reads.
    pub keys: KeyRange,
}

/// Keys in their order at the source: above `low`, up to `high`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyRange {
    /// Exclusive; `None`: from the first one on.
    pub low: Option<RowKey>,
    /// Inclusive; `None`: to the last one.
    pub high: Option<RowKey>,
}

impl KeyRange {
    /// The ranges between these cuts: one more than there are cuts.
    pub fn between(cuts: &[RowKey]) -> impl Iterator<Item = Self> {
        let lows = std::iter::once(None).chain(cuts.iter().map(Some));
        let highs = cuts.iter().map(Some).chain(std::iter::once(None));
        lows.zip(highs).map(|(low, high)| Self { low: low.cloned(), high: high.cloned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_lies_in_one_range() {
        let key = |text: &str| vec![Some(text.to_owned())];
        let ranges: Vec<KeyRange> = KeyRange::between(&[key("3"), key("7")]).collect();
        let range = |low: Option<&str>, high: Option<&str>| KeyRange { low: low.map(key), high: high.map(key) };
        assert_eq!(ranges, [range(None, Some("3")), range(Some("3"), Some("7")), range(Some("7"), None)]);
        assert_eq!(KeyRange::between(&[]).collect::<Vec<_>>(), [KeyRange::default()]);
    }
}
