//! CSV as PostgreSQL writes it: NULL is an empty field, the empty string is `""`, a quote is doubled.
//!
//! The engine passes the bytes through and only counts ([`Tally`]) and compares the header ([`HeaderGate`]). A file
//! that a person made is read field by field once, to say in which line it is wrong ([`diagnose`]).

mod diagnose;
mod header;
#[cfg(feature = "export")]
pub(crate) mod records;
mod without;

use memchr::memchr_iter;
use sha2::{Digest, Sha256};

pub use diagnose::diagnose;
pub use header::{HeaderGate, header_names};
pub(crate) use without::Without;

/// A value as a CSV field: quoted when `COPY … CSV` would quote it, so that it is read back as the same text.
///
/// Quoted are the empty string (a bare empty field is NULL), texts with `,`, `"` or a line end, and `\.`, which older
/// servers take for the end of the data when it stands alone.
///
/// ```
/// use dwh_core::testing::internals::field;
/// assert_eq!(field("plain text"), "plain text");
/// assert_eq!(field(r#"a "b", c"#), r#""a ""b"", c""#);
/// assert_eq!(field(""), r#""""#);
/// ```
#[must_use]
pub fn field(text: &str) -> String {
    if text.is_empty() || text == "\\." || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Counts the records of a CSV that passes by in pieces of any size, at the speed of a memory scan.
///
/// Every `"` turns quoting on or off, wherever it stands: this is how the server itself splits records (a doubled
/// quote turns it twice).
#[derive(Debug, Clone, Copy, Default)]
pub struct RowCounter {
    records: u64,
    quoted: bool,
    /// Bytes were seen after the last end of a record.
    open: bool,
}

impl RowCounter {
    /// Counts the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        // Line by line: of the quotes in one it only matters whether they are even. There may be dozens of them in a row
        // with JSON, and looking for each would take longer than to count them.
        let mut begin = 0;
        for end in memchr_iter(b'\n', piece) {
            self.line(&piece[begin..end]);
            self.open = self.quoted;
            self.records += u64::from(!self.quoted);
            begin = end + 1;
        }
        let rest = &piece[begin..];
        self.line(rest);
        self.open |= !rest.is_empty();
    }

    fn line(&mut self, line: &[u8]) {
        self.quoted ^= bytecount::count(line, b'"') % 2 == 1;
    }

    /// Records after the header, that is one less than there are in all; 0 for an empty file. A last record without a
    /// line end counts, as the server loads it too.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        (self.records + self.open as u64).saturating_sub(1)
    }

    /// Whether the bytes end where a record ends: not within quotes, and after a line end. Nothing at all is not
    /// complete: even a table of no rows has a header.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.records > 0 && !self.open
    }
}

/// What passed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Records after the header.
    pub rows: u64,
    /// Bytes, the header's included.
    pub bytes: u64,
    /// SHA-256 of all bytes, as 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Rows, bytes and SHA-256 of a CSV in one pass.
///
/// ```
/// use dwh_core::testing::internals::Tally;
/// let mut tally = Tally::default();
/// tally.push(b"id,note\n1,\"two\nli");
/// tally.push(b"nes\"\n");
/// assert!(tally.is_complete());
/// assert_eq!((tally.totals().rows, tally.totals().bytes), (1, 22));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counter: RowCounter,
    bytes: u64,
    hash: Sha256,
}

impl Tally {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.counter.push(piece);
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
    }

    /// Rows so far, for progress.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.counter.rows()
    }

    /// Bytes so far, for progress.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the bytes end where a record ends; see [`RowCounter::is_complete`].
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.counter.is_complete()
    }

    /// What passed by so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { rows: self.rows(), bytes: self.bytes, sha256: hex(&self.hash.clone().finalize()) }
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
