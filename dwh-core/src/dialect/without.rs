//! A CSV without one of its records.

use bytes::{Bytes, BytesMut};

/// Lets a CSV pass by in pieces of any size, but for the record that ends in a line.
#[derive(Debug)]
pub(crate) struct Without {
    /// The line, from 1, in which the record ends that is left out.
    line: u64,
    now: u64,
    quoted: bool,
    /// The record so far.
    record: BytesMut,
    /// The one that was left out.
    left_out: Option<Bytes>,
}

impl Without {
    /// Leaves out the record that ends in this line.
    pub(crate) fn new(line: u64) -> Self {
        Self { line, now: 1, quoted: false, record: BytesMut::new(), left_out: None }
    }

    /// Begins with the first line again.
    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.line);
    }

    /// What is left of the next piece, with what was held back of the one before.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(piece.len());
        for byte in piece {
            self.record.extend_from_slice(&[*byte]);
            match byte {
                b'"' => self.quoted = !self.quoted,
                b'\n' => {
                    if !self.quoted {
                        self.end(&mut out);
                    }
                    self.now += 1;
                }
                _ => {}
            }
        }
        out.freeze()
    }

    /// What is left at the end: a last record may lack its line end.
    pub(crate) fn finish(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        self.end(&mut out);
        out.freeze()
    }

    fn end(&mut self, out: &mut BytesMut) {
        let record = std::mem::take(&mut self.record);
        if self.now == self.line && !record.is_empty() {
            self.left_out = Some(record.freeze());
        } else {
            out.extend_from_slice(&record);
        }
    }

    /// The fields of the record that was left out; nothing if there was none.
    pub(crate) fn fields(&self) -> Vec<String> {
        let record = self.left_out.as_deref().unwrap_or_default();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(record);
        let first = reader.records().next().and_then(Result::ok);
        first.map(|record| record.iter().map(str::to_owned).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_several_lines_is_left_out_by_its_last_one() {
        let csv = b"id,note\n1,a\n2,\"b\n\"\"c\"\"\n\"\n3,d\n4,e";
        for (line, fields, left) in [
            (2, vec!["1", "a"], "id,note\n2,\"b\n\"\"c\"\"\n\"\n3,d\n4,e"),
            (5, vec!["2", "b\n\"c\"\n"], "id,note\n1,a\n3,d\n4,e"),
            (7, vec!["4", "e"], "id,note\n1,a\n2,\"b\n\"\"c\"\"\n\"\n3,d\n"),
            (9, vec![], "id,note\n1,a\n2,\"b\n\"\"c\"\"\n\"\n3,d\n4,e"),
        ] {
            for size in 1..csv.len() {
                let mut without = Without::new(line);
                let mut out: Vec<u8> = csv.chunks(size).flat_map(|piece| without.push(piece)).collect();
                out.extend(without.finish());
                assert_eq!(
                    (String::from_utf8(out).expect("text").as_str(), without.fields()),
                    (left, fields.iter().map(ToString::to_string).collect())
                );
            }
        }
    }
}
