//! `plan`: what the next run of each table would do, with its SQL, and the work that processes can share.

mod units;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::config::{Mode, TableConfig};
use crate::error::Result;
use crate::pipeline::describe::finite;
use crate::pipeline::window::Ahead;
use crate::pipeline::{ErrorReport, Event, Pipeline, WindowReport};
use crate::plan::Plan;
use crate::sink::{LeaseHolder, TableOverview, TableState};
use crate::source::Sweep;
use crate::watermark::{Call, Timestamp};

pub use units::WorkUnit;

/// What `plan` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct PlanRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// The first moment of a range that `backfill` would read again, of tables that have windows; `None`: no such range.
    pub from: Option<Timestamp>,
    /// The first moment that it would not read again any more; `None`: after the watermark.
    pub to: Option<Timestamp>,
}

impl PlanRequest {
    /// What the tables that match have before them.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// What one table's run would do, and what else there is to do for the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct PlanReport {
    /// The table's name in the configuration.
    pub table: String,
    /// How it is moved.
    pub mode: Mode,
    /// Where it comes from.
    pub source: String,
    /// Where it goes.
    pub target: String,
    /// Who holds the table at this moment; `null` where it is free.
    #[serde(default)]
    pub holder: Option<LeaseHolder>,
    /// The next window.
    pub window: Option<WindowReport>,
    /// Where the watermark would move.
    pub watermark: Option<Timestamp>,
    /// What holds it.
    pub bound: Option<String>,
    /// What it does first because the columns of the source changed: then what follows is not known yet, and left out.
    pub first: Option<String>,
    /// The statement that would be copied out.
    pub extract_sql: String,
    /// The statements of the load transaction, in order.
    pub load_sql: Vec<String>,
    /// The folder of the CSV.
    pub blob_prefix: String,
    /// What is to be done, each by a command that a process of its own can be given.
    #[serde(default)]
    pub units: Vec<WorkUnit>,
    /// What would keep it from running.
    pub error: Option<ErrorReport>,
}

impl PlanReport {
    const fn nothing(table: String, mode: Mode, source: String) -> Self {
        Self {
            table,
            mode,
            source,
            target: String::new(),
            holder: None,
            window: None,
            watermark: None,
            bound: None,
            first: None,
            extract_sql: String::new(),
            load_sql: Vec::new(),
            blob_prefix: String::new(),
            units: Vec::new(),
            error: None,
        }
    }
}

impl Pipeline {
    /// What the next run of each matching table would do, and the other work that is there: history that a call which was
    /// cut off left to be read, or that the request names. Nothing is moved, written or held.
    ///
    /// # Errors
    /// `Config` if no table matches. What keeps a single table from running stands in its report.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Vec<PlanReport>> {
        let whole = self.expanded().await?;
        let tables = whole.config.select(&request.tables)?;
        // Where that cannot be told, each table says why.
        let known = self.sink.overview().await.map(|overview| overview.tables).unwrap_or_default();
        (self.observer)(&Event::TablesChosen { tables: tables.len() });
        let looks: Vec<_> = tables.iter().map(|table| self.plan_one(table, known.get(&table.name), request)).collect();
        let mut plans: Vec<_> = stream::iter(looks).buffered(self.config.target.connections.max(1)).collect().await;
        plans.extend(self.unknown_sources(&whole, &request.tables).iter().map(|(source, error)| PlanReport {
            error: Some(error.into()),
            ..PlanReport::nothing(format!("{source}.*"), Mode::Snapshot, source.clone())
        }));
        Ok(plans)
    }

    /// What the next extract of a table would do; nothing is moved or written.
    ///
    /// # Errors
    /// `Config` if there is no table of exactly that name. What keeps it from being read stands in the report.
    pub async fn plan_extract(&self, table: &str) -> Result<PlanReport> {
        let (table, request) = (self.table(table).await?, PlanRequest::default());
        Ok(self.plan_one(&table, None, &request).await)
    }

    async fn plan_one(&self, table: &TableConfig, known: Option<&TableOverview>, request: &PlanRequest) -> PlanReport {
        (self.observer)(&Event::TableStarted { table: table.name.clone() });
        let mut report = self.empty_plan(table);
        report.holder = known.and_then(|known| known.holder.clone());
        if let Err(error) = self.fill_plan(table, known, request, &mut report).await {
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
            target: table.target.to_string(),
            blob_prefix: format!(
                "{}/{}",
                self.blobs.url(),
                self.layout.prefix(crate::blob::Folder::Exports, &table.name)
            ),
            ..PlanReport::nothing(table.name.clone(), table.mode, format!("{}: {relation}", table.source))
        }
    }

    async fn fill_plan(
        &self,
        table: &TableConfig,
        known: Option<&TableOverview>,
        request: &PlanRequest,
        report: &mut PlanReport,
    ) -> Result<()> {
        let state = match known {
            Some(known) => known.state.clone(),
            None => {
                let lease = self.sink.lease(&table.name, false).await?;
                let state = lease.state().clone();
                lease.release().await?;
                state
            }
        };
        self.judge(table, &state).await?;
        let fitted = self.fit(table, &state).await?;
        report.first = self.would_follow(&fitted).await?;
        if report.first.is_some() {
            report.units.push(WorkUnit::of_run(table));
            return Ok(());
        }
        let (plan, bronze) = fitted;
        plan.check_bronze(bronze.as_ref())?;
        let mut load = plan.load(false);
        report.load_sql = bronze.map(|there| load.added_sql(&there)).unwrap_or_default();
        load.waiting.clear();
        report.load_sql.extend(load.statements());
        self.is_first(table, &state).await?;
        let now = Timestamp::now();
        let whole = (Timestamp::NEG_INFINITY, Timestamp::INFINITY, Sweep::Off);
        let (low, high, sweep) = match table.mode {
            Mode::Incremental => self.fill_window(&plan, &state, now, report).await?,
            Mode::Snapshot | Mode::Scd => {
                report.units.push(self.whole_unit(&plan).await?);
                whole
            }
            Mode::Files => {
                let pending = self.pending_files(table, &state).await?;
                report.units.push(WorkUnit { files: Some(pending.len() as u64), ..WorkUnit::of_run(table) });
                let paths: Vec<String> = pending.iter().map(|file| format!("file {}", file.path)).collect();
                report.extract_sql = paths.join("\n");
                return Ok(());
            }
        };
        report.extract_sql = plan.copy_out(low, high, sweep, now);
        if table.mode == Mode::Incremental {
            report.units.extend(self.units_left(table, &plan, &state, request).await?);
        }
        Ok(())
    }

    async fn fill_window(
        &self,
        plan: &Plan,
        state: &TableState,
        now: Timestamp,
        report: &mut PlanReport,
    ) -> Result<(Timestamp, Timestamp, Sweep)> {
        let ahead = self.ahead(plan, state, now, Call::First).await?;
        report.units.push(self.run_unit(plan, state, &ahead, now).await?);
        let Ahead { bound, window, sweep } = ahead;
        let low = window.low;
        let high = window.high.unwrap_or(now);
        report.window = Some(WindowReport { from: finite(low), to: Some(high) });
        report.watermark = finite(window.watermark);
        report.bound = Some(bound.rule.to_string());
        Ok((low, high, sweep))
    }
}
