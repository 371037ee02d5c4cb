//! One file on its way: read on a thread that may wait, and handed on as CSV.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::decode::{Decoding, Raw};
use super::place::{self, Opened, Place};
use super::problem::{Problem, Problems, Spot};
use super::records;
use super::row::Rows;
use super::shape::{Shape, segments};
use crate::config::{FileFormat, OnInvalid, Validate};
use crate::error::{Error, ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::source::{Reading, Snapshot, SourceIdentity};
use crate::watermark::Timestamp;

/// Pieces of the CSV that may wait for whoever takes them.
const PIECES: usize = 4;

/// A file on its way.
struct FileReading {
    snapshot: Snapshot,
    place: Place,
    /// As it was when it was opened.
    listed: RawFile,
    statement: String,
    pieces: mpsc::Receiver<Bytes>,
    task: JoinHandle<Result<Outcome>>,
    outcome: Option<Outcome>,
}

/// What became of a file.
struct Outcome {
    file: RawFile,
    warnings: Vec<String>,
    rejected: Option<File>,
}

/// Begins to read a file, whose lines get these columns.
pub(super) async fn open(
    place: &Place,
    file: &RawFile,
    shape: Arc<Shape>,
    columns: Vec<String>,
    identity: SourceIdentity,
) -> Result<Box<dyn Reading>> {
    let format = shape.format(&file.path)?;
    let opened = place.read(file).await?;
    let (send, pieces) = mpsc::channel(PIECES);
    let (statement, listed) = (format!("file {}", file.path), opened.file.clone());
    let task = tokio::task::spawn_blocking(move || work(opened, &shape, &columns, format, &send));
    let snapshot = Snapshot::new(Timestamp::now(), 0, 0, identity);
    Ok(Box::new(FileReading { snapshot, place: place.clone(), listed, statement, pieces, task, outcome: None }))
}

#[async_trait]
impl Reading for FileReading {
    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn high(&self) -> Option<Timestamp> {
        None
    }

    async fn late_rows(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn statement(&self) -> Option<&str> {
        Some(&self.statement)
    }

    fn file(&self) -> Option<RawFile> {
        self.outcome.as_ref().map(|outcome| outcome.file.clone())
    }

    fn warnings(&self) -> Vec<String> {
        self.outcome.as_ref().map(|outcome| outcome.warnings.clone()).unwrap_or_default()
    }

    fn rejected(&mut self) -> Option<File> {
        self.outcome.as_mut().and_then(|outcome| outcome.rejected.take())
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(piece) = self.pieces.recv().await {
            return Ok(Some(piece));
        }
        if self.outcome.is_none() {
            let stopped = |error| Error::new(ErrorKind::Internal, "the read of a file stopped").with_source(error);
            let outcome = (&mut self.task).await.map_err(stopped)?;
            // A file that was changed under way may be broken only for that.
            self.place.unchanged(&self.listed).await?;
            let outcome = outcome?;
            self.outcome = Some(outcome);
        }
        Ok(None)
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn work(
    opened: Opened,
    shape: &Shape,
    columns: &[String],
    format: FileFormat,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<Outcome> {
    let path = opened.file.path.clone();
    let stopped = || Error::new(ErrorKind::Interrupted, "nobody takes the rows of the file any more");
    let mut send = |piece: Vec<u8>| pieces.blocking_send(Bytes::from(piece)).map_err(|_| stopped());
    let mut rows = Rows::new(shape, columns, &path, format, &mut send)?;
    let mut reader = Decoding::new(Raw::new(opened.bytes), shape.table.encoding, &path);
    let read = take_all(&mut reader, shape, format, &path, &mut rows);
    // What the parser says of an error of the reader only stands for it.
    if let Some(error) = reader.fault() {
        return Err(error);
    }
    read?;
    rows.finish()?;
    let file = RawFile { sha256: Some(reader.raw().sha256()), rejected: rows.problems.records, ..opened.file };
    if reader.raw().size() != file.bytes {
        return Err(place::changed(&file));
    }
    let warnings = rows.warnings();
    judge(&rows, shape, &path, &warnings)?;
    Ok(Outcome { file, warnings, rejected: rows.rejected()? })
}

/// Reads all records.
fn take_all(reader: &mut Decoding, shape: &Shape, format: FileFormat, path: &str, rows: &mut Rows<'_>) -> Result<()> {
    let default = if format == FileFormat::Geojson { "/features" } else { "" };
    let pointer = shape.table.records.as_deref().unwrap_or(default);
    let steps = if pointer.is_empty() { Vec::new() } else { segments(pointer, FileFormat::Json) };
    match format {
        FileFormat::Json | FileFormat::Geojson => match &shape.schema {
            Some(schema) if shape.table.validate == Validate::Document => {
                let mut text = String::new();
                reader.read_to_string(&mut text).map_err(|error| place::unread(path, error))?;
                let value: Value = serde_json::from_str(&text).map_err(|error| records::no_json(path, &error))?;
                let problems = schema.problems(&value);
                drop(value);
                if !problems.is_empty() {
                    return Err(of_document(path, &problems, &schema.name));
                }
                records::json(text.as_bytes(), &steps, path, rows)?;
            }
            _ => records::json(&mut *reader, &steps, path, rows)?,
        },
        FileFormat::Jsonl => records::lines(reader, path, rows)?,
        FileFormat::Csv => {
            records::csv(&mut *reader, path, rows)?;
            if reader.is_quote_open() {
                return Err(Error::new(
                    ErrorKind::Data,
                    format!("file `{path}`: a double quote is opened and not closed"),
                )
                .with_hint(
                    "none of its records was loaded; the file was cut off, or a quote within a field is not doubled",
                ));
            }
        }
    }
    // Blanks behind the last record are a part of the file, and of its checksum.
    std::io::copy(reader, &mut std::io::sink()).map_err(|error| place::unread(path, error)).map(drop)
}

fn of_document(path: &str, problems: &[Problem], schema: &str) -> Error {
    let mut all = Problems::default();
    all.add(&Spot::Pointer(String::new()), problems);
    Error::new(ErrorKind::Data, format!("file `{path}` is not valid: {all}")).with_hint(format!(
        "none of its records was loaded; correct the file where it comes from, or `{schema}`, and the next `dwh run` reads it again"
    ))
}

/// Refuses what must not be loaded.
fn judge(rows: &Rows<'_>, shape: &Shape, path: &str, warnings: &[String]) -> Result<()> {
    let rejected = rows.problems.records;
    let schema = shape.schema.as_ref().map(|schema| schema.name.as_str());
    let none_left = rejected > 0 && rejected == rows.total;
    if rejected > 0 && (shape.table.on_invalid == OnInvalid::RejectFile || none_left) {
        return Err(rows.problems.error(path, rows.total, schema));
    }
    if rows.total == 0 && !shape.allow_empty {
        return Err(Error::new(ErrorKind::Data, format!("file `{path}` holds no record")).with_hint(
            "nothing was loaded, and rows of an older version of it stay; if it is meant to be empty, write `allow_empty = true` \
             under the table",
        ));
    }
    match warnings {
        [first, ..] if shape.table.fail_on_warning => Err(Error::new(ErrorKind::Data, first)
            .with_hint("`fail_on_warning` is on: name a column for it under `[table.columns]`, or switch it off")),
        _ => Ok(()),
    }
}
