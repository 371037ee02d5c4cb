//! The rows of a table beside bronze, put in the place of those of bronze: one transaction.

use tokio_postgres::Client;

use super::PgSink;
use super::errors::named;
use super::merge::{add_versions, refuse_empty};
use super::pool::Tx;
use super::replace::Keyed;
use super::stage::end;
use crate::catalog;
use crate::control::Brought;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::migrate::{drop_views, make_views, views_over};
use crate::plan::{LoadPlan, Swap};
use crate::schema::TableSchema;
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
    let stay = load.is_appended() || load.marks();
    let removed = if rows == 0 && !stay { count(client, load, &load.count_rows()).await? } else { 0 };
    if removed > 0 && !load.allow_empty {
        return Err(refuse_empty(load));
    }
    let counts = Accounting { removed, ..fill(client, load, &bronze, &there, rows).await? };
    execute(client, load, &format!("drop table {}", beside.target.sql())).await?;
    let state = sink.control.settle(client, load, commit, held, Brought::Rows(&counts, None)).await?;
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
    let views = views_over(client, load, &swap.retyped).await?;
    for sql in swap.before.iter().cloned().chain(drop_views(&views)).chain(swap.shape.clone()) {
        execute(client, load, &sql).await?;
    }
    let marked = match &swap.marked {
        Some(sql) => count(client, load, sql).await?,
        None => 0,
    };
    let counts = if load.is_appended() {
        execute(client, load, &load.stage_from(apart)).await?;
        add_versions(load, &Keyed::default(), client, rows).await?
    } else {
        let mut inserted = 0;
        for sql in &swap.fill {
            inserted += execute(client, load, sql).await?;
        }
        Accounting { staged: rows, inserted, marked, ..Accounting::default() }
    };
    if !counts.balances() {
        let text =
            format!("table `{}`: {rows} rows were read, and {} took {}", load.table, load.target, counts.inserted);
        return Err(Error::new(ErrorKind::Data, text).with_hint(format!(
            "nothing was changed; look for a trigger, a rule or row level security on {} that drops rows",
            load.target
        )));
    }
    make_views(client, load, &swap.retyped, &views).await?;
    execute(client, load, &format!("analyze {}", load.target.sql())).await?;
    Ok(counts)
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
