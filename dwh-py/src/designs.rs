//! The verbs about table designs.

use dwh_core::Pipeline;
use dwh_core::operate::{self, DesignRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::DesignReport;

/// Write a design for each table.
pub fn pull_designs(engine: Pipeline, request: DesignRequest) -> Call {
    Call::or_drop(async move { engine.pull_designs(&request).await }, answer)
}

/// Compare the designs with the tables that are there.
pub fn diff_designs(engine: Pipeline, request: DesignRequest) -> Call {
    Call::or_drop(async move { engine.diff_designs(&request).await }, answer)
}

fn answer(py: Python<'_>, report: operate::DesignReport) -> PyResult<Py<PyAny>> {
    let failures = report.failures();
    conclude(py, DesignReport(report), failures)
}
