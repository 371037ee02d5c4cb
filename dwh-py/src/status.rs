//! `status`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, Breach};
use dwh_core::pipeline::ErrorReport;
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::error;
use crate::report::StatusReport;

/// Whether all is well; with `check`, what needs attention is raised.
pub fn status(engine: Pipeline, tables: Vec<String>, check: bool) -> Call {
    Call::or_drop(async move { engine.status(&tables).await }, move |py, report| answer(py, report, check))
}

fn answer(py: Python<'_>, report: operate::StatusReport, check: bool) -> PyResult<Py<PyAny>> {
    let failures = report.breaches.iter().filter(|_| check).map(failure).collect();
    conclude(py, StatusReport(report), failures)
}

fn failure(breach: &Breach) -> ErrorReport {
    let place = breach.table.as_ref().map(|table| format!("table `{table}`: ")).unwrap_or_default();
    error::found("status", format!("{place}{}", breach.message), &breach.remedy)
}
