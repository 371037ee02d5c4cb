//! `Pipeline.status`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::StatusReport;
use crate::runtime::block_on;

/// Freshness, lag and failures of every table.
pub fn status(pipeline: &Pipeline, py: Python<'_>) -> PyResult<StatusReport> {
    let engine = pipeline.engine(py)?;
    block_on(py, |_| async move { engine.status().await }).map(StatusReport)
}
