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
    let told = |message: &str, hint: &str| ErrorReport::new(kind.code, message, hint, kind.exit_code);
    let refused = report.refused.iter().map(|found| {
        let kind = found.not_asked().map_or(kind, ErrorKind::row);
        let message = format!("{} ({})", found.cause, found.tables_told());
        ErrorReport::new(kind.code, message, &found.hint, kind.exit_code)
    });
    let conflicts = report.conflicts.iter().map(|found| told(&found.message, &found.hint));
    let left = report.drift_left.iter().map(|left| {
        let kind = ErrorKind::Drift.row();
        let message = format!("table `{}`: {}", left.table, left.message);
        ErrorReport::new(kind.code, message, &left.remedy, kind.exit_code)
    });
    let failures = refused.chain(conflicts).chain(left).collect();
    conclude(py, MigrateReport(report), failures)
}
