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
    let failures = failures.collect();
    conclude(py, MigrateReport(report), failures)
}
