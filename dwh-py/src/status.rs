//! `Pipeline.status`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::StatusReport;
use crate::runtime::block_on_or_drop;

/// Freshness, lag and failures of every table.
pub fn status(pipeline: &Pipeline, py: Python<'_>) -> PyResult<StatusReport> {
    let engine = pipeline.engine(py)?;
    block_on_or_drop(py, async move { engine.status().await }).map(StatusReport)
}
