//! `plan` (the dry run of `run` and `extract`), and `migrate` with its SQL.

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::config::{Mode, TableConfig};
use crate::error::{ErrorKind, Result};
use crate::identity::Fate;
use crate::migrate;
use crate::pipeline::belongs::Conflict;
use crate::pipeline::describe::finite;
use crate::pipeline::window::Ahead;
use crate::pipeline::{ErrorReport, Event, Pipeline, WindowReport};
use crate::plan::Plan;
use crate::sink::TableState;
use crate::source::Sweep;
use crate::watermark::{Call, Timestamp};

pub use crate::migrate::{AddedLabel, MigrateConflict, MigrateDrift, MigrateRefusal, MigrateReport};

/// What `migrate` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct MigrateRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Only tell what would be made.
    pub dry_run: bool,
    /// Change bronze tables, too, whose sources changed, as far as that loses nothing: columns that are new, types that
    /// became wider, NULL that came to be allowed.
    pub apply_drift: bool,
}

impl MigrateRequest {
    /// What the tables that match need is made.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// What one table's run would do: printed by `--dry-run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct PlanReport {
    /// The table's name in the configuration.
    pub table: String,
    /// How it is moved.
    pub mode: Mode,
    /// Where it is read.
    pub source: String,
    /// Where it goes.
    pub target: String,
    /// The next window.
    pub window: Option<WindowReport>,
    /// Where the watermark would move.
    pub watermark: Option<Timestamp>,
    /// What holds it.
    pub bound: Option<String>,
    /// In how many windows, each a run of its own, it comes to the end; `null` for tables that are read whole.
    pub windows: Option<u64>,
    /// About how many rows that are, by the statistics of the source; `null` where it does not say.
    pub rows: Option<u64>,
    /// About how many bytes.
    pub bytes: Option<u64>,
    /// What it does first because the columns of the source changed: then what follows is not known yet, and left out.
    pub first: Option<String>,
    /// The statement that would be copied out.
    pub extract_sql: String,
    /// The statements of the load transaction, in order.
    pub load_sql: Vec<String>,
    /// The folder of the CSV.
    pub blob_prefix: String,
    /// What would keep it from running.
    pub error: Option<ErrorReport>,
}

impl Pipeline {
    /// What the next run of each matching table would do; nothing is moved or written.
    ///
    /// # Errors
    /// `Config` if no table matches. What keeps a single table from running stands in its report.
    pub async fn plan(&self, tables: &[String]) -> Result<Vec<PlanReport>> {
        let tables = self.tables(tables).await?;
        (self.observer)(&Event::TablesChosen { tables: tables.len() });
        let looks: Vec<_> = tables.iter().map(|table| self.plan_one(table)).collect();
        Ok(stream::iter(looks).buffered(self.config.target.connections.max(1)).collect().await)
    }

    /// What the next extract of a table would do; nothing is moved or written.
    ///
    /// # Errors
    /// `Config` if there is no table of exactly that name. What keeps it from being read stands in the report.
    pub async fn plan_extract(&self, table: &str) -> Result<PlanReport> {
        Ok(self.plan_one(&self.table(table).await?).await)
    }

    async fn plan_one(&self, table: &TableConfig) -> PlanReport {
        (self.observer)(&Event::TableStarted { table: table.name.clone() });
        let mut report = self.empty_plan(table);
        if let Err(error) = self.fill_plan(table, &mut report).await {
            report.error = Some((&crate::pipeline::failure::named(error, &table.name)).into());
        }
        (self.observer)(&Event::TableFinished { table: table.name.clone() });
        report
    }

    fn empty_plan(&self, table: &TableConfig) -> PlanReport {
        let relation = match (&table.relation, &table.files) {
            (Some(relation), _) => relation.to_string(),
            (None, Some(files)) => files.patterns.join(", "),
            (None, None) => "query".to_owned(),
        };
        PlanReport {
            table: table.name.clone(),
            mode: table.mode,
            source: format!("{}: {relation}", table.source),
            target: table.target.to_string(),
            window: None,
            watermark: None,
            bound: None,
            windows: None,
            rows: None,
            bytes: None,
            first: None,
            extract_sql: String::new(),
            load_sql: Vec::new(),
            blob_prefix: format!(
                "{}/{}",
                self.blobs.url(),
                self.layout.prefix(crate::blob::Folder::Exports, &table.name)
            ),
            error: None,
        }
    }

    async fn fill_plan(&self, table: &TableConfig, report: &mut PlanReport) -> Result<()> {
        let lease = self.sink.lease(&table.name, false).await?;
        let state = lease.state().clone();
        lease.release().await?;
        self.judge(table, &state).await?;
        let fitted = self.fit(table, &state).await?;
        report.first = self.would_follow(&fitted).await?;
        if report.first.is_some() {
            return Ok(());
        }
        let (plan, bronze) = fitted;
        plan.check_bronze(bronze.as_ref())?;
        let mut load = plan.load(false);
        report.load_sql = bronze.map(|there| load.added_sql(&there)).unwrap_or_default();
        load.waiting.clear();
        report.load_sql.extend(load.statements());
        self.is_first(table, &state).await?;
        if table.mode == Mode::Files {
            let pending = self.pending_files(table, &state).await?;
            report.extract_sql =
                pending.iter().map(|file| format!("file {}", file.path)).collect::<Vec<_>>().join("\n");
            return Ok(());
        }
        let now = Timestamp::now();
        let whole = (Timestamp::NEG_INFINITY, Timestamp::INFINITY, Sweep::Off, Timestamp::INFINITY);
        let (low, high, sweep, end) = match table.mode {
            Mode::Incremental => self.fill_window(&plan, &state, now, report).await?,
            Mode::Snapshot | Mode::Scd | Mode::Files => whole,
        };
        report.extract_sql = plan.copy_out(low, high, sweep, now);
        // Not only of the next window: of all that the run would read.
        if let Some(expected) = self.expected(table, &plan.select(low, end, sweep, now)).await {
            (report.rows, report.bytes) = (Some(expected.rows), Some(expected.bytes));
        }
        Ok(())
    }

    async fn fill_window(
        &self,
        plan: &Plan,
        state: &TableState,
        now: Timestamp,
        report: &mut PlanReport,
    ) -> Result<(Timestamp, Timestamp, Sweep, Timestamp)> {
        let Ahead { bound, window, sweep } = self.ahead(plan, state, now, Call::First).await?;
        let low = window.low;
        let high = window.high.unwrap_or(now);
        report.window = Some(WindowReport { from: finite(low), to: Some(high) });
        report.watermark = finite(window.watermark);
        report.bound = Some(bound.rule.to_string());
        let end = finite(bound.watermark).map_or(high, |bound| bound.max(high));
        let more = end.since(high).0.max(0);
        let window = plan.table.window.0.max(1);
        report.windows = u64::try_from(1 + more / window + i64::from(more % window > 0)).ok();
        Ok((low, high, sweep, end))
    }

    /// Creates control schema, roles, views, the bronze tables that match and the types that they need, or asserts them;
    /// with `dry_run` only looks. What keeps a table from being made stands in the report, and the others are made.
    ///
    /// # Errors
    /// `Config` if no table matches; `Contract` with the list of what is missing and the SQL that makes it.
    pub async fn migrate(&self, request: &MigrateRequest) -> Result<MigrateReport> {
        let mut unplanned = MigrateReport::default();
        let (this, found) = self.discover(&request.tables, self.known_relations().await?, &mut unplanned).await?;
        let plans = this.source_plans(&request.tables, &mut unplanned).await?;
        let (target, environment) = (&self.config.target, &self.config.environment);
        let known = self.known_states().await;
        for plan in &plans {
            if let Some(state) = known.get(&plan.table.name)
                && let Some(found) = self.owned_by_another(&plan.table, state)
            {
                return Err(found.error(&plan.table, state));
            }
        }
        let mut report = if request.dry_run {
            migrate::dry_run(target, environment, &plans).await?
        } else {
            migrate::migrate(target, environment, &plans).await?
        };
        if !request.dry_run {
            self.sink.remember(&self.config.project.name, &found).await?;
        }
        report.refused.extend(unplanned.refused);
        (report.tables_found, report.notes) = (unplanned.tables_found, unplanned.notes);
        for plan in &plans {
            if let Some(state) = known.get(&plan.table.name) {
                report.conflicts.extend(self.migrate_conflict(&plan.table, state, &report).await?);
            }
        }
        if request.apply_drift {
            self.apply_drift(&plans, &known, &mut report).await?;
        }
        Ok(report)
    }

    /// The watermark rows, by table. Without a control schema there is none.
    pub(crate) async fn known_states(&self) -> BTreeMap<String, TableState> {
        let known = self.sink.overview().await.map(|overview| overview.tables).unwrap_or_default();
        known.into_iter().map(|(name, known)| (name, known.state)).collect()
    }

    /// Why the watermark of a table cannot be used. A table that would only be made is lost, if rows were loaded into it.
    async fn migrate_conflict(
        &self,
        table: &TableConfig,
        state: &TableState,
        report: &MigrateReport,
    ) -> Result<Option<MigrateConflict>> {
        let missing = report.dry_run && report.tables_created.contains(&table.target.to_string());
        let found = match self.conflict(table, state, None).await? {
            None if missing && state.last_run_id.is_some() && table.mode != Mode::Snapshot => {
                Some(Conflict::Bronze(Fate::MadeAgain))
            }
            found => found,
        };
        Ok(found.map(|found| {
            let error = found.error(table, state);
            MigrateConflict { table: table.name.clone(), message: error.to_string(), hint: error.hint().to_owned() }
        }))
    }

    /// The SQL that [`Pipeline::migrate`] would run, for a DBA to read and apply.
    ///
    /// # Errors
    /// `Config` if no table matches; if a source cannot be asked for its tables; `Contract` with all tables that cannot be
    /// made.
    pub async fn migration_sql(&self, request: &MigrateRequest) -> Result<String> {
        let mut unplanned = MigrateReport::default();
        // The target need not answer: what is known already is only said once more.
        let known = self.known_relations().await.unwrap_or_default();
        let (this, found) = self.discover(&request.tables, known, &mut unplanned).await?;
        let plans = this.source_plans(&request.tables, &mut unplanned).await?;
        if let Some(error) = unplanned.refusal() {
            return Err(error);
        }
        let drift = if request.apply_drift { self.drift_sql(&plans).await? } else { String::new() };
        let remember = migrate::remember_sql(&self.config, &found);
        Ok(migrate::print_sql(&self.config.target, &plans)? + &remember + &drift)
    }

    /// The plans of the tables that match as the sources have them, whatever bronze has. What keeps a table from being
    /// planned goes into the report.
    async fn source_plans(&self, tables: &[String], report: &mut MigrateReport) -> Result<Vec<Plan>> {
        let mut plans = Vec::new();
        // What keeps all that match from being tables is told.
        let chosen = match self.config.select(tables) {
            Err(_) if !report.refused.is_empty() => Vec::new(),
            chosen => chosen?,
        };
        (self.observer)(&Event::TablesChosen { tables: chosen.len() });
        for table in chosen {
            (self.observer)(&Event::TableStarted { table: table.name.clone() });
            let planned = match self.source(table)?.describe(table).await {
                Ok(schema) => Plan::new(table, schema),
                Err(error) => Err(error),
            };
            (self.observer)(&Event::TableFinished { table: table.name.clone() });
            match planned {
                Ok(plan) => plans.push(plan),
                Err(error) if is_of_the_table(error.kind()) => report.refuse_for(&table.name, &error),
                Err(error) => return Err(crate::pipeline::failure::named(error, &table.name)),
            }
        }
        Ok(plans)
    }
}

/// Whether other tables may be planned all the same.
const fn is_of_the_table(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Config | ErrorKind::Contract | ErrorKind::Data | ErrorKind::NotFound | ErrorKind::Permission
    )
}
