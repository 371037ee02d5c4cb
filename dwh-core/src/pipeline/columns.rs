//! Columns that are new at the source, where the configuration says that a run adds them to bronze: whatever loads rows adds
//! them first, and whatever only looks says that they wait.

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::config::{Mode, OnSchemaChange, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::failure::or_stopped;
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::Plan;
use crate::schema::TableSchema;
use crate::sink::TableState;

impl Pipeline {
    /// The plan of a table for an extract: with a word about columns that lose their values.
    pub(super) async fn plan_or_warn(
        &self,
        table: &TableConfig,
        state: &TableState,
        run: &mut TableRun,
    ) -> Result<Arc<Plan>> {
        let plan = self.plan_to_load(table, state, &mut run.columns_added).await?;
        self.warn_of_missing(&plan);
        Ok(plan)
    }

    /// The same for a run, which follows changes of the source first where the configuration says so.
    pub(super) async fn plan_that_follows(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        run: &mut TableRun,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<Arc<Plan>> {
        let mut fitted = or_stopped(cancel, self.fit(table, state)).await?;
        if self.follow_schema(table, state, &fitted, runs, cancel).await? {
            fitted = self.fit(table, state).await?;
        }
        let plan = self.add_waiting(fitted, state, &mut run.columns_added).await?;
        self.warn_of_missing(&plan);
        Ok(plan)
    }

    /// The plan of a table for whatever loads rows under its lease: bronze is as it must be then. The names of columns that
    /// were added to it are put into `added`.
    pub(crate) async fn plan_to_load(
        &self,
        table: &TableConfig,
        state: &TableState,
        added: &mut Vec<String>,
    ) -> Result<Arc<Plan>> {
        let fitted = self.fit(table, state).await?;
        if changed(&fitted) {
            return Err(must_follow(table, &fitted));
        }
        self.add_waiting(fitted, state, added).await
    }

    async fn add_waiting(
        &self,
        (mut plan, bronze): (Plan, Option<TableSchema>),
        state: &TableState,
        added: &mut Vec<String>,
    ) -> Result<Arc<Plan>> {
        plan.check_bronze(bronze.as_ref())?;
        if let Some(there) = bronze.filter(|_| !plan.waiting.is_empty()) {
            self.sink.add_columns(&plan.load(false)).await?;
            self.tell_waiting(&plan, &there, "was added");
            added.extend(plan.waiting.iter().map(|column| column.name.clone()));
            let bronze = self.sink.describe(&plan.table.target).await?;
            plan = plan.fitted(bronze.as_ref(), state.delivered());
            plan.check_bronze(bronze.as_ref())?;
        }
        Ok(Arc::new(plan))
    }

    /// Adds the columns that wait, under the lease, so that what they hold is compared too. A table that cannot go on is left
    /// to what begins it anew.
    pub(crate) async fn add_columns_first(
        &self,
        table: &TableConfig,
        wait: bool,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let lease = self.lease(table, wait, cancel).await?;
        let identity = self.source(table)?.identity().await?;
        if self.conflict(table, lease.state(), identity.as_ref()).await?.is_none() {
            self.plan_to_load(table, lease.state(), &mut Vec::new()).await?;
        }
        lease.release().await
    }

    /// Whoever only looks says what becomes of columns that bronze lacks.
    pub(crate) fn tell_waiting(&self, plan: &Plan, bronze: &TableSchema, added: &str) {
        for told in plan.load(false).told_added(bronze, added) {
            self.warn(&plan.table.name, &told);
        }
    }

    /// A word about columns that lose their values.
    pub(super) fn warn_of_missing(&self, plan: &Plan) {
        if let Some(warning) = plan.missing.warning(&plan.table) {
            self.warn(&plan.table.name, &warning);
        }
    }
}

/// Whether the configuration says that bronze follows the source, and that takes more than to add columns.
pub(super) fn changed((plan, bronze): &(Plan, Option<TableSchema>)) -> bool {
    let follows = plan.table.on_schema_change == OnSchemaChange::Resync && plan.table.mode != Mode::Files;
    follows && bronze.as_ref().is_some_and(|bronze| plan.must_resync(bronze))
}

/// The differences, in a line.
pub(super) fn differences((plan, bronze): &(Plan, Option<TableSchema>)) -> String {
    let found = bronze.as_ref().map(|bronze| plan.load(false).drift(bronze)).unwrap_or_default();
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Pipeline {
    /// What a run does first because the columns of the source changed, in a line; `None` if bronze is as it must be.
    pub(crate) async fn would_follow(&self, fitted: &(Plan, Option<TableSchema>)) -> Result<Option<String>> {
        if !changed(fitted) {
            return Ok(None);
        }
        let (found, plan) = (differences(fitted), &fitted.0);
        if plan.table.mode != Mode::Incremental {
            return Ok(Some(format!("{found}: the next run first brings bronze to the columns of the source")));
        }
        let cuts = self.source(&plan.table)?.cuts(plan, plan.table.chunk_rows).await?.len();
        let chunks = if cuts == 0 { "one chunk".to_owned() } else { format!("{} chunks", cuts + 1) };
        Ok(Some(format!(
            "{found}: the next run first reads the table anew, as a whole, in {chunks}, and puts it in the place of bronze"
        )))
    }
}

/// Whatever reads a part of the table waits for a run: once a column is added, nothing tells any more that old rows lack it.
fn must_follow(table: &TableConfig, fitted: &(Plan, Option<TableSchema>)) -> Error {
    let name = &table.name;
    Error::new(ErrorKind::Drift, format!("table `{name}`: {}", differences(fitted))).with_hint(format!(
        "`dwh run {name}` follows it, as `on_schema_change = \"resync\"` says; then call this again"
    ))
}
