//! What a PostgreSQL catalog says of a table, the same for source and target.
//!
//! Statements are unnamed, so that they pass through a pooler that changes the server between transactions.

mod equality;
mod holders;
mod indexes;
mod types;

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::connect::sort;
use crate::error::{Error, Result};
use crate::schema::{Column, DEFERRABLE, NULLS, RelationKind, TableRef, TableSchema, TypeName, UniqueKey};

pub(crate) use equality::equality;
pub(crate) use holders::{LockWanted, held_by, holders, is_lock_timeout};
pub(crate) use indexes::{Loadable, indexes, loadable, portrait};
pub(crate) use types::{TypesOf, types};

const RELATION: &str = "select c.oid, c.relkind::text, pg_catalog.to_regclass('_timescaledb_catalog.hypertable') is not null \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where n.nspname = $1 and c.relname = $2";

const IS_HYPERTABLE: &str = "select exists (select from _timescaledb_catalog.hypertable \
     where schema_name = $1 and table_name = $2)";

/// Partitions and chunks carry the rows; a parent that was never analyzed says -1, which must not be added.
const ROW_ESTIMATE: &str = "with recursive family(oid) as ( \
         select $1 union select i.inhrelid from pg_catalog.pg_inherits i join family f on f.oid = i.inhparent) \
     select coalesce(sum(c.reltuples) filter (where c.reltuples >= 0 and c.relkind <> 'p'), -1)::bigint \
     from family f join pg_catalog.pg_class c on c.oid = f.oid";

/// A domain is followed to its base type; `not null` of any domain on the way counts.
const COLUMNS: &str = "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         a.attnotnull or base.not_null, a.attgenerated <> '', a.attidentity <> '', \
         base.name in ('geometry', 'geography'), \
         case when a.attgenerated = '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end \
     from pg_catalog.pg_attribute a \
     left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
     cross join lateral ( \
         with recursive chain(oid, kind, base, not_null) as ( \
             select t.oid, t.typtype, t.typbasetype, t.typnotnull from pg_catalog.pg_type t where t.oid = a.atttypid \
             union all \
             select t.oid, t.typtype, t.typbasetype, t.typnotnull from pg_catalog.pg_type t \
             join chain on chain.kind = 'd' and t.oid = chain.base) \
         select (select t.typname::text from chain join pg_catalog.pg_type t using (oid) where chain.kind <> 'd') as name, \
             (select coalesce(bool_or(chain.not_null), false) from chain) as not_null) base \
     where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum";

/// What [`COLUMNS`] does not say, by name: the number, where an ordinary catalog gave it; the value that a
/// constant default gave to the rows that were there (a partitioned table has none itself, its partitions have); and what
/// keeps the type from being changed.
const COLUMN_FACTS: &str = "select a.attname::text, case when c.relkind in ('r', 'p') then a.attnum end, \
         case c.relkind when 'r' then pg_catalog.array_to_string(a.attmissingval, '') when 'p' then ( \
             with recursive family(oid) as ( \
                 select a.attrelid union select i.inhrelid from pg_catalog.pg_inherits i \
                 join family f on f.oid = i.inhparent) \
             select case when count(distinct old.value) = 1 then min(old.value) end \
             from (select pg_catalog.array_to_string(m.attmissingval, '') as value from family f \
                 join pg_catalog.pg_attribute m on m.attrelid = f.oid and m.attname = a.attname and m.atthasmissing) old) end, \
         array(select distinct coalesce( \
                 (select case v.relkind when 'm' then 'materialized view ' else 'view ' end \
                     || pg_catalog.format('%I.%I', n.nspname, v.relname) \
                     from pg_catalog.pg_rewrite w join pg_catalog.pg_class v on v.oid = w.ev_class \
                     join pg_catalog.pg_namespace n on n.oid = v.relnamespace \
                     where d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and w.oid = d.objid \
                     and v.relkind in ('v', 'm')), \
                 pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)) \
             from pg_catalog.pg_depend d \
             left join pg_catalog.pg_attrdef e on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and e.oid = d.objid \
             where d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             and d.refobjid = a.attrelid and d.refobjsubid = a.attnum \
             and (d.classid in ('pg_catalog.pg_rewrite'::pg_catalog.regclass, 'pg_catalog.pg_policy'::pg_catalog.regclass, \
                     'pg_catalog.pg_trigger'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass, \
                     'pg_catalog.pg_publication_rel'::pg_catalog.regclass) \
                 or e.adnum <> a.attnum \
                 or (d.classid = d.refclassid and d.objid = d.refobjid and d.objsubid > 0 and d.objsubid <> a.attnum)) \
             order by 1) \
     from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid \
     where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped";

/// `to_jsonb`, because `indnullsnotdistinct` is not in every version.
const KEYS: &str = "select c.relname::text, i.indisprimary, i.indimmediate, i.indisvalid, i.indpred is not null, \
         0 = any (k.numbers), \
         array(select a.attname::text from pg_catalog.unnest(k.numbers) with ordinality u(number, place) \
             join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number order by u.place), \
         (select min(a.attname::text) from pg_catalog.pg_attribute a \
             where a.attrelid = i.indrelid and a.attnum = any (k.numbers) and not a.attnotnull \
             and not coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)) \
     from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid \
     cross join lateral (select (i.indkey::int2[])[0:i.indnkeyatts - 1] as numbers) k \
     where i.indrelid = $1 and i.indisunique order by not i.indisprimary, c.relname";

const LEADING: &str = "select distinct a.attname::text from pg_catalog.pg_index i \
     join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = c.relam \
     join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
     where i.indrelid = $1 and i.indisvalid and i.indpred is null and m.amname = 'btree' order by 1";

/// The catalog's view of a table; `None` if there is no relation of that name that rows could be read from.
///
/// Types are spelled out in full only under an empty `search_path`, which the caller's session or transaction has.
pub(crate) async fn describe(client: &impl GenericClient, table: &TableRef) -> Result<Option<TableSchema>> {
    let names: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
    let Some(relation) = client.query_typed_opt(RELATION, &names).await.map_err(sort)? else { return Ok(None) };
    let oid: u32 = relation.get(0);
    let kind = match relation.get::<_, &str>(1) {
        "r" if relation.get(2) && client.query_typed_one(IS_HYPERTABLE, &names).await.map_err(sort)?.get(0) => {
            RelationKind::Hypertable
        }
        "r" => RelationKind::Table,
        "p" => RelationKind::Partitioned,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => return Ok(None),
    };
    let rows = async |sql: &str| client.query_typed(sql, &[(&oid, Type::OID)]).await.map_err(sort);
    Ok(Some(TableSchema {
        table: table.clone(),
        kind,
        columns: columns(&rows(COLUMNS).await?, &rows(COLUMN_FACTS).await?)?,
        keys: rows(KEYS).await?.iter().map(unique_key).collect(),
        indexed: rows(LEADING).await?.iter().map(|row| row.get(0)).collect(),
        row_estimate: rows(ROW_ESTIMATE).await?.first().map_or(-1, |row| row.get(0)),
        types: types(client, &TypesOf { relation: oid, ..TypesOf::default() }).await?,
    }))
}

/// The schema that an extension's functions live in; `None` if the database does not have it.
pub(crate) async fn schema_of_extension(client: &impl GenericClient, name: &str) -> Result<Option<String>> {
    let sql = "select n.nspname::text from pg_catalog.pg_extension x \
               join pg_catalog.pg_namespace n on n.oid = x.extnamespace where x.extname = $1";
    Ok(client.query_typed_opt(sql, &[(&name, Type::TEXT)]).await.map_err(sort)?.map(|row| row.get(0)))
}

fn columns(rows: &[tokio_postgres::Row], facts: &[tokio_postgres::Row]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = rows.iter().map(column).collect::<Result<_>>()?;
    for row in facts {
        // A column that came between both questions is not there yet.
        if let Some(column) = columns.iter_mut().find(|column| column.name == row.get::<_, &str>(0)) {
            (column.number, column.old_value, column.dependents) = (row.get(1), row.get(2), row.get(3));
        }
    }
    Ok(columns)
}

fn column(row: &tokio_postgres::Row) -> Result<Column> {
    let name: String = row.get(0);
    let type_name = type_name(&name, row.get(1))?;
    Ok(Column {
        not_null: row.get(2),
        generated: row.get(3),
        identity: row.get(4),
        geometry: row.get(5),
        default: row.get(6),
        ..Column::new(name, type_name)
    })
}

/// The type of a column as the server prints it.
pub(crate) fn type_name(column: &str, printed: &str) -> Result<TypeName> {
    printed.parse().map_err(|error: Error| error.context(format!("column `{column}`")))
}

fn unique_key(row: &tokio_postgres::Row) -> UniqueKey {
    let expression: bool = row.get(5);
    let nullable: Option<String> = row.get(7);
    let unusable = if !row.get::<_, bool>(3) {
        Some("it is not valid".to_owned())
    } else if !row.get::<_, bool>(2) {
        Some(DEFERRABLE.to_owned())
    } else if row.get(4) {
        Some("it is partial".to_owned())
    } else if expression {
        Some("it is over an expression".to_owned())
    } else {
        nullable.map(|column| format!("column `{column}` {NULLS}"))
    };
    let columns = if expression { Vec::new() } else { row.get(6) };
    UniqueKey { name: row.get(0), columns, primary: row.get(1), unusable }
}
