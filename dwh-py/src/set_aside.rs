//! `set_aside`: the command's `recover --set-aside`.

use dwh_core::Pipeline;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::call::Call;
use crate::recover::answer;

/// What is set aside.
pub enum Aside {
    /// The CSV of a run.
    Run(i64),
    /// A CSV by its name.
    Csv(String),
}

// Not derived, as with `Names`.
impl<'py> FromPyObject<'_, 'py> for Aside {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if value.is_instance_of::<PyString>() { value.extract().map(Self::Csv) } else { value.extract().map(Self::Run) }
    }
}

/// Move a CSV that was never loaded out of the way of its table.
pub fn set_aside(engine: Pipeline, what: Aside, dry_run: bool) -> Call {
    let what = match what {
        Aside::Run(run_id) => run_id.to_string(),
        Aside::Csv(name) => name,
    };
    Call::or_drop(async move { engine.set_aside(&what, dry_run).await }, answer)
}
