//! `status`.

use dwh_core::{Pipeline, pipeline};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::StatusReport;

/// Freshness, lag and failures of every table.
pub fn status(engine: Pipeline) -> Call {
    Call::or_drop(async move { engine.status().await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::StatusReport) -> PyResult<Py<PyAny>> {
    conclude(py, StatusReport(report), Vec::new())
}
