//! `deletes`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, DeletesRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::DeletesReport;

/// Mark or remove rows of bronze that the source has deleted.
pub fn deletes(engine: Pipeline, request: DeletesRequest) -> Call {
    Call::new(|cancel| async move { engine.deletes(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::DeletesReport) -> PyResult<Py<PyAny>> {
    let failures = report.tables.iter().filter_map(|table| table.error.clone()).collect();
    conclude(py, DeletesReport(report), failures)
}
