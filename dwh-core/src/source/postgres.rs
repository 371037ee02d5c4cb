//! PostgreSQL as a source: catalog, activity, lock, snapshot, COPY.

mod activity;
mod ask;
mod bound;
mod catalog;
mod drain;
mod estimate;
mod identity;
mod keys;
mod lock;
mod members;
mod moment;
mod pool;
mod primary;
mod read;
mod rights;
mod seen;
mod standby;
mod time;

use async_trait::async_trait;
use futures_util::try_join;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::Row;

use crate::config::{Environment, SourceConfig, TableConfig};
use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, Plan, opening};
use crate::schema::{RelationKind, RowKey, TableRef, TableSchema, quote_ident};
use crate::source::survey::counted;
use crate::source::{BoundRequest, Estimate, ReadRequest, Reading, Source, SourceIdentity};
use crate::watermark::{Micros, SafeBound, Timestamp};

use moment::Moment;
use pool::Pool;
use time::Instant;

pub use activity::activity_function_sql;
pub(crate) use members::unseen;

/// How long a question about many tables waits for one that somebody holds: that one is asked for by itself then.
const TOGETHER: Micros = Micros::seconds(1);

/// A PostgreSQL database to read from.
///
/// Needs `CONNECT`, `USAGE` on the schemas and `SELECT` on the tables, and never writes. With `pg_read_all_stats`, or
/// the function of [`activity_function_sql`], the safe bound is exact; without, it waits for open transactions to end.
pub struct PgSource {
    name: String,
    pool: Pool,
    primary: Option<Pool>,
    lock_timeout: Micros,
    drain_timeout: Micros,
    activity_function: Option<TableRef>,
    /// The tables that were described together last: they are watched together, too.
    together: Mutex<Vec<TableRef>>,
    moment: tokio::sync::Mutex<Option<Arc<Moment>>>,
}

impl fmt::Debug for PgSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgSource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PgSource {
    /// The source `name` of a configuration. Connects at first use.
    ///
    /// # Errors
    /// `Config` for connection strings or TLS files that cannot be used.
    pub fn new(name: &str, config: &SourceConfig, environment: &Environment) -> Result<Self> {
        let called = format!("source `{name}`");
        let primary = config
            .primary_url
            .as_ref()
            .map(|url| {
                let called = format!("{called}, its primary");
                Connector::patient(&called, url, environment, config.idle_timeout).map(Pool::new)
            })
            .transpose()?;
        Ok(Self {
            name: name.to_owned(),
            pool: Pool::new(Connector::patient(&called, &config.url, environment, config.idle_timeout)?),
            primary,
            lock_timeout: config.lock_timeout,
            drain_timeout: config.drain_timeout,
            activity_function: config.activity_function.clone(),
            together: Mutex::default(),
            moment: tokio::sync::Mutex::default(),
        })
    }

    /// Begins a transaction that looks at a table.
    fn begin(&self) -> String {
        opening(Isolation::Look, self.lock_timeout)
    }

    async fn described(&self, table: &TableConfig) -> Result<TableSchema> {
        let client = self.pool.take().await?;
        let begin = self.begin();
        let begun = async { client.batch_execute(&begin).await.map_err(sort) };
        // Even the catalog's functions wait for a table that somebody holds. Polled, and so sent, in this order.
        let ((), schema) = try_join!(begun, catalog::describe(&client, table))?;
        if schema.kind == RelationKind::Query || table.filter.is_some() {
            catalog::probe(&client, table).await?;
        }
        client.batch_execute("commit").await.map_err(sort)?;
        client.give_back();
        Ok(schema)
    }

    /// What was seen of activity at `since` or later; looks now if nothing was. `None` for a table that is not among those
    /// that were described together.
    async fn moment(&self, table: &TableRef, since: std::time::Instant) -> Result<Option<Arc<Moment>>> {
        let tables = self.together.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !tables.contains(table) {
            return Ok(None);
        }
        // Whoever comes meanwhile waits, and shares it.
        let mut last = self.moment.lock().await;
        if let Some(moment) = last.as_ref().filter(|moment| moment.serves(since)) {
            return Ok(Some(Arc::clone(moment)));
        }
        let moment = Arc::new(Moment::look(self, &tables).await?);
        *last = Some(Arc::clone(&moment));
        Ok(Some(moment))
    }

    /// The rows of one statement about a table, in a transaction of its own.
    async fn ask_about(&self, plan: &Plan, sql: &str) -> Result<Vec<Row>> {
        let client = self.pool.take().await?;
        let rows = ask::ask_within(&client, self.lock_timeout, sql, &[]).await;
        let rows = rows.map_err(|error| lock::not_locked(&plan.table, error))?;
        client.give_back();
        Ok(rows)
    }

    async fn first_row(&self, plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        let Some(sql) = plan.unreachable_and_earliest(low) else { return Ok(None) };
        let rows = self.ask_about(plan, &sql).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        refuse_unreachable(plan, row.get(0), row.get(1))?;
        Ok(row.get::<_, Option<Instant>>(2).map(|instant| instant.0))
    }
}

#[async_trait]
impl Source for PgSource {
    async fn identity(&self) -> Result<Option<SourceIdentity>> {
        let client = self.pool.take().await?;
        client.batch_execute(&self.begin()).await.map_err(sort)?;
        let found = identity::identify(&client).await?;
        client.batch_execute("commit").await.map_err(sort)?;
        client.give_back();
        Ok(Some(found.identity()))
    }

    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        lock::naming(&self.pool, table, self.described(table)).await
    }

    async fn describe_all(&self, tables: &[&TableConfig]) -> Result<Vec<Option<TableSchema>>> {
        let client = self.pool.take().await?;
        let begin = opening(Isolation::Look, TOGETHER);
        let begun = async { client.batch_execute(&begin).await.map_err(sort) };
        let ((), schemas) = try_join!(begun, catalog::describe_all(&client, tables))?;
        client.batch_execute("commit").await.map_err(sort)?;
        client.give_back();
        let relations = tables.iter().filter_map(|table| table.relation.clone()).collect();
        *self.together.lock().unwrap_or_else(PoisonError::into_inner) = relations;
        Ok(schemas)
    }

    async fn look_ahead(&self, tables: &[&TableConfig]) -> Result<()> {
        let relations: Vec<TableRef> = tables.iter().filter_map(|table| table.relation.clone()).collect();
        // Whoever asks meanwhile waits, and shares it.
        let mut last = self.moment.lock().await;
        *last = Some(Arc::new(Moment::look(self, &relations).await?));
        Ok(())
    }

    async fn earliest(&self, plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        lock::naming(&self.pool, &plan.table, self.first_row(plan, low)).await
    }

    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        let table = &request.plan.table;
        lock::naming(&self.pool, table, bound::bound(self, request)).await
    }

    async fn bound_since(&self, request: BoundRequest<'_>, since: std::time::Instant) -> Result<SafeBound> {
        if moment::can_share(request.plan)
            && let Some(moment) = self.moment(&request.plan.source.table, since).await?
            && let Some(bound) = bound::shared(&moment, &request)?
        {
            return Ok(bound);
        }
        self.bound(request).await
    }

    async fn has_keys(&self, plan: &Plan, keys: &[RowKey]) -> Result<Vec<bool>> {
        keys::has_keys(self, plan, keys).await
    }

    async fn cuts(&self, plan: &Plan, rows: u64) -> Result<Vec<RowKey>> {
        lock::naming(&self.pool, &plan.table, keys::cuts(self, plan, rows)).await
    }

    async fn estimate(&self, plan: &Plan, low: Timestamp, high: Timestamp) -> Result<Option<Estimate>> {
        lock::naming(&self.pool, &plan.table, estimate::estimate(self, plan, low, high)).await
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let table = &request.plan.table;
        lock::naming(&self.pool, table, read::read(self, request)).await
    }
}

fn refuse_unreachable(plan: &Plan, nulls: i64, infinities: i64) -> Result<()> {
    if nulls == 0 && infinities == 0 {
        return Ok(());
    }
    let column = plan.watermark_column()?;
    let (name, relation) = (quote_ident(column), plan.source.table.sql());
    let both = [(nulls, "NULL", format!("{name} is null")), (infinities, "infinity", format!("{name} = 'infinity'"))];
    let some = || both.iter().filter(|(rows, ..)| *rows > 0);
    let these: Vec<&str> = some().map(|(.., which)| which.as_str()).collect();
    let values: Vec<String> =
        some().map(|(rows, value, _)| format!("{value} in {}", counted(rows.unsigned_abs(), "row"))).collect();
    let mend = if plan.source.column(column).is_some_and(|column| column.generated) {
        "give the columns that it is generated from a value in these rows"
    } else {
        "give these rows a time and make the column `not null default now()`"
    };
    let message = format!(
        "table `{}`: watermark column `{column}` is {}; no window would ever contain them",
        plan.table.name,
        values.join(" and ")
    );
    let other = match &plan.table.manifest {
        Some(_) => format!("leave them out: `additional_filtering: 'isfinite({name})'` in its section of the manifest"),
        None => "copy the table with mode `snapshot`".to_owned(),
    };
    Err(Error::new(ErrorKind::Data, message)
        .with_hint(format!("{mend}, or {other} (`select * from {relation} where {}` shows them)", these.join(" or "))))
}
