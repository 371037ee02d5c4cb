//! `Pipeline.check`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::CheckReport;
use crate::runtime::block_on_or_drop;

/// Look at everything a run depends on; raises nothing, the findings tell.
pub fn check(pipeline: &Pipeline, py: Python<'_>) -> PyResult<CheckReport> {
    let engine = pipeline.engine(py)?;
    block_on_or_drop(py, async move { Ok(engine.check().await) }).map(CheckReport)
}
