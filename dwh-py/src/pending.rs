//! Calls for asyncio: begun when they are awaited, told of their end through the loop, stopped with their task.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::task::{AbortHandle, JoinError};
use tokio_util::sync::CancellationToken;

use crate::call::{Call, Work};
use crate::exit::{self, Door};
use crate::runtime::runtime;
use crate::{error, told};

/// The coroutine that makes a call.
pub fn awaitable(py: Python<'_>, call: Call) -> PyResult<Py<PyAny>> {
    let pending = Pending { work: Mutex::new(Some(call.work)), cancel: call.cancel, begun: OnceLock::new() };
    Ok(py.import("dwh._asyncio")?.call_method1("drive", (pending,))?.unbind())
}

/// A call in the hands of `dwh._asyncio.drive`.
#[pyclass(frozen, module = "dwh._dwh")]
struct Pending {
    work: Mutex<Option<Work>>,
    cancel: CancellationToken,
    /// The process that began it, and what drops it there.
    begun: OnceLock<(u32, AbortHandle)>,
}

#[pymethods]
impl Pending {
    /// Begins the work; `done(report, exception)` is called from another thread when it has ended, unless it was dropped.
    fn begin(&self, py: Python<'_>, done: Py<PyAny>) -> PyResult<()> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = work.ok_or_else(|| PyRuntimeError::new_err("the call has begun already"))?;
        let (runtime, door) = (runtime(py)?, exit::door(py)?);
        let mut task = runtime.spawn(work);
        self.begun.get_or_init(|| (std::process::id(), task.abort_handle()));
        runtime.spawn(async move {
            let ended = loop {
                tokio::select! {
                    ended = &mut task => break ended,
                    () = told::news() => tell(&door),
                }
            };
            if ended.as_ref().is_err_and(JoinError::is_cancelled) {
                return;
            }
            // When the interpreter ends nobody waits any more.
            let Some(_inside) = door.enter() else { return };
            Python::try_attach(|py| {
                let answer = told::deliver(py).and_then(|()| match ended {
                    Ok(ended) => ended(py),
                    Err(panic) => Err(error::internal(&panic)),
                });
                let told = match answer {
                    Ok(report) => done.call1(py, (report, py.None())),
                    Err(exception) => done.call1(py, (py.None(), exception)),
                };
                // The loop was closed without its tasks; there is nobody else to tell.
                if let Err(closed) = told {
                    closed.write_unraisable(py, None);
                }
            });
        });
        Ok(())
    }

    /// Asks the work to stop tidily.
    fn cancel(&self) {
        if self.is_here() {
            self.cancel.cancel();
        }
    }

    /// Drops the work, if it has not ended.
    fn abort(&self) {
        if let Some((_, task)) = self.begun.get().filter(|_| self.is_here()) {
            task.abort();
        }
    }
}

/// Hands on what the engine told meanwhile.
fn tell(door: &Arc<Door>) {
    if let Some(_inside) = door.enter() {
        Python::try_attach(|py| {
            if let Err(failed) = told::deliver(py) {
                failed.write_unraisable(py, None);
            }
        });
    }
}

impl Pending {
    /// A forked child has a copy of this, but the work is its parent's.
    fn is_here(&self) -> bool {
        self.begun.get().is_some_and(|(process, _)| *process == std::process::id())
    }
}
