//! What other threads may do while the interpreter ends: nothing any more.
//!
//! Python before 3.14 ends a thread that still runs code of Python's when the interpreter is taken down, by unwinding its
//! stack; where functions of ours are on that stack, the process aborts. So a thread goes in through here before it has
//! Python run something for us, and the end of the interpreter waits until the last one has come out and lets no other in.

use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::per_process::PerProcess;

/// Inside, a thread wraps up a report or calls a progress function: it is out long before, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    inside: usize,
    /// The thread that ends the interpreter, once it does: it alone may go on.
    ended_by: Option<ThreadId>,
}

/// Who of this process is inside Python for us.
#[derive(Default)]
pub struct Door {
    state: Mutex<State>,
    left: Condvar,
}

/// A thread that is inside, until this is dropped there.
pub struct Inside(Arc<Door>);

thread_local! {
    /// How often this thread has gone in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

static DOOR: PerProcess<Arc<Door>> = PerProcess::new();

/// This process's door.
pub fn door(py: Python<'_>) -> PyResult<Arc<Door>> {
    DOOR.get(py, || Ok(Arc::default()))
}

/// Goes in while this thread has the GIL. Once the interpreter ends, the thread stays outside for good.
pub fn inside(py: Python<'_>) -> PyResult<Inside> {
    let door = door(py)?;
    Ok(door.enter().unwrap_or_else(|| py.detach(|| door.enter_or_stay())))
}

impl Door {
    /// Goes in, before the GIL is asked for; `None` once the interpreter ends, unless this thread is inside already.
    pub fn enter(self: &Arc<Self>) -> Option<Inside> {
        let mut state = self.state();
        let depth = DEPTH.get();
        if depth == 0 && state.ended_by.is_some_and(|thread| thread != thread::current().id()) {
            return None;
        }
        DEPTH.set(depth + 1);
        state.inside += 1;
        Some(Inside(Arc::clone(self)))
    }

    /// The same for a thread that cannot do without: it stays here until the process is gone.
    pub fn enter_or_stay(self: &Arc<Self>) -> Inside {
        loop {
            match self.enter() {
                Some(inside) => return inside,
                None => thread::park(),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
        self.0.state().inside -= 1;
        self.0.left.notify_all();
    }
}

/// Called by `atexit`: waits for those who are inside.
#[pyfunction]
pub fn close(py: Python<'_>) -> PyResult<()> {
    let door = door(py)?;
    py.detach(|| {
        let mut state = door.state();
        state.ended_by = Some(thread::current().id());
        let waited = door.left.wait_timeout_while(state, PATIENCE, |state| state.inside > 0);
        drop(waited);
    });
    Ok(())
}

/// Has Python call [`close`] when it ends.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let close = wrap_pyfunction!(close, module)?;
    module.py().import("atexit")?.call_method1("register", (close,))?;
    Ok(())
}
