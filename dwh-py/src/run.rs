//! `run`.

use dwh_core::{Pipeline, RunRequest};
use pyo3::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::call::{Call, conclude, failures_of};
use crate::report::RunReport;

/// Extract, load and archive the tables that match.
pub fn run(engine: Pipeline, request: RunRequest, models: bool) -> Call {
    let work = move |cancel: CancellationToken| async move {
        let report = match models {
            true => engine.run_with_models(&request, &cancel).await?,
            false => engine.run(&request, &cancel).await?,
        };
        if !request.preview {
            tokio::select! {
                () = engine.alert_after_run(&request.tables) => {}
                () = cancel.cancelled() => {}
            }
        }
        Ok(report)
    };
    Call::new(work, answer)
}

fn answer(py: Python<'_>, report: dwh_core::RunReport) -> PyResult<Py<PyAny>> {
    let mut failures = failures_of(&report.runs);
    failures.extend(report.models.iter().filter_map(|model| model.error.clone()));
    conclude(py, RunReport(report), failures)
}
