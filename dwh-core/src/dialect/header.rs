//! The first record of a CSV, compared with the columns that a load expects.

use crate::error::{Error, ErrorKind, Result};

/// A header longer than this is none: 1600 columns of 63 bytes, quoted and doubled, stay well below.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Compares the first record with the expected columns while the bytes pass by in pieces.
///
/// Names must be the same, in the same order; whether they are quoted, and whether the line ends with LF or CRLF, does
/// not matter. Feed it every piece until [`push`](Self::push) says that the header is through, then
/// [`finish`](Self::finish) at the end of the bytes.
///
/// ```
/// use dwh_core::testing::internals::HeaderGate;
/// let mut gate = HeaderGate::new(["id", "note"]);
/// assert!(!gate.push(b"id,no")?);
/// assert!(gate.push(b"te\n1,x\n")?);
/// gate.finish()?;
/// # Ok::<(), dwh_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeaderGate {
    expected: Vec<String>,
    seen: Vec<u8>,
    quoted: bool,
    passed: bool,
}

impl HeaderGate {
    /// A gate for a CSV with these columns, in this order.
    #[must_use]
    pub fn new<T: Into<String>>(columns: impl IntoIterator<Item = T>) -> Self {
        let expected = columns.into_iter().map(Into::into).collect();
        Self { expected, seen: Vec::new(), quoted: false, passed: false }
    }

    /// Looks at the next piece; `true` once the header is complete and right. Later pieces are not looked at.
    ///
    /// # Errors
    /// `Data`, naming what is missing, too much or in another place.
    pub fn push(&mut self, piece: &[u8]) -> Result<bool> {
        for byte in piece {
            if self.passed {
                break;
            }
            if *byte == b'\n' && !self.quoted {
                self.check()?;
                break;
            }
            self.quoted ^= *byte == b'"';
            self.seen.push(*byte);
            if self.seen.len() > MAX_HEADER_BYTES {
                return Err(refuse("no line end in the first MiB".to_owned()));
            }
        }
        Ok(self.passed)
    }

    /// At the end of the bytes: a header without a line end is compared now.
    ///
    /// # Errors
    /// `Data` if there was no header or a wrong one.
    pub fn finish(&mut self) -> Result<()> {
        match (self.passed, self.seen.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(refuse("the file is empty".to_owned())),
            (false, false) => self.check(),
        }
    }

    fn check(&mut self) -> Result<()> {
        let line = std::mem::take(&mut self.seen);
        if self.quoted {
            return Err(refuse("a quote is not closed".to_owned()));
        }
        let found = names(&line)?;
        if found != self.expected {
            return Err(refuse(difference(&self.expected, &found)));
        }
        self.passed = true;
        Ok(())
    }
}

/// The names in the header line at the start of `bytes`, which may go on behind it.
///
/// # Errors
/// `Data` if there is no whole header line, or none that can be read.
pub fn header_names(bytes: &[u8]) -> Result<Vec<String>> {
    if bytes.is_empty() {
        return Err(refuse("the file is empty".to_owned()));
    }
    let mut quoted = false;
    let end = bytes.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b'\n' && !quoted
    });
    match end {
        Some(end) => names(&bytes[..end]),
        None if quoted => Err(refuse("a quote is not closed".to_owned())),
        None if bytes.len() > MAX_HEADER_BYTES => Err(refuse("no line end in the first MiB".to_owned())),
        None => names(bytes),
    }
}

/// The names of a header line without its LF.
fn names(line: &[u8]) -> Result<Vec<String>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"\xef\xbb\xbf") {
        return Err(refuse("the file begins with a byte order mark (BOM)".to_owned())
            .with_hint("save it as UTF-8 without BOM; from a shell: `sed -i '1s/^\\xEF\\xBB\\xBF//' FILE`"));
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let record = reader.records().next().transpose().map_err(|_| refuse("it is not UTF-8".to_owned()))?;
    Ok(record.map(|record| record.iter().map(str::to_owned).collect()).unwrap_or_default())
}

fn refuse(why: String) -> Error {
    Error::new(ErrorKind::Data, format!("header of the CSV, line 1: {why}")).with_hint(
        "the first line must name the bronze columns in order, as `COPY … WITH (FORMAT csv, HEADER)` writes it",
    )
}

/// What is wrong with `found`, in words.
fn difference(expected: &[String], found: &[String]) -> String {
    let list = |names: Vec<&String>| {
        names.iter().map(|name| format!("`{}`", name.escape_debug())).collect::<Vec<_>>().join(", ")
    };
    let missing: Vec<&String> = expected.iter().filter(|name| !found.contains(name)).collect();
    let extra: Vec<&String> = found.iter().filter(|name| !expected.contains(name)).collect();
    let twice: Vec<&String> =
        found.iter().enumerate().filter(|(at, name)| found[..*at].contains(name)).map(|(_, name)| name).collect();
    let mut parts = Vec::new();
    for (names, word) in [(missing, "missing"), (extra, "not expected"), (twice, "named twice")] {
        if !names.is_empty() {
            parts.push(format!("{word}: {}", list(names)));
        }
    }
    if parts.is_empty() {
        let moved: Vec<&String> =
            expected.iter().zip(found).filter(|(left, right)| left != right).map(|(left, _)| left).collect();
        parts.push(format!("in another place: {}", list(moved)));
    }
    parts.join("; ")
}
