//! `Pipeline.extract`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::LoadParams;
use crate::runtime::block_on;

/// Extract the next window of one table; what comes back is what `load` takes.
pub fn extract(pipeline: &Pipeline, py: Python<'_>, table: &str, wait: bool) -> PyResult<LoadParams> {
    let engine = pipeline.engine(py)?;
    block_on(py, |cancel| async move { engine.extract(table, wait, &cancel).await }).map(LoadParams)
}
