//! Pooled connections, and the transactions that are opened on them.

use deadpool::managed::{Manager as Managed, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use tokio_postgres::Client;

use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::SESSION_SETTINGS;
use crate::watermark::Micros;

/// Makes the connections of a pool.
#[derive(Debug)]
pub(super) struct Manager(pub(super) Connector);

impl Managed for Manager {
    type Type = Client;
    type Error = Error;

    async fn create(&self) -> Result<Client> {
        self.0.connect().await
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> RecycleResult<Error> {
        if client.is_closed() { Err(RecycleError::message("the server closed it")) } else { Ok(()) }
    }
}

/// An open transaction. Dropping it closes the connection, which rolls back at once.
#[derive(Debug)]
pub(super) struct Tx(Option<Object<Manager>>);

impl Tx {
    /// A transaction on a connection of the pool.
    pub(super) async fn begin(pool: &Pool<Manager>, lock_timeout: Micros) -> Result<Self> {
        let object = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            other => Error::new(ErrorKind::Internal, "target: no connection from the pool").with_source(other),
        })?;
        let tx = Self(Some(object));
        tx.client()?.batch_execute(&opening(lock_timeout)).await.map_err(sort)?;
        Ok(tx)
    }

    /// The connection that it is open on.
    pub(super) fn client(&self) -> Result<&Client> {
        self.0.as_deref().ok_or_else(|| Error::new(ErrorKind::Internal, "target: the transaction has ended"))
    }

    /// Commits; the connection goes back into the pool.
    pub(super) async fn commit(mut self) -> Result<()> {
        self.client()?.batch_execute("commit").await.map_err(sort)?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// `begin`, with everything said again for this transaction alone: behind a pooler, it may run on another server
/// connection than the one whose session was prepared. Time limits of the role must not end a load half-way.
pub(super) fn opening(lock_timeout: Micros) -> String {
    let mut sql = "begin; set local synchronous_commit = on".to_owned();
    for setting in SESSION_SETTINGS.split(';') {
        sql.push_str("; ");
        sql.push_str(&setting.trim().replacen("set ", "set local ", 1));
    }
    // Rounded up: 0 would wait for ever.
    let lock_ms = lock_timeout.0.div_euclid(1000).max(i64::from(lock_timeout.0 > 0));
    sql.push_str(&format!(
        "; set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; \
         set local lock_timeout = {lock_ms}; \
         select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings where name = 'transaction_timeout'"
    ));
    sql
}
