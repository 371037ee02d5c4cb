//! A verb on its way: its work, the token that stops it, and how its end becomes Python's.

use dwh_core::pipeline::{ErrorReport, TableRun};
use dwh_core::{Error, ErrorKind, Result};
use pyo3::BoundObject;
use pyo3::prelude::*;
use std::future::Future;
use std::pin::Pin;
use tokio_util::sync::CancellationToken;

use crate::error;

/// The end of a call, to be made Python's with the GIL: a report, or an exception.
pub type Ended = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// Work that needs no GIL.
pub type Work = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// A verb with its arguments; nothing is done before its work is polled.
pub struct Call {
    /// What is to be done.
    pub work: Work,
    /// Asks the work to stop tidily.
    pub cancel: CancellationToken,
}

impl Call {
    /// Work that listens for the token. `answer` turns what the engine returned into what Python sees.
    pub fn new<T, F>(
        start: impl FnOnce(CancellationToken) -> F,
        answer: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let engine = start(cancel.clone());
        let work = Box::pin(async move {
            let ended = engine.await;
            Box::new(move |py: Python<'_>| match ended {
                Ok(value) => answer(py, value),
                Err(error) => Err(error::raise(py, &error)),
            }) as Ended
        });
        Self { work, cancel }
    }

    /// The same for work that does not listen: the token drops it, which leaves nothing half done.
    pub fn or_drop<T, F>(work: F, answer: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let start = |cancel: CancellationToken| async move {
            tokio::select! {
                ended = work => ended,
                () = cancel.cancelled() => Err(Error::new(ErrorKind::Interrupted, "the call was interrupted")),
            }
        };
        Self::new(start, answer)
    }
}

/// The report, or, where it tells of failures, their exception with the report: what makes the command end with a code
/// other than 0 makes a task of an orchestrator fail.
pub fn conclude<'py>(
    py: Python<'py>,
    report: impl IntoPyObject<'py, Error: Into<PyErr>>,
    failures: Vec<ErrorReport>,
) -> PyResult<Py<PyAny>> {
    let report = report.into_pyobject(py).map_err(Into::into)?.into_any().unbind();
    error::of_failures(py, failures, &report).map_or(Ok(report), Err)
}

/// What went wrong with these runs.
pub fn failures_of(runs: &[TableRun]) -> Vec<ErrorReport> {
    runs.iter().filter_map(|run| run.error.clone()).collect()
}
