//! What a forked child must not share with its parent.

use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// A value that belongs to the process that made it.
///
/// A forked child has the memory of its parent, but neither its threads nor sole use of its sockets. It makes a value
/// of its own and forgets the old one: dropping it would wait for threads that are not there, and would unregister
/// sockets that the parent still uses.
///
/// The GIL is held whenever the lock is, so that no fork by Python can happen in between.
pub struct PerProcess<T>(Mutex<Option<(u32, T)>>);

impl<T: Clone> PerProcess<T> {
    /// Nothing made yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// This process's value, made at its first use.
    pub fn get(&self, _py: Python<'_>, make: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::process::id();
        if let Some((process, value)) = &*slot
            && *process == here
        {
            return Ok(value.clone());
        }
        let value = make()?;
        std::mem::forget(slot.replace((here, value.clone())));
        Ok(value)
    }
}
