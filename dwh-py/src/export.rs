//! `export`.

use dwh_core::Pipeline;
use dwh_core::operate::{self, ExportRequest};
use pyo3::prelude::*;

use crate::call::{Call, conclude};
use crate::report::ExportReport;

/// Write the archive of a table as Parquet.
pub fn export(engine: Pipeline, request: ExportRequest) -> Call {
    Call::new(|cancel| async move { engine.export(&request, &cancel).await }, answer)
}

fn answer(py: Python<'_>, report: operate::ExportReport) -> PyResult<Py<PyAny>> {
    conclude(py, ExportReport(report), Vec::new())
}
