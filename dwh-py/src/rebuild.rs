//! `rebuild`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, RebuildRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::RebuildReport;

/// Make bronze and control schema anew from the blobs.
pub fn rebuild(engine: Pipeline, request: RebuildRequest) -> Call {
    Call::new(|cancel| async move { engine.rebuild(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::RebuildReport) -> PyResult<Py<PyAny>> {
    let failures = report.tables.iter().filter_map(|table| table.error.clone()).collect();
    conclude(py, RebuildReport(report), failures)
}
