//! Connections between two leases: the next table begins without a new one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

use crate::connect::Connector;
use crate::error::Result;

/// How long one rests. What is older may have been cut off on the way without a word, and a lease has nothing that would
/// find that out.
const REST: Duration = Duration::from_secs(10);

/// Connections without a transaction.
#[derive(Clone, Default)]
pub(super) struct Resting {
    clients: Arc<Mutex<Vec<(Instant, Client)>>>,
    /// How many are kept at most.
    most: usize,
}

impl std::fmt::Debug for Resting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resting").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Resting {
    pub(super) fn new(most: usize) -> Self {
        Self { clients: Arc::default(), most }
    }

    /// One that rests, or a new one.
    pub(super) async fn take(&self, connector: &Connector) -> Result<Client> {
        loop {
            let rested = self.clients.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match rested {
                Some((since, client)) if since.elapsed() < REST && !client.is_closed() => return Ok(client),
                Some(_) => {}
                None => return connector.connect().await,
            }
        }
    }

    /// Keeps it for the next table; no transaction may be open on it.
    pub(super) fn give_back(&self, client: Client) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(since, _)| since.elapsed() < REST);
        if clients.len() < self.most {
            clients.push((Instant::now(), client));
        }
    }
}
