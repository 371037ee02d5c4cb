//! The keys of rows as text, so that equal ones have the same: which types allow that. Pure.

use std::borrow::Cow;

use super::history::{Row, hash};
use super::value;
use crate::dialect::records::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{TypeDef, TypeKind, TypeName, definition};

/// How the text of a key column is made the same for equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sameness {
    /// It is already.
    Plain,
    /// Zeros behind the point, and the sign of zero, say nothing.
    Number,
    /// Blanks at the end say nothing.
    Padded,
}

impl Sameness {
    /// That of a type; `None` for one whose equal values are written in several ways.
    pub(super) fn of(name: &TypeName, types: &[TypeDef]) -> Option<Self> {
        if name.as_str().ends_with("[]") {
            return None;
        }
        if name.schema().is_some() {
            return match definition(types, name).map(|def| &def.kind) {
                Some(TypeKind::Enum { .. }) => Some(Self::Plain),
                Some(TypeKind::Domain { base }) if base.schema().is_none() => Self::of(base, types),
                _ => None,
            };
        }
        match name.name() {
            "numeric" | "real" | "double precision" => Some(Self::Number),
            "character" => Some(Self::Padded),
            "boolean" | "smallint" | "integer" | "bigint" | "oid" | "text" | "character varying" | "name" | "uuid"
            | "bytea" | "date" | "timestamp" => Some(Self::Plain),
            _ => None,
        }
    }

    pub(super) fn apply(self, text: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Plain => text.into(),
            Self::Padded => {
                let blanks = text.iter().rev().take_while(|byte| **byte == b' ').count();
                text[..text.len() - blanks].into()
            }
            Self::Number => {
                let exponent = text.iter().any(|byte| matches!(byte, b'e' | b'E'));
                let point = text.contains(&b'.') && !exponent;
                let zeros = if point { text.iter().rev().take_while(|byte| **byte == b'0').count() } else { 0 };
                let text = &text[..text.len() - zeros];
                let text = text.strip_suffix(b".").unwrap_or(text);
                if text == b"-0" { Cow::Borrowed(b"0") } else { text.into() }
            }
        }
    }
}

/// What two types must have in common so that a text of the older one is the same value of the newer one.
pub(super) fn family(name: &TypeName) -> &str {
    if name.as_str().ends_with("[]") {
        return name.bare();
    }
    match (name.schema(), name.name()) {
        (None, "smallint" | "integer" | "bigint" | "numeric") => "number",
        (None, "text" | "character varying") => "text",
        (None, "timestamp" | "time") if name.bare().ends_with(" with time zone") => name.name(),
        (None, "timestamp") => "timestamp without time zone",
        (None, "time") => "time without time zone",
        (_, "geometry" | "geography") => name.name(),
        _ => name.bare(),
    }
}

/// Where key and watermark of a row stand in a CSV.
#[derive(Debug, Clone)]
pub(super) struct Keyed {
    /// Fields of a record.
    pub(super) width: usize,
    /// The columns of the key.
    pub(super) key: Vec<(usize, Sameness)>,
    /// The watermark column, where it is needed.
    pub(super) stamp: Option<usize>,
    /// The columns that make a version of a row another one.
    pub(super) content: Vec<usize>,
}

impl Keyed {
    /// The row at this place of a CSV.
    ///
    /// # Errors
    /// `Data` for a key that is NULL, which no unique index tells apart.
    pub(super) fn row(&self, csv: u32, at: u64, record: &Record) -> Result<Row> {
        let mut parts = Vec::with_capacity(self.key.len());
        for (place, sameness) in &self.key {
            let text = record.field(*place).ok_or_else(|| {
                Error::new(ErrorKind::Data, "a column of the key is NULL, so nothing tells which row it is")
                    .with_hint("query the bronze table instead")
            })?;
            parts.push(sameness.apply(text));
        }
        let stamp = self.stamp.map(|place| moment(record.field(place))).transpose()?.unwrap_or(i64::MIN);
        let hash_of_key = hash(parts.iter().map(|part| Some(part.as_ref())));
        let content = hash(self.content.iter().map(|place| record.field(*place)));
        Ok(Row { hash: hash_of_key, csv, at, stamp, content })
    }
}

/// Microseconds of a watermark column; the lowest number if there is none.
fn moment(text: Option<&[u8]>) -> Result<i64> {
    let broken = || Error::new(ErrorKind::Data, "a watermark cannot be read");
    match text {
        None | Some(b"-infinity") => Ok(i64::MIN),
        Some(b"infinity") => Ok(i64::MAX),
        Some(text) => value::timestamp(std::str::from_utf8(text).map_err(|_| broken())?, true).map_err(|_| broken()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_are_the_same_text() {
        let number =
            |text: &str| String::from_utf8(Sameness::Number.apply(text.as_bytes()).into_owned()).expect("text");
        for (text, same) in [
            ("1.00", "1"),
            ("1", "1"),
            ("10", "10"),
            ("0.0", "0"),
            ("-0", "0"),
            ("-0.00", "0"),
            ("1.50", "1.5"),
            ("1e+20", "1e+20"),
            ("1.5e-10", "1.5e-10"),
            ("NaN", "NaN"),
        ] {
            assert_eq!(number(text), same, "{text}");
        }
        assert_eq!(Sameness::Padded.apply(b"ab  ").as_ref(), b"ab");
        // Blanks alone: another white space is part of the value.
        assert_eq!(Sameness::Padded.apply(b"ab\n ").as_ref(), b"ab\n");
        let of = |name: &str| Sameness::of(&name.parse().expect("a type"), &[]);
        for (name, sameness) in [
            ("bigint", Some(Sameness::Plain)),
            ("numeric(6,2)", Some(Sameness::Number)),
            ("character(3)", Some(Sameness::Padded)),
            ("timestamp with time zone", Some(Sameness::Plain)),
            ("public.citext", None),
            ("jsonb", None),
            ("interval", None),
            ("integer[]", None),
        ] {
            assert_eq!(of(name), sameness, "{name}");
        }
    }
}
