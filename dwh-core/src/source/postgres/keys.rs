//! Which keys the source has, wherever their rows lie, and at which of them it is cut into chunks.

use tokio_postgres::types::{ToSql, Type};

use super::PgSource;
use super::lock::not_locked;
use crate::catalog::equality;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Compared, End, Plan};
use crate::schema::RowKey;

pub(super) async fn has_keys(source: &PgSource, plan: &Plan, keys: &[RowKey]) -> Result<Vec<bool>> {
    let table = Compared::new(End::Source, plan, &plan.source, &plan.table.key, None, None)?;
    let columns: Vec<Vec<Option<&str>>> =
        (0..plan.table.key.len()).map(|at| keys.iter().map(|key| key[at].as_deref()).collect()).collect();
    let values: Vec<(&(dyn ToSql + Sync), Type)> =
        columns.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
    let client = source.pool.take().await?;
    let about = |error| not_locked(&plan.table, error);
    client.batch_execute(&source.begin()).await.map_err(about)?;
    let (relation, key) = table.keyed();
    let find = table.find(&equality(&*client, relation, &key).await?);
    // Polled, and so sent, in this order.
    let (rows, ()) =
        futures_util::try_join!(client.query_typed(&find, &values), client.batch_execute("commit")).map_err(about)?;
    client.give_back();
    let mut found = vec![false; keys.len()];
    for row in rows {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let Some(slot) = found.get_mut(place) else {
            return Err(Error::new(ErrorKind::Internal, "a key was found that was not asked for"));
        };
        *slot = true;
    }
    Ok(found)
}

pub(super) async fn cuts(source: &PgSource, plan: &Plan, rows: u64) -> Result<Vec<RowKey>> {
    let Some(sql) = plan.cuts(rows.max(1)) else { return Ok(Vec::new()) };
    let rows = source.ask_about(plan, &sql).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
