//! The rows of a table beside bronze, put in the place of those of bronze: one transaction.

use tokio_postgres::Client;

use super::PgSink;
use super::errors::named;
use super::merge::{add_versions, refuse_empty};
use super::pool::Tx;
use super::replace::Keyed;
use super::stage::end;
use crate::catalog;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::plan::{LoadPlan, Swap};
use crate::schema::{TableSchema, ViewDef};
use crate::sink::{Accounting, Commit, Committed};

pub(super) async fn swap(sink: &PgSink, load: &LoadPlan, apart: &BronzeId, commit: &Commit) -> Result<Committed> {
    let tx = sink.begin().await?;
    match put_in(sink, &tx, load, apart, commit).await {
        Ok(committed) => end(sink, load, tx, commit.run_id, committed).await,
        Err(error) => {
            // Which rolls back, and whoever is asked for next waits for no lock of ours.
            drop(tx);
            Err(sink.naming_holders(Some(load), error).await)
        }
    }
}

async fn put_in(sink: &PgSink, tx: &Tx, load: &LoadPlan, apart: &BronzeId, commit: &Commit) -> Result<Committed> {
    let client = tx.client()?;
    let held = sink.control.hold(client, load, commit.run_id, &commit.expected).await?;
    let beside = load.clone().apart();
    if sink.control.bronze_id(client, &beside.target).await?.as_ref() != Some(apart) {
        return Err(gone(&beside));
    }
    execute(client, load, &load.lock_to_swap()).await?;
    let bronze = catalog::describe(client, &load.target).await?.ok_or_else(|| gone(load))?;
    let there = catalog::describe(client, &beside.target).await?.ok_or_else(|| gone(&beside))?;
    load.check_key(&bronze)?;
    let rows = count(client, load, &beside.count_rows()).await?;
    if let Some(promised) = commit.rows.filter(|promised| *promised != rows) {
        let text = format!("table `{}`: its chunks had {promised} rows, and {} has {rows}", load.table, beside.target);
        return Err(Error::new(ErrorKind::Data, text)
            .with_hint(format!("nothing was changed; `dwh resync {} --restart` reads all chunks again", load.table)));
    }
    let removed = if rows == 0 && !load.is_appended() { count(client, load, &load.count_rows()).await? } else { 0 };
    if removed > 0 && !load.allow_empty {
        return Err(refuse_empty(load));
    }
    let counts = Accounting { removed, ..fill(client, load, &bronze, &there, rows).await? };
    execute(client, load, &format!("drop table {}", beside.target.sql())).await?;
    let state = sink.control.settle(client, load, commit, held, &counts, None).await?;
    Ok(Committed { counts, routing: None, state })
}

/// Brings columns and rows of bronze to what the table beside it has.
async fn fill(
    client: &Client,
    load: &LoadPlan,
    bronze: &TableSchema,
    apart: &TableSchema,
    rows: u64,
) -> Result<Accounting> {
    let swap = Swap::of(load, bronze, apart);
    let views = if swap.retyped.is_empty() { Vec::new() } else { views(client, load, &swap.retyped).await? };
    for sql in swap.before.iter().cloned().chain(views.iter().rev().map(ViewDef::drop_sql)).chain(swap.shape.clone()) {
        execute(client, load, &sql).await?;
    }
    let counts = if load.is_appended() {
        execute(client, load, &load.stage_from(apart)).await?;
        add_versions(load, &Keyed::default(), client, rows).await?
    } else {
        let mut inserted = 0;
        for sql in &swap.fill {
            inserted += execute(client, load, sql).await?;
        }
        Accounting { staged: rows, inserted, ..Accounting::default() }
    };
    if !counts.balances() {
        let text =
            format!("table `{}`: {rows} rows were read, and {} took {}", load.table, load.target, counts.inserted);
        return Err(Error::new(ErrorKind::Data, text).with_hint(format!(
            "nothing was changed; look for a trigger, a rule or row level security on {} that drops rows",
            load.target
        )));
    }
    for view in &views {
        for sql in view.make_sql() {
            client.execute_typed(&sql, &[]).await.map_err(|error| not_made(load, view, &swap.retyped, error))?;
        }
    }
    execute(client, load, &format!("analyze {}", load.target.sql())).await?;
    Ok(counts)
}

/// The views over bronze, each behind those that it is made of.
async fn views(client: &Client, load: &LoadPlan, retyped: &[String]) -> Result<Vec<ViewDef>> {
    let found = catalog::views(client, &load.target).await?;
    let stuck: Vec<&str> = found.iter().filter_map(|view| view.stuck.as_deref()).collect();
    if stuck.is_empty() {
        return Ok(found);
    }
    Err(holds_type(load, retyped, &stuck.join(", ")))
}

fn holds_type(load: &LoadPlan, retyped: &[String], what: &str) -> Error {
    let (table, columns) = (&load.table, retyped.join("`, `"));
    Error::new(ErrorKind::Contract, format!("table `{table}`: the type of `{columns}` changes, and {what} holds it"))
        .with_hint(format!(
            "nothing was changed; drop it in the target, run `dwh resync {table}`, which goes on where it stands, and make \
             it again"
        ))
}

/// A view that does not go with the new types.
fn not_made(load: &LoadPlan, view: &ViewDef, retyped: &[String], error: tokio_postgres::Error) -> Error {
    let told = holds_type(load, retyped, &format!("view `{}`", view.view));
    match sort(error) {
        lost if lost.kind() == ErrorKind::Unreachable => lost,
        cause => told.with_source(cause),
    }
}

async fn execute(client: &Client, load: &LoadPlan, sql: &str) -> Result<u64> {
    client.execute_typed(sql, &[]).await.map_err(|error| named(load, error))
}

async fn count(client: &Client, load: &LoadPlan, sql: &str) -> Result<u64> {
    let row = client.query_typed_one(sql, &[]).await.map_err(|error| named(load, error))?;
    Ok(row.get::<_, i64>(0).cast_unsigned())
}

/// The error of a table that is not there any more.
pub(super) fn gone(load: &LoadPlan) -> Error {
    let (table, target) = (&load.table, &load.target);
    Error::new(ErrorKind::NotFound, format!("table `{table}`: {target} is not there any more, or is another table"))
        .with_hint(format!("nothing was changed; `dwh resync {table}` reads again what is missing"))
}
