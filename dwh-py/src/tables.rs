//! Which tables a call is about: `None` is all of them, a text is one name or pattern, and an empty list is none.

use dwh_core::Pipeline;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::{Value, json};

use crate::call::{Call, conclude};

/// Names or patterns, as Python gives them.
pub enum Names {
    /// One of them.
    One(String),
    /// Any number.
    Many(Vec<String>),
}

// Not derived: that tries one after the other, and an error of the first makes the thread ask for the GIL anew.
impl<'py> FromPyObject<'_, 'py> for Names {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_instance_of::<PyString>() {
            value.extract().map(Self::One)
        } else {
            value.extract().map(Self::Many)
        }
    }
}

impl Names {
    /// Whether it is an empty list.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Many(names) if names.is_empty())
    }

    /// As a list.
    pub fn list(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        }
    }
}

/// What the engine is asked for: it takes an empty list for all. `None`: an empty list was given, and nothing is to be done.
pub fn chosen(names: impl Into<Option<Names>>) -> Option<Vec<String>> {
    match names.into().map(Names::list) {
        None => Some(Vec::new()),
        Some(names) if names.is_empty() => None,
        some => some,
    }
}

/// The names, or the end of the verb with a report of nothing, which has these values.
macro_rules! or_nothing {
    ($make:ident, $py:ident, $names:ident) => {
        let $names = match crate::tables::chosen($names) {
            Some(names) => names,
            None => return $make($py, crate::tables::nothing_at_all(Vec::<String>::new())),
        };
    };
    ($make:ident, $py:ident, $names:ident, $report:ident $(, $key:literal: $value:expr)*) => {
        let $names = match crate::tables::chosen($names) {
            Some(names) => names,
            None => {
                let values = [$(($key, serde_json::json!($value))),*];
                return $make($py, crate::tables::nothing(crate::report::$report::new, &values)?);
            }
        };
    };
    ($make:ident, $py:ident, $these:ident $those:ident, $($report:tt)*) => {
        or_nothing!($make, $py, $these, $($report)*);
        or_nothing!($make, $py, $those, $($report)*);
    };
}
pub(crate) use or_nothing;

/// Lists that reports have; each takes its own.
const LISTS: &[&str] = &[
    "alerts",
    "applied",
    "backup_tables",
    "designs",
    "errors",
    "files",
    "findings",
    "found",
    "in_the_way",
    "models",
    "notes",
    "plans",
    "present",
    "runs",
    "skipped",
    "steps",
    "tables",
    "tables_created",
    "tables_present",
    "tests",
    "unmatched",
    "views_left_behind",
];

/// A call about no table: its report has empty lists.
pub fn nothing<T>(report: impl FnOnce(&str) -> PyResult<T>, values: &[(&str, Value)]) -> PyResult<Call>
where
    T: for<'py> IntoPyObject<'py, Error: Into<PyErr>> + Send + 'static,
{
    let mut json = json!({ "dry_run": false, "preview": false });
    LISTS.iter().for_each(|list| json[list] = json!([]));
    values.iter().for_each(|(key, value)| json[key] = value.clone());
    Ok(nothing_at_all(report(&json.to_string())?))
}

/// The same, where the report is at hand.
pub fn nothing_at_all<T>(report: T) -> Call
where
    T: for<'py> IntoPyObject<'py, Error: Into<PyErr>> + Send + 'static,
{
    Call::or_drop(async move { Ok(report) }, |py, report| conclude(py, report, Vec::new()))
}

/// The names of the tables that match.
pub fn tables(engine: Pipeline, globs: Vec<String>) -> Call {
    let names = async move { Ok(engine.tables(&globs).await?.into_iter().map(|table| table.name).collect::<Vec<_>>()) };
    Call::or_drop(names, |py, names| conclude(py, names, Vec::new()))
}
