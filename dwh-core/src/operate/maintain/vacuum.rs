//! Tables that were written since they were vacuumed.

use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{MaintainAction, MaintainStep};
use crate::connect::{look, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::source::survey::{counted, grouped};

/// Servers before version 15 count late.
const COUNTED_WITHIN: Duration = Duration::from_secs(3);

/// A table with all its partitions, which are what is counted.
const PARTS: &str = "(select r.oid union select t.relid from pg_catalog.pg_partition_tree(r.oid) t) p(oid)";

/// A step for each of these that there is and that was written since the last vacuum; ours or that of the server.
pub(super) async fn wanted(client: &Client, tables: &[String]) -> Result<Vec<MaintainStep>> {
    let sql = format!(
        "select w.name, n.changed, n.dead from pg_catalog.unnest($1) with ordinality w(name, place), \
         lateral (select pg_catalog.to_regclass(w.name)::oid as oid) r, \
         lateral (select sum(greatest(pg_catalog.pg_stat_get_mod_since_analyze(p.oid), \
                 pg_catalog.pg_stat_get_ins_since_vacuum(p.oid)))::int8 as changed, \
             sum(pg_catalog.pg_stat_get_dead_tuples(p.oid))::int8 as dead from {PARTS}) n \
         where r.oid is not null and n.changed + n.dead > 0 order by w.place"
    );
    let rows = async { client.query_typed(&sql, &[(&tables, Type::TEXT_ARRAY)]).await.map_err(sort) };
    let step = |row: &tokio_postgres::Row| {
        let (name, changed, dead): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let about =
            format!("{} changed, {} dead", counted(changed.unsigned_abs(), "row"), grouped(dead.unsigned_abs()));
        MaintainStep::new(MaintainAction::Vacuum, Some(name), about)
    };
    Ok(look(client, rows).await?.iter().map(step).collect())
}

/// How often the table was vacuumed by hand.
async fn count(client: &Client, table: &str) -> Result<i64> {
    let sql = format!(
        "select sum(pg_catalog.pg_stat_get_vacuum_count(p.oid))::int8 \
         from (select pg_catalog.to_regclass($1)::oid as oid) r, lateral {PARTS}"
    );
    let row = async { client.query_typed_one(&sql, &[(&table, Type::TEXT)]).await.map_err(sort) };
    Ok(look(client, row).await?.get::<_, Option<i64>>(0).unwrap_or_default())
}

/// Vacuums the table, unless somebody holds it: a wait for him would have no end.
pub(super) async fn vacuum(client: &Client, table: &str) -> Result<()> {
    let before = count(client, table).await?;
    client.batch_execute(&format!("vacuum (analyze, skip_locked) {table}")).await.map_err(sort)?;
    // The server leaves a table that it may not vacuum with a notice, and without an error.
    let began = Instant::now();
    while count(client, table).await? == before {
        if began.elapsed() > COUNTED_WITHIN {
            return Err(Error::new(
                ErrorKind::Locked,
                format!("`{table}` was left out: somebody holds it, or it belongs to another role"),
            )
            .with_hint(
                "call `dwh maintain` again later; `dwh migrate --dry-run` tells of tables that belong to others",
            ));
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
