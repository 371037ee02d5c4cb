//! Runs calls for Python: without the GIL, safe after a fork, and open to Ctrl-C.

use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

use crate::call::{Call, Ended};
use crate::exit::{self, Door};
use crate::per_process::PerProcess;
use crate::{error, told};

static RUNTIME: PerProcess<Arc<Runtime>> = PerProcess::new();

/// This process's runtime.
pub fn runtime(py: Python<'_>) -> PyResult<Arc<Runtime>> {
    RUNTIME.get(py, || Ok(Arc::new(Runtime::new().map_err(|error| error::internal(&error))?)))
}

/// Makes a call without the GIL. The first Ctrl-C cancels its token and waits for the work to stop, the second drops
/// it; both end in Python's own `KeyboardInterrupt`, which carries the report of what was done until then.
pub fn block_on(py: Python<'_>, call: Call) -> PyResult<Py<PyAny>> {
    let (runtime, door) = (runtime(py)?, exit::door(py)?);
    let (done, _inside) = py.detach(|| (runtime.block_on(watched(call, &door)), door.enter_or_stay()));
    let told = told::deliver(py);
    let (ended, signal) = done?;
    match signal.or(told.err()) {
        None => ended(py),
        Some(signal) => Err(with_report(py, signal, ended(py))),
    }
}

/// The exception of a signal with what the call would have returned.
fn with_report(py: Python<'_>, signal: PyErr, ended: PyResult<Py<PyAny>>) -> PyErr {
    let report = match ended {
        Ok(report) => Some(report),
        Err(error) => error.value(py).getattr("report").ok().map(Bound::unbind),
    };
    // An exception without room for it says all the same that the call was interrupted.
    let _given = signal.value(py).setattr("report", report);
    signal
}

async fn watched(call: Call, door: &Arc<Door>) -> PyResult<(Ended, Option<PyErr>)> {
    let Call { mut work, cancel } = call;
    let mut interrupted = None;
    loop {
        tokio::select! {
            ended = &mut work => return Ok((ended, interrupted)),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = told::news() => {}
        }
        let Some(_inside) = door.enter() else { continue };
        // Without an interpreter there are no signals any more.
        let looked = Python::try_attach(|py| told::deliver(py).and_then(|()| py.check_signals()));
        if let Some(Err(signal)) = looked {
            if interrupted.is_some() {
                return Err(signal);
            }
            cancel.cancel();
            interrupted = Some(signal);
        }
    }
}
