//! `runs`.

use dwh_core::sink::{self, RunFilter};
use dwh_core::{Error, ErrorKind, Pipeline, RunId, RunKind, RunState};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::error;
use crate::report::{Runs, RunsReport};

/// Rows of the run log of the tables that match, newest first.
pub fn runs(engine: Pipeline, tables: Vec<String>, mut filter: RunFilter) -> Call {
    let work = async move {
        if !tables.is_empty() {
            filter.tables = engine.tables(&tables).await?.into_iter().map(|table| table.name).collect();
        }
        engine.runs(&filter).await
    };
    Call::or_drop(work, answer)
}

/// The filter of Python's words.
pub fn filter(py: Python<'_>, run_id: Option<i64>, kind: Option<&str>, states: &[String]) -> PyResult<RunFilter> {
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
        kind: kind.map(kind_of).transpose()?,
        states: states.iter().map(state_of).collect::<PyResult<_>>()?,
        ..RunFilter::default()
    })
}

fn answer(py: Python<'_>, runs: Vec<sink::RunRecord>) -> PyResult<Py<PyAny>> {
    conclude(py, RunsReport(Runs { runs }), Vec::new())
}
