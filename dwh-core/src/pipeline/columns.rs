//! Columns that are new at the source, where the configuration says that a run adds them to bronze: whatever loads rows adds
//! them first, and whatever only looks says that they wait.

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::config::TableConfig;
use crate::error::Result;
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::Plan;
use crate::schema::TableSchema;
use crate::sink::TableState;

impl Pipeline {
    /// The plan of a table for a run: with a word about columns that lose their values.
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

    /// The plan of a table for whatever loads rows under its lease: bronze is as it must be then. The names of columns that
    /// were added to it are put into `added`.
    pub(crate) async fn plan_to_load(
        &self,
        table: &TableConfig,
        state: &TableState,
        added: &mut Vec<String>,
    ) -> Result<Arc<Plan>> {
        let (mut plan, bronze) = self.fit(table, state).await?;
        plan.check_bronze(bronze.as_ref())?;
        if let Some(there) = bronze.filter(|_| !plan.waiting.is_empty()) {
            self.sink.add_columns(&plan.load(false)).await?;
            self.tell_waiting(&plan, &there, "was added");
            added.extend(plan.waiting.iter().map(|column| column.name.clone()));
            let bronze = self.sink.describe(&table.target).await?;
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
            tracing::warn!(table = plan.table.name, "{told}");
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
