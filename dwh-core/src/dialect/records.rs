//! The records of a CSV, field by field, with NULL told from the empty string. Memory: the longest record.

use memchr::{memchr, memchr3};
use std::io::{self, BufRead};

/// A record; what it holds is overwritten by the next one.
#[derive(Debug, Default)]
pub(crate) struct Record {
    bytes: Vec<u8>,
    /// Where each field ends, and whether it was in quotes.
    ends: Vec<(usize, bool)>,
}

impl Record {
    /// The number of its fields.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field; `None` is NULL.
    pub(crate) fn field(&self, at: usize) -> Option<&[u8]> {
        let (end, quoted) = *self.ends.get(at)?;
        let begin = if at == 0 { 0 } else { self.ends[at - 1].0 };
        (quoted || end > begin).then(|| &self.bytes[begin..end])
    }
}

/// Reads the next record, the header being the first; `false` at the end of the bytes.
///
/// # Errors
/// Those of the reader; `InvalidData` if the bytes end within quotes.
pub(crate) fn read(reader: &mut impl BufRead, record: &mut Record) -> io::Result<bool> {
    record.bytes.clear();
    record.ends.clear();
    let (mut quoted, mut was_quoted, mut open) = (false, false, false);
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            if quoted {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a quote is opened and never closed"));
            }
            // The last record may lack its line end.
            if open {
                record.ends.push((record.bytes.len(), was_quoted));
            }
            return Ok(open);
        }
        open = true;
        let hit = if quoted { memchr(b'"', piece) } else { memchr3(b'"', b',', b'\n', piece) };
        let Some(at) = hit else {
            let all = piece.len();
            record.bytes.extend_from_slice(piece);
            reader.consume(all);
            continue;
        };
        record.bytes.extend_from_slice(&piece[..at]);
        let found = piece[at];
        reader.consume(at + 1);
        match found {
            b'"' if quoted => {
                quoted = false;
                // A doubled one stands for itself.
                if reader.fill_buf()?.first() == Some(&b'"') {
                    reader.consume(1);
                    record.bytes.push(b'"');
                    quoted = true;
                }
            }
            b'"' => (quoted, was_quoted) = (true, true),
            found => {
                record.ends.push((record.bytes.len(), was_quoted));
                was_quoted = false;
                if found == b'\n' {
                    return Ok(true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn all(csv: &[u8], piece: usize) -> Vec<Vec<Option<String>>> {
        let (mut reader, mut record, mut found) = (BufReader::with_capacity(piece, csv), Record::default(), Vec::new());
        while read(&mut reader, &mut record).expect("a CSV") {
            let text = |at| record.field(at).map(|field| String::from_utf8(field.to_vec()).expect("text"));
            found.push((0..record.len()).map(text).collect());
        }
        found
    }

    #[test]
    fn null_and_empty_are_told_apart_however_the_bytes_come() {
        let csv = b"a,b,c\n1,,\"\"\n,\"x,\"\"y\"\"\n\",\"\\.\"\n,,";
        for piece in 1..csv.len() {
            let texts: Vec<Vec<Option<&str>>> = vec![
                vec![Some("a"), Some("b"), Some("c")],
                vec![Some("1"), None, Some("")],
                vec![None, Some("x,\"y\"\n"), Some("\\.")],
                vec![None, None, None],
            ];
            let found = all(csv, piece);
            let found: Vec<Vec<Option<&str>>> =
                found.iter().map(|record| record.iter().map(Option::as_deref).collect()).collect();
            assert_eq!(found, texts, "{piece}");
        }
        assert!(all(b"", 8).is_empty());
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error() {
        let mut record = Record::default();
        assert!(read(&mut BufReader::new(&b"a,\"b\n"[..]), &mut record).is_err());
    }
}
