//! Why a file that a person made cannot be loaded, with the line.

use memchr::memchr;
use std::io::{BufRead, BufReader, Read};

use super::HeaderGate;
use crate::error::{Error, ErrorKind, Result};

/// No field of PostgreSQL is longer, so no line can be that is not broken.
const MAX_LINE_BYTES: u64 = 1 << 30;

/// Reads a whole CSV and reports the first thing for which the server would refuse it, or misread it.
///
/// The checks: the header, the number of fields in each record, an unclosed quote, NUL bytes, bytes that are not
/// UTF-8, a line `\.` (older servers stop there without a word), line ends of two kinds. Values are not checked against
/// types, and no message holds one. Memory: the longest line.
///
/// # Errors
/// `Data` with the line number; what `reader` reports becomes `Data` as well.
///
/// ```
/// let columns = ["id".to_owned(), "note".to_owned()];
/// dwh_core::testing::internals::diagnose(&b"id,note\n1,fine\n"[..], &columns)?;
/// let error = dwh_core::testing::internals::diagnose(&b"id,note\n1,fine\n2\n"[..], &columns).unwrap_err();
/// assert_eq!(error.to_string(), "line 3 of the CSV: 1 field instead of 2");
/// # Ok::<(), dwh_core::Error>(())
/// ```
pub fn diagnose(reader: impl Read, columns: &[String]) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let mut gate = HeaderGate::new(columns);
    let mut scan = Scan { width: columns.len(), number: 0, start: 1, fields: 1, quoted: false, crlf: None };
    let mut in_header = true;
    let mut line = Vec::new();
    loop {
        line.clear();
        reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(|error| Error::new(ErrorKind::Data, "the CSV cannot be read").with_source(error))?;
        if line.is_empty() {
            break;
        }
        scan.number += 1;
        // The header first: its own message says more than a count of fields.
        in_header = in_header && !gate.push(&line)?;
        scan.line(&line)?;
        if line.len() as u64 == MAX_LINE_BYTES {
            return Err(wrong(scan.number, "longer than 1 GiB", "no value in PostgreSQL is; look for a lost quote"));
        }
    }
    gate.finish()?;
    if scan.quoted {
        return Err(wrong(
            scan.start,
            "a quote is opened and never closed",
            "close it, and write `\"` within it as `\"\"`",
        ));
    }
    Ok(())
}

fn wrong(line: u64, what: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Data, format!("line {line} of the CSV: {what}")).with_hint(hint)
}

/// Where in the file we are; lines are those of the file, records may span several.
struct Scan {
    width: usize,
    number: u64,
    /// Line in which the current record starts.
    start: u64,
    fields: usize,
    quoted: bool,
    /// Whether records end with CRLF, known after the first.
    crlf: Option<bool>,
}

impl Scan {
    fn line(&mut self, line: &[u8]) -> Result<()> {
        if memchr(0, line).is_some() {
            return Err(wrong(
                self.number,
                "a NUL byte",
                "PostgreSQL stores none; remove it, or store the text as bytea",
            ));
        }
        // A line end is never within a character, so each line stands for itself.
        if let Err(error) = std::str::from_utf8(line) {
            let column = error.valid_up_to() + 1;
            return Err(wrong(self.number, &format!("byte {column} is not UTF-8"), "convert it: `iconv -t UTF-8`"));
        }
        let body = line.strip_suffix(b"\n");
        let crlf = body.is_some_and(|body| body.ends_with(b"\r"));
        let bare = body.map_or(line, |body| &body[..body.len() - usize::from(crlf)]);
        if !self.quoted {
            self.start = self.number;
            if bare == b"\\." {
                return Err(wrong(
                    self.number,
                    "a line with `\\.` alone",
                    "remove it, or write it in quotes if it is a value",
                ));
            }
        }
        for byte in bare {
            match byte {
                b'"' => self.quoted = !self.quoted,
                b',' if !self.quoted => self.fields += 1,
                b'\r' if !self.quoted => {
                    return Err(wrong(self.number, "a carriage return outside of quotes", "put the value in quotes"));
                }
                _ => {}
            }
        }
        if self.quoted { Ok(()) } else { self.record_end(body.is_some(), crlf) }
    }

    fn record_end(&mut self, ended: bool, crlf: bool) -> Result<()> {
        if self.fields != self.width {
            let many = if self.fields == 1 { "field" } else { "fields" };
            let what = format!("{} {many} instead of {}", self.fields, self.width);
            return Err(wrong(self.start, &what, "put values that hold a comma or a line end in quotes"));
        }
        if ended && *self.crlf.get_or_insert(crlf) != crlf {
            return Err(wrong(
                self.number,
                "another kind of line end than above",
                "use LF throughout, or CRLF throughout",
            ));
        }
        self.fields = 1;
        Ok(())
    }
}
