//! `run`.

use dwh_core::{Pipeline, RunRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::RunReport;

/// Extract, load and archive the tables that match.
pub fn run(engine: Pipeline, request: RunRequest) -> Call {
    Call::new(|cancel| async move { engine.run(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: dwh_core::RunReport) -> PyResult<Py<PyAny>> {
    let failures = failures_of(&report.runs);
    conclude(py, RunReport(report), failures)
}
