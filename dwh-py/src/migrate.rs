//! `Pipeline.migrate`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::MigrateReport;
use crate::runtime::block_on_or_drop;

/// Create control schema, roles, views and bronze tables, or assert them.
pub fn migrate(pipeline: &Pipeline, py: Python<'_>) -> PyResult<MigrateReport> {
    let engine = pipeline.engine(py)?;
    block_on_or_drop(py, async move { engine.migrate().await }).map(MigrateReport)
}
