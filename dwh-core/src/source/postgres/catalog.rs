//! What the catalog says of a configured table, as `[table.select]` reshapes it.

use futures_util::try_join;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::lock::not_locked;
use super::rights;
use crate::catalog::{self, TypesOf, type_name};
use crate::config::TableConfig;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::from_sql;
use crate::schema::{Column, RelationKind, TableRef, TableSchema, TypeDef, quote_ident};

/// A domain over a domain over `geometry` is geometry too.
const IS_GEOMETRY: &str = "exists (with recursive base as (\
     select t.oid, t.typbasetype, t.typname from pg_catalog.pg_type t where t.oid = a.type \
     union all select t.oid, t.typbasetype, t.typname from pg_catalog.pg_type t join base b on t.oid = b.typbasetype) \
     select from base where typbasetype = 0 and typname in ('geometry', 'geography'))";

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

/// The same of many relations with the same few questions; `None` for what needs a statement of its own, as a query and
/// `[table.select]` do, and for what is not in order: asked for by itself, it says what is wrong.
pub(super) async fn describe_all(client: &Client, tables: &[&TableConfig]) -> Result<Vec<Option<TableSchema>>> {
    let relations: Vec<&TableRef> = tables.iter().copied().filter_map(plain).collect();
    let (schemas, rights) = try_join!(catalog::describe_all(client, &relations), rights::rights(client, &relations))?;
    let mut found = schemas.into_iter().enumerate();
    let readable = |table: &TableConfig, (place, schema): (usize, Option<TableSchema>)| {
        let (schema, row) = schema.zip(rights.get(&place))?;
        rights::check(row, table, &schema).ok().map(|()| schema)
    };
    Ok(tables.iter().map(|table| plain(table).and_then(|_| readable(table, found.next()?))).collect())
}

/// The relation of a table about which the catalog says all.
fn plain(table: &TableConfig) -> Option<&TableRef> {
    table.relation.as_ref().filter(|_| table.select.is_empty() && table.filter.is_none())
}

async fn describe_relation(client: &Client, table: &TableConfig, relation: &TableRef) -> Result<TableSchema> {
    let one = [relation];
    let (schema, rights) = try_join!(catalog::describe(client, relation), rights::rights(client, &one))?;
    let Some(mut schema) = schema else {
        return Err(rights::missing(client, table, relation).await?);
    };
    // A relation that went between both questions has none; whoever reads it is told.
    rights.get(&0).map_or(Ok(()), |row| rights::check(row, table, &schema))?;
    apply_select(client, table, &mut schema).await?;
    Ok(schema)
}

async fn describe_query(client: &Client, table: &TableConfig) -> Result<TableSchema> {
    let prepared = prepared_columns(client, table, "*", "`query`").await?;
    let mut schema = TableSchema {
        table: TableRef::new("query", &table.name),
        kind: RelationKind::Query,
        columns: prepared.columns,
        keys: Vec::new(),
        indexed: Vec::new(),
        row_estimate: -1,
        types: prepared.types,
    };
    apply_select(client, table, &mut schema).await?;
    Ok(schema)
}

/// Tries whether the role may run a configured query: only an execution checks rights; with `limit 0` it reads no row.
pub(super) async fn probe(client: &Client, table: &TableConfig) -> Result<()> {
    let sql = format!("select from {} limit 0", from_sql(table));
    client.batch_execute(&sql).await.map_err(|error| not_locked(table, error))
}

/// Puts the types of the `select` expressions over those of their columns, and their additional columns behind.
async fn apply_select(client: &Client, table: &TableConfig, schema: &mut TableSchema) -> Result<()> {
    if table.select.is_empty() {
        return Ok(());
    }
    let list: Vec<String> =
        table.select.iter().map(|(name, expression)| format!("({expression}\n) as {}", quote_ident(name))).collect();
    let prepared = prepared_columns(client, table, &list.join(", "), "`select`").await?;
    let new = |def: &TypeDef| schema.types.iter().all(|known| known.name != def.name);
    let more: Vec<TypeDef> = prepared.types.into_iter().filter(new).collect();
    schema.types.extend(more);
    for column in prepared.columns {
        match schema.columns.iter_mut().find(|other| other.name == column.name) {
            Some(other) => *other = column,
            None => schema.columns.push(column),
        }
    }
    Ok(())
}

/// The columns of a select list, and the definitions of their types.
struct Prepared {
    columns: Vec<Column>,
    types: Vec<TypeDef>,
}

/// The columns of a select list over the table, from a statement that is prepared and never run.
async fn prepared_columns(client: &Client, table: &TableConfig, list: &str, what: &str) -> Result<Prepared> {
    let sql = format!("select {list} from {} limit 0", from_sql(table));
    let statement = client.prepare(&sql).await.map_err(|error| match error.as_db_error() {
        Some(refusal) if *refusal.code() == SqlState::LOCK_NOT_AVAILABLE => not_locked(table, error),
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
    // The form of `unnest` with two arrays exists only without its schema.
    let types: Vec<u32> = statement.columns().iter().map(|column| column.type_().oid()).collect();
    let modifiers: Vec<i32> = statement.columns().iter().map(tokio_postgres::Column::type_modifier).collect();
    let sql = format!(
        "select pg_catalog.format_type(a.type, a.modifier) as type_name, {IS_GEOMETRY} as geometry \
         from unnest($1, $2) with ordinality a(type, modifier, place) order by a.place"
    );
    let rows =
        client.query_typed(&sql, &[(&types, Type::OID_ARRAY), (&modifiers, Type::INT4_ARRAY)]).await.map_err(sort)?;
    let named = statement.columns().iter().zip(&rows);
    let columns = named.map(|(column, row)| {
        let type_name = type_name(column.name(), row.get("type_name"))?;
        Ok(Column { geometry: row.get("geometry"), ..Column::new(column.name(), type_name) })
    });
    let columns = columns.collect::<Result<_>>()?;
    let types = catalog::types(client, &TypesOf { numbers: &types, ..TypesOf::default() }).await?;
    Ok(Prepared { columns, types })
}
