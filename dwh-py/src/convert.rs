//! JSON values of reports as Python's own, and back.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use serde::Serialize;
use serde_json::Value;

/// The value as Python's dict, list, str, int, float, bool or None.
pub fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let value = serde_json::to_value(value).map_err(|error| crate::error::internal(&error))?;
    from_json(py, value)
}

fn from_json(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(yes) => yes.into_bound_py_any(py),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_bound_py_any(py),
            (None, Some(number)) => number.into_bound_py_any(py),
            (None, None) => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(values) => {
            let list = PyList::empty(py);
            values.into_iter().try_for_each(|value| list.append(from_json(py, value)?))?;
            Ok(list.into_any())
        }
        Value::Object(entries) => {
            let dict = PyDict::new(py);
            entries.into_iter().try_for_each(|(key, value)| dict.set_item(key, from_json(py, value)?))?;
            Ok(dict.into_any())
        }
    }
}

/// A dict as JSON; what JSON does not know, such as a datetime, becomes its `str()`.
pub fn to_json(dict: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = dict.py();
    let options = PyDict::new(py);
    options.set_item("default", py.get_type::<pyo3::types::PyString>())?;
    py.import("json")?.call_method("dumps", (dict,), Some(&options))?.extract()
}
