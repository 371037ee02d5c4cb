//! `run_details`: the command's `runs show`.

use dwh_core::{Pipeline, RunId, operate};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::RunDetails;

/// Everything that is known of one run.
pub fn run_details(engine: Pipeline, run_id: i64) -> Call {
    Call::or_drop(async move { engine.run_details(RunId(run_id)).await }, answer)
}

fn answer(py: Python<'_>, details: operate::RunDetails) -> PyResult<Py<PyAny>> {
    conclude(py, RunDetails(details), Vec::new())
}
