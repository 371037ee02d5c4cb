//! `migrate` with its SQL.

use std::collections::BTreeMap;

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
