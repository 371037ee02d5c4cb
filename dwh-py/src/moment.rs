//! Moments as arguments: an aware `datetime`, or text with a zone.

use dwh_core::{Error, ErrorKind, Timestamp};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::{error, exit};

/// A moment that Python gave.
pub struct Moment(pub Timestamp);

impl<'py> FromPyObject<'_, 'py> for Moment {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = value.py();
        let text: String = match value.extract() {
            Ok(text) => text,
            Err(_) => in_utc(&value)?,
        };
        text.parse().map(Self).map_err(|error| error::raise(py, &error))
    }
}

fn in_utc(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = value.py();
    // The zone may be a class of Python's.
    let _inside = exit::inside(py)?;
    let datetime = py.import("datetime")?;
    if !value.is_instance(&datetime.getattr("datetime")?)? {
        let given = value.get_type().qualname()?;
        return Err(PyTypeError::new_err(format!("a datetime or text is needed, not `{given}`")));
    }
    if value.call_method0("utcoffset")?.is_none() {
        let naive = Error::new(ErrorKind::Config, format!("`{value}` has no time zone"))
            .with_hint("pass an aware datetime, such as `datetime(2026, 10, 1, tzinfo=timezone.utc)`");
        return Err(error::raise(py, &naive));
    }
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    value.call_method1("astimezone", (utc,))?.call_method0("isoformat")?.extract()
}
