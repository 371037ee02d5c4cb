//! Records on their way into CSV lines: compared with the JSON Schema, and put into the columns of the table.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};

use super::geojson;
use super::kind::{Field, Kind};
use super::problem::{Problem, Problems, Spot, step};
use super::records::Taker;
use super::shape::{ColumnShape, Shape, segments};
use super::sound::{self, Members};
use crate::config::{FILE, FieldFrom, FileFormat, OnInvalid, RECORD, Validate};
use crate::dialect::field;
use crate::error::{Error, ErrorKind, Result};

/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 128 << 10;
/// How many members without a column are named.
const NAMED: usize = 10;

/// Takes the next piece of the CSV; an error ends the read.
type Send<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<()>;

/// Where a value of the CSV comes from.
enum Cell {
    Column(usize),
    File,
    Record,
}

/// Turns records into lines.
pub(super) struct Rows<'a> {
    shape: &'a Shape,
    path: &'a str,
    cells: Vec<Cell>,
    /// The steps to the values of each column: one, or those of a point.
    steps: Vec<Vec<Vec<String>>>,
    /// The names of members that some column takes.
    taken: BTreeSet<String>,
    header: csv::StringRecord,
    places: BTreeMap<String, usize>,
    out: Vec<u8>,
    send: Send<'a>,
    rejected: Option<BufWriter<File>>,
    /// Whether each record is compared with the JSON Schema: of lines there is no document but theirs.
    compared: bool,
    unknown: BTreeSet<String>,
    pub problems: Problems,
    pub total: u64,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        shape: &'a Shape,
        columns: &[String],
        path: &'a str,
        format: FileFormat,
        send: Send<'a>,
    ) -> Result<Self> {
        let cell = |name: &String| match name.as_str() {
            FILE => Ok(Cell::File),
            RECORD => Ok(Cell::Record),
            _ => shape
                .columns
                .iter()
                .position(|column| column.name == *name)
                .map(Cell::Column)
                .ok_or_else(|| Error::new(ErrorKind::Internal, format!("column `{name}` is none of the table's"))),
        };
        let cells = columns.iter().map(cell).collect::<Result<_>>()?;
        let steps: Vec<Vec<Vec<String>>> = shape.columns.iter().map(|column| steps_of(column, format)).collect();
        let mut taken: BTreeSet<String> = steps.iter().flatten().filter_map(|steps| steps.first().cloned()).collect();
        if format == FileFormat::Geojson {
            taken.extend(["type", "id", "bbox", "geometry", "properties"].map(str::to_owned));
        }
        let of_lines = matches!(format, FileFormat::Jsonl | FileFormat::Csv);
        let mut rows = Self {
            shape,
            path,
            cells,
            steps,
            taken,
            header: csv::StringRecord::new(),
            places: BTreeMap::new(),
            out: Vec::new(),
            send,
            rejected: None,
            compared: of_lines || shape.table.validate == Validate::Record,
            unknown: BTreeSet::new(),
            problems: Problems::default(),
            total: 0,
        };
        let names: Vec<String> = columns.iter().map(|name| field(name)).collect();
        rows.line(&names.join(","))?;
        Ok(rows)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        if self.out.len() >= CHUNK_BYTES { (self.send)(std::mem::take(&mut self.out)) } else { Ok(()) }
    }

    /// Sends what is left.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.out.is_empty() { Ok(()) } else { (self.send)(std::mem::take(&mut self.out)) }
    }

    /// The records that were rejected, from the first one on.
    pub(super) fn rejected(&mut self) -> Result<Option<File>> {
        let Some(writer) = self.rejected.take() else { return Ok(None) };
        let mut file = writer.into_inner().map_err(|error| disk(error.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(disk)?;
        Ok(Some(file))
    }

    /// What a person should know.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut names: Vec<String> = self.unknown.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        if self.unknown.len() > NAMED {
            names.push(format!("{} more", self.unknown.len() - NAMED));
        }
        if names.is_empty() {
            return Vec::new();
        }
        vec![format!("file `{}`: no column takes {} of its records", self.path, names.join(", "))]
    }

    /// Whether lines are still of use: none of a file with one that is not valid is loaded.
    fn goes_on(&self) -> bool {
        self.problems.records == 0 || self.shape.table.on_invalid == OnInvalid::RejectRecord
    }

    fn reject(&mut self, spot: &Spot, problems: &[Problem], record: impl FnOnce() -> String) -> Result<()> {
        self.problems.add(spot, problems);
        if self.shape.table.on_invalid == OnInvalid::RejectFile {
            return Ok(());
        }
        if self.rejected.is_none() {
            self.rejected = Some(BufWriter::new(tempfile::tempfile().map_err(disk)?));
        }
        let Some(file) = &mut self.rejected else { return Ok(()) };
        let broken: Vec<Value> =
            problems.iter().map(|problem| json!({ "pointer": problem.pointer, "rule": problem.rule })).collect();
        let (spot, broken) = (Value::from(spot.text()), Value::from(broken));
        // Line ends stand between the parts of a JSON value, and never within one.
        let record = record().replace(['\n', '\r'], " ");
        writeln!(file, "{{\"_record\":{spot},\"problems\":{broken},\"record\":{record}}}").map_err(disk)
    }

    /// One line out of the values of the columns.
    fn emit(&mut self, spot: &Spot, values: &[Option<Cow<'_, str>>]) -> Result<()> {
        if !self.goes_on() {
            return Ok(());
        }
        let (file, record) = (field(self.path), field(&spot.text()));
        let mut line = String::new();
        for (at, cell) in self.cells.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            match cell {
                Cell::File => line.push_str(&file),
                Cell::Record => line.push_str(&record),
                Cell::Column(column) => {
                    if let Some(value) = &values[*column] {
                        line.push_str(&field(value));
                    }
                }
            }
        }
        self.line(&line)
    }

    /// The values of all columns, and what is wrong with them beside `known`.
    fn values<'v>(
        &self,
        find: impl Fn(&[String]) -> std::result::Result<Field<'v>, String>,
        known: &mut Vec<Problem>,
    ) -> Vec<Option<Cow<'v, str>>> {
        let mut values = Vec::new();
        for (column, steps) in self.shape.columns.iter().zip(&self.steps) {
            let found = match (&column.kind, &steps[..]) {
                (Kind::Geometry { srid, .. }, [lon, lat]) => point(srid.as_deref(), find(lon), find(lat)),
                (kind, [one, ..]) => find(one).and_then(|field| kind.text(field)),
                _ => Ok(None),
            };
            let wrong = match &found {
                Ok(None) if column.required => Some("required".to_owned()),
                Ok(_) => None,
                Err(rule) => Some(rule.clone()),
            };
            if let Some(rule) = wrong {
                let pointer: String = steps.first().into_iter().flatten().map(|name| step(name)).collect();
                let missing = steps.first().and_then(|steps| steps.last()).map(|name| format!("required `{name}`"));
                let told = |problem: &Problem| problem.pointer == pointer || Some(&problem.rule) == missing.as_ref();
                if !known.iter().any(told) {
                    known.push(Problem::new(pointer, rule));
                }
            }
            values.push(found.unwrap_or_default());
        }
        values
    }
}

fn steps_of(column: &ColumnShape, format: FileFormat) -> Vec<Vec<String>> {
    match &column.from {
        Some(FieldFrom::Field(from)) => vec![segments(from, format)],
        Some(FieldFrom::Point { lon, lat }) => vec![segments(lon, format), segments(lat, format)],
        None if format == FileFormat::Geojson && matches!(column.kind, Kind::Geometry { .. }) => {
            vec![vec!["geometry".to_owned()]]
        }
        None => vec![segments(&column.name, format)],
    }
}

fn point<'v>(
    srid: Option<&str>,
    lon: std::result::Result<Field<'v>, String>,
    lat: std::result::Result<Field<'v>, String>,
) -> std::result::Result<Option<Cow<'v, str>>, String> {
    match (Kind::coordinate(lon?)?, Kind::coordinate(lat?)?) {
        (Some(lon), Some(lat)) => Ok(Some(geojson::point(lon, lat, srid).into())),
        (None, None) => Ok(None),
        _ => Err("only one of its two coordinates is there".to_owned()),
    }
}

fn disk(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Disk, "rejected records cannot be kept").with_source(error)
}

/// The value to which the steps lead.
fn find<'v>(members: &[(String, &'v RawValue)], steps: &[String]) -> std::result::Result<Field<'v>, String> {
    let Some((first, rest)) = steps.split_first() else { return Ok(Field::Nothing) };
    let Some((_, raw)) = members.iter().find(|(name, _)| name == first) else { return Ok(Field::Nothing) };
    below(raw, rest)
}

fn below<'v>(raw: &'v RawValue, steps: &[String]) -> std::result::Result<Field<'v>, String> {
    let Some((first, rest)) = steps.split_first() else { return Ok(Field::Json(raw)) };
    match raw.get().as_bytes().first() {
        Some(b'{') => match sound::members(raw.get())?.into_iter().find(|(name, _)| name == first) {
            Some((_, raw)) => below(raw, rest),
            None => Ok(Field::Nothing),
        },
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| "JSON".to_owned())?;
            match first.parse::<usize>().ok().and_then(|at| items.get(at)) {
                Some(raw) => below(raw, rest),
                None => Ok(Field::Nothing),
            }
        }
        _ => Ok(Field::Nothing),
    }
}

impl Taker for Rows<'_> {
    fn json(&mut self, spot: &Spot, raw: &RawValue) -> Result<()> {
        self.total += 1;
        let Ok(Members(members)) = serde_json::from_str(raw.get()) else {
            return self.reject(spot, &[Problem::new("", "type object")], || raw.get().to_owned());
        };
        let mut problems = match &self.shape.schema {
            Some(schema) if self.compared => match serde_json::from_str::<Value>(raw.get()) {
                Ok(value) => schema.problems(&value),
                Err(_) => vec![Problem::new("", "JSON: a number, a text or its depth is out of range")],
            },
            _ => Vec::new(),
        };
        if let Err(rule) = sound::without_nul(&spot.text()) {
            problems.push(Problem::new("", rule));
        }
        let mut names = BTreeSet::new();
        for (name, _) in &members {
            if !names.insert(name.as_str()) {
                problems.push(Problem::new(step(name), "a member only once"));
            }
            if !self.taken.contains(name) && self.unknown.len() <= 1_000 {
                self.unknown.insert(name.clone());
            }
        }
        let values = self.values(|steps| find(&members, steps), &mut problems);
        if problems.is_empty() {
            return self.emit(spot, &values);
        }
        self.reject(spot, &problems, || raw.get().to_owned())
    }

    fn broken(&mut self, spot: &Spot, line: &str) -> Result<()> {
        self.total += 1;
        self.reject(spot, &[Problem::new("", "JSON")], || Value::from(line).to_string())
    }

    fn header(&mut self, names: &csv::StringRecord) -> Result<()> {
        let fail = |text: String| {
            Err(Error::new(ErrorKind::Data, format!("file `{}`: {text}", self.path)).with_hint(
                "none of its records was loaded; correct the first line of the file, or `from` under `[table.columns]`",
            ))
        };
        for (at, name) in names.iter().enumerate() {
            if self.places.insert(name.to_owned(), at).is_some() {
                return fail(format!("its first line names `{name}` twice"));
            }
        }
        let wanted: Vec<&String> = self.steps.iter().flatten().filter_map(|steps| steps.first()).collect();
        let missing: Vec<String> =
            wanted.iter().filter(|name| !self.places.contains_key(**name)).map(|name| format!("`{name}`")).collect();
        if !missing.is_empty() {
            let other = [";", "\t", "|"].into_iter().find(|other| names.len() == 1 && names[0].contains(other));
            let split = other.map_or_else(String::new, |other| {
                format!(": its fields are split by `{}`, and a CSV has commas", other.escape_debug())
            });
            return fail(format!("its first line does not name {}{split}", missing.join(", ")));
        }
        self.unknown = names.iter().filter(|name| !self.taken.contains(*name)).map(str::to_owned).collect();
        self.header = names.clone();
        Ok(())
    }

    fn csv(&mut self, spot: &Spot, fields: &csv::StringRecord) -> Result<()> {
        self.total += 1;
        let object = || {
            let members = self.header.iter().zip(fields).map(|(name, text)| (name.to_owned(), Value::from(text)));
            Value::Object(members.collect::<Map<String, Value>>()).to_string()
        };
        if fields.len() != self.header.len() {
            let rule = format!("{} fields, and the first line names {}", fields.len(), self.header.len());
            let record = object();
            return self.reject(spot, &[Problem::new("", rule)], || record);
        }
        let record = object();
        let mut problems = match &self.shape.schema {
            Some(schema) => {
                let members = self.header.iter().zip(fields).filter(|(_, text)| !text.is_empty());
                let members = members.map(|(name, text)| (name.to_owned(), schema.value_of(name, text)));
                schema.problems(&Value::Object(members.collect()))
            }
            None => Vec::new(),
        };
        let find = |steps: &[String]| {
            let at = steps.first().and_then(|name| self.places.get(name));
            let text = at.and_then(|at| fields.get(*at)).filter(|text| !text.is_empty());
            Ok(text.map_or(Field::Nothing, Field::Text))
        };
        let values = self.values(find, &mut problems);
        if problems.is_empty() {
            return self.emit(spot, &values);
        }
        self.reject(spot, &problems, || record)
    }
}
