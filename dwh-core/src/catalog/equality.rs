//! Which operators tell the keys of a table apart.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::connect::sort;
use crate::error::Result;
use crate::plan::Equality;
use crate::schema::{Column, TableRef};

/// Of each column: the operator and the collation of the unique index over exactly these columns, the primary key before
/// others; without one, the operator of the type's default class for indexes, where the type itself has one.
const OPERATORS: &str = "with wanted as ( \
         select u.name, u.type, u.place from rows from (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) \
             with ordinality u(name, type, place)), \
     chosen as ( \
         select i.indexrelid, i.indrelid, i.indkey, i.indclass, i.indcollation, i.indnkeyatts from pg_catalog.pg_index i \
         where i.indrelid = pg_catalog.to_regclass($1) and i.indisunique and i.indisvalid and i.indpred is null \
         and array(select a.attname::text collate \"C\" from pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) n \
             left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = n order by 1) \
           = array(select w.name collate \"C\" from wanted w order by 1) \
         order by not i.indisprimary, i.indexrelid limit 1), \
     part as ( \
         select a.attname::text as name, p.class, \
             case when p.collated <> 0 and p.collated <> a.attcollation then p.collated end as collated \
         from chosen i cross join lateral rows from ( \
             pg_catalog.unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]), \
             pg_catalog.unnest((i.indclass::oid[])[0:i.indnkeyatts - 1]), \
             pg_catalog.unnest((i.indcollation::oid[])[0:i.indnkeyatts - 1])) p(number, class, collated) \
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = p.number) \
     select w.name, n.nspname::text, o.oprname::text, cn.nspname::text, c.collname::text from wanted w \
     left join part p on p.name = w.name \
     left join pg_catalog.pg_type t on t.oid = pg_catalog.to_regtype(w.type) \
     left join pg_catalog.pg_opclass k on k.oid = coalesce(p.class, (select d.oid from pg_catalog.pg_opclass d \
         join pg_catalog.pg_am m on m.oid = d.opcmethod and m.amname = 'btree' \
         where d.opcdefault and d.opcintype = case t.typtype when 'd' then t.typbasetype else t.oid end)) \
     left join pg_catalog.pg_amop e on e.amopfamily = k.opcfamily and e.amoplefttype = k.opcintype \
         and e.amoprighttype = k.opcintype and e.amopstrategy = 3 \
     left join pg_catalog.pg_operator o on o.oid = e.amopopr \
     left join pg_catalog.pg_namespace n on n.oid = o.oprnamespace \
     left join pg_catalog.pg_collation c on c.oid = p.collated \
     left join pg_catalog.pg_namespace cn on cn.oid = c.collnamespace \
     order by w.place";

/// How the columns of `key` are compared in `table`; `None` where the rows come from a query.
pub(crate) async fn equality(
    client: &impl GenericClient,
    table: Option<&TableRef>,
    key: &[&Column],
) -> Result<Vec<Equality>> {
    let table = table.map(TableRef::sql);
    let names: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
    let types: Vec<&str> = key.iter().map(|column| column.type_name.as_str()).collect();
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&table, Type::TEXT), (&names, Type::TEXT_ARRAY), (&types, Type::TEXT_ARRAY)];
    let rows = client.query_typed(OPERATORS, &params).await.map_err(sort)?;
    let named = |row: &tokio_postgres::Row, at: usize| -> Option<(String, String)> {
        row.get::<_, Option<String>>(at).zip(row.get::<_, Option<String>>(at + 1))
    };
    let equality =
        |row: &tokio_postgres::Row| Equality { column: row.get(0), operator: named(row, 1), collation: named(row, 3) };
    Ok(rows.iter().map(equality).collect())
}
