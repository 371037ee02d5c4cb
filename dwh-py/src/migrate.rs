//! `Pipeline.migrate`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::MigrateReport;
use crate::runtime::block_on;

/// Create control schema, roles, views and bronze tables, or assert them.
pub fn migrate(pipeline: &Pipeline, py: Python<'_>) -> PyResult<MigrateReport> {
    let engine = pipeline.engine(py)?;
    block_on(py, |_| async move { engine.migrate().await }).map(MigrateReport)
}
