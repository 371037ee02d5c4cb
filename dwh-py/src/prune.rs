//! `prune`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, PruneRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::PruneReport;

/// Remove what retention lets go.
pub fn prune(engine: Pipeline, request: PruneRequest) -> Call {
    Call::new(|cancel| async move { engine.prune(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: pipeline::PruneReport) -> PyResult<Py<PyAny>> {
    let failures = report.tables.iter().filter_map(|table| table.error.clone()).collect();
    conclude(py, PruneReport(report), failures)
}
