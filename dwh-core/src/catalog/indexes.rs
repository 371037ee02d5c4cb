//! What decides how rows may be put into a bronze table: what else happens there when a row comes, and its indexes, so that
//! they can be dropped for a load and built again exactly as they were.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::connect::sort;
use crate::error::Result;
use crate::schema::{IndexDef, KeyDef, TableRef};

/// COPY follows no rule, and is refused under row level security; triggers may drop or change rows, and see another
/// statement than the merge.
const LOADABLE: &str = "select case \
         when c.relkind <> 'r' then 'bronze is no ordinary table' \
         when exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhrelid, i.inhparent)) \
             then 'bronze has partitions or children, or is one' \
         when c.relrowsecurity then 'bronze has row level security' \
         when exists (select from pg_catalog.pg_rewrite w where w.ev_class = c.oid) then 'bronze has a rule' \
         when exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal) \
             then 'bronze has a trigger' end, \
     pg_catalog.pg_has_role(c.relowner, 'usage'), \
     pg_catalog.has_table_privilege(c.oid, 'truncate') \
         and not exists (select from pg_catalog.pg_constraint k where k.confrelid = c.oid and k.contype = 'f') \
     from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass($1)";

/// One that others depend on, or that has what no statement here sets, stays. A key that is no btree over plain equality is
/// not made from an index.
const INDEXES: &str = "select n.nspname::text, c.relname::text, pg_catalog.pg_get_indexdef(c.oid), s.spcname::text, \
         i.indisclustered, pg_catalog.obj_description(c.oid, 'pg_class'), \
         k.conname is not null, k.contype = 'p', k.condeferrable, k.condeferred, \
         pg_catalog.obj_description(k.oid, 'pg_constraint'), \
         i.indisvalid and i.indisready and not i.indisreplident \
         and (k.oid is null or (k.contype in ('p', 'u') and i.indisunique and m.amname = 'btree')) \
         and not exists (select from pg_catalog.pg_depend d where d.deptype <> 'i' \
             and ((d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = c.oid) \
                 or (d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.refobjid = k.oid))) \
         and not exists (select from pg_catalog.pg_depend d where d.deptype in ('e', 'x') \
             and ((d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid) \
                 or (d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass and d.objid = k.oid))) \
         and not exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and coalesce(a.attstattarget, -1) <> -1) \
         and not exists (select from pg_catalog.pg_seclabel l where l.objoid in (c.oid, k.oid)) \
     from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_am m on m.oid = c.relam \
     left join pg_catalog.pg_tablespace s on s.oid = c.reltablespace \
     left join pg_catalog.pg_constraint k on k.conindid = c.oid and k.conrelid = i.indrelid and k.contype in ('p', 'u', 'x') \
     where i.indrelid = pg_catalog.to_regclass($1) order by i.indisprimary desc, c.relname";

/// Everything about the indexes and keys of a table but their numbers, as text: two that are equal are the same. What
/// versions call differently is taken from the row as a whole.
const PORTRAIT: &str = "select coalesce((select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array( \
         c.relname, c.relnamespace, c.relowner, c.reltablespace, c.reloptions, c.relpersistence, c.relacl, \
         pg_catalog.pg_get_indexdef(c.oid), \
         pg_catalog.to_jsonb(i) - array['indexrelid', 'indcheckxmin', 'indexprs', 'indpred'], \
         pg_catalog.obj_description(c.oid, 'pg_class'), pg_catalog.pg_get_constraintdef(k.oid), \
         pg_catalog.to_jsonb(k) - array['oid', 'conindid', 'conbin'], pg_catalog.obj_description(k.oid, 'pg_constraint'), \
         (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(a.attname, a.atttypid, a.attcollation, \
             coalesce(a.attstattarget, -1), a.attoptions) order by a.attnum) \
             from pg_catalog.pg_attribute a where a.attrelid = c.oid)) order by c.relname) \
     from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid \
     left join pg_catalog.pg_constraint k on k.conindid = c.oid and k.conrelid = i.indrelid \
     where i.indrelid = t.oid), '[]')::text \
     || t.relreplident::text || (select pg_catalog.string_agg(a.attnotnull::text, ',' order by a.attnum) \
         from pg_catalog.pg_attribute a where a.attrelid = t.oid and a.attnum > 0) \
     from pg_catalog.pg_class t where t.oid = pg_catalog.to_regclass($1)";

/// How rows may be put into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loadable {
    /// What keeps rows from being copied straight into it, a few words.
    pub(crate) obstacle: Option<String>,
    /// Whether we are as good as its owner, and may drop and make its indexes.
    pub(crate) owned: bool,
    /// Whether we may empty it, and no foreign key stands in the way.
    pub(crate) truncates: bool,
}

/// How rows may be put into the table; `None` if there is none.
pub(crate) async fn loadable(client: &impl GenericClient, table: &TableRef) -> Result<Option<Loadable>> {
    let row = client.query_typed_opt(LOADABLE, &[(&table.sql(), Type::TEXT)]).await.map_err(sort)?;
    Ok(row.map(|row| Loadable { obstacle: row.get(0), owned: row.get(1), truncates: row.get(2) }))
}

/// The indexes of the table with all that is needed to build them again; `None` if there is one that must stay.
pub(crate) async fn indexes(client: &impl GenericClient, table: &TableRef) -> Result<Option<Vec<IndexDef>>> {
    let rows = client.query_typed(INDEXES, &[(&table.sql(), Type::TEXT)]).await.map_err(sort)?;
    let index = |row: &tokio_postgres::Row| {
        let is_constraint: bool = row.get(6);
        IndexDef {
            table: TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            definition: row.get(2),
            tablespace: row.get(3),
            clustered: row.get(4),
            comment: row.get(5),
            constraint: is_constraint.then(|| KeyDef {
                primary: row.get(7),
                deferrable: row.get(8),
                deferred: row.get(9),
                comment: row.get(10),
            }),
        }
    };
    Ok(rows.iter().map(|row| row.get::<_, bool>(11).then(|| index(row))).collect())
}

/// All of the table's indexes and keys as one text.
pub(crate) async fn portrait(client: &impl GenericClient, table: &TableRef) -> Result<String> {
    let row = client.query_typed_one(PORTRAIT, &[(&table.sql(), Type::TEXT)]).await.map_err(sort)?;
    Ok(row.get(0))
}
