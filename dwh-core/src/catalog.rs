//! What a PostgreSQL catalog says of a table, the same for source and target.
//!
//! Statements are unnamed, so that they pass through a pooler that changes the server between transactions.

mod equality;
mod holders;
mod indexes;
mod types;
mod views;

use futures_util::try_join;
use std::collections::{BTreeSet, HashMap};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use crate::connect::sort;
use crate::error::{Error, Result};
use crate::schema::{
    Column, DEFERRABLE, NULLS, OVERLAPS, ObjectName, RelationKind, TableRef, TableSchema, TypeDef, TypeKind, TypeName,
    UniqueKey, needed,
};

pub(crate) use equality::equality;
pub(crate) use holders::{Holder, LockWanted, held_by, holders, is_lock_timeout};
pub(crate) use indexes::{Loadable, indexes, loadable, portrait};
use types::extension_types;
pub(crate) use types::{TypesOf, load_postgis, printed_type, types};
pub(crate) use views::views;

/// Those of the tables `$1` (schemas), `$2` (names) that there are, by their place in the list.
const RELATIONS: &str = "select w.place, c.oid, c.relkind::text, \
         pg_catalog.to_regclass('_timescaledb_catalog.hypertable') is not null \
     from unnest($1, $2) with ordinality w(schema, name, place) join pg_catalog.pg_namespace n on n.nspname = w.schema \
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name";

const HYPERTABLES: &str = "select w.place from unnest($1, $2) with ordinality w(schema, name, place) \
     join _timescaledb_catalog.hypertable h on h.schema_name = w.schema and h.table_name = w.name";

/// Partitions and chunks carry the rows; a parent that was never analyzed says -1, which must not be added.
const ROW_ESTIMATE: &str = "with recursive family(root, oid) as ( \
         select r.oid, r.oid from pg_catalog.unnest($1) r(oid) \
         union select f.root, i.inhrelid from pg_catalog.pg_inherits i join family f on f.oid = i.inhparent) \
     select f.root, coalesce(sum(c.reltuples) filter (where c.reltuples >= 0 and c.relkind <> 'p'), -1)::bigint \
     from family f join pg_catalog.pg_class c on c.oid = f.oid group by f.root";

/// A domain is followed to its base type; `not null` of any domain on the way counts. That of a column counts if no row can
/// be older than it (PostgreSQL 18 has `not valid` for it too), neither here nor in a table that inherits from this one.
const COLUMNS: &str = concat!(
    "with recursive chain(start, kind, name, base, not_null) as ( \
         select t.oid, t.typtype, t.typname::text, t.typbasetype, t.typnotnull from pg_catalog.pg_type t \
         where t.oid in (select u.atttypid from pg_catalog.pg_attribute u \
             where u.attrelid = any ($1) and u.attnum > 0 and not u.attisdropped) \
         union all \
         select chain.start, t.typtype, t.typname::text, t.typbasetype, t.typnotnull from pg_catalog.pg_type t \
         join chain on chain.kind = 'd' and t.oid = chain.base), \
     based as (select start, min(name) filter (where kind <> 'd') as name, bool_or(not_null) as not_null \
         from chain group by start), \
     family(root, oid) as (select r.oid, r.oid from pg_catalog.unnest($1) r(oid) \
         union select f.root, i.inhrelid from pg_catalog.pg_inherits i join family f on f.oid = i.inhparent), \
     nullable as (select f.root, m.attname from family f join pg_catalog.pg_attribute m on m.attrelid = f.oid \
         where m.attnum > 0 and not m.attisdropped \
             and not (m.attnotnull and not exists (select from pg_catalog.pg_constraint k \
                 where k.conrelid = f.oid and k.contype = 'n' and m.attnum = any (k.conkey) and not k.convalidated)) \
         group by f.root, m.attname) \
     select a.attrelid, a.attname::text, ",
    printed_type!(),
    ", \
         based.not_null or nullable.root is null, a.attgenerated <> '', a.attidentity <> '', \
         based.name in ('geometry', 'geography'), \
         case when a.attgenerated = '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end \
     from pg_catalog.pg_attribute a join based on based.start = a.atttypid \
     left join nullable on nullable.root = a.attrelid and nullable.attname = a.attname \
     left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
     where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum"
);

/// What [`COLUMNS`] does not say, by name: the number, where an ordinary catalog gave it; the value that a
/// constant default gave to the rows that were there (a partitioned table has none itself, its partitions have); what keeps
/// the type from being changed; where an inherited column comes from; whether tables are divided by it; whether it is virtual.
const COLUMN_FACTS: &str = "select a.attrelid, a.attname::text, case when c.relkind in ('r', 'p') then a.attnum end, \
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
             order by 1), \
         case when a.attinhcount = 0 then '{}' else array( \
             with recursive up(oid) as (select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = a.attrelid \
                 union select i.inhparent from pg_catalog.pg_inherits i join up on i.inhrelid = up.oid) \
             select pg_catalog.format('%I.%I', n.nspname, p.relname) from up \
             join pg_catalog.pg_attribute o on o.attrelid = up.oid and o.attname = a.attname and o.attinhcount = 0 \
             join pg_catalog.pg_class p on p.oid = up.oid join pg_catalog.pg_namespace n on n.oid = p.relnamespace \
             order by 1) end, \
         (with recursive up(oid) as (select a.attrelid \
                 union select i.inhparent from pg_catalog.pg_inherits i join up on i.inhrelid = up.oid) \
             select coalesce(bool_or(o.attnum = any (k.partattrs::int2[])), false) from up \
             join pg_catalog.pg_partitioned_table k on k.partrelid = up.oid \
             join pg_catalog.pg_attribute o on o.attrelid = up.oid and o.attname = a.attname), \
         a.attgenerated = 'v' \
     from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid \
     where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped";

/// `to_jsonb`, because `indnullsnotdistinct` is not in every version.
const KEYS: &str = "select i.indrelid, c.relname::text, i.indisprimary, i.indimmediate, i.indisvalid, i.indpred is not null, \
         0 = any (k.numbers), \
         array(select a.attname::text from pg_catalog.unnest(k.numbers) with ordinality u(number, place) \
             join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = u.number order by u.place), \
         (select min(a.attname::text) from pg_catalog.pg_attribute a \
             where a.attrelid = i.indrelid and a.attnum = any (k.numbers) and not a.attnotnull \
             and not coalesce((pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)), \
         i.indisexclusion \
     from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid \
     cross join lateral (select (i.indkey::int2[])[0:i.indnkeyatts - 1] as numbers) k \
     where i.indrelid = any ($1) and i.indisunique order by not i.indisprimary, c.relname";

const LEADING: &str = "select distinct i.indrelid, a.attname::text from pg_catalog.pg_index i \
     join pg_catalog.pg_class c on c.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = c.relam \
     join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
     where i.indrelid = any ($1) and i.indisvalid and i.indpred is null and m.amname = 'btree' order by 2";

/// The catalog's view of a table; `None` if there is no relation of that name that rows could be read from.
///
/// Types are spelled out in full only under an empty `search_path`, which the caller's session or transaction has.
pub(crate) async fn describe(client: &impl GenericClient, table: &TableRef) -> Result<Option<TableSchema>> {
    Ok(describe_all(client, &[table]).await?.pop().flatten())
}

/// The same of many tables, in their order, with the same few questions however many they are.
pub(crate) async fn describe_all(
    client: &impl GenericClient,
    tables: &[&TableRef],
) -> Result<Vec<Option<TableSchema>>> {
    let kinds = kinds(client, tables).await?;
    let oids: Vec<u32> = kinds.iter().flatten().map(|(oid, _)| *oid).collect();
    if oids.is_empty() {
        return Ok(vec![None; tables.len()]);
    }
    let rows = |sql: &'static str| by_relation(client, sql, &oids);
    // Polled, and so sent, in this order; one answer is waited for.
    let (columns, facts, keys, leading, estimates, of_extensions) = try_join!(
        rows(COLUMNS),
        rows(COLUMN_FACTS),
        rows(KEYS),
        rows(LEADING),
        rows(ROW_ESTIMATE),
        extension_types(client)
    )?;
    let columns: HashMap<u32, Vec<Column>> = oids
        .iter()
        .map(|oid| Ok((*oid, self::columns(of(&columns, *oid), of(&facts, *oid))?)))
        .collect::<Result<_>>()?;
    // Others are made of parts, down to which they are followed.
    let is_known = |name: &ObjectName| of_extensions.iter().any(|def| def.name == *name);
    let mut used = columns.values().flatten().filter_map(|column| column.type_name.object());
    let types = if used.all(|name| is_known(&name)) {
        of_extensions
    } else {
        types(client, &TypesOf { relations: &oids, ..TypesOf::default() }).await?
    };
    let described = |(table, kind): (&&TableRef, &Option<(u32, RelationKind)>)| {
        let Some((oid, kind)) = *kind else { return Ok(None) };
        let columns = columns.get(&oid).cloned().unwrap_or_default();
        Ok(Some(TableSchema {
            table: (*table).clone(),
            kind,
            types: known_to(&columns, &types),
            columns,
            keys: of(&keys, oid).map(unique_key).collect(),
            indexed: of(&leading, oid).map(|row| row.get(1)).collect(),
            row_estimate: of(&estimates, oid).next().map_or(-1, |row| row.get(1)),
        }))
    };
    tables.iter().zip(&kinds).map(described).collect()
}

/// The number and the kind of each table; `None` where there is nothing that rows could be read from.
async fn kinds(client: &impl GenericClient, tables: &[&TableRef]) -> Result<Vec<Option<(u32, RelationKind)>>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let wanted: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let place = |row: &Row| usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
    let found = client.query_typed(RELATIONS, &wanted).await.map_err(sort)?;
    let mut hypertables = BTreeSet::new();
    if found.first().is_some_and(|row| row.get(3)) {
        hypertables = client.query_typed(HYPERTABLES, &wanted).await.map_err(sort)?.iter().map(place).collect();
    }
    let mut kinds = vec![None; tables.len()];
    for row in &found {
        let kind = relation_kind(row.get(2), hypertables.contains(&place(row)));
        if let (Some(slot), Some(kind)) = (kinds.get_mut(place(row)), kind) {
            *slot = Some((row.get(1), kind));
        }
    }
    Ok(kinds)
}

/// The kind that `relkind` names; `None` for what no rows can be read from.
pub(crate) fn relation_kind(letter: &str, hypertable: bool) -> Option<RelationKind> {
    Some(match letter {
        "r" if hypertable => RelationKind::Hypertable,
        "r" => RelationKind::Table,
        "p" => RelationKind::Partitioned,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => return None,
    })
}

/// Whether a table is one of TimescaleDB's; only where the database has TimescaleDB.
pub(crate) async fn is_hypertable(client: &impl GenericClient, table: &TableRef) -> Result<bool> {
    let (schemas, names) = ([table.schema.as_str()], [table.name.as_str()]);
    let names: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schemas.as_slice(), Type::TEXT_ARRAY), (&names.as_slice(), Type::TEXT_ARRAY)];
    Ok(!client.query_typed(HYPERTABLES, &names).await.map_err(sort)?.is_empty())
}

/// Rows by the number of the relation that they tell of, which stands in their first column.
type ByRelation = HashMap<u32, Vec<Row>>;

fn of(rows: &ByRelation, oid: u32) -> std::slice::Iter<'_, Row> {
    rows.get(&oid).map_or(&[][..], Vec::as_slice).iter()
}

async fn by_relation(client: &impl GenericClient, sql: &str, oids: &[u32]) -> Result<ByRelation> {
    let mut found = ByRelation::new();
    for row in client.query_typed(sql, &[(&oids, Type::OID_ARRAY)]).await.map_err(sort)? {
        found.entry(row.get(0)).or_default().push(row);
    }
    Ok(found)
}

/// Those of `types` that the columns are made of, and what extensions bring.
fn known_to(columns: &[Column], types: &[TypeDef]) -> Vec<TypeDef> {
    let needed = needed(columns.iter().map(|column| &column.type_name), types);
    let wanted = |def: &&TypeDef| matches!(def.kind, TypeKind::Extension { .. }) || needed.contains(def);
    types.iter().filter(wanted).cloned().collect()
}

/// The schema that an extension's functions live in; `None` if the database does not have it.
pub(crate) async fn schema_of_extension(client: &impl GenericClient, name: &str) -> Result<Option<String>> {
    let sql = "select n.nspname::text from pg_catalog.pg_extension x \
               join pg_catalog.pg_namespace n on n.oid = x.extnamespace where x.extname = $1";
    Ok(client.query_typed_opt(sql, &[(&name, Type::TEXT)]).await.map_err(sort)?.map(|row| row.get(0)))
}

fn columns<'a>(rows: impl Iterator<Item = &'a Row>, facts: impl Iterator<Item = &'a Row>) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = rows.map(column).collect::<Result<_>>()?;
    for row in facts {
        // A column that came between both questions is not there yet.
        if let Some(column) = columns.iter_mut().find(|column| column.name == row.get::<_, &str>(1)) {
            (column.number, column.old_value, column.dependents) = (row.get(2), row.get(3), row.get(4));
            (column.inherited, column.partition_key, column.is_virtual) = (row.get(5), row.get(6), row.get(7));
        }
    }
    Ok(columns)
}

fn column(row: &Row) -> Result<Column> {
    let name: String = row.get(1);
    let type_name = type_name(&name, row.get(2))?;
    Ok(Column {
        not_null: row.get(3),
        generated: row.get(4),
        identity: row.get(5),
        geometry: row.get(6),
        default: row.get(7),
        ..Column::new(name, type_name)
    })
}

/// The type of a column as the server prints it.
pub(crate) fn type_name(column: &str, printed: &str) -> Result<TypeName> {
    printed.parse().map_err(|error: Error| error.context(format!("column `{column}`")))
}

fn unique_key(row: &Row) -> UniqueKey {
    let expression: bool = row.get(6);
    let nullable: Option<String> = row.get(8);
    let unusable = if !row.get::<_, bool>(4) {
        Some("it is not valid".to_owned())
    } else if !row.get::<_, bool>(3) {
        Some(DEFERRABLE.to_owned())
    } else if row.get(9) {
        Some(OVERLAPS.to_owned())
    } else if row.get(5) {
        Some("it is partial".to_owned())
    } else if expression {
        Some("it is over an expression".to_owned())
    } else {
        nullable.map(|column| format!("column `{column}` {NULLS}"))
    };
    let columns = if expression { Vec::new() } else { row.get(7) };
    UniqueKey { name: row.get(1), columns, primary: row.get(2), unusable }
}
