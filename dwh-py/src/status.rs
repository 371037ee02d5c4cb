//! `Pipeline.status`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::StatusReport;
use crate::runtime::block_on_or_drop;

/// Whether all is well, and what needs attention.
pub fn status(pipeline: &Pipeline, py: Python<'_>) -> PyResult<StatusReport> {
    let engine = pipeline.engine(py)?;
    block_on_or_drop(py, async move { engine.status().await }).map(StatusReport)
}
