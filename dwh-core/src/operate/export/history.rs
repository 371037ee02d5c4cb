//! Which version of each row bronze has: the runs of a table in their order, replayed key by key.
//!
//! Of each row its key, as a hash, and its place go to disk, cut into parts by the hash; a part after the other is sorted
//! in memory. So memory is bounded: a part, and one bit a row.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use crate::error::{Error, ErrorKind, Result};

/// The first half of a SHA-256 of the key.
pub(super) type Hash = [u8; 16];

/// Rows of a part, on average.
const PART_ROWS: u64 = 1 << 18;
const PARTS_MAX: u64 = 256;
/// Bytes of a row on disk.
const SIZE: usize = 52;

/// What the rows of a CSV do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A row that is there stays.
    First,
    /// A row that is there is replaced.
    Last,
    /// A row that is there is replaced by one that differs from it.
    Changed,
    /// Each stays that differs from the one before it.
    Version,
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
    /// Whether rows that are gone stay, with a mark.
    pub(super) marks: bool,
}

impl Judge {
    fn finds_gone(&self, row: &Row) -> bool {
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
    /// The hash of its values, where versions are told apart.
    pub(super) content: Hash,
}

impl Row {
    fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..16].copy_from_slice(&self.hash);
        bytes[16..20].copy_from_slice(&self.csv.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.at.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.stamp.to_le_bytes());
        bytes[36..].copy_from_slice(&self.content);
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
            content: part(bytes, 36),
        }
    }
}

/// The hash of values, each with its length before it; `None` is NULL.
pub(super) fn hash<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Hash {
    let mut sha = Sha256::new();
    for value in values {
        sha.update(value.map_or(u64::MAX, |value| value.len() as u64).to_le_bytes());
        sha.update(value.unwrap_or_default());
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(&sha.finalize()[..16]);
    hash
}

/// Rows of a CSV, one bit each.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    bits: Vec<u64>,
    /// Those with a mark, and which judge has set it.
    marks: BTreeMap<u64, usize>,
}

impl Rows {
    fn of(rows: u64) -> Self {
        Self { bits: vec![0; usize::try_from(rows.div_ceil(64)).unwrap_or(usize::MAX)], marks: BTreeMap::new() }
    }

    fn add(&mut self, left: &Left<'_>) {
        let at = left.row.at;
        if let Some(word) = usize::try_from(at / 64).ok().and_then(|word| self.bits.get_mut(word)) {
            *word |= 1 << (at % 64);
        }
        if let Some(judge) = left.mark {
            self.marks.insert(at, judge);
        }
    }

    /// The place of the judge that has marked the row as gone.
    pub(super) fn mark(&self, at: u64) -> Option<usize> {
        self.marks.get(&at).copied()
    }

    /// Whether the row is one of them.
    pub(super) fn has(&self, at: u64) -> bool {
        let word = usize::try_from(at / 64).ok().and_then(|word| self.bits.get(word));
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
                for one in survivors_of(versions, rules, judges) {
                    left[one.row.csv as usize].add(&one);
                }
            }
        }
        Ok(left)
    }
}

fn disk(error: io::Error) -> Error {
    Error::new(ErrorKind::Disk, "the temporary file of the keys cannot be written or read").with_source(error)
}

/// A row that is left, and the judge that has marked it.
struct Left<'a> {
    row: &'a Row,
    mark: Option<usize>,
}

/// What is left of the versions of one row, in the order of their runs.
fn survivors_of<'a>(versions: &'a [Row], rules: &[Rule], judges: &[Judge]) -> Vec<Left<'a>> {
    let (mut there, mut next): (Vec<Left<'_>>, usize) = (Vec::new(), 0);
    for row in versions {
        // Those that do not know the key.
        while judges.get(next).is_some_and(|judge| judge.csv < row.csv) {
            let_go(&mut there, judges, next);
            next += 1;
        }
        next += usize::from(judges.get(next).is_some_and(|judge| judge.csv == row.csv));
        // The source has it, again or still.
        there.iter_mut().for_each(|left| left.mark = None);
        let last = there.last().map(|left| left.row);
        let (replaces, stays) = match rules[row.csv as usize] {
            Rule::First => (false, last.is_none()),
            // Of two rows with one key in one CSV the server would have refused the second.
            Rule::Last => (true, last.is_none_or(|last| last.csv != row.csv)),
            Rule::Changed => (true, last.is_none_or(|last| last.csv != row.csv && last.content != row.content)),
            Rule::Version => (false, last.is_none_or(|last| last.content != row.content)),
            Rule::Keys => (false, false),
        };
        if stays {
            there.retain(|_| !replaces);
            there.push(Left { row, mark: None });
        }
    }
    (next..judges.len()).for_each(|next| let_go(&mut there, judges, next));
    there
}

/// Removes, or marks, what a judge finds gone.
fn let_go(there: &mut Vec<Left<'_>>, judges: &[Judge], at: usize) {
    let judge = &judges[at];
    if judge.marks {
        for left in there.iter_mut().filter(|left| judge.finds_gone(left.row)) {
            left.mark.get_or_insert(at);
        }
    } else {
        there.retain(|left| !judge.finds_gone(left.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: u8, csv: u32, at: u64, stamp: i64) -> Row {
        Row { hash: [key; 16], csv, at, stamp, content: Hash::default() }
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
        let keys = |high| Judge { csv: 1, low: None, high, spares: HashSet::new(), marks: false };
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
        let judge = Judge { csv: 1, low: Some(5), high: 10, spares, marks: false };
        // Key 1 is replaced, 2 is gone, 3 lies below the window, 4 is spared.
        let rows = [row(1, 0, 0, 7), row(1, 1, 0, 7), row(2, 0, 1, 8), row(3, 0, 2, 5), row(4, 0, 3, 9)];
        assert_eq!(left(&rows, &[Rule::First, Rule::Last], &[judge]), [vec![2, 3], vec![0]]);
    }

    #[test]
    fn a_version_that_differs_from_the_one_before_stays() {
        let version = |csv, at, content| Row { content: [content; 16], ..row(1, csv, at, 5) };
        // The second is the first again, the fourth goes back to it.
        let rows = [version(0, 0, 1), version(1, 0, 1), version(2, 0, 2), version(3, 0, 1)];
        assert_eq!(left(&rows, &[Rule::Version; 4], &[]), [vec![0], vec![], vec![0], vec![0]]);
        // The third has replaced the first, and the fourth the third.
        assert_eq!(left(&rows[..2], &[Rule::Changed; 2], &[]), [vec![0], vec![]]);
        assert_eq!(left(&rows, &[Rule::Changed; 4], &[]), [vec![], vec![], vec![], vec![0]]);
    }

    #[test]
    fn a_mark_stays_until_the_source_has_the_row_again() {
        let judge = |csv| Judge { csv, low: None, high: 10, spares: HashSet::new(), marks: true };
        // Key 1 is gone from the first look on, 2 is read again, 3 is known to the second look, 4 is gone at the second.
        let rows = [
            row(1, 0, 0, 5),
            row(2, 0, 1, 5),
            row(2, 2, 0, 5),
            row(2, 3, 0, 0),
            row(3, 0, 2, 5),
            row(3, 3, 1, 0),
            row(4, 0, 3, 5),
            row(4, 1, 0, 0),
        ];
        let mut spill = Spill::new(1).expect("a spill");
        rows.iter().for_each(|row| spill.add(row).expect("written"));
        let rules = [Rule::First, Rule::Keys, Rule::First, Rule::Keys];
        let left = spill.survivors(&rules, &[judge(1), judge(3)], &[100; 4]).expect("survivors");
        let marks: Vec<Option<usize>> = (0..4).map(|at| left[0].mark(at)).collect();
        assert_eq!(marks, [Some(0), None, None, Some(1)]);
        assert!((0..4).all(|at| left[0].has(at)));
    }

    #[test]
    fn keys_are_told_apart_by_their_parts() {
        let of = |values: &[Option<&str>]| hash(values.iter().map(|value| value.map(str::as_bytes)));
        assert_ne!(of(&[Some("ab"), Some("c")]), of(&[Some("a"), Some("bc")]));
        assert_ne!(of(&[Some("")]), of(&[None]));
        assert_eq!(of(&[Some("ab"), None]), of(&[Some("ab"), None]));
    }
}
