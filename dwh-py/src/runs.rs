//! `runs`.

use dwh_core::sink::{self, RunFilter};
use dwh_core::{Error, ErrorKind, Pipeline, RunId, RunKind, RunState};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::error;
use crate::report::RunRecord;

/// Rows of the run log, newest first.
pub fn runs(engine: Pipeline, filter: RunFilter) -> Call {
    let work = async move {
        if let Some(table) = &filter.table {
            engine.config().table(table)?;
        }
        engine.runs(&filter).await
    };
    Call::or_drop(work, answer)
}

/// The filter of Python's arguments.
pub fn filter(
    py: Python<'_>,
    table: Option<String>,
    run_id: Option<i64>,
    kind: Option<&str>,
    states: &[String],
    limit: Option<u32>,
) -> PyResult<RunFilter> {
    let known = |word: &str, what: &str, words: Vec<&str>| {
        let error = Error::new(ErrorKind::Config, format!("`{word}` is no {what} of a run"));
        error::raise(py, &error.with_hint(format!("one of `{}`", words.join("`, `"))))
    };
    let kind_of =
        |word: &str| RunKind::parse(word).map_err(|_| known(word, "kind", RunKind::ALL.map(RunKind::as_str).to_vec()));
    let state_of = |word: &String| {
        RunState::parse(word).map_err(|_| known(word, "state", RunState::ALL.map(RunState::as_str).to_vec()))
    };
    Ok(RunFilter {
        run_id: run_id.map(RunId),
        table,
        kind: kind.map(kind_of).transpose()?,
        states: states.iter().map(state_of).collect::<PyResult<_>>()?,
        limit,
    })
}

fn answer(py: Python<'_>, runs: Vec<sink::RunRecord>) -> PyResult<Py<PyAny>> {
    conclude(py, runs.into_iter().map(RunRecord).collect::<Vec<_>>(), Vec::new())
}
