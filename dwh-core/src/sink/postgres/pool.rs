//! Pooled connections, and the transactions that are opened on them.

use deadpool_postgres::{ClientWrapper, Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use futures_util::join;
use std::pin::Pin;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};

use crate::connect::{Connector, Dialled, in_the_drivers, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, opening};
use crate::watermark::Micros;

/// Makes the connections of a pool: the driver alone knows neither our TLS nor libpq's settings.
struct Dial(Connector);

type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Dialled, tokio_postgres::Error>> + Send + 'a>>;

impl Connect for Dial {
    fn connect(&self, _: &Config) -> Dialling<'_> {
        Box::pin(async move {
            match self.0.dial().await {
                Ok(dialled) => Ok(dialled),
                Err(error) => Err(in_the_drivers(error).await),
            }
        })
    }
}

/// A pool of at most `size` connections.
pub(super) fn pool(connector: &Connector, size: usize) -> Result<Pool> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    Pool::builder(Manager::from_connect(Config::new(), Dial(connector.clone()), config))
        .max_size(size)
        .build()
        .map_err(|error| Error::new(ErrorKind::Internal, "target: no connection pool").with_source(error))
}

/// An open transaction. Dropping it closes the connection, which rolls back at once.
#[derive(Debug)]
pub(super) struct Tx(Option<Object>);

impl Tx {
    /// A transaction on a connection of the pool.
    pub(super) async fn begin(pool: &Pool, isolation: Isolation, lock_timeout: Micros) -> Result<Self> {
        let tx = Self::on(pool).await?;
        open(tx.client()?, isolation, lock_timeout).await?;
        Ok(tx)
    }

    /// What `ask` gives, in a transaction of its own with one answer waited for.
    ///
    /// All that `ask` sends must be sent before it waits for anything: what it sends later comes after the commit.
    pub(super) async fn once<T>(pool: &Pool, opening: &str, ask: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        let mut tx = Self::on(pool).await?;
        let client = tx.client()?;
        // Polled, and so sent, in this order. An error in the middle ends the transaction, and then `commit` rolls back.
        let (begun, answer, ended) = join!(client.batch_execute(opening), ask(client), client.batch_execute("commit"));
        begun.map_err(not_begun)?;
        let answer = answer?;
        ended.map_err(sort)?;
        tx.0 = None;
        Ok(answer)
    }

    /// A connection of the pool, on which a transaction is about to begin.
    pub(super) async fn on(pool: &Pool) -> Result<Self> {
        let object = pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => sort(error),
            other => Error::new(ErrorKind::Internal, "target: no connection from the pool").with_source(other),
        })?;
        Ok(Self(Some(object)))
    }

    /// The connection that it is open on.
    pub(super) fn client(&self) -> Result<&Client> {
        let client: Option<&ClientWrapper> = self.0.as_deref();
        let ended = || Error::new(ErrorKind::Internal, "target: the transaction has ended");
        client.map(|client| &**client).ok_or_else(ended)
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

/// Begins a transaction that relies on no default of role or database.
pub(super) async fn open(client: &Client, isolation: Isolation, lock_timeout: Micros) -> Result<()> {
    client.batch_execute(&beginning(isolation, lock_timeout)).await.map_err(not_begun)
}

/// The statement that begins it. A commit that was told is one that a crash keeps. The server looks for us every minute: its
/// session of a machine that vanished would hold lease and locks for hours.
pub(super) fn beginning(isolation: Isolation, lock_timeout: Micros) -> String {
    format!(
        "{}; set local synchronous_commit = on; set local tcp_keepalives_idle = 60; \
         set local tcp_keepalives_interval = 10; set local tcp_keepalives_count = 6",
        opening(isolation, lock_timeout)
    )
}

/// Makes the transaction one of a word for people: a crash of the server may take it back.
pub(super) const WORD: &str = "; set local synchronous_commit = off";

pub(super) fn not_begun(error: tokio_postgres::Error) -> Error {
    // What a standby says to `read write`.
    if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) {
        Error::new(ErrorKind::Permission, "target: the server is a standby, which cannot be written to")
            .with_source(error)
            .with_hint("connect to the primary; among several hosts `target_session_attrs=read-write` finds it")
    } else {
        sort(error)
    }
}
