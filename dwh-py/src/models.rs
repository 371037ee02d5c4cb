//! The verbs about models.

use dwh_core::Pipeline;
use dwh_core::operate::{self, ModelsRequest};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::{ModelList, ModelsReport};

/// The models, and how they stand.
pub fn list_models(engine: Pipeline, models: Vec<String>) -> Call {
    Call::or_drop(async move { engine.list_models(&models).await }, |py, list| {
        conclude(py, ModelList(list), Vec::new())
    })
}

/// Build models.
pub fn run_models(engine: Pipeline, request: ModelsRequest) -> Call {
    Call::new(|cancel| async move { engine.run_models(&request, &cancel).await }, answer)
}

/// The bronze tables as sources of dbt.
pub fn dbt_sources(engine: Pipeline, tables: Vec<String>) -> Call {
    Call::or_drop(async move { engine.dbt_sources(&tables).await }, |py, text| text.into_py_any(py))
}

fn answer(py: Python<'_>, report: operate::ModelsReport) -> PyResult<Py<PyAny>> {
    let failures = report.models.iter().filter_map(|model| model.error.clone()).collect();
    conclude(py, ModelsReport(report), failures)
}
