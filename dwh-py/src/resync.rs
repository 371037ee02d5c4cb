//! `resync`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, ResyncRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::ResyncReport;

/// Read tables anew as a whole, beside bronze, and put them in its place.
pub fn resync(engine: Pipeline, request: ResyncRequest) -> Call {
    Call::new(|cancel| async move { engine.resync(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::ResyncReport) -> PyResult<Py<PyAny>> {
    let failures = report.tables.iter().flat_map(|table| failures_of(&table.runs)).collect();
    conclude(py, ResyncReport(report), failures)
}
