//! `replay`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, ReplayRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::ReplayReport;

/// Load archived CSV files again.
pub fn replay(engine: Pipeline, request: ReplayRequest) -> Call {
    Call::new(|cancel| async move { engine.replay(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::ReplayReport) -> PyResult<Py<PyAny>> {
    let failures = failures_of(&report.runs);
    conclude(py, ReplayReport(report), failures)
}
