//! [`PgSink`]: the warehouse in PostgreSQL.

mod copy;
mod deletes;
mod errors;
mod lease;
mod merge;
mod nothing;
mod pool;
mod rehearse;
mod replace;
mod resting;
mod resync;
mod stage;
mod straight;

use async_trait::async_trait;
use deadpool_postgres::Pool;
use futures_util::join;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use tokio_postgres::Client;

use crate::blob::Body;
use crate::catalog::{self, LockWanted, held_by, holders, is_lock_timeout};
use crate::chain::RunIdentity;
use crate::config::{Discovered, Environment, Mode, Replace, TargetConfig};
use crate::connect::{Connector, sort};
use crate::control::{Alone, Control};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::migrate;
use crate::plan::{Cure, Isolation, LoadPlan};
use crate::run::{RunId, RunState};
use crate::schema::{Drift, TableRef, TableSchema};
use crate::sink::{
    AlertClaim, AlertLook, BronzeState, Commit, Committed, History, Lease, LeftView, LogEntry, Moved, Overview,
    Rehearsal, RunFilter, RunRecord, Sink, StageRequest, Staged, TableState, Upload,
};
use crate::watermark::{Micros, Timestamp};

use lease::PgLease;
use pool::{Tx, WORD, beginning, pool};
use resting::Resting;
use stage::PgStaged;

/// Tables that one transaction looks into: each is a lock.
const AT_ONCE: usize = 50;

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
    resting: Resting,
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
            resting: Resting::new(loads),
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

    /// What came of a write to the control schema; an error of a lock that was not granted says who holds it.
    async fn naming<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match work.await {
            Ok(done) => Ok(done),
            Err(error) => Err(self.naming_holders(None, error).await),
        }
    }

    /// The error; if it waited for a lock in vain, with those who hold it: on bronze, or else on the tables of the control
    /// schema. The transaction that waited is over, and holds nothing any more.
    async fn naming_holders(&self, load: Option<&LoadPlan>, error: Error) -> Error {
        if !is_lock_timeout(&error) {
            return error;
        }
        let found = async {
            let (tx, control) = (self.look().await?, self.control.tables());
            let mut found = Vec::new();
            if let Some(load) = load {
                let alone = load.mode == Mode::Snapshot && load.replace == Replace::Truncate;
                let wanted = if alone { LockWanted::Alone } else { LockWanted::Rows };
                found = holders(tx.client()?, Some(&[load.target.sql()]), wanted).await?;
            }
            if found.is_empty() {
                found = holders(tx.client()?, Some(&control), LockWanted::Rows).await?;
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

    /// The answer to one question, which writes nothing.
    async fn ask<T>(&self, question: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        Tx::once(&self.pool, &beginning(Isolation::Look, self.lock_timeout), question).await
    }

    /// One statement that writes, at once and for good.
    async fn write<T>(&self, statement: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        self.naming(Tx::once(&self.pool, &beginning(Isolation::Write, self.lock_timeout), statement)).await
    }

    /// One statement that writes a word for people.
    async fn note(&self, statement: impl AsyncFnOnce(&Client) -> Result<()>) -> Result<()> {
        let beginning = beginning(Isolation::Write, self.lock_timeout) + WORD;
        self.naming(Tx::once(&self.pool, &beginning, statement)).await
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

    async fn describe_all(&self, targets: &[&TableRef]) -> Result<Vec<Option<TableSchema>>> {
        let tx = self.look().await?;
        let schemas = catalog::describe_all(tx.client()?, targets).await?;
        tx.commit().await?;
        Ok(schemas)
    }

    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>> {
        let lease = self.naming(PgLease::take(self, table, wait)).await?;
        self.look_at_role().await?;
        Ok(Box::new(lease))
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.ask(async |client| self.control.runs(client, filter).await).await
    }

    async fn unsettled(&self, table: &str, after: Option<RunId>) -> Result<Vec<RunRecord>> {
        self.ask(async |client| self.control.unsettled(client, table, after).await).await
    }

    async fn log(&self, entry: LogEntry) -> Result<RunRecord> {
        let control = &self.control;
        let (run_id, next, moved) = match &entry {
            LogEntry::Begin { table, mode, kind, task_instance, dated } => {
                let task = task_instance.as_deref();
                return self.write(async |client| control.begin(client, table, *mode, *kind, task, *dated).await).await;
            }
            LogEntry::Reads { run_id, file } => {
                return self.write(async |client| control.reads(client, *run_id, file).await).await;
            }
            LogEntry::SetAside { run_id, csv_path, message } => {
                return self.write(async |client| control.set_aside(client, *run_id, csv_path, message).await).await;
            }
            LogEntry::Restore(restore) => {
                let work = async {
                    let tx = self.begin().await?;
                    let run = control.restore(tx.client()?, restore).await?;
                    tx.commit().await.map(|()| run)
                };
                return self.naming(work).await;
            }
            LogEntry::Uploaded(upload) => {
                let moved = self.write(async |client| control.uploaded(client, upload).await).await?;
                (upload.run_id, RunState::Uploaded, moved)
            }
            LogEntry::Loading { run_id, upload } => {
                let moved = self.write(async |client| control.loading(client, *run_id, upload.as_deref()).await);
                (*run_id, RunState::Loading, moved.await?)
            }
            LogEntry::Failed { run_id, message, kind } => {
                let moved = self.write(async |client| control.failed(client, *run_id, message, *kind).await);
                (*run_id, RunState::Failed, moved.await?)
            }
        };
        match moved {
            Some(run) => Ok(run),
            None => Err(self.ask(async |client| control.refusal(client, run_id, next).await).await?),
        }
    }

    async fn overview(&self) -> Result<Overview> {
        let tx = self.look().await?;
        let overview = self.control.overview(tx.client()?).await?;
        tx.commit().await?;
        Ok(overview)
    }

    async fn discovered(&self, project: &str) -> Result<Vec<Discovered>> {
        let tx = self.look().await?;
        let known = self.control.discovered(tx.client()?, project).await?;
        tx.commit().await?;
        Ok(known)
    }

    async fn remember(&self, project: &str, found: &[Discovered]) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let sql = self.control.remember(project, found);
        let work = async {
            let tx = self.begin().await?;
            tx.client()?.batch_execute(&sql).await.map_err(sort)?;
            tx.commit().await
        };
        self.naming(work).await
    }

    async fn history(&self, tables: &[(&str, &TableRef)], days: &[Timestamp]) -> Result<History> {
        let tx = self.look().await?;
        let history = self.control.history(tx.client()?, tables, days).await?;
        tx.commit().await?;
        Ok(history)
    }

    async fn now(&self) -> Result<Timestamp> {
        self.ask(async |client| self.control.now(client).await).await
    }

    async fn forget(&self, runs: &[RunId]) -> Result<u64> {
        let work = async {
            let tx = self.begin().await?;
            let removed = self.control.forget(tx.client()?, runs).await?;
            tx.commit().await.map(|()| removed)
        };
        self.naming(work).await
    }

    async fn number_above(&self, run: RunId, dry_run: bool) -> Result<bool> {
        let work = async {
            let tx = self.begin().await?;
            let behind = self.control.number_above(tx.client()?, run, dry_run).await?;
            tx.commit().await.map(|()| behind)
        };
        self.naming(work).await
    }

    async fn bronze_id(&self, target: &TableRef) -> Result<Option<BronzeState>> {
        if !self.control.knows_itself() {
            self.ask(async |client| self.control.may_identify(client).await).await?;
        }
        let alone = self.ask(async |client| {
            let (id, empty) = join!(self.control.bronze_alone(client, target), self.control.is_empty(client, target));
            Ok(match id? {
                // It has no rows to be asked for.
                Alone::Missing => Some(None),
                Alone::Known(id) => Some(Some(BronzeState { id, empty: empty? })),
                Alone::HasParts => None,
            })
        });
        if let Some(state) = alone.await? {
            return Ok(state);
        }
        self.ask(async |client| {
            let one = [target];
            let (ids, empty) = join!(self.control.bronze_ids(client, &one), self.control.is_empty(client, target));
            let Some(id) = ids?.pop().flatten() else { return Ok(None) };
            Ok(Some(BronzeState { id, empty: empty? }))
        })
        .await
    }

    async fn bronze_ids(&self, targets: &[&TableRef]) -> Result<Vec<Option<BronzeState>>> {
        let tx = self.look().await?;
        let ids = self.control.bronze_ids(tx.client()?, targets).await?;
        tx.commit().await?;
        let mut states = vec![None; targets.len()];
        let there: Vec<(usize, BronzeId)> =
            ids.into_iter().enumerate().filter_map(|(place, id)| Some((place, id?))).collect();
        for some in there.chunks(AT_ONCE) {
            let names: Vec<&TableRef> = some.iter().map(|(place, _)| targets[*place]).collect();
            let empty = match self.ask(async |client| self.control.are_empty(client, &names).await).await {
                Ok(empty) => empty,
                Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error),
                // One of them cannot be asked, or is held: whoever needs it asks again, and is told which.
                Err(_) => continue,
            };
            for ((place, id), empty) in some.iter().zip(empty) {
                states[*place] = Some(BronzeState { id: id.clone(), empty });
            }
        }
        Ok(states)
    }

    async fn recent(&self, tables: &[&str], since: Timestamp, limit: u32) -> Result<Vec<Vec<RunRecord>>> {
        self.ask(async |client| self.control.recent(client, tables, since, limit).await).await
    }

    async fn begin_anew(&self, table: &str, expected: &TableState) -> Result<TableState> {
        let work = async {
            let tx = self.begin().await?;
            let state = self.control.begin_anew(tx.client()?, table, expected).await?;
            tx.commit().await.map(|()| state)
        };
        self.naming(work).await
    }

    async fn load_nothing(&self, load: &LoadPlan, upload: Upload, commit: Commit) -> Result<Committed> {
        nothing::load_nothing(self, load, &upload, &commit).await
    }

    async fn stage(&self, request: StageRequest<'_>) -> Result<Box<dyn Staged>> {
        match PgStaged::fill(self, &request).await {
            Ok(staged) => Ok(Box::new(staged)),
            Err(error) => Err(self.naming_holders(Some(request.load), error).await),
        }
    }

    fn loads_together(&self) -> bool {
        true
    }

    async fn rehearse(&self, load: &LoadPlan, csv: &dyn Body) -> Result<Rehearsal> {
        rehearse::rehearse(self, load, csv).await
    }

    async fn occupied(&self, tables: &[LoadPlan]) -> Result<Vec<String>> {
        migrate::occupied(&self.target, &self.environment, tables).await
    }

    async fn left_behind(&self, tables: &[LoadPlan]) -> Result<Vec<LeftView>> {
        migrate::left_behind(&self.target, &self.environment, tables).await
    }

    async fn move_away(&self, tables: &[LoadPlan]) -> Result<Moved> {
        let aside = migrate::set_aside(&self.target, &self.environment, tables).await?;
        Ok(Moved { schema: aside.schema, tables: aside.tables, restore_sql: aside.restore })
    }

    async fn add_columns(&self, load: &LoadPlan) -> Result<()> {
        let new = |cure: &Cure| cure.safe && matches!(cure.drift, Drift::MissingInBronze { .. });
        migrate::adapt(&self.target, &self.environment, load, &new).await
    }

    async fn fit_columns(&self, load: &LoadPlan) -> Result<()> {
        migrate::adapt(&self.target, &self.environment, load, &|_| true).await
    }

    async fn make_apart(&self, load: &LoadPlan, resync: &RunIdentity, kept: bool) -> Result<BronzeId> {
        migrate::make_apart(&self.target, &self.environment, load, resync, kept).await?;
        let made = self.bronze_id(&load.target).await?;
        made.map(|made| made.id).ok_or_else(|| resync::gone(load))
    }

    async fn swap(&self, load: &LoadPlan, apart: &BronzeId, commit: Commit) -> Result<Committed> {
        resync::swap(self, load, apart, &commit).await
    }

    async fn make_tables(&self, tables: &[LoadPlan]) -> Result<()> {
        let report = migrate::migrate_tables(&self.target, &self.environment, tables).await?;
        report.refusal().map_or(Ok(()), Err)
    }

    async fn claim_alerts(&self, look: &AlertLook) -> Result<AlertClaim> {
        let work = async {
            let tx = self.begin().await?;
            let claim = self.control.claim_alerts(tx.client()?, look).await?;
            // Dropped, a transaction rolls back.
            if !look.dry_run {
                tx.commit().await?;
            }
            Ok(claim)
        };
        self.naming(work).await
    }

    async fn settle_alerts(&self, claim: &AlertClaim, sent: bool) -> Result<()> {
        let id = claim.id.as_str();
        self.write(async |client| self.control.settle_alerts(client, id, sent).await).await
    }
}
