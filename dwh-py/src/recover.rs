//! `recover`.

use dwh_core::Pipeline;
use dwh_core::pipeline::{self, ErrorReport, Outcome, RecoverFinding, RecoverRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::error;
use crate::report::RecoverReport;

/// Mend what is stuck, or tell what is.
pub fn recover(engine: Pipeline, request: RecoverRequest) -> Call {
    Call::new(|cancel| async move { engine.recover(&request, &cancel).await }, answer)
}

/// What `set_aside` returns too.
pub fn answer(py: Python<'_>, report: pipeline::RecoverReport) -> PyResult<Py<PyAny>> {
    let unread = report.errors.iter().map(|error| error.error.clone());
    let failures = report.found.iter().filter_map(failure).chain(unread).collect();
    conclude(py, RecoverReport(report), failures)
}

/// What could not be mended, or waits for a person.
fn failure(found: &RecoverFinding) -> Option<ErrorReport> {
    if found.error.is_some() || found.outcome != Outcome::Person {
        return found.error.clone();
    }
    let place = found.table.as_ref().map(|table| format!("table `{table}`: ")).unwrap_or_default();
    let hint = found.hint.as_deref().unwrap_or("`report` has all that was found");
    Some(error::found("data", format!("{place}{}", found.message), hint))
}
