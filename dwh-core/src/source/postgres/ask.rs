//! Transactions at the source. Each sets for itself what it relies on, and nothing stays in the session: behind a pooler
//! the next statement may run in another one, and another client gets this one.

use futures_util::try_join;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use crate::plan::{Isolation, opening};
use crate::watermark::Micros;

/// How long a look into the catalog waits for a table that somebody holds, where nothing else is said.
const PATIENCE: Micros = Micros::seconds(30);

/// The rows of one statement in a transaction of its own, with one answer waited for.
///
/// The clock of a statement is that of its own message, and a picture of the sessions lives no longer than its
/// transaction: so two statements asked like this see what two statements without a transaction would see.
pub(super) async fn ask(client: &Client, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, Error> {
    ask_within(client, PATIENCE, sql, values).await
}

/// The same, waiting so long for a table that somebody holds.
pub(super) async fn ask_within(
    client: &Client,
    patience: Micros,
    sql: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Error> {
    let begin = opening(Isolation::Look, patience);
    // Polled, and so sent, in this order. An error in the middle ends the transaction, and then `commit` rolls back.
    let ((), rows, ()) =
        try_join!(client.batch_execute(&begin), client.query_typed(sql, values), client.batch_execute("commit"))?;
    Ok(rows)
}

/// The same for a statement that returns one row.
pub(super) async fn ask_one(
    client: &Client,
    sql: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Row, crate::error::Error> {
    let rows = ask(client, sql, values).await.map_err(crate::connect::sort)?;
    rows.into_iter().next().ok_or_else(|| {
        crate::error::Error::new(crate::error::ErrorKind::Internal, "the source answered a question with no row")
    })
}
