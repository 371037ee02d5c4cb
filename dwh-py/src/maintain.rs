//! `maintain`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, MaintainRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::MaintainReport;

/// Do what a warehouse wants done from time to time.
pub fn maintain(engine: Pipeline, request: MaintainRequest) -> Call {
    Call::new(|cancel| async move { engine.maintain(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: operate::MaintainReport) -> PyResult<Py<PyAny>> {
    let failures = report.steps.iter().filter_map(|step| step.error.clone()).collect();
    conclude(py, MaintainReport(report), failures)
}
