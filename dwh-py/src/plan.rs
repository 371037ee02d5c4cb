//! `Pipeline.plan`.

use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::PlanReport;
use crate::runtime::block_on_or_drop;

/// What the next run of each matching table would do; nothing is moved or written.
pub fn plan(pipeline: &Pipeline, py: Python<'_>, tables: Option<Vec<String>>) -> PyResult<Vec<PlanReport>> {
    let engine = pipeline.engine(py)?;
    let tables = tables.unwrap_or_default();
    let plans = block_on_or_drop(py, async move { engine.plan(&tables).await })?;
    Ok(plans.into_iter().map(PlanReport).collect())
}
