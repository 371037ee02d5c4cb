//! What is there under the name of a model, and what holds on to it.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::config::ModelKind;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;

/// Besides itself: whether it can be refreshed while others read it, and what goes with it that nothing here makes again.
const THERE: &str = "select c.relkind::text as kind, c.relispopulated as populated, exists ( \
         select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid \
             and i.indpred is null and i.indexprs is null) as concurrently, \
     array(select pg_catalog.format('trigger `%s`', t.tgname) from pg_catalog.pg_trigger t \
             where t.tgrelid = c.oid and not t.tgisinternal \
         union all select pg_catalog.format('policy `%s`', p.polname) from pg_catalog.pg_policy p where p.polrelid = c.oid \
         union all select 'row level security' where c.relrowsecurity \
         union all select pg_catalog.format('foreign key `%s` of `%s`', k.conname, k.conrelid::pg_catalog.regclass) \
             from pg_catalog.pg_constraint k where k.contype = 'f' and c.oid in (k.conrelid, k.confrelid) \
         union all select pg_catalog.format('publication `%s`', p.pubname) from pg_catalog.pg_publication_rel r \
             join pg_catalog.pg_publication p on p.oid = r.prpubid where r.prrelid = c.oid \
         union all select pg_catalog.format('table `%s`', i.inhrelid::pg_catalog.regclass) from pg_catalog.pg_inherits i \
             where i.inhparent = c.oid \
         union all select pg_catalog.format('rule `%s`', w.rulename) from pg_catalog.pg_rewrite w \
             where w.ev_class = c.oid and w.rulename <> '_RETURN') as held \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where n.nspname = $1 and c.relname = $2";

/// A relation under the name of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct There {
    pub(super) kind: ModelKind,
    /// Whether a materialized view has rows that can be read.
    pub(super) populated: bool,
    /// Whether it can be refreshed while others read it.
    pub(super) concurrently: bool,
    /// What would go with it.
    pub(super) held: Vec<String>,
}

/// `None` if the name is free.
///
/// # Errors
/// `Contract` if something else has the name that no model can be.
pub(super) async fn look_at(client: &impl GenericClient, name: &TableRef) -> Result<Option<There>> {
    let params = [(&name.schema as _, Type::TEXT), (&name.name as _, Type::TEXT)];
    let rows = client.query_typed(THERE, &params).await.map_err(sort)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let kind = match row.get::<_, &str>("kind") {
        "r" => ModelKind::Table,
        "v" => ModelKind::View,
        "m" => ModelKind::MaterializedView,
        _ => {
            return Err(Error::new(
                ErrorKind::Contract,
                format!("something else is called {name}, which no model can replace"),
            )
            .with_hint("give the model another name, or rename what is there"));
        }
    };
    Ok(Some(There {
        kind,
        populated: row.get("populated"),
        concurrently: row.get("concurrently"),
        held: row.get("held"),
    }))
}
