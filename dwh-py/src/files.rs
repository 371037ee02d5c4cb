//! The verbs about raw files.

use dwh_core::operate::{self, FilesRequest};
use dwh_core::{Pipeline, RunId, RunRequest, pipeline};
use pyo3::prelude::*;

use crate::call::{Call, conclude, failures_of};
use crate::report::{FilesReport, RestoreReport, RunReport};

/// Every file, and where it stands.
pub fn list_files(engine: Pipeline, request: FilesRequest) -> Call {
    Call::or_drop(async move { engine.list_files(&request).await }, |py, report| {
        conclude(py, FilesReport(report), Vec::new())
    })
}

/// Which files are valid.
pub fn validate_files(engine: Pipeline, request: FilesRequest) -> Call {
    Call::or_drop(async move { engine.validate_files(&request).await }, answer)
}

/// Move old files away.
pub fn archive_files(engine: Pipeline, before: String, request: FilesRequest, dry_run: bool) -> Call {
    Call::or_drop(async move { engine.archive_files(&before, &request, dry_run).await }, answer)
}

/// Read files again.
pub fn reprocess_files(engine: Pipeline, paths: Vec<String>, request: RunRequest) -> Call {
    Call::new(
        |cancel| async move { engine.reprocess_files(&paths, &request, &cancel).await },
        |py, report| {
            let failures = failures_of(&report.runs);
            conclude(py, RunReport(report), failures)
        },
    )
}

/// Undo the newest load of a file.
pub fn restore_file(engine: Pipeline, run: RunId, dry_run: bool) -> Call {
    Call::new(
        move |cancel| async move { engine.restore_file(run, dry_run, &cancel).await },
        |py, report: pipeline::RestoreReport| {
            let failures = report.run.iter().filter_map(|run| run.error.clone()).collect();
            conclude(py, RestoreReport(report), failures)
        },
    )
}

fn answer(py: Python<'_>, report: operate::FilesReport) -> PyResult<Py<PyAny>> {
    let failures = report.files.iter().filter_map(|file| file.error.clone()).collect();
    conclude(py, FilesReport(report), failures)
}
