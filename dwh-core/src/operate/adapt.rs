//! `migrate --apply-drift`: bronze follows what changed at the source, where that loses nothing; the rest is told.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::migrate::{self, MigrateDrift, MigrateReport};
use crate::pipeline::Pipeline;
use crate::plan::{Cure, LoadPlan, Plan};
use crate::schema::TableSchema;
use crate::sink::TableState;

/// What is to be done for one table.
struct Found {
    load: LoadPlan,
    bronze: TableSchema,
    cures: Vec<Cure>,
}

impl Found {
    /// Whether a person must say what a column is: one that seems to have a new name is not added.
    fn is_safe(&self, cure: &Cure) -> bool {
        cure.safe && self.load.missing.renamed.iter().all(|(_, new)| new != cure.drift.column())
    }

    fn entry(&self, cure: &Cure, remedy: String) -> MigrateDrift {
        MigrateDrift { table: self.load.table.clone(), message: cure.drift.to_string(), remedy }
    }

    /// What a change leaves to do: the rows that were there.
    fn rows_left(&self, cure: &Cure) -> Option<MigrateDrift> {
        let message =
            format!("rows of bronze have NULL in the new column `{}`, and the source may not", cure.drift.column());
        cure.old_rows_differ.then(|| MigrateDrift {
            table: self.load.table.clone(),
            message,
            remedy: format!("`{}`", self.load.reseed()),
        })
    }
}

impl Pipeline {
    /// Puts what was changed, or would be, and what is left, into the report.
    pub(super) async fn apply_drift(
        &self,
        plans: &[Plan],
        known: &BTreeMap<String, TableState>,
        report: &mut MigrateReport,
    ) -> Result<()> {
        for plan in plans {
            let Some(found) = self.find_drift(plan, known).await? else { continue };
            let (safe, left): (Vec<&Cure>, Vec<&Cure>) = found.cures.iter().partition(|cure| found.is_safe(cure));
            if !safe.is_empty() && !report.dry_run {
                let (target, environment) = (&self.config.target, &self.config.environment);
                migrate::adapt(target, environment, &found.load, &|cure: &Cure| {
                    cure.safe && safe.iter().any(|other| other.drift == cure.drift)
                })
                .await?;
            }
            report.drift_applied.extend(safe.iter().map(|cure| found.entry(cure, cure.statements.join(" "))));
            report.drift_left.extend(safe.iter().filter_map(|cure| found.rows_left(cure)));
            let hint = |cure: &&Cure| found.load.remedies(std::slice::from_ref(&cure.drift), &found.bronze);
            report.drift_left.extend(left.iter().map(|cure| found.entry(cure, hint(cure))));
        }
        Ok(())
    }

    /// The SQL of what loses nothing, for a DBA.
    pub(super) async fn drift_sql(&self, plans: &[Plan]) -> Result<String> {
        let known = self.known_states().await;
        let mut sql = String::new();
        for plan in plans {
            let Some(found) = self.find_drift(plan, &known).await? else { continue };
            for cure in found.cures.iter().filter(|cure| found.is_safe(cure)) {
                let pasted = cure.pasted();
                sql.push_str(
                    &format!("\n-- Table {}: {}\n{pasted}\n", found.load.table, cure.drift).replace('\r', " "),
                );
            }
        }
        Ok(sql)
    }

    async fn find_drift(&self, plan: &Plan, known: &BTreeMap<String, TableState>) -> Result<Option<Found>> {
        let Some(bronze) = self.sink.describe(&plan.table.target).await? else { return Ok(None) };
        let state = known.get(&plan.table.name).cloned().unwrap_or_default();
        let load = plan.clone().fitted(Some(&bronze), state.delivered()).load(false);
        let cures = load.cures(&load.drift(&bronze), &bronze);
        Ok(Some(Found { load, bronze, cures }))
    }
}
