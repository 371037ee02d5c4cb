//! A CSV tried in a table of the session's own, which is rolled back: rows that bronze would refuse are left out one by one,
//! and named by their keys.

use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::PgSink;
use super::copy::{Stopped, copy};
use super::errors::named;
use crate::blob::{Body, ByteStream};
use crate::dialect::Without;
use crate::error::Result;
use crate::plan::{BACK, LoadPlan, SAVEPOINT, bronze_ddl};
use crate::sink::{RefusedRow, Rehearsal};

/// Each refused row costs another attempt.
const MOST: usize = 10;

/// Classes of SQLSTATEs that tell of a row: its values, and the rules that they must keep.
const OF_A_ROW: [&str; 2] = ["22", "23"];

type Filter = Arc<Mutex<Without>>;

pub(super) async fn rehearse(sink: &PgSink, load: &LoadPlan, csv: &dyn Body) -> Result<Rehearsal> {
    let tx = sink.begin().await?;
    let client = tx.client()?;
    let bronze = crate::catalog::describe(client, &load.target).await?;
    let beside = load.beside();
    // A table that does not fit is tried as `migrate` would make it.
    let fits = load.check_columns(bronze.as_ref()).is_ok();
    let make = if fits { load.create_beside(None).join("; ") } else { bronze_ddl(&beside) };
    client.batch_execute(&make).await.map_err(|error| named(load, error))?;
    let mut found = Rehearsal::default();
    let mut left_out: Vec<Filter> = Vec::new();
    loop {
        client.batch_execute(SAVEPOINT).await.map_err(|error| named(load, error))?;
        let rows = left_out.iter().fold(csv.open(), |rows, filter| filtered(rows, Arc::clone(filter)));
        let error = match copy(&tx, &beside, &beside.copy_straight(false), rows, None).await {
            Ok(rows) => {
                found.rows = rows;
                break;
            }
            Err(Stopped::Server(error)) => error,
            Err(stopped) => return Err(stopped.error(sink, load)),
        };
        let line = line_of(&error).filter(|_| found.refused.len() < MOST);
        let Some(line) = line else {
            found.more = is_of_a_row(&error);
            if found.more {
                break;
            }
            return Err(sink.connector.explain(named(load, error)));
        };
        let message = crate::connect::sort(error).to_string();
        found.refused.push(RefusedRow { key: BTreeMap::new(), message });
        left_out.push(Arc::new(Mutex::new(Without::new(line))));
        client.batch_execute(BACK).await.map_err(|error| named(load, error))?;
    }
    for (row, filter) in found.refused.iter_mut().zip(&left_out) {
        row.key = key_of(load, filter);
    }
    // Dropped, and so rolled back.
    drop(tx);
    Ok(found)
}

/// The rows without the one that the filter leaves out.
fn filtered(rows: ByteStream, filter: Filter) -> ByteStream {
    filter.lock().unwrap_or_else(PoisonError::into_inner).restart();
    let end = Arc::clone(&filter);
    let pieces = rows.map_ok(move |piece| filter.lock().unwrap_or_else(PoisonError::into_inner).push(&piece));
    let last = stream::once(async move { Ok(end.lock().unwrap_or_else(PoisonError::into_inner).finish()) });
    pieces.chain(last).boxed()
}

fn key_of(load: &LoadPlan, filter: &Filter) -> BTreeMap<String, String> {
    let fields = filter.lock().unwrap_or_else(PoisonError::into_inner).fields();
    let named = load.columns.iter().map(|column| column.name.clone()).zip(fields);
    named.filter(|(name, _)| load.key.is_empty() || load.key.contains(name)).take(load.key.len().max(1)).collect()
}

fn is_of_a_row(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| OF_A_ROW.iter().any(|class| code.code().starts_with(class)))
}

/// The line of the CSV in which a row ends that is refused.
fn line_of(error: &tokio_postgres::Error) -> Option<u64> {
    let context = error.as_db_error().filter(|_| is_of_a_row(error))?.where_()?;
    let place = context.lines().find(|line| line.starts_with("COPY "))?;
    let (_, rest) = place.split_once(", line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
