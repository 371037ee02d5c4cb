//! `backfill`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, BackfillRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::BackfillReport;

/// Read a range of history again.
pub fn backfill(engine: Pipeline, request: BackfillRequest) -> Call {
    Call::new(|cancel| async move { engine.backfill(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::BackfillReport) -> PyResult<Py<PyAny>> {
    let failures = failures_of(&report.runs);
    conclude(py, BackfillReport(report), failures)
}
