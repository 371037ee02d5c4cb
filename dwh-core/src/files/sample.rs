//! A look at the first records of a file: which members they have, and of which types.

use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

use super::decode::{Decoding, Raw};
use super::place::{Place, blocking};
use super::problem::Spot;
use super::records::{self, Taker};
use super::sound::Members;
use crate::config::{FileEncoding, FileFormat};
use crate::error::{Error, ErrorKind, Result};
use crate::raw_file::RawFile;

/// As many records are looked at.
const RECORDS: u64 = 1_000;

/// What a member may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Text,
    Date,
    Moment,
    Whole,
    Number,
    Boolean,
    Nested,
}

/// What was seen of a file.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Records that were looked at.
    pub(crate) records: u64,
    /// JSON pointer to them.
    pub(crate) pointer: String,
    /// The members in the order in which they came, each with what its values were.
    pub(crate) members: Vec<(String, BTreeSet<Seen>)>,
    /// Members that every record has, each time with another value.
    pub(crate) unique: Vec<String>,
    /// Whether they are features, each with a geometry beside its members.
    pub(crate) features: bool,
}

impl Sample {
    /// The type of a column for what was seen; `None` where nothing but null was.
    pub(crate) fn type_of(seen: &BTreeSet<Seen>) -> Option<&'static str> {
        let all: Vec<Seen> = seen.iter().copied().collect();
        Some(match all[..] {
            [] => return None,
            [Seen::Date] => "date",
            [Seen::Moment] => "timestamptz",
            [Seen::Whole] => "bigint",
            [Seen::Number] | [Seen::Whole, Seen::Number] => "numeric",
            [Seen::Boolean] => "boolean",
            _ if all.iter().all(|seen| matches!(seen, Seen::Text | Seen::Date | Seen::Moment)) => "text",
            _ => "jsonb",
        })
    }
}

/// Looks at a file. Of a JSON document whose values are no records, the first member that holds some is taken.
pub(crate) async fn sample(place: &Place, file: &RawFile, format: FileFormat) -> Result<Sample> {
    let opened = place.read(file).await?;
    let path = file.path.clone();
    let (first, tops) = blocking(move || {
        let mut reader = Decoding::new(Raw::new(opened.bytes), FileEncoding::Unicode, &path);
        let mut look = Look::default();
        let read = match format {
            FileFormat::Json => records::json(&mut reader, &[], &path, &mut look),
            FileFormat::Geojson => records::json(&mut reader, &["features".to_owned()], &path, &mut look),
            FileFormat::Jsonl => records::lines(&mut reader, &path, &mut look),
            FileFormat::Csv => records::csv(&mut reader, &path, &mut look),
        };
        match read {
            Err(error) if !look.enough => Err(reader.fault().unwrap_or(error)),
            _ => Ok((look.sample(""), look.tops)),
        }
    })
    .await?;
    if format != FileFormat::Json || (first.records > 0 && tops.is_empty()) {
        return Ok(first);
    }
    let Some(name) = tops.into_iter().next() else { return Ok(first) };
    let (opened, path) = (place.read(file).await?, file.path.clone());
    blocking(move || {
        let mut reader = Decoding::new(Raw::new(opened.bytes), FileEncoding::Unicode, &path);
        let mut look = Look::default();
        let read = records::json(&mut reader, std::slice::from_ref(&name), &path, &mut look);
        match read {
            Err(error) if !look.enough => Err(reader.fault().unwrap_or(error)),
            _ => Ok(look.sample(&super::problem::step(&name))),
        }
    })
    .await
}

#[derive(Default)]
struct Look {
    records: u64,
    names: Vec<String>,
    seen: BTreeMap<String, BTreeSet<Seen>>,
    values: BTreeMap<String, BTreeSet<String>>,
    header: Vec<String>,
    /// Members of the document that hold an array of objects, where the document's values are no records.
    tops: Vec<String>,
    features: bool,
    enough: bool,
}

impl Look {
    fn sample(&self, pointer: &str) -> Sample {
        let unique = |name: &&String| self.values.get(*name).is_some_and(|all| all.len() as u64 == self.records);
        Sample {
            records: self.records,
            pointer: pointer.to_owned(),
            members: self
                .names
                .iter()
                .map(|name| (name.clone(), self.seen.get(name).cloned().unwrap_or_default()))
                .collect(),
            unique: self.names.iter().filter(unique).cloned().collect(),
            features: self.features,
        }
    }

    fn note(&mut self, name: &str, value: &str, seen: Option<Seen>) {
        if !self.seen.contains_key(name) {
            self.names.push(name.to_owned());
        }
        let all = self.seen.entry(name.to_owned()).or_default();
        all.extend(seen);
        if matches!(seen, Some(Seen::Text | Seen::Whole)) && value.len() < 200 {
            self.values.entry(name.to_owned()).or_default().insert(value.to_owned());
        }
    }

    fn count(&mut self) -> Result<()> {
        self.records += 1;
        self.enough = self.records >= RECORDS;
        if self.enough { Err(Error::new(ErrorKind::Internal, "enough was seen")) } else { Ok(()) }
    }
}

fn of_text(text: &str) -> Seen {
    if text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok() {
        Seen::Date
    } else if text.len() > 10 && text.parse::<jiff::Timestamp>().is_ok() {
        Seen::Moment
    } else {
        Seen::Text
    }
}

fn of_json(raw: &str) -> Option<Seen> {
    Some(match raw.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => Seen::Boolean,
        b'"' => serde_json::from_str::<String>(raw).map_or(Seen::Text, |text| of_text(&text)),
        b'{' | b'[' => Seen::Nested,
        _ if raw.contains(['.', 'e', 'E']) => Seen::Number,
        _ => Seen::Whole,
    })
}

impl Taker for Look {
    fn json(&mut self, spot: &Spot, raw: &RawValue) -> Result<()> {
        let Ok(Members(members)) = serde_json::from_str(raw.get()) else {
            let holds_records = serde_json::from_str::<Vec<serde_json::Map<String, serde_json::Value>>>(raw.get())
                .is_ok_and(|items| !items.is_empty());
            if holds_records {
                self.tops.push(spot.text().trim_start_matches('/').to_owned());
            }
            return Ok(());
        };
        // A feature holds its values one floor down.
        let member = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let inner = match (member("type"), member("properties")) {
            (Some(kind), Some(inner)) if kind.get() == "\"Feature\"" => {
                self.features = true;
                serde_json::from_str(inner.get()).map_or_else(|_| Vec::new(), |Members(inner)| inner)
            }
            _ => members,
        };
        for (name, value) in &inner {
            self.note(name, value.get(), of_json(value.get()));
        }
        self.count()
    }

    fn broken(&mut self, _: &Spot, _: &str) -> Result<()> {
        Ok(())
    }

    fn header(&mut self, names: &csv::StringRecord) -> Result<()> {
        self.header = names.iter().map(str::to_owned).collect();
        Ok(())
    }

    fn csv(&mut self, _: &Spot, fields: &csv::StringRecord) -> Result<()> {
        for (name, text) in self.header.clone().iter().zip(fields) {
            let seen = match serde_json::from_str::<&RawValue>(text.trim()) {
                _ if text.is_empty() => None,
                Ok(raw) if matches!(of_json(raw.get()), Some(Seen::Whole | Seen::Number | Seen::Boolean)) => {
                    of_json(raw.get())
                }
                _ => Some(of_text(text)),
            };
            self.note(name, text, seen);
        }
        self.count()
    }
}
