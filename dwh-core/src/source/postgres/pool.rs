//! A few idle connections, so that small runs cost no reconnects.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::Client;

use crate::connect::Connector;
use crate::error::{Error, Result};

/// Idle connections that are kept at most.
const IDLE: usize = 8;

/// Connections of one server.
#[derive(Clone)]
pub(super) struct Pool {
    connector: Connector,
    idle: Arc<Mutex<Vec<Client>>>,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, idle: Arc::default() }
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self) -> Result<Lease> {
        let idle = || {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|client| !client.is_closed());
            idle.pop()
        };
        let client = match idle() {
            Some(client) => client,
            None => self.connector.connect().await?,
        };
        Ok(Lease { client: Some(client), pool: self.clone() })
    }
}

/// A connection for one piece of work. Unless it is given back, it is cancelled and closed when dropped: nobody knows
/// what it was in the middle of.
pub(super) struct Lease {
    client: Option<Client>,
    pool: Pool,
}

impl Lease {
    /// The server's silence in place of a connection that broke, where it was that.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.pool.connector.explain(error)
    }

    /// Keeps the connection for later; only when no transaction is open and no answer is outstanding.
    pub(super) fn give_back(mut self) {
        let Some(client) = self.client.take() else { return };
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(client);
        }
    }
}

impl Deref for Lease {
    type Target = Client;

    fn deref(&self) -> &Client {
        // Taken out only by `give_back` and `drop`, which both end the lease.
        self.client.as_ref().expect("a lease holds its connection until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(client) = self.client.take().filter(|client| !client.is_closed()) else { return };
        // Without this the server would go on sending, or waiting for a lock, until it noticed.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (connector, token) = (self.pool.connector.clone(), client.cancel_token());
            runtime.spawn(async move {
                if let Err(error) = connector.cancel(&token).await {
                    tracing::debug!(%error, "the cancel request was not taken; closing the connection ends the query");
                }
            });
        }
    }
}
