//! `Pipeline.load`.

use dwh_core::{Error, ErrorKind};
use pyo3::prelude::*;

use crate::pipeline::Pipeline;
use crate::report::{LoadParams, TableRun};
use crate::runtime::block_on;
use crate::{convert, error};

/// Load one CSV and archive it; one that is loaded already counts as done.
pub fn load(
    pipeline: &Pipeline,
    py: Python<'_>,
    params: &Bound<'_, PyAny>,
    wait: bool,
    accept_unverified: bool,
) -> PyResult<TableRun> {
    let params = params_of(params)?;
    let engine = pipeline.engine(py)?;
    let run = block_on(py, |cancel| async move { engine.load(&params, wait, accept_unverified, &cancel).await })?;
    match &run.error {
        Some(failure) => Err(error::raise_report(py, failure)),
        None => Ok(TableRun(run)),
    }
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
