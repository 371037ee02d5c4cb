//! What is wrong with the records of a file: where, and which rule; never the value.

use jsonschema::error::ValidationErrorKind;
use std::fmt;

use crate::error::{Error, ErrorKind};

/// How many are told.
const TOLD: usize = 10;

/// A rule that a record breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// JSON pointer below the record.
    pub pointer: String,
    /// The rule.
    pub rule: String,
}

impl Problem {
    pub(super) fn new(pointer: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), rule: rule.into() }
    }

    /// What a JSON Schema says, without the value.
    pub(super) fn of_schema(error: &jsonschema::ValidationError<'_>) -> Self {
        Self::new(error.instance_path().as_str(), rule(error.kind()))
    }
}

/// The keyword, with what it asks for.
fn rule(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    let keyword = kind.keyword();
    match kind {
        Kind::Required { property } => format!("{keyword} `{}`", property.as_str().unwrap_or_default()),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names: Vec<String> = unexpected.iter().map(|name| format!("`{name}`")).collect();
            format!("{keyword} {}", names.join(", "))
        }
        Kind::Type { kind } => format!("{keyword} {}", types(kind)),
        Kind::Pattern { pattern } => format!("{keyword} `{pattern}`"),
        Kind::Format { format } => format!("{keyword} {format}"),
        Kind::Minimum { limit }
        | Kind::Maximum { limit }
        | Kind::ExclusiveMinimum { limit }
        | Kind::ExclusiveMaximum { limit } => format!("{keyword} {limit}"),
        Kind::MinLength { limit }
        | Kind::MaxLength { limit }
        | Kind::MinItems { limit }
        | Kind::MaxItems { limit }
        | Kind::MinProperties { limit }
        | Kind::MaxProperties { limit } => format!("{keyword} {limit}"),
        Kind::MultipleOf { multiple_of } => format!("{keyword} {multiple_of}"),
        _ => keyword.to_owned(),
    }
}

fn types(kind: &jsonschema::error::TypeKind) -> String {
    use jsonschema::error::TypeKind;
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

/// Where a record stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    /// A JSON pointer.
    Pointer(String),
    /// A line, from 1.
    Line(u64),
}

impl Spot {
    /// What stands in the column `_record`.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Pointer(pointer) => pointer.clone(),
            Self::Line(line) => line.to_string(),
        }
    }

    /// The place of something below the record.
    pub(super) fn below(&self, pointer: &str) -> String {
        match self {
            Self::Pointer(own) => format!("`{own}{pointer}`"),
            Self::Line(line) if pointer.is_empty() => format!("line {line}"),
            Self::Line(line) => format!("line {line} `{pointer}`"),
        }
    }
}

/// A name as one step of a JSON pointer.
pub(super) fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// All that is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Records that are not valid.
    pub records: u64,
    told: Vec<String>,
    more: u64,
}

impl Problems {
    /// A record with its problems.
    pub(super) fn add(&mut self, spot: &Spot, problems: &[Problem]) {
        self.records += 1;
        for problem in problems {
            if self.told.len() < TOLD {
                self.told.push(format!("{} {}", spot.below(&problem.pointer), problem.rule));
            } else {
                self.more += 1;
            }
        }
    }

    /// The error of a file with them.
    pub(super) fn error(&self, path: &str, total: u64, schema: Option<&str>) -> Error {
        let correct = match schema {
            Some(schema) => format!("correct the file where it comes from, or `{schema}`"),
            None => "correct the file where it comes from, or `[table.columns]`".to_owned(),
        };
        let message = format!("file `{path}`: {} of {total} records are not valid: {self}", self.records);
        Error::new(ErrorKind::Data, message).with_hint(format!(
            "none of its records was loaded; {correct}, and the next `dwh run` reads it again. \
             `on_invalid = \"reject_record\"` loads the others"
        ))
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told.join("; "))?;
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}
