//! Exceptions: a class for each kind of error below `DwhError`, with `code`, `hint`, `retryable` and `report`.

use dwh_core::ErrorKind;
use dwh_core::pipeline::ErrorReport;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyType;

create_exception!(dwh, DwhError, PyException, "What went wrong; the base of all others.");

macro_rules! kinds {
    ($($kind:ident => $class:ident, $doc:literal;)*) => {
        $(create_exception!(dwh, $class, DwhError, $doc);)*

        /// Adds every exception to the module.
        pub fn add_classes(module: &Bound<'_, PyModule>) -> PyResult<()> {
            let py = module.py();
            module.add("DwhError", py.get_type::<DwhError>())?;
            $(module.add(stringify!($class), py.get_type::<$class>())?;)*
            Ok(())
        }

        /// The class of an error's code; the base for codes that this module does not know.
        fn class<'py>(py: Python<'py>, code: &str) -> Bound<'py, PyType> {
            $(if code == ErrorKind::$kind.row().code {
                return py.get_type::<$class>();
            })*
            py.get_type::<DwhError>()
        }

        /// Whether the same call may go through without anybody changing anything.
        fn retryable(code: &str) -> bool {
            [$(ErrorKind::$kind.row()),*].into_iter().any(|row| row.code == code && row.retryable)
        }
    };
}

kinds! {
    Config => ConfigError, "The configuration or the arguments are wrong; nothing was tried.";
    NotFound => NotFoundError, "A table, schema, role, column or file that was named is not there.";
    Unreachable => UnreachableError, "A service does not answer, or stopped answering.";
    Auth => AuthError, "A service refuses the credentials or the TLS.";
    Permission => PermissionDeniedError, "The role or key lacks a right.";
    Drift => DriftError, "Source and bronze no longer have the same columns and types.";
    Contract => ContractError, "A contract with the target does not hold.";
    Data => DataError, "Data is not what was promised.";
    Locked => LockedError, "Another run holds the table.";
    Busy => BusyError, "A service is overloaded; the same call may go through later.";
    Exists => ExistsError, "The blob exists already, with other bytes.";
    Disk => DiskError, "A disk is full or not writable.";
    Interrupted => RunInterruptedError, "The run was asked to stop.";
    Internal => InternalError, "None of the others.";
}

/// The exception of an error.
pub fn raise(py: Python<'_>, error: &dwh_core::Error) -> PyErr {
    raise_report(py, &ErrorReport::from(error), error.is_retryable(), None)
}

/// The exception of failures that a report tells of, if there are any. Several may go through again if one of them may.
pub fn of_failures(py: Python<'_>, failures: Vec<ErrorReport>, report: &Py<PyAny>) -> Option<PyErr> {
    let retryable = failures.iter().any(|failure| retryable(&failure.code));
    as_one(failures).map(|failure| raise_report(py, &failure, retryable, Some(report.clone_ref(py))))
}

/// The exception of an error that stands in a report. Its text ends with the hint: often all that a log shows.
fn raise_report(py: Python<'_>, error: &ErrorReport, retryable: bool, report: Option<Py<PyAny>>) -> PyErr {
    let text = format!("{}\n\nhint: {}", error.message, error.hint);
    let filled = class(py, &error.code).call1((text,)).and_then(|exception| {
        exception.setattr("code", &error.code)?;
        exception.setattr("message", &error.message)?;
        exception.setattr("hint", &error.hint)?;
        exception.setattr("retryable", retryable)?;
        exception.setattr("report", report)?;
        Ok(exception)
    });
    filled.map_or_else(|error| error, PyErr::from_value)
}

/// All failures as one: of their kind if they share it, else of none.
fn as_one(failures: Vec<ErrorReport>) -> Option<ErrorReport> {
    let first = failures.first()?.clone();
    if failures.len() == 1 {
        return Some(first);
    }
    let same = failures.iter().all(|failure| failure.code == first.code);
    let lines: Vec<&str> = failures.iter().map(|failure| failure.message.as_str()).collect();
    let (code, hint) = match same {
        true => (first.code, first.hint),
        false => ("several".to_owned(), "each failure in `report` has its own hint".to_owned()),
    };
    let message = format!("{} failures\n{}", failures.len(), lines.join("\n"));
    Some(ErrorReport::new(code, message, hint, first.exit_code))
}

/// A failure that a report tells of in other ways than by an error.
pub fn found(code: &str, message: String, hint: impl Into<String>) -> ErrorReport {
    ErrorReport::new(code, message, hint, 0)
}

/// The exception of a defect of ours.
pub fn internal(error: &dyn std::fmt::Display) -> PyErr {
    InternalError::new_err(error.to_string())
}
