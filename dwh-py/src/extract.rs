//! `extract`.

use dwh_core::Pipeline;
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::LoadParams;

/// Extract the next window of one table.
pub fn extract(engine: Pipeline, table: String, wait: bool) -> Call {
    Call::new(|cancel| async move { engine.extract(&table, wait, &cancel).await }, answer)
}

fn answer(py: Python<'_>, params: dwh_core::LoadParams) -> PyResult<Py<PyAny>> {
    conclude(py, LoadParams(params), Vec::new())
}
