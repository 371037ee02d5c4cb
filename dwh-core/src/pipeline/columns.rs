//! Columns that are new at the source, where the configuration says that a run adds them to bronze.

use std::sync::Arc;

use crate::config::{OnNewColumn, TableConfig};
use crate::error::Result;
use crate::pipeline::{Pipeline, TableRun};
use crate::plan::Plan;
use crate::schema::{Drift, TableSchema};
use crate::sink::TableState;

impl Plan {
    /// The differences that a run mends by itself: new columns, if the configuration says so and nothing else differs.
    pub(crate) fn adds(&self, bronze: &TableSchema) -> Vec<Drift> {
        let found = self.load(false).drift(bronze);
        let new = |drift: &Drift| matches!(drift, Drift::MissingInBronze { .. });
        if self.table.on_new_column == OnNewColumn::Add && found.iter().all(new) { found } else { Vec::new() }
    }

    /// What a person is told of a column that a run adds, `added` being how: it "was added" or "is added by the next run".
    pub(crate) fn told_added(&self, found: &[Drift], bronze: &TableSchema, added: &str) -> Vec<String> {
        let cures = self.load(false).cures(found, bronze);
        cures
            .into_iter()
            .map(|cure| {
                let then = cure.then.map(|then| format!("{}{then}", if then.starts_with('(') { " " } else { "; " }));
                let then = then.unwrap_or_default();
                format!("{}: it {added}{then}", cure.drift)
            })
            .collect()
    }
}

impl Pipeline {
    /// The plan of a table for a run: with a word about columns that lose their values, and with bronze as it must be,
    /// where the configuration lets a run add columns.
    pub(super) async fn plan_or_warn(
        &self,
        table: &TableConfig,
        state: &TableState,
        run: &mut TableRun,
    ) -> Result<Arc<Plan>> {
        let (plan, mut bronze) = self.fit(table, state).await?;
        if let Some(there) = &bronze {
            let new = plan.adds(there);
            if !new.is_empty() {
                self.sink.add_columns(&plan.load(false)).await?;
                for told in plan.told_added(&new, there, "was added") {
                    tracing::warn!(table = table.name, "{told}");
                    self.warn(&table.name, &told);
                }
                run.columns_added = new.iter().map(|drift| drift.column().to_owned()).collect();
                bronze = self.sink.describe(&table.target).await?;
            }
        }
        plan.check_bronze(bronze.as_ref())?;
        self.warn_of_missing(&plan);
        Ok(Arc::new(plan))
    }

    /// A word about columns that lose their values.
    pub(super) fn warn_of_missing(&self, plan: &Plan) {
        if let Some(warning) = plan.missing.warning(&plan.table) {
            self.warn(&plan.table.name, &warning);
        }
    }
}
