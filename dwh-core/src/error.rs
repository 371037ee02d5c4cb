//! The one error of the library: an opaque [`Error`] with a small public [`ErrorKind`].
//!
//! The kind decides what a caller does: the exit code, whether a retry can help, and the hint that is
//! shown when the place of failure had no better one. All three stand in one table, [`ErrorKind::row`].

mod sqlstate;

use std::error::Error as StdError;
use std::fmt;

pub use sqlstate::{SqlState, When};

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What class of thing went wrong; decides exit code, retry and default hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration or the command's arguments are wrong; nothing was tried.
    Config,
    /// A table, schema, role, column or file that was named is not there.
    NotFound,
    /// A service does not answer, or stopped answering half-way.
    Unreachable,
    /// A service answered and refused the credentials or the TLS that was asked for.
    Auth,
    /// The credentials are good, but the role or key lacks a right.
    Permission,
    /// Source and bronze no longer have the same columns and types.
    Drift,
    /// A contract with the target does not hold: roles, keys, migrations, a unique violation.
    Contract,
    /// Data is not what was promised: checksum, counts, malformed CSV, values that a type refuses.
    Data,
    /// Another run holds the table, or moved its watermark meanwhile.
    Locked,
    /// A service is there but overloaded, or cancelled the statement: the same call may go through later.
    Busy,
    /// The blob exists already, with other bytes.
    Exists,
    /// The disk under the spool or the folder store is full or not writable.
    Disk,
    /// The run was asked to stop.
    Interrupted,
    /// None of the above: a defect of ours or of a service.
    Internal,
}

/// One row of the table of kinds.
#[derive(Debug, Clone, Copy)]
pub struct KindRow {
    /// Stable word for programs (`error.code` in JSON).
    pub code: &'static str,
    /// Exit code of the command.
    pub exit_code: u8,
    /// Whether the same call may go through later without anybody changing anything.
    pub retryable: bool,
    /// What to do, when the place of failure had no better advice.
    pub hint: &'static str,
}

impl ErrorKind {
    /// Every kind, in the order of the reference page.
    pub const ALL: [Self; 14] = [
        Self::Config,
        Self::NotFound,
        Self::Unreachable,
        Self::Auth,
        Self::Permission,
        Self::Drift,
        Self::Contract,
        Self::Data,
        Self::Locked,
        Self::Busy,
        Self::Exists,
        Self::Disk,
        Self::Interrupted,
        Self::Internal,
    ];

    /// What it means, one sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Config => "The configuration or the arguments are wrong; nothing was tried.",
            Self::NotFound => "A table, schema, role, column or file that was named is not there.",
            Self::Unreachable => "A service does not answer, or stopped answering half-way.",
            Self::Auth => "A service answered and refused the credentials, or the TLS that was asked for.",
            Self::Permission => "The credentials are good, but the role or key lacks a right.",
            Self::Drift => "Source and bronze no longer have the same columns and types.",
            Self::Contract => "A contract with the target does not hold: roles, keys, migrations, a unique violation.",
            Self::Data => {
                "Data is not what was promised: checksum, counts, malformed CSV, a value that a type refuses."
            }
            Self::Locked => "Another run holds the table, or moved its watermark meanwhile.",
            Self::Busy => "A service is there but overloaded, or cancelled the statement.",
            Self::Exists => "The blob exists already, with other bytes.",
            Self::Disk => "The disk under the spool or the folder store is full or not writable.",
            Self::Interrupted => "The run was asked to stop.",
            Self::Internal => "None of the above: a defect of dwh or of a service.",
        }
    }

    /// Whether the service that was asked could not answer, whatever it was asked: there is no sense in asking it again
    /// in the same call.
    pub(crate) const fn is_of_the_service(self) -> bool {
        matches!(self, Self::Unreachable | Self::Auth | Self::Busy)
    }

    /// The kind's code, exit code, retry rule and default hint.
    #[must_use]
    pub const fn row(self) -> KindRow {
        let (code, exit_code, retryable, hint) = match self {
            Self::Config => {
                ("config", 2, false, "correct `dwh.toml` or the arguments; `dwh config schema` prints what is allowed")
            }
            Self::NotFound => ("not_found", 4, false, "check the name, and that the role may see it"),
            Self::Unreachable => (
                "unreachable",
                3,
                true,
                "check host, port and network, then run it again; `dwh check` tries each connection on its own",
            ),
            Self::Auth => {
                ("auth", 3, false, "check user, password and `sslmode`; `dwh check` tries each connection on its own")
            }
            Self::Permission => {
                ("permission", 4, false, "grant the right that is named; `dwh check` lists all that are missing")
            }
            Self::Drift => ("drift", 4, false, "alter the bronze column, or map it in `[table.select]`"),
            Self::Contract => ("contract", 4, false, "`dwh migrate` makes what is missing, `dwh check` lists it"),
            Self::Data => {
                ("data", 4, false, "nothing was loaded; `dwh runs` shows the run, the CSV stays in `exports/`")
            }
            Self::Locked => (
                "locked",
                5,
                true,
                "wait until the other run has ended: `dwh run --wait` does, `dwh runs` shows how far it is",
            ),
            Self::Busy => ("busy", 3, true, "run it again; nothing was lost or loaded twice"),
            Self::Exists => ("exists", 4, false, "another file has this name; move it away and run again"),
            Self::Disk => ("disk", 1, false, "free some space, or point TMPDIR at a larger disk"),
            Self::Interrupted => ("interrupted", 1, true, "run it again; it goes on where it stood"),
            Self::Internal => ("internal", 1, false, "run it again with `-v`; if it stays, report it with that output"),
        };
        KindRow { code, exit_code, retryable, hint }
    }
}

/// An error: a kind, a message, a hint, and the chain of causes below it.
///
/// The message has no full stop, names the object first and puts literals in backticks. `Display` prints the
/// message alone; the hint and the causes are printed once, at the edge.
///
/// ```
/// use dwh_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Locked, "table `trips`: another run holds it");
/// assert_eq!(error.exit_code(), 5);
/// assert_eq!(error.to_string(), "table `trips`: another run holds it");
/// assert!(error.hint().contains("--wait"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, source: None }))
    }

    /// The same error with advice of its own instead of the kind's.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error with the cause below it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error with `context` and a colon before its message, such as ``table `trips` ``.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What to do about it; never empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.0.hint.as_deref().unwrap_or(self.kind().row().hint)
    }

    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().row().code
    }

    /// The exit code of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.kind().row().exit_code
    }

    /// Whether the same call may go through later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().row().retryable
    }

    /// Message and causes on one line, joined by colons; a cause that the message already repeats is left out.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            let line = cause.to_string();
            if !line.is_empty() && !text.contains(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}\n\nhint: {}", self.kind(), self.chain(), self.hint())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
