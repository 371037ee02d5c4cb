//! `check`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, Finding, Gate, Severity};
use dwh_core::pipeline::ErrorReport;
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::error;
use crate::report::CheckReport;

/// Look at everything a run depends on, or judge a gate.
pub fn check(engine: Pipeline, tables: Vec<String>, gate: Option<Gate>) -> Call {
    let look = async move {
        match gate {
            Some(gate) => engine.gate(gate, &tables).await,
            None => engine.check(&tables).await,
        }
    };
    Call::or_drop(look, answer)
}

fn answer(py: Python<'_>, report: operate::CheckReport) -> PyResult<Py<PyAny>> {
    let failures = report.findings.iter().filter(|found| found.severity == Severity::Failure).map(failure).collect();
    conclude(py, CheckReport(report), failures)
}

fn failure(found: &Finding) -> ErrorReport {
    let hint = found.remedy.as_deref().unwrap_or("`report` has all findings");
    error::found("check", format!("{}: {}", found.subject, found.message), hint)
}
