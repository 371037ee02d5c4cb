//! The records of a file, one by one: memory is bounded by the largest.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{BufRead, Read};

use super::problem::{Spot, step};
use crate::error::{Error, ErrorKind, Result};

/// Takes records as they come.
pub(super) trait Taker {
    /// A JSON value.
    fn json(&mut self, spot: &Spot, raw: &RawValue) -> Result<()>;

    /// A line that is no JSON.
    fn broken(&mut self, spot: &Spot, line: &str) -> Result<()>;

    /// The first line of a CSV.
    fn header(&mut self, names: &csv::StringRecord) -> Result<()>;

    /// Another line of a CSV.
    fn csv(&mut self, spot: &Spot, fields: &csv::StringRecord) -> Result<()>;
}

/// The elements of the array, or the values of the object, to which the steps lead.
///
/// # Errors
/// `Data` if it is no JSON, or holds no array or object there; those of the taker. An error of the reader is its own.
pub(super) fn json(reader: impl Read, steps: &[String], path: &str, taker: &mut dyn Taker) -> Result<()> {
    let mut search = Search { taker, path, error: None, found: false };
    let mut document = serde_json::Deserializer::from_reader(reader);
    let find = Find { steps, at: String::new(), search: &mut search };
    let read = find.deserialize(&mut document).and_then(|()| document.end());
    if let Some(error) = search.error {
        return Err(error);
    }
    read.map_err(|error| no_json(path, &error))?;
    if search.found {
        return Ok(());
    }
    let pointer: String = steps.iter().map(|name| step(name)).collect();
    Err(Error::new(ErrorKind::Data, format!("file `{path}`: `{pointer}` is not in it"))
        .with_hint("`records` of the table is the JSON pointer to the array, or the object, that holds the records"))
}

/// The error of a document that is broken; the parser's own words may quote a value.
pub(super) fn no_json(path: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        serde_json::error::Category::Eof if line <= 1 && column == 0 => "is empty".to_owned(),
        serde_json::error::Category::Eof => format!("ends in the middle, in line {line}, column {column}"),
        serde_json::error::Category::Data => "holds no array or object where its records should be".to_owned(),
        _ => format!("is no JSON: broken in line {line}, column {column}"),
    };
    Error::new(ErrorKind::Data, format!("file `{path}` {what}")).with_hint(
        "none of its records was loaded; write the file anew where it comes from, and the next `dwh run` reads it",
    )
}

fn twice(path: &str, pointer: &str) -> Error {
    Error::new(ErrorKind::Data, format!("file `{path}`: `{pointer}` is there twice")).with_hint(
        "none of its records was loaded; each member may stand once, so write the file anew where it comes from",
    )
}

struct Search<'t> {
    taker: &'t mut dyn Taker,
    path: &'t str,
    /// An error of the taker, or of ours: that of the parser only stands for it.
    error: Option<Error>,
    found: bool,
}

/// Goes down to the records.
struct Find<'s, 't> {
    steps: &'s [String],
    at: String,
    search: &'s mut Search<'t>,
}

impl<'de> DeserializeSeed<'de> for Find<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Find<'_, '_> {
    fn take<E: serde::de::Error>(&mut self, name: &str, raw: &RawValue) -> std::result::Result<(), E> {
        let spot = Spot::Pointer(format!("{}{}", self.at, step(name)));
        self.search.taker.json(&spot, raw).map_err(|error| {
            self.search.error = Some(error);
            E::custom("told")
        })
    }
}

impl<'de> Visitor<'de> for Find<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> std::result::Result<(), A::Error> {
        let Some((first, rest)) = self.steps.split_first() else {
            self.search.found = true;
            let mut at = 0_u64;
            while let Some(raw) = items.next_element::<Box<RawValue>>()? {
                self.take(&at.to_string(), &raw)?;
                at += 1;
            }
            return Ok(());
        };
        let mut at = 0_u64;
        loop {
            if at.to_string() == *first {
                let below = Find { steps: rest, at: format!("{}{}", self.at, step(first)), search: self.search };
                if items.next_element_seed(below)?.is_none() {
                    return Ok(());
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> std::result::Result<(), A::Error> {
        let Some((first, rest)) = self.steps.split_first() else {
            self.search.found = true;
            while let Some(name) = members.next_key::<String>()? {
                let raw = members.next_value::<Box<RawValue>>()?;
                self.take(&name, &raw)?;
            }
            return Ok(());
        };
        let mut met = false;
        while let Some(name) = members.next_key::<String>()? {
            if name != *first {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            if met {
                let pointer = format!("{}{}", self.at, step(first));
                self.search.error = Some(twice(self.search.path, &pointer));
                return Err(A::Error::custom("told"));
            }
            met = true;
            let below = Find { steps: rest, at: format!("{}{}", self.at, step(first)), search: self.search };
            members.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// The lines of a file, each a JSON document.
///
/// # Errors
/// Those of the taker; `Disk` stands for an error of the reader.
pub(super) fn lines(reader: &mut impl BufRead, path: &str, taker: &mut dyn Taker) -> Result<()> {
    let (mut line, mut number) = (String::new(), 0);
    loop {
        line.clear();
        number += 1;
        if reader.read_line(&mut line).map_err(|error| super::place::unread(path, error))? == 0 {
            return Ok(());
        }
        let text = line.trim();
        let spot = Spot::Line(number);
        match serde_json::from_str::<&RawValue>(text) {
            _ if text.is_empty() => {}
            Ok(raw) => taker.json(&spot, raw)?,
            Err(_) => taker.broken(&spot, text)?,
        }
    }
}

/// The lines of a CSV.
///
/// # Errors
/// `Data` if it has no header; those of the taker; `Disk` stands for an error of the reader.
pub(super) fn csv(reader: impl Read, path: &str, taker: &mut dyn Taker) -> Result<()> {
    let broken = |error: csv::Error| {
        let line = error.position().map_or(0, csv::Position::line);
        Error::new(ErrorKind::Data, format!("file `{path}` is no CSV: broken in line {line}")).with_hint(
            "write it anew where it comes from: fields with commas, quotes or line ends stand in double quotes",
        )
    };
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(Tail { inner: reader, start: 0, last: vec![] });
    let header = rows.headers().map_err(broken)?.clone();
    if header.is_empty() {
        return Err(Error::new(ErrorKind::Data, format!("file `{path}` is empty"))
            .with_hint("a CSV has the names of its columns in the first line, also where there is no record"));
    }
    taker.header(&header)?;
    let mut fields = csv::StringRecord::new();
    while rows.read_record(&mut fields).map_err(broken)? {
        let line = first_line(&rows, &fields);
        taker.csv(&Spot::Line(line), &fields)?;
    }
    Ok(())
}

/// The line in which the fields that were read begin. The parser's own place of them is where the fields before end: ahead of
/// the second byte of a CR LF, and of empty lines.
fn first_line<R: Read>(rows: &csv::Reader<Tail<R>>, fields: &csv::StringRecord) -> u64 {
    let end = rows.position();
    let within = fields.as_slice().bytes().filter(|byte| *byte == b'\n').count() as u64;
    let ended = u64::from(rows.get_ref().byte_before(end.byte()) == Some(b'\n'));
    end.line().saturating_sub(within + ended)
}

/// Keeps the piece that was read last.
struct Tail<R> {
    inner: R,
    /// Where that piece begins.
    start: u64,
    last: Vec<u8>,
}

impl<R> Tail<R> {
    fn byte_before(&self, at: u64) -> Option<u8> {
        let place = at.checked_sub(self.start + 1)?;
        self.last.get(usize::try_from(place).ok()?).copied()
    }
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read > 0 {
            self.start += self.last.len() as u64;
            self.last.clear();
            self.last.extend_from_slice(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<u64>);

    impl Taker for Lines {
        fn json(&mut self, _: &Spot, _: &RawValue) -> Result<()> {
            Ok(())
        }

        fn broken(&mut self, _: &Spot, _: &str) -> Result<()> {
            Ok(())
        }

        fn header(&mut self, _: &csv::StringRecord) -> Result<()> {
            Ok(())
        }

        fn csv(&mut self, spot: &Spot, _: &csv::StringRecord) -> Result<()> {
            if let Spot::Line(line) = spot {
                self.0.push(*line);
            }
            Ok(())
        }
    }

    #[test]
    fn a_record_of_a_csv_has_the_number_of_the_line_in_which_it_begins() {
        let many: String = (0..5_000).map(|n| format!("{n},\"a\r\nb\"\r\n")).collect();
        let files = [
            ("id,v\n1,a\n2,b\n".to_owned(), vec![2, 3]),
            ("id,v\n1,a\n2,b".to_owned(), vec![2, 3]),
            ("id,v\r\n1,a\r\n2,b\r\n".to_owned(), vec![2, 3]),
            ("\u{feff}id,v\r\n1,a\r\n2,b".to_owned(), vec![2, 3]),
            ("id,v\n1,a\n\n\n2,b\n".to_owned(), vec![2, 5]),
            ("\r\nid,v\r\n\r\n1,a\r\n\r\n2,b\r\n".to_owned(), vec![4, 6]),
            ("id,v\n1,\"a\nb\"\n2,\"c\r\nd\"\r\n3,e\n".to_owned(), vec![2, 4, 6]),
            (format!("id,v\r\n{many}"), (0..5_000).map(|n| 2 + 2 * n).collect()),
        ];
        for (text, expected) in files {
            let mut lines = Lines(vec![]);
            csv(text.as_bytes(), "a.csv", &mut lines).expect("a CSV");
            assert_eq!(lines.0, expected, "{:?}", text.get(..40).unwrap_or(&text));
        }
    }
}
