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
    idle: Arc<Mutex<Vec<Idle>>>,
}

/// A connection that nobody uses.
struct Idle {
    client: Client,
    /// Whether its session has printed rows, and so loaded what it needs for that.
    has_printed: bool,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, idle: Arc::default() }
    }

    /// An idle connection, or a new one.
    pub(super) async fn take(&self) -> Result<Lease> {
        self.take_best(false).await
    }

    /// The same for rows to be read: one whose session has printed some, if there is one.
    pub(super) async fn take_to_print(&self) -> Result<Lease> {
        self.take_best(true).await
    }

    async fn take_best(&self, to_print: bool) -> Result<Lease> {
        let best = || {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|one| !one.client.is_closed());
            let fit = idle.iter().rposition(|one| one.has_printed == to_print);
            fit.or(idle.len().checked_sub(1)).map(|at| idle.remove(at))
        };
        let held = match best() {
            Some(idle) => idle,
            None => Idle { client: self.connector.connect().await?, has_printed: false },
        };
        Ok(Lease { held: Some(held), pool: self.clone() })
    }
}

/// A connection for one piece of work. Unless it is given back, it is cancelled and closed when dropped: nobody knows
/// what it was in the middle of.
pub(super) struct Lease {
    held: Option<Idle>,
    pool: Pool,
}

impl Lease {
    /// The server's silence in place of a connection that broke, where it was that.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.pool.connector.explain(error)
    }

    /// The same connection, of which it is known that its session `has_printed` rows.
    pub(super) fn printed(mut self, has_printed: bool) -> Self {
        if let Some(held) = &mut self.held {
            held.has_printed |= has_printed;
        }
        self
    }

    /// Keeps the connection for later; only when no transaction is open and no answer is outstanding.
    pub(super) fn give_back(mut self) {
        let Some(held) = self.held.take() else { return };
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(held);
        }
    }
}

impl Deref for Lease {
    type Target = Client;

    fn deref(&self) -> &Client {
        // Taken out only by `give_back` and `drop`, which both end the lease.
        &self.held.as_ref().expect("a lease holds its connection until it ends").client
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Idle { client, .. }) = self.held.take().filter(|held| !held.client.is_closed()) else { return };
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
