//! Looking at a live database, to say how its tables are best copied. Reads catalogs and counters, and of the tables
//! themselves no more than a bounded count and the ends of one column.

mod facts;
mod remarks;
mod sql;

use std::collections::HashMap;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::config::{Environment, Secret};
use crate::connect::{Connector, look, look_once, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{RelationKind, TableRef, TableSchema, quote_ident};

pub(crate) use facts::{Counters, Reach, Relation, Rows, ServerFacts, TableFacts, Trigger, Writers, counted, grouped};

/// Where counting a table that was never analyzed stops.
const COUNTED: u64 = 100_000;

/// Rows that a sample aims at.
const SAMPLED: f64 = 20_000.0;

/// How long one look into a table may take: the source has other work.
const PATIENCE: &str = "; set local statement_timeout = '5s'";

/// A connection to a database that is looked at.
pub(crate) struct Survey {
    pub(crate) client: Client,
}

impl Survey {
    /// Connects.
    ///
    /// # Errors
    /// `Config`, `Unreachable`, `Auth`.
    pub(crate) async fn open(name: &str, url: &Secret, environment: &Environment) -> Result<Self> {
        Ok(Self { client: Connector::new(name, url, environment)?.connect().await? })
    }

    /// The rows of a statement over catalogs.
    pub(crate) async fn rows(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>> {
        look_once(&self.client, "", async { self.client.query_typed(sql, values).await.map_err(sort) }).await
    }

    /// The one row of a statement over catalogs.
    pub(crate) async fn row(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Row> {
        look_once(&self.client, "", async { self.client.query_typed_one(sql, values).await.map_err(sort) }).await
    }

    /// What the server says of itself.
    pub(crate) async fn server(&self) -> Result<ServerFacts> {
        let row = self.row(sql::SERVER, &[]).await?;
        Ok(ServerFacts {
            role: row.get("role"),
            superuser: row.get("superuser"),
            database: row.get("database"),
            timezone: row.get("timezone"),
            standby: row.get("standby"),
            counted_since: row.get("counted_since"),
        })
    }

    /// Everything that rows could be read from; partitions, children, chunks and what extensions brought left out.
    pub(crate) async fn relations(&self) -> Result<Vec<Relation>> {
        Ok(self.rows(sql::RELATIONS, &[]).await?.iter().map(relation).collect())
    }

    /// What is known of these tables, in their order.
    ///
    /// # Errors
    /// `NotFound` if one was dropped meanwhile.
    pub(crate) async fn facts(&self, tables: &[&TableRef]) -> Result<Vec<TableFacts>> {
        let schemas = look(&self.client, crate::catalog::describe_all(&self.client, tables)).await?;
        let mut writers = self.writers(tables).await?;
        let mut facts = Vec::new();
        for (table, schema) in tables.iter().zip(schemas) {
            let known = schema.zip(writers.remove(*table));
            let gone = || Error::new(ErrorKind::NotFound, format!("{table} is not there any more"));
            let (schema, Writers { counters, triggers, subscribed, counted_days }) = known.ok_or_else(gone)?;
            let rows = self.count(&schema).await?;
            facts.push(TableFacts {
                rows,
                counters,
                triggers,
                subscribed,
                bulk: false,
                counted_days,
                newest_days: None,
                schema,
            });
        }
        Ok(facts)
    }

    /// The primary keys of these tables, in their order; empty for one that has none.
    pub(crate) async fn primary_keys(&self, tables: &[&TableRef]) -> Result<Vec<Vec<String>>> {
        let schemas = look(&self.client, crate::catalog::describe_all(&self.client, tables)).await?;
        let primary = |schema: TableSchema| schema.keys.into_iter().find(|key| key.primary).map(|key| key.columns);
        Ok(schemas.into_iter().map(|schema| schema.and_then(primary).unwrap_or_default()).collect())
    }

    /// What writes to these tables.
    pub(crate) async fn writers(&self, tables: &[&TableRef]) -> Result<HashMap<TableRef, Writers>> {
        let (schemas, names): (Vec<&str>, Vec<&str>) =
            tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
        let wanted: [(&(dyn ToSql + Sync), Type); 2] = [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
        let place = |row: &Row| usize::try_from(row.get::<_, i64>("place") - 1).unwrap_or(usize::MAX);
        let number = |row: &Row, name: &str| u64::try_from(row.get::<_, i64>(name)).unwrap_or_default();
        let mut writers = HashMap::new();
        for row in self.rows(sql::COUNTERS, &wanted).await? {
            let Some(table) = tables.get(place(&row)) else { continue };
            let counters = Counters {
                inserted: number(&row, "inserted"),
                updated: number(&row, "updated"),
                deleted: number(&row, "deleted"),
            };
            let subscribed = row.get("subscribed");
            let counted_days = row.get("counted_days");
            writers.insert((*table).clone(), Writers { counters, triggers: Vec::new(), subscribed, counted_days });
        }
        for row in self.rows(sql::TRIGGERS, &wanted).await? {
            if let Some(writers) = tables.get(place(&row)).and_then(|table| writers.get_mut(*table)) {
                writers.triggers.push(trigger(&row));
            }
        }
        Ok(writers)
    }

    /// Whether one transaction brought most rows of a sample. What cannot be looked at was not.
    pub(crate) async fn is_bulk(&self, schema: &TableSchema, rows: Rows) -> Result<bool> {
        let percent = match rows.at_least() {
            u64::MAX => 1.0,
            rows => (SAMPLED * 100.0 / rows.max(1) as f64).clamp(0.001, 100.0),
        };
        let sql = format!(
            "select coalesce(2 * max(rows) > sum(rows), false) as bulk from (select count(*) as rows \
             from {} tablesample system ({percent}) group by xmin::text) as sample",
            schema.table.sql()
        );
        match self.look(&sql).await {
            Ok(row) => Ok(row.is_some_and(|row| row.get("bulk"))),
            // Rights on single columns do not reach to the transaction numbers.
            Err(error) if error.kind() == ErrorKind::Permission => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How many days ago the newest row was stamped, as the index of a time column has it.
    pub(crate) async fn newest_days(&self, schema: &TableSchema, column: &str) -> Result<Option<i64>> {
        if schema.indexed.iter().all(|indexed| indexed != column) {
            return Ok(None);
        }
        let (table, name) = (schema.table.sql(), quote_ident(column));
        let sql = format!(
            "select floor(extract(epoch from now() - max({name})::timestamptz) / 86400)::bigint as age \
             from {table} where {name} < 'infinity'"
        );
        Ok(self.look(&sql).await?.and_then(|row| row.get("age")))
    }

    async fn count(&self, schema: &TableSchema) -> Result<Rows> {
        // Before version 14 a table that was never analyzed has 0 rows, not -1.
        if let Some(rows) = u64::try_from(schema.row_estimate).ok().filter(|rows| *rows > 0) {
            return Ok(Rows::About(rows));
        }
        let limit = COUNTED + 1;
        let sql = format!("select count(*) as rows from (select from {} limit {limit}) as counted", schema.table.sql());
        let Some(row) = self.look(&sql).await? else { return Ok(Rows::Unknown) };
        let rows = u64::try_from(row.get::<_, i64>("rows")).unwrap_or_default();
        Ok(if rows > COUNTED { Rows::MoreThan(COUNTED) } else { Rows::Exactly(rows) })
    }

    /// Looks at the values of a time column.
    pub(crate) async fn reach(&self, schema: &TableSchema, column: &str) -> Result<Reach> {
        let (table, name) = (schema.table.sql(), quote_ident(column));
        let sql =
            format!("select exists (select from {table} where {name} is null or {name} = 'infinity') as unreachable");
        let unreachable = self.look(&sql).await?.map(|row| row.get("unreachable"));
        let mut reach = Reach { unreachable, age_days: None };
        if schema.indexed.iter().any(|indexed| indexed == column) {
            let sql = format!(
                "select (extract(epoch from now() - min({name})::timestamptz) / 86400)::bigint as age \
                 from {table} where {name} > '-infinity'"
            );
            reach.age_days = self.look(&sql).await?.and_then(|row| row.get("age"));
        }
        Ok(reach)
    }

    /// One row of a read that may take a while; `None` if it took too long.
    pub(crate) async fn look(&self, sql: &str) -> Result<Option<Row>> {
        let row = async { self.client.query_typed_one(sql, &[]).await.map_err(sort) };
        match look_once(&self.client, PATIENCE, row).await {
            Ok(row) => Ok(Some(row)),
            Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::Locked) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The extensions that the database has.
    pub(crate) async fn extensions(&self) -> Result<Vec<String>> {
        let rows = self.rows("select extname::text from pg_catalog.pg_extension", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn relation(row: &Row) -> Relation {
    let kind = match row.get::<_, &str>("kind") {
        "p" => RelationKind::Partitioned,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        _ => RelationKind::Table,
    };
    Relation {
        table: TableRef::new(row.get::<_, String>("schema"), row.get::<_, String>("name")),
        kind,
        usage: row.get("usage"),
        row_security: row.get("row_security"),
        columns: row.get("columns"),
        unreadable: row.get("unreadable"),
        writable: row.get("writable"),
    }
}

fn trigger(row: &Row) -> Trigger {
    let arguments: Vec<u8> = row.get("arguments");
    Trigger {
        insert: row.get("on_insert"),
        update: row.get("on_update"),
        function: row.get("function"),
        body: row.get("body"),
        // Each ends with a zero byte.
        arguments: arguments
            .split(|byte| *byte == 0)
            .filter(|argument| !argument.is_empty())
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    }
}
