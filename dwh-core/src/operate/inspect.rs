//! `migrate` with its SQL.

use std::collections::BTreeMap;

use super::patterns::Unasked;
use crate::config::{Mode, TableConfig};
use crate::error::{ErrorKind, Result};
use crate::identity::Fate;
use crate::migrate;
use crate::pipeline::belongs::Conflict;
use crate::pipeline::{Event, Pipeline};
use crate::plan::Plan;
use crate::sink::TableState;

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

impl Pipeline {
    /// Creates control schema, roles, views, the bronze tables that match and the types that they need, or asserts them;
    /// with `dry_run` only looks. What keeps a table from being made stands in the report, and the others are made; so do
    /// sources that cannot be asked, where several are meant.
    ///
    /// # Errors
    /// `Config` if no table matches; `Unreachable`, `Auth`, `Busy` of the only source that is meant, and of the target; `Contract` with the list of what is missing and the SQL that makes it.
    pub async fn migrate(&self, request: &MigrateRequest) -> Result<MigrateReport> {
        let mut unplanned = MigrateReport::default();
        let mut unasked = Unasked::new();
        let known = self.known_relations().await?;
        let (this, found) = self.discover(&request.tables, known, &mut unplanned, &mut unasked).await?;
        let plans = this.source_plans(&request.tables, &mut unplanned, &mut unasked).await?;
        this.tell_unasked(&request.tables, &plans, unasked, &mut unplanned)?;
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
        let mut unasked = Unasked::new();
        let (this, found) = self.discover(&request.tables, known, &mut unplanned, &mut unasked).await?;
        let plans = this.source_plans(&request.tables, &mut unplanned, &mut unasked).await?;
        if let Some((_, error)) = unasked.pop_first() {
            return Err(error);
        }
        if let Some(error) = unplanned.refusal() {
            return Err(error);
        }
        let drift = if request.apply_drift { self.drift_sql(&plans).await? } else { String::new() };
        let remember = migrate::remember_sql(&self.config, &found);
        Ok(migrate::print_sql(&self.config.target, &plans)? + &remember + &drift)
    }

    /// The plans of the tables that match as the sources have them, whatever bronze has. What keeps a table from being
    /// planned goes into the report; no source is asked again that could not be asked.
    async fn source_plans(
        &self,
        tables: &[String],
        report: &mut MigrateReport,
        unasked: &mut Unasked,
    ) -> Result<Vec<Plan>> {
        let mut plans = Vec::new();
        let chosen = self.meant(tables, report, unasked)?;
        (self.observer)(&Event::TablesChosen { tables: chosen.len() });
        for table in chosen {
            (self.observer)(&Event::TableStarted { table: table.name.clone() });
            let planned = match unasked.contains_key(&table.source) {
                true => None,
                false => Some(self.source_plan(table).await),
            };
            (self.observer)(&Event::TableFinished { table: table.name.clone() });
            match planned {
                // Told with its source.
                None => {}
                Some(Ok(plan)) => plans.push(plan),
                Some(Err(error)) if is_of_the_table(error.kind()) => report.refuse_for(&table.name, &error),
                Some(Err(error)) if error.kind().is_of_the_service() => {
                    unasked.insert(table.source.clone(), error);
                }
                Some(Err(error)) => return Err(crate::pipeline::failure::named(error, &table.name)),
            }
        }
        Ok(plans)
    }

    async fn source_plan(&self, table: &TableConfig) -> Result<Plan> {
        Plan::new(table, self.source(table)?.describe(table).await?)
    }

    /// Puts the sources that could not be asked into the report, each with the tables that wait for it. If it is the only
    /// one, and there is nothing else to do, that is the error.
    fn tell_unasked(
        &self,
        tables: &[String],
        plans: &[Plan],
        mut unasked: Unasked,
        report: &mut MigrateReport,
    ) -> Result<()> {
        if plans.is_empty() && unasked.len() == 1 && report.refused.is_empty() {
            return unasked.pop_first().map_or(Ok(()), |(_, error)| Err(error));
        }
        let meant = self.meant(tables, report, &unasked)?;
        for (source, error) in &unasked {
            let planned = |name: &str| plans.iter().any(|plan| plan.table.name == name);
            let waiting = meant.iter().filter(|table| table.source == *source && !planned(&table.name));
            let mut waiting: Vec<String> = waiting.map(|table| table.name.clone()).collect();
            // Nobody knows yet what its patterns match.
            if waiting.is_empty() {
                waiting.push(format!("{source}.*"));
            }
            report.wait_for(error, waiting);
        }
        Ok(())
    }
}

/// Whether other tables may be planned all the same.
const fn is_of_the_table(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Config | ErrorKind::Contract | ErrorKind::Data | ErrorKind::NotFound | ErrorKind::Permission
    )
}
