//! Keys of the source beside rows of bronze: which rows are gone there, and which are back.

use std::sync::Arc;
use tokio_postgres::Client;

use super::PgSink;
use super::copy::copy;
use super::errors::named;
use super::pool::Tx;
use super::replace::{Keyed, as_announced, by_hash};
use crate::blob::Body;
use crate::catalog::equality;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Equality, KeysOf, LoadPlan};
use crate::sink::{Accounting, Gone};
use crate::watermark::Timestamp;

async fn count(client: &Client, load: &LoadPlan, sql: &str) -> Result<u64> {
    let row = client.query_typed_one(sql, &[]).await.map_err(|error| named(load, error))?;
    Ok(row.get::<_, i64>(0).cast_unsigned())
}

async fn execute(client: &Client, load: &LoadPlan, sql: &str) -> Result<u64> {
    client.execute_typed(sql, &[]).await.map_err(|error| named(load, error))
}

/// Counts what [`take`] would do, with the `first` keys of the rows that are gone.
pub(super) async fn gone(client: &Client, load: &LoadPlan, keyed: &Keyed, staged: u64, first: usize) -> Result<Gone> {
    let Some(of) = &load.keys else { return Err(Error::new(ErrorKind::Internal, "these rows are no keys")) };
    execute(client, load, &load.analyze_stage()).await?;
    let key = keyed.of(client, load).await?;
    by_hash(client, load, named, look(client, load, (of, key), staged, first)).await
}

async fn look(
    client: &Client,
    load: &LoadPlan,
    (of, key): (&KeysOf, &[Equality]),
    staged: u64,
    first: usize,
) -> Result<Gone> {
    let mut found = Gone {
        keys: staged,
        rows_compared: count(client, load, &load.count_judged(of)).await?,
        rows_gone: count(client, load, &load.count_gone(of, key)).await?,
        ..Gone::default()
    };
    if load.marks() {
        found.rows_back = count(client, load, &load.count_back(key)).await?;
    }
    if first > 0 && found.rows_gone > 0 {
        let first = load.first_gone(of, key, first);
        let rows = client.query_typed(&first, &[]).await.map_err(|error| named(load, error))?;
        found.first_keys = rows.iter().map(|row| row.get(0)).collect();
    }
    Ok(found)
}

/// Marks or removes the rows that are gone, and takes the marks of those that are back. Bronze that holds rows of a newer
/// snapshot stays as it is: they may lack their keys in this one.
pub(super) async fn take(
    client: &Client,
    load: &LoadPlan,
    of: &KeysOf,
    keyed: &Keyed,
    staged: u64,
) -> Result<Accounting> {
    if load.older || !load.looks_for_deletes() {
        return Ok(Accounting { staged, ..Accounting::default() });
    }
    let key = keyed.of(client, load).await?;
    execute(client, load, &load.analyze_stage()).await?;
    by_hash(client, load, named, take_now(client, load, (of, key), staged)).await
}

async fn take_now(
    client: &Client,
    load: &LoadPlan,
    (of, key): (&KeysOf, &[Equality]),
    staged: u64,
) -> Result<Accounting> {
    let mut counts = Accounting { staged, ..Accounting::default() };
    if load.marks() {
        counts.unmarked = execute(client, load, &load.unmark(key)).await?;
    }
    let announced = count(client, load, &load.count_gone(of, key)).await?;
    if announced > 0 {
        let taken = as_announced(load, announced, execute(client, load, &load.take_gone(of, key)).await?)?;
        *(if load.marks() { &mut counts.marked } else { &mut counts.removed }) = taken;
    }
    Ok(counts)
}

/// Staged rows of an older CSV that the source has deleted since, as newer keys tell.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// Rows that were taken out of the staging area.
    pub(super) dropped: u64,
    /// What those get as a mark that stay, once they are in bronze.
    mark: Option<Timestamp>,
}

impl Deleted {
    /// Looks for them among the rows that bronze lacks: those that it has were judged when the keys were loaded.
    pub(super) async fn find(
        sink: &PgSink,
        tx: &Tx,
        load: &LoadPlan,
        keyed: &Keyed,
        (newer, csv): &(LoadPlan, Arc<dyn Body>),
    ) -> Result<Self> {
        let (client, mut found) = (tx.client()?, Self::default());
        let Some(of) = &newer.keys else { return Ok(found) };
        execute(client, load, &load.analyze_stage()).await?;
        let key = keyed.of(client, load).await?;
        let any = client.query_typed_one(&load.any_new(key), &[]).await.map_err(|error| named(load, error))?;
        if !any.get::<_, bool>(0) {
            return Ok(found);
        }
        execute(client, load, &newer.create_keys()).await?;
        copy(tx, newer, &newer.copy_keys(), csv.open(), None).await.map_err(|stopped| stopped.error(sink, newer))?;
        let theirs = equality(client, Some(&load.target), &newer.key_columns()).await?;
        if load.marks() {
            execute(client, load, &load.note_gone(key, &theirs)).await?;
            found.mark = Some(of.at);
        } else {
            found.dropped = execute(client, load, &load.drop_gone(key, &theirs)).await?;
        }
        Ok(found)
    }

    /// Marks those that are in bronze now.
    pub(super) async fn mark(&self, client: &Client, load: &LoadPlan, keyed: &Keyed) -> Result<u64> {
        let Some(at) = self.mark else { return Ok(0) };
        execute(client, load, &load.mark_noted(at, keyed.of(client, load).await?)).await
    }
}
