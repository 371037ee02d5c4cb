//! `alert`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, AlertRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::AlertReport;

/// Send what is due to whoever is to be told.
pub fn alert(engine: Pipeline, request: AlertRequest) -> Call {
    Call::or_drop(async move { engine.alert(&request).await }, answer)
}

fn answer(py: Python<'_>, report: operate::AlertReport) -> PyResult<Py<PyAny>> {
    let failures = report.alerts.iter().filter_map(|alert| alert.error.clone()).collect();
    conclude(py, AlertReport(report), failures)
}
