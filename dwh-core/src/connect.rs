//! Connections to PostgreSQL.

use crate::config::{Environment, Secret};
use crate::error::{Error, ErrorKind, Result};

/// How to connect to one server: libpq's settings, understood in full, and TLS by rustls.
#[derive(Debug, Clone)]
pub struct Connector {}

impl Connector {
    /// The connector of a connection string.
    ///
    /// # Errors
    /// `Config`.
    pub fn new(name: &str, url: &Secret, environment: &Environment) -> Result<Self> {
        let _ = (name, url, environment);
        Ok(Self {})
    }

    /// Connects and pins the session settings.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Busy`.
    pub async fn connect(&self) -> Result<tokio_postgres::Client> {
        Err(Error::new(ErrorKind::Internal, "later"))
    }
}

/// Sorts a driver's error into ours; row values that the server put into it are left out.
#[must_use]
pub fn sort(error: tokio_postgres::Error) -> Error {
    Error::new(ErrorKind::Internal, "later").with_source(error)
}
