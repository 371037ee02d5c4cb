//! Which version of each row bronze has: the runs of a table in their order, replayed key by key.
//!
//! Of each row its key, as a hash, and its place go to disk, cut into parts by the hash; a part after the other is sorted
//! in memory. So memory is bounded: a part, and one bit a row.

use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use crate::error::{Error, ErrorKind, Result};

/// The first half of a SHA-256 of the key.
pub(super) type Hash = [u8; 16];

/// Rows of a part, on average.
const PART_ROWS: u64 = 1 << 20;
const PARTS_MAX: u64 = 256;
/// Bytes of a row on disk.
const SIZE: usize = 36;

/// What the rows of a CSV do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A row that is there stays.
    First,
    /// A row that is there is replaced.
    Last,
    /// They are the keys that the source has: no row comes of them.
    Keys,
}

/// A CSV that says of rows which it lacks that they are gone.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    /// Its place.
    pub(super) csv: u32,
    /// Rows stamped above this; `None`: from the first on, and those without a stamp.
    pub(super) low: Option<i64>,
    /// Up to this.
    pub(super) high: i64,
    /// Keys that stay all the same.
    pub(super) spares: HashSet<Hash>,
}

impl Judge {
    fn removes(&self, row: &Row) -> bool {
        self.low.is_none_or(|low| row.stamp > low) && row.stamp <= self.high && !self.spares.contains(&row.hash)
    }
}

/// A row of a CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// Its key.
    pub(super) hash: Hash,
    /// The place of its CSV in the order of the runs.
    pub(super) csv: u32,
    /// Its place there.
    pub(super) at: u64,
    /// Its watermark column in microseconds; the lowest number if it has none.
    pub(super) stamp: i64,
}

impl Row {
    fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..16].copy_from_slice(&self.hash);
        bytes[16..20].copy_from_slice(&self.csv.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.at.to_le_bytes());
        bytes[28..].copy_from_slice(&self.stamp.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; SIZE]) -> Self {
        fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
            let mut part = [0; N];
            part.copy_from_slice(&bytes[at..at + N]);
            part
        }
        Self {
            hash: part(bytes, 0),
            csv: u32::from_le_bytes(part(bytes, 16)),
            at: u64::from_le_bytes(part(bytes, 20)),
            stamp: i64::from_le_bytes(part(bytes, 28)),
        }
    }
}

/// The hash of a key: each of its values with its length before it.
pub(super) fn hash<'a>(values: impl Iterator<Item = &'a [u8]>) -> Hash {
    let mut sha = Sha256::new();
    for value in values {
        sha.update((value.len() as u64).to_le_bytes());
        sha.update(value);
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(&sha.finalize()[..16]);
    hash
}

/// Rows of a CSV, one bit each.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows(Vec<u64>);

impl Rows {
    fn of(rows: u64) -> Self {
        Self(vec![0; usize::try_from(rows.div_ceil(64)).unwrap_or(usize::MAX)])
    }

    fn add(&mut self, at: u64) {
        if let Some(word) = usize::try_from(at / 64).ok().and_then(|word| self.0.get_mut(word)) {
            *word |= 1 << (at % 64);
        }
    }

    /// Whether the row is one of them.
    pub(super) fn has(&self, at: u64) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.0.get(word));
        word.is_some_and(|word| (word >> (at % 64)) & 1 == 1)
    }
}

/// The rows of all CSV files on disk, in nameless files.
pub(super) struct Spill {
    parts: Vec<BufWriter<File>>,
}

impl Spill {
    /// Room for about so many rows.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) fn new(rows: u64) -> Result<Self> {
        let count = rows.div_ceil(PART_ROWS).clamp(1, PARTS_MAX);
        let part = |_| tempfile::tempfile().map(BufWriter::new);
        let parts = (0..count).map(part).collect::<io::Result<_>>().map_err(disk)?;
        Ok(Self { parts })
    }

    /// Takes a row.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) fn add(&mut self, row: &Row) -> Result<()> {
        let part = usize::from(row.hash[0]) * self.parts.len() / 256;
        self.parts[part].write_all(&row.bytes()).map_err(disk)
    }

    /// Of each CSV the rows that are left at the end. `rules` and `rows` are those of the CSV files in the order of their
    /// runs, `judges` are in that order too.
    ///
    /// # Errors
    /// `Disk`.
    pub(super) fn survivors(self, rules: &[Rule], judges: &[Judge], rows: &[u64]) -> Result<Vec<Rows>> {
        let mut left: Vec<Rows> = rows.iter().map(|rows| Rows::of(*rows)).collect();
        for part in self.parts {
            let mut file = part.into_inner().map_err(|error| disk(error.into_error()))?;
            file.rewind().map_err(disk)?;
            let (mut reader, mut bytes, mut found) = (BufReader::new(file), [0; SIZE], Vec::new());
            loop {
                match reader.read_exact(&mut bytes) {
                    Ok(()) => found.push(Row::read(&bytes)),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => return Err(disk(error)),
                }
            }
            found.sort_unstable();
            for versions in found.chunk_by(|a, b| a.hash == b.hash) {
                if let Some(row) = survivor(versions, rules, judges) {
                    left[row.csv as usize].add(row.at);
                }
            }
        }
        Ok(left)
    }
}

fn disk(error: io::Error) -> Error {
    Error::new(ErrorKind::Disk, "the temporary file of the keys cannot be written or read").with_source(error)
}

/// What is left of the versions of one row, in the order of their runs.
fn survivor<'a>(versions: &'a [Row], rules: &[Rule], judges: &[Judge]) -> Option<&'a Row> {
    let mut there: Option<&Row> = None;
    let mut judges = judges.iter().peekable();
    for row in versions {
        // Those that do not know the key.
        while let Some(judge) = judges.next_if(|judge| judge.csv < row.csv) {
            there = there.filter(|there| !judge.removes(there));
        }
        judges.next_if(|judge| judge.csv == row.csv);
        match rules[row.csv as usize] {
            Rule::First => there = there.or(Some(row)),
            // Of two rows with one key in one CSV the server would have refused the second.
            Rule::Last if there.is_some_and(|there| there.csv == row.csv) => {}
            Rule::Last => there = Some(row),
            Rule::Keys => {}
        }
    }
    judges.fold(there, |there, judge| there.filter(|there| !judge.removes(there)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8, csv: u32, at: u64, stamp: i64) -> Row {
        Row { hash: [key; 16], csv, at, stamp }
    }

    fn left(rows: &[Row], rules: &[Rule], judges: &[Judge]) -> Vec<Vec<u64>> {
        let mut spill = Spill::new(PART_ROWS * 3).expect("a spill");
        rows.iter().for_each(|row| spill.add(row).expect("written"));
        let left = spill.survivors(rules, judges, &vec![100; rules.len()]).expect("survivors");
        left.iter().map(|rows| (0..100).filter(|at| rows.has(*at)).collect()).collect()
    }

    #[test]
    fn the_first_or_the_last_version_stays() {
        let rows = [row(1, 0, 0, 5), row(2, 0, 1, 6), row(1, 1, 7, 9), row(200, 1, 8, 9)];
        assert_eq!(left(&rows, &[Rule::First; 2], &[]), [vec![0, 1], vec![8]]);
        assert_eq!(left(&rows, &[Rule::Last; 2], &[]), [vec![1], vec![7, 8]]);
    }

    #[test]
    fn what_a_judge_lacks_is_gone_up_to_its_bound() {
        let keys = |high| Judge { csv: 1, low: None, high, spares: HashSet::new() };
        // Key 1 is known, 2 is gone, 3 lies above the bound, 4 comes back, 5 has no stamp.
        let rows = [
            row(1, 0, 0, 5),
            row(1, 1, 0, 0),
            row(2, 0, 1, 5),
            row(3, 0, 2, 11),
            row(4, 0, 3, 5),
            row(4, 2, 0, 20),
            row(5, 0, 4, i64::MIN),
        ];
        let rules = [Rule::First, Rule::Keys, Rule::First];
        assert_eq!(left(&rows, &rules, &[keys(10)]), [vec![0, 2], vec![], vec![0]]);
    }

    #[test]
    fn a_repair_stands_for_its_window_alone() {
        let spares = HashSet::from([[4; 16]]);
        let judge = Judge { csv: 1, low: Some(5), high: 10, spares };
        // Key 1 is replaced, 2 is gone, 3 lies below the window, 4 is spared.
        let rows = [row(1, 0, 0, 7), row(1, 1, 0, 7), row(2, 0, 1, 8), row(3, 0, 2, 5), row(4, 0, 3, 9)];
        assert_eq!(left(&rows, &[Rule::First, Rule::Last], &[judge]), [vec![2, 3], vec![0]]);
    }

    #[test]
    fn keys_are_told_apart_by_their_parts() {
        let of = |values: &[&str]| hash(values.iter().map(|value| value.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    }
}
