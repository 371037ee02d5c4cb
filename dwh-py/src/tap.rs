//! `tap`.

use dwh_core::operate::{self, LoadType, TapRequest};
use dwh_core::pipeline::{ErrorReport, TableTrial};
use dwh_core::{Error, ErrorKind, Pipeline};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::error;
use crate::report::TapReport;
use crate::verify::failure;

/// The load type of a word.
pub fn load_type(py: Python<'_>, word: &str) -> PyResult<LoadType> {
    LoadType::ALL.into_iter().find(|known| known.as_str() == word).ok_or_else(|| {
        let known = LoadType::ALL.map(LoadType::as_str).join("`, `");
        let unknown = Error::new(ErrorKind::Config, format!("`{word}` is no load type"));
        error::raise(py, &unknown.with_hint(format!("write one of `{known}`")))
    })
}

/// Do with the tables of a manifest what the load type says.
pub fn tap(engine: Pipeline, request: TapRequest) -> Call {
    Call::new(|cancel| async move { engine.tap(&request, &cancel).await }, answer)
}

/// What is wrong with a trial: the counts alone, since keys are values of rows.
fn refused(test: &TableTrial) -> Option<ErrorReport> {
    if test.refused.is_empty() {
        return test.error.clone();
    }
    let message = format!("table `{}`: bronze would refuse {} rows or more", test.table, test.refused.len());
    Some(error::found("data", message, "`report` names their keys".to_owned()))
}

fn answer(py: Python<'_>, report: operate::TapReport) -> PyResult<Py<PyAny>> {
    let compared = report.verify.iter().flat_map(|report| &report.tables).filter_map(failure);
    let tried = report.tests.iter().filter_map(refused);
    let failures = failures_of(&report.runs).into_iter().chain(tried).chain(compared).collect();
    conclude(py, TapReport(report), failures)
}
