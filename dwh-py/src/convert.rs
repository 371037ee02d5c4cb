//! Between the engine's values and Python's, by way of JSON: the keys and words are those of the command.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde::Serialize;

use crate::error::internal;
use crate::exit;

/// The value as JSON.
pub fn to_json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| internal(&error))
}

/// The value as Python's dict, list, str, int, float, bool or None.
pub fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let _inside = exit::inside(py)?;
    py.import("json")?.call_method1("loads", (to_json(value)?,))
}

/// A dict as JSON; what JSON does not know, such as a datetime, becomes its `str()`.
pub fn from_python(dict: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = dict.py();
    let _inside = exit::inside(py)?;
    let options = PyDict::new(py);
    options.set_item("default", py.get_type::<PyString>())?;
    py.import("json")?.call_method("dumps", (dict,), Some(&options))?.extract()
}
