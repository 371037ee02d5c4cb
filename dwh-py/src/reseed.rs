//! `reseed`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, ReseedRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::ReseedReport;

/// Read all history of the tables that match again.
pub fn reseed(engine: Pipeline, request: ReseedRequest) -> Call {
    Call::new(|cancel| async move { engine.reseed(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::ReseedReport) -> PyResult<Py<PyAny>> {
    let failures = report.tables.iter().flat_map(|table| failures_of(&table.runs)).collect();
    conclude(py, ReseedReport(report), failures)
}
