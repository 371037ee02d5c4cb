//! The views over a table.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::connect::sort;
use crate::error::Result;
use crate::schema::{FilledView, TableRef, ViewDef};

/// Each behind those that it is made of. What no statement of ours sets keeps a view from being made again.
const VIEWS: &str = "with recursive over (oid, depth) as ( \
         select pg_catalog.to_regclass($1)::oid, 0 union \
         select r.ev_class, o.depth + 1 from over o \
         join pg_catalog.pg_depend d on d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = o.oid \
             and d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
         join pg_catalog.pg_rewrite r on r.oid = d.objid and r.ev_class <> o.oid) \
     select n.nspname::text, c.relname::text, pg_catalog.pg_get_viewdef(c.oid), \
         (select pg_catalog.string_agg(pg_catalog.quote_ident(s.option_name) || ' = ' || pg_catalog.quote_literal(s.option_value), ', ') \
             from pg_catalog.pg_options_to_table(c.reloptions) s), \
         pg_catalog.pg_get_userbyid(c.relowner)::text, \
         array(select pg_catalog.format('%s on %I.%I to %s%s', a.privilege_type, n.nspname, c.relname, \
             case when a.grantee = 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end, \
             case when a.is_grantable then ' with grant option' else '' end) \
             from pg_catalog.aclexplode(c.relacl) a where a.grantee <> c.relowner order by 1), \
         pg_catalog.obj_description(c.oid, 'pg_class'), \
         array(select a.attname::text from pg_catalog.pg_attribute a \
             where a.attrelid = c.oid and pg_catalog.col_description(c.oid, a.attnum) is not null order by a.attnum), \
         array(select pg_catalog.col_description(c.oid, a.attnum) from pg_catalog.pg_attribute a \
             where a.attrelid = c.oid and pg_catalog.col_description(c.oid, a.attnum) is not null order by a.attnum), \
         case when not pg_catalog.pg_has_role(c.relowner, 'usage') \
             then pg_catalog.format('`%s.%s` of role `%s`', n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner)) \
             when c.relkind = 'm' then pg_catalog.format('materialized view `%s.%s`', n.nspname, c.relname) \
             when c.relkind <> 'v' then pg_catalog.format('a rule of `%s.%s`', n.nspname, c.relname) \
             when c.relhastriggers or (select pg_catalog.count(*) from pg_catalog.pg_rewrite r where r.ev_class = c.oid) > 1 \
                 or exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and (a.attacl is not null or a.atthasdef)) \
                 or exists (select from pg_catalog.pg_seclabel l where l.objoid = c.oid) \
                 or exists (select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e' \
                     and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass) \
             then pg_catalog.format('view `%s.%s` (with triggers, rules or rights of its own)', n.nspname, c.relname) end, \
         c.relkind = 'm' and pg_catalog.pg_has_role(c.relowner, 'usage') and c.reltablespace = 0 \
             and exists (select from pg_catalog.pg_am m where m.oid = c.relam and m.amname = 'heap') \
             and not exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
                 and (a.attacl is not null or 'n_distinct' = any (select pg_catalog.split_part(o, '=', 1) from pg_catalog.unnest(a.attoptions) o) \
                     or a.attstattarget >= 0)) \
             and not exists (select from pg_catalog.pg_seclabel l where l.objoid = c.oid) \
             and not exists (select from pg_catalog.pg_statistic_ext s where s.stxrelid = c.oid) \
             and not exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and (i.indisclustered or not i.indisvalid)) \
             and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e' \
                 and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass), \
         array(select pg_catalog.pg_get_indexdef(i.indexrelid) from pg_catalog.pg_index i where i.indrelid = c.oid order by 1), \
         c.relispopulated \
     from (select o.oid, pg_catalog.max(o.depth) as depth from over o where o.depth > 0 group by o.oid) o \
     join pg_catalog.pg_class c on c.oid = o.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     order by o.depth, 1, 2";

/// The views over the table, and those over them.
pub(crate) async fn views(client: &impl GenericClient, table: &TableRef) -> Result<Vec<ViewDef>> {
    let rows = client.query_typed(VIEWS, &[(&table.sql(), Type::TEXT)]).await.map_err(sort)?;
    let view = |row: &tokio_postgres::Row| {
        let columns: Vec<String> = row.get(7);
        ViewDef {
            view: TableRef::new(row.get::<_, String>(0), row.get::<_, String>(1)),
            definition: row.get(2),
            options: row.get(3),
            owner: row.get(4),
            grants: row.get(5),
            comment: row.get(6),
            column_comments: columns.into_iter().zip(row.get::<_, Vec<String>>(8)).collect(),
            stuck: row.get(9),
            filled: row.get::<_, bool>(10).then(|| FilledView { indexes: row.get(11), populated: row.get(12) }),
        }
    };
    Ok(rows.iter().map(view).collect())
}
