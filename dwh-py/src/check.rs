//! `Pipeline.check`.

use dwh_core::pipeline::Gate;
use pyo3::prelude::*;

use crate::error;
use crate::pipeline::Pipeline;
use crate::report::CheckReport;
use crate::runtime::block_on_or_drop;

/// Look at everything a run depends on, or judge a gate; raises nothing for what is found, the findings tell.
pub fn check(pipeline: &Pipeline, py: Python<'_>, gate: Option<&str>) -> PyResult<CheckReport> {
    let gate = gate.map(Gate::parse).transpose().map_err(|error| error::raise(py, &error))?;
    let engine = pipeline.engine(py)?;
    let look = async move {
        Ok(match gate {
            Some(gate) => engine.gate(gate).await,
            None => engine.check().await,
        })
    };
    block_on_or_drop(py, look).map(CheckReport)
}
