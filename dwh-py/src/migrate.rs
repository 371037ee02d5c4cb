//! `migrate`.

use dwh_core::operate::{self, MigrateRequest};
use dwh_core::pipeline::ErrorReport;
use dwh_core::{ErrorKind, Pipeline};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::MigrateReport;

/// Create control schema, roles, views and bronze tables, or assert them.
pub fn migrate(engine: Pipeline, request: MigrateRequest) -> Call {
    Call::or_drop(async move { engine.migrate(&request).await }, answer)
}

fn answer(py: Python<'_>, report: operate::MigrateReport) -> PyResult<Py<PyAny>> {
    let kind = ErrorKind::Contract.row();
    let failures =
        report.conflicts.iter().map(|found| ErrorReport::new(kind.code, &found.message, &found.hint, kind.exit_code));
    let left = report.drift_left.iter().map(|left| {
        let kind = ErrorKind::Drift.row();
        let message = format!("table `{}`: {}", left.table, left.message);
        ErrorReport::new(kind.code, message, &left.remedy, kind.exit_code)
    });
    let failures = failures.chain(left).collect();
    conclude(py, MigrateReport(report), failures)
}
