//! Materialized views beside bronze.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{MaintainAction, MaintainStep};
use crate::connect::{look, sort};
use crate::error::Result;

/// What reads what: a view's rule depends on the relations of its query.
const READS: &str = "select distinct r.ev_class as view, d.refobjid as read from pg_catalog.pg_rewrite r \
     join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid \
         and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid <> r.ev_class";

/// A step for each materialized view in these schemas that reads one of the tables, by way of views or not; with `all` for
/// every one. What others read comes first.
pub(super) async fn wanted(
    client: &Client,
    tables: &[String],
    schemas: &[&str],
    all: bool,
) -> Result<Vec<MaintainStep>> {
    let sql = format!(
        "with recursive reads as materialized ({READS}), \
         below(oid, depth) as ( \
             select pg_catalog.to_regclass(w.name)::oid, 0 from pg_catalog.unnest($1) w(name) \
             union select c.oid, 0 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
                 where $3 and c.relkind = 'm' and n.nspname = any ($2) \
             union select reads.view, below.depth + 1 from below join reads on reads.read = below.oid where below.depth < 100) \
         select pg_catalog.format('%I.%I', n.nspname, c.relname), c.relispopulated and exists ( \
             select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid \
                 and i.indpred is null and i.indexprs is null), \
             (with recursive down (oid) as (select c.oid union select reads.read from down join reads on reads.view = down.oid) \
                 select pg_catalog.string_agg(pg_catalog.format('`%s.%s`', o.nspname, t.relname), ', ' order by o.nspname, t.relname) \
                 from down join pg_catalog.pg_class t on t.oid = down.oid join pg_catalog.pg_namespace o on o.oid = t.relnamespace \
                 where t.relkind in ('r', 'p') and pg_catalog.starts_with(o.nspname::text, 'dwh_backup_')) \
         from below join pg_catalog.pg_class c on c.oid = below.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind = 'm' and n.nspname = any ($2) \
         group by c.oid, c.relispopulated, n.nspname, c.relname order by max(below.depth), 1"
    );
    let params = [(&tables as _, Type::TEXT_ARRAY), (&schemas as _, Type::TEXT_ARRAY), (&all as _, Type::BOOL)];
    let rows = look(client, async { client.query_typed(&sql, &params).await.map_err(sort) }).await?;
    let step = |row: &tokio_postgres::Row| {
        let concurrently: bool = row.get(1);
        let about = if concurrently { "readers go on" } else { "readers wait: it has no unique index over columns" };
        let warning = row.get::<_, Option<String>>(2).map(left_behind);
        let step = MaintainStep::new(MaintainAction::Refresh, Some(row.get(0)), about);
        MaintainStep { concurrently, warning, ..step }
    };
    Ok(rows.iter().map(step).collect())
}

/// A table that a rebuild put aside gets no rows any more.
fn left_behind(tables: String) -> String {
    format!(
        "it reads {tables}, which `dwh rebuild --reset` put aside, and not the table that is there now: make it again, by \
         `dwh models run` if it is a model"
    )
}

/// Fills the view anew.
pub(super) async fn refresh(client: &Client, view: &str, concurrently: bool) -> Result<()> {
    let how = if concurrently { "concurrently " } else { "" };
    client.batch_execute(&format!("refresh materialized view {how}{view}")).await.map_err(sort)
}
