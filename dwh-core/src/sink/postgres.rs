//! [`PgSink`]: the warehouse in PostgreSQL.

mod lease;
mod merge;
mod pool;
mod replace;
mod stage;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

use crate::blob::ByteStream;
use crate::catalog::{self, LockWanted, held_by, holders, is_lock_timeout};
use crate::config::{Environment, Mode, Replace, TargetConfig};
use crate::connect::{Connector, sort};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::migrate;
use crate::plan::{Isolation, LoadPlan};
use crate::run::RunId;
use crate::schema::{Drift, TableRef, TableSchema};
use crate::sink::{BronzeState, Lease, LogEntry, Moved, Overview, RunFilter, RunRecord, Sink, Staged, TableState};
use crate::watermark::Micros;

use lease::PgLease;
use pool::{Tx, pool};
use stage::PgStaged;

/// A PostgreSQL warehouse. Cheap to clone; clones share their connections.
///
/// At most `connections` tables are loaded at the same time, each in a transaction on a connection of its own; one more
/// connection writes the run log. A lease has its own connection besides, so that waiting for a table never takes one
/// from a load.
#[derive(Debug, Clone)]
pub struct PgSink {
    connector: Connector,
    target: TargetConfig,
    environment: Environment,
    pool: Pool,
    loads: Arc<Semaphore>,
    control: Control,
    lock_timeout: Micros,
    /// Whether the role was looked at: once is enough for a process.
    role_seen: Arc<AtomicBool>,
}

impl PgSink {
    /// The warehouse of a configuration. Connects to nothing yet.
    ///
    /// # Errors
    /// `Config` if the connection string cannot be used.
    pub fn new(config: &TargetConfig, environment: &Environment) -> Result<Self> {
        let connector = Connector::to_target(config, environment)?;
        let loads = config.connections.max(1);
        let pool = pool(&connector, loads + 1)?;
        Ok(Self {
            connector,
            target: config.clone(),
            environment: environment.clone(),
            pool,
            loads: Arc::new(Semaphore::new(loads)),
            control: Control::new(&config.control_schema),
            lock_timeout: config.lock_timeout,
            role_seen: Arc::default(),
        })
    }

    /// Warns, once, of a role that may do everything: a mistake of ours could then reach beyond the warehouse.
    async fn look_at_role(&self) -> Result<()> {
        if self.role_seen.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let tx = self.look().await?;
        let sql = "select rolsuper from pg_catalog.pg_roles where rolname = current_user";
        let row = tx.client()?.query_typed_one(sql, &[]).await.map_err(sort)?;
        if row.get(0) {
            tracing::warn!(
                "target: the role is a superuser; give dwh a login of its own that is a member of the owner role"
            );
        }
        tx.commit().await
    }

    /// The error; if it waited for a lock in vain, with those who hold it: on bronze, or else on the watermarks. The
    /// transaction that waited is over, and holds nothing any more.
    async fn naming_holders(&self, load: Option<&LoadPlan>, error: Error) -> Error {
        if !is_lock_timeout(&error) {
            return error;
        }
        let found = async {
            let (tx, watermarks) = (self.look().await?, self.control.watermarks());
            let mut found = Vec::new();
            if let Some(load) = load {
                let alone = load.mode == Mode::Snapshot && load.replace == Replace::Truncate;
                let wanted = if alone { LockWanted::Alone } else { LockWanted::Rows };
                found = holders(tx.client()?, Some(&load.target.sql()), wanted).await?;
            }
            if found.is_empty() {
                found = holders(tx.client()?, Some(&watermarks), LockWanted::Rows).await?;
            }
            tx.commit().await?;
            Ok::<_, Error>(found)
        };
        match found.await {
            Ok(found) => held_by(error, &found, "in the target"),
            Err(unknown) => {
                tracing::debug!(error = %unknown.chain(), "who holds the lock cannot be told");
                error
            }
        }
    }

    async fn begin(&self) -> Result<Tx> {
        Tx::begin(&self.pool, Isolation::Write, self.lock_timeout).await
    }

    /// A transaction that only looks: a standby can serve it.
    async fn look(&self) -> Result<Tx> {
        Tx::begin(&self.pool, Isolation::Look, self.lock_timeout).await
    }
}

#[async_trait]
impl Sink for PgSink {
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>> {
        let tx = self.look().await?;
        let schema = catalog::describe(tx.client()?, target).await?;
        tx.commit().await?;
        Ok(schema)
    }

    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>> {
        let lease = match PgLease::take(self, table, wait).await {
            Ok(lease) => lease,
            Err(error) => return Err(self.naming_holders(None, error).await),
        };
        self.look_at_role().await?;
        Ok(Box::new(lease))
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        let tx = self.look().await?;
        let runs = self.control.runs(tx.client()?, filter).await?;
        tx.commit().await?;
        Ok(runs)
    }

    async fn log(&self, entry: LogEntry) -> Result<RunRecord> {
        let tx = self.begin().await?;
        let client = tx.client()?;
        let run = match &entry {
            LogEntry::Reads { run_id, file } => self.control.reads(client, *run_id, file).await?,
            LogEntry::Begin { table, mode, kind } => self.control.begin(client, table, *mode, *kind).await?,
            LogEntry::Uploaded(upload) => self.control.uploaded(client, upload).await?,
            LogEntry::Loading { run_id, upload } => self.control.loading(client, *run_id, upload.as_deref()).await?,
            LogEntry::SetAside { run_id, csv_path, message } => {
                self.control.set_aside(client, *run_id, csv_path, message).await?
            }
            LogEntry::Restore(restore) => self.control.restore(client, restore).await?,
            LogEntry::Failed { run_id, message, kind } => self.control.failed(client, *run_id, message, *kind).await?,
        };
        tx.commit().await?;
        Ok(run)
    }

    async fn overview(&self) -> Result<Overview> {
        let tx = self.look().await?;
        let overview = self.control.overview(tx.client()?).await?;
        tx.commit().await?;
        Ok(overview)
    }

    async fn forget(&self, runs: &[RunId]) -> Result<u64> {
        let tx = self.begin().await?;
        let removed = self.control.forget(tx.client()?, runs).await?;
        tx.commit().await?;
        Ok(removed)
    }

    async fn number_above(&self, run: RunId, dry_run: bool) -> Result<bool> {
        let tx = self.begin().await?;
        let behind = self.control.number_above(tx.client()?, run, dry_run).await?;
        tx.commit().await?;
        Ok(behind)
    }

    async fn bronze_id(&self, target: &TableRef) -> Result<Option<BronzeState>> {
        let tx = self.look().await?;
        let state = match self.control.bronze_id(tx.client()?, target).await? {
            Some(id) => Some(BronzeState { id, empty: self.control.is_empty(tx.client()?, target).await? }),
            None => None,
        };
        tx.commit().await?;
        Ok(state)
    }

    async fn begin_anew(&self, table: &str, expected: &TableState) -> Result<TableState> {
        let tx = self.begin().await?;
        match self.control.begin_anew(tx.client()?, table, expected).await {
            Ok(state) => tx.commit().await.map(|()| state),
            Err(error) => Err(self.naming_holders(None, error).await),
        }
    }

    async fn stage(&self, load: &LoadPlan, csv: ByteStream) -> Result<Box<dyn Staged>> {
        match PgStaged::fill(self, load, csv).await {
            Ok(staged) => Ok(Box::new(staged)),
            Err(error) => Err(self.naming_holders(Some(load), error).await),
        }
    }

    async fn occupied(&self, tables: &[LoadPlan]) -> Result<Vec<String>> {
        migrate::occupied(&self.target, &self.environment, tables).await
    }

    async fn move_away(&self, tables: &[LoadPlan]) -> Result<Moved> {
        let aside = migrate::set_aside(&self.target, &self.environment, tables).await?;
        Ok(Moved { schema: aside.schema, tables: aside.tables, restore_sql: aside.restore })
    }

    async fn add_columns(&self, load: &LoadPlan) -> Result<()> {
        let new = |drift: &Drift| matches!(drift, Drift::MissingInBronze { .. });
        migrate::adapt(&self.target, &self.environment, load, &new).await
    }

    async fn make_tables(&self, tables: &[LoadPlan]) -> Result<()> {
        let report = migrate::migrate_tables(&self.target, &self.environment, tables).await?;
        report.refusal().map_or(Ok(()), Err)
    }
}
