//! `migrate`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, MigrateRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::MigrateReport;

/// Create control schema, roles, views and bronze tables, or assert them.
pub fn migrate(engine: Pipeline, request: MigrateRequest) -> Call {
    Call::or_drop(async move { engine.migrate(&request).await }, answer)
}

fn answer(py: Python<'_>, report: operate::MigrateReport) -> PyResult<Py<PyAny>> {
    conclude(py, MigrateReport(report), Vec::new())
}
