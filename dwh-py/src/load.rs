//! `load`.

use dwh_core::{Error, ErrorKind, Pipeline, pipeline};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::{LoadParams, LoadPlanReport, TableRun};
use crate::{convert, error};

/// Load one CSV and archive it; `params` is what `extract` returned, or its dict.
pub fn load(engine: Pipeline, params: &Bound<'_, PyAny>, wait: bool, accept_unverified: bool) -> PyResult<Call> {
    let params = params_of(params)?;
    let work = |cancel| async move { engine.load(&params, wait, accept_unverified, &cancel).await };
    Ok(Call::new(work, answer))
}

/// What `load` would do with it; nothing is written.
pub fn plan_load(engine: Pipeline, params: &Bound<'_, PyAny>, accept_unverified: bool) -> PyResult<Call> {
    let params = params_of(params)?;
    let work = async move { engine.plan_load(&params, accept_unverified).await };
    Ok(Call::or_drop(work, |py, report| conclude(py, LoadPlanReport(report), Vec::new())))
}

fn answer(py: Python<'_>, run: pipeline::TableRun) -> PyResult<Py<PyAny>> {
    let failures = failures_of(std::slice::from_ref(&run));
    conclude(py, TableRun(run), failures)
}

fn params_of(params: &Bound<'_, PyAny>) -> PyResult<dwh_core::LoadParams> {
    if let Ok(params) = params.cast::<LoadParams>() {
        return Ok(params.get().0.clone());
    }
    let refused = |cause: serde_json::Error| {
        let error = Error::new(ErrorKind::Config, "`params` is not what `extract` returns").with_source(cause);
        error::raise(params.py(), &error.with_hint("pass what `extract` returned, or its `to_dict()`"))
    };
    serde_json::from_str(&convert::from_python(params)?).map_err(refused)
}
