//! What the catalog says of a table.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::rights;
use crate::config::TableConfig;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::from_sql;
use crate::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey, quote_ident};

const RELATION: &str = "select c.oid, c.relkind::text as kind, c.reltuples::int8 as rows, \
     pg_catalog.has_schema_privilege(n.oid, 'usage') as usage, \
     pg_catalog.has_table_privilege(c.oid, 'select') as selectable, \
     pg_catalog.row_security_active(c.oid) as row_security, current_user::text as role \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     where n.nspname = $1 and c.relname = $2";

/// A domain over a domain over `geometry` is geometry too.
const IS_GEOMETRY: &str = "exists (with recursive base as (\
     select t.oid, t.typbasetype, t.typname from pg_catalog.pg_type t where t.oid = a.type \
     union all select t.oid, t.typbasetype, t.typname from pg_catalog.pg_type t join base b on t.oid = b.typbasetype) \
     select from base where typbasetype = 0 and typname in ('geometry', 'geography'))";

const KEYS: &str = "select ic.relname::text as name, i.indisprimary as is_primary, case \
     when i.indexprs is not null then 'it is over an expression' when i.indpred is not null then 'it is partial' \
     when not i.indimmediate then 'it is deferrable' \
     when not (i.indisvalid and i.indisready and i.indislive) then 'it is not valid' end as unusable, \
     array(select a.attname::text from pg_catalog.unnest(i.indkey::int2[]) with ordinality k(attnum, ord) \
     join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum \
     where k.ord <= i.indnkeyatts and i.indexprs is null order by k.ord) as columns \
     from pg_catalog.pg_index i join pg_catalog.pg_class ic on ic.oid = i.indexrelid \
     where i.indrelid = $1 and i.indisunique order by not i.indisprimary, ic.relname";

const INDEXED: &str = "select distinct a.attname::text as name from pg_catalog.pg_index i \
     join pg_catalog.pg_class ic on ic.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = ic.relam \
     join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] \
     where i.indrelid = $1 and m.amname = 'btree' and i.indisvalid and i.indpred is null order by 1";

/// What the catalog says of a configured table or query, with the types that `[table.select]` makes of its columns.
pub(super) async fn describe(client: &Client, table: &TableConfig) -> Result<TableSchema> {
    match (&table.relation, &table.query) {
        (Some(relation), _) => describe_relation(client, table, relation).await,
        (None, Some(_)) => describe_query(client, table).await,
        (None, None) => Err(Error::new(
            ErrorKind::Config,
            format!("table `{}`: neither a relation nor a query is configured", table.name),
        )),
    }
}

async fn describe_relation(client: &Client, table: &TableConfig, relation: &TableRef) -> Result<TableSchema> {
    let names: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&relation.schema, Type::TEXT), (&relation.name, Type::TEXT)];
    let Some(row) = client.query_typed_opt(RELATION, &names).await.map_err(sort)? else {
        return Err(rights::missing(client, table, relation).await?);
    };
    let oid: u32 = row.get("oid");
    let kind = relation_kind(client, table, relation, &row.get::<_, String>("kind")).await?;
    let found = columns_of(client, oid).await?;
    rights::check(table, relation, &row, &found)?;
    let columns = found.into_iter().map(|found| found.column).collect();
    let keys = client.query_typed(KEYS, &[(&oid, Type::OID)]).await.map_err(sort)?.iter().map(unique_key).collect();
    let indexed = client.query_typed(INDEXED, &[(&oid, Type::OID)]).await.map_err(sort)?;
    let mut schema = TableSchema {
        table: relation.clone(),
        kind,
        columns,
        keys,
        indexed: indexed.iter().map(|row| row.get("name")).collect(),
        row_estimate: row.get("rows"),
    };
    apply_select(client, table, &mut schema).await?;
    Ok(schema)
}

async fn relation_kind(client: &Client, table: &TableConfig, name: &TableRef, kind: &str) -> Result<RelationKind> {
    Ok(match kind {
        "r" if is_hypertable(client, name).await? => RelationKind::Hypertable,
        "r" => RelationKind::Table,
        "p" => RelationKind::Partitioned,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => {
            return Err(Error::new(
                ErrorKind::Config,
                format!("table `{}`: {name} is neither a table nor a view", table.name),
            )
            .with_hint("name a table, a view or a foreign table in `relation`"));
        }
    })
}

async fn is_hypertable(client: &Client, name: &TableRef) -> Result<bool> {
    let installed = client
        .query_typed_one("select pg_catalog.to_regclass('timescaledb_information.hypertables') is not null", &[])
        .await
        .map_err(sort)?;
    if !installed.get::<_, bool>(0) {
        return Ok(false);
    }
    let row = client
        .query_typed_one(
            "select exists (select from timescaledb_information.hypertables \
             where hypertable_schema = $1 and hypertable_name = $2)",
            &[(&name.schema, Type::TEXT), (&name.name, Type::TEXT)],
        )
        .await
        .map_err(sort)?;
    Ok(row.get(0))
}

/// A column, and whether the role may read it.
pub(super) struct Found {
    pub(super) column: Column,
    pub(super) readable: bool,
}

async fn columns_of(client: &Client, oid: u32) -> Result<Vec<Found>> {
    let sql = format!(
        "select a.*, {IS_GEOMETRY} as geometry from (select a.attname::text as name, a.attnum, a.atttypid as type, \
         pg_catalog.format_type(a.atttypid, a.atttypmod) as type_name, a.attnotnull as not_null, \
         a.attgenerated <> '' as generated, a.attidentity <> '' as identity, \
         case when a.attgenerated = '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end as default_sql, \
         pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'select') as readable \
         from pg_catalog.pg_attribute a \
         left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
         where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped) a order by a.attnum"
    );
    let rows = client.query_typed(&sql, &[(&oid, Type::OID)]).await.map_err(sort)?;
    Ok(rows
        .iter()
        .map(|row| Found {
            column: Column {
                name: row.get("name"),
                type_name: row.get("type_name"),
                not_null: row.get("not_null"),
                generated: row.get("generated"),
                identity: row.get("identity"),
                geometry: row.get("geometry"),
                default: row.get("default_sql"),
            },
            readable: row.get("readable"),
        })
        .collect())
}

fn unique_key(row: &Row) -> UniqueKey {
    UniqueKey {
        name: row.get("name"),
        columns: row.get("columns"),
        primary: row.get("is_primary"),
        unusable: row.get("unusable"),
    }
}

async fn describe_query(client: &Client, table: &TableConfig) -> Result<TableSchema> {
    let mut schema = TableSchema {
        table: TableRef::new("query", &table.name),
        kind: RelationKind::Query,
        columns: prepared_columns(client, table, "*", "`query`").await?,
        keys: Vec::new(),
        indexed: Vec::new(),
        row_estimate: -1,
    };
    apply_select(client, table, &mut schema).await?;
    Ok(schema)
}

/// Tries whether the role may run a configured query: only an execution checks rights; with `limit 0` it reads no row.
/// On a connection in no transaction.
pub(super) async fn probe(client: &Client, table: &TableConfig) -> Result<()> {
    let sql = format!("begin read only; select from {} limit 0; rollback", from_sql(table));
    client.batch_execute(&sql).await.map_err(|error| sort(error).context(format!("table `{}`", table.name)))
}

/// Puts the types of the `select` expressions over those of their columns, and their additional columns behind.
async fn apply_select(client: &Client, table: &TableConfig, schema: &mut TableSchema) -> Result<()> {
    if table.select.is_empty() {
        return Ok(());
    }
    let list: Vec<String> =
        table.select.iter().map(|(name, expression)| format!("({expression}\n) as {}", quote_ident(name))).collect();
    for column in prepared_columns(client, table, &list.join(", "), "`select`").await? {
        match schema.columns.iter_mut().find(|other| other.name == column.name) {
            Some(other) => *other = column,
            None => schema.columns.push(column),
        }
    }
    Ok(())
}

/// The columns of a select list over the table, from a statement that is prepared and never run.
async fn prepared_columns(client: &Client, table: &TableConfig, list: &str, what: &str) -> Result<Vec<Column>> {
    let sql = format!("select {list} from {} limit 0", from_sql(table));
    let statement = client.prepare(&sql).await.map_err(|error| match error.as_db_error() {
        Some(refusal) => Error::new(
            ErrorKind::Config,
            format!("table `{}`: {what} cannot be prepared: {}", table.name, refusal.message()),
        )
        .with_hint(
            "write it so that it runs with an empty `search_path`: tables, and functions of extensions, with their \
             schema",
        ),
        None => sort(error),
    })?;
    let types: Vec<u32> = statement.columns().iter().map(|column| column.type_().oid()).collect();
    let modifiers: Vec<i32> = statement.columns().iter().map(tokio_postgres::Column::type_modifier).collect();
    let sql = format!(
        "select pg_catalog.format_type(a.type, a.modifier) as type_name, {IS_GEOMETRY} as geometry \
         from pg_catalog.unnest($1, $2) with ordinality a(type, modifier, place) order by a.place"
    );
    let rows =
        client.query_typed(&sql, &[(&types, Type::OID_ARRAY), (&modifiers, Type::INT4_ARRAY)]).await.map_err(sort)?;
    let named = statement.columns().iter().zip(&rows);
    Ok(named
        .map(|(column, row)| Column {
            name: column.name().to_owned(),
            type_name: row.get("type_name"),
            not_null: false,
            generated: false,
            identity: false,
            geometry: row.get("geometry"),
            default: None,
        })
        .collect())
}
