//! `recover`: run log, blobs and bronze put in agreement. Each run does it for its table before it begins a new one;
//! the verb looks further, says all that it finds, and names what only a person can decide.

mod aside;
mod find;
mod first;
mod look;
mod mend;
mod report;
mod scene;
mod uploads;
mod whole;

use tokio_util::sync::CancellationToken;

use crate::config::TableConfig;
use crate::error::{Error, Result};
use crate::pipeline::failure::{interrupted, named, told};
use crate::pipeline::{CauseReport, Pipeline, TableRun};
use crate::run::RunId;
use crate::sink::TableState;
use crate::watermark::Micros;

use find::find;
use scene::{Found, Mend};

pub use report::{Outcome, RecoverFinding, RecoverReport, Remedy, TableError, Trouble};

/// What `recover` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RecoverRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Only tell what was found.
    pub dry_run: bool,
    /// How old an unfinished upload is before it counts as left behind, by the target's clock; `None`: a day. One that is
    /// under way is younger. Zero: all of them, whatever the clocks say; nothing may be at work then.
    pub uploads_older_than: Option<Micros>,
}

impl RecoverRequest {
    /// What is found about the tables that match is mended.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

impl Pipeline {
    /// Reconciles run log, blobs and bronze of the tables that match, and says what it found and did.
    ///
    /// Each table is held while it is worked on; one that another run holds is left out and reported. A dry run
    /// changes nothing. May be repeated at any time.
    ///
    /// # Errors
    /// `Config` if no table matches. What went wrong with a single table stands in the report and stops no other.
    pub async fn recover(&self, request: &RecoverRequest, cancel: &CancellationToken) -> Result<RecoverReport> {
        let mut report = RecoverReport { dry_run: request.dry_run, ..RecoverReport::default() };
        for table in &self.tables(&request.tables).await? {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            if let Err(error) = self.recover_one(table, &mut report, cancel).await {
                let error = (&named(error, &table.name)).into();
                report.errors.push(TableError { table: table.name.clone(), error });
            }
        }
        self.sweep_uploads(request.uploads_older_than, &mut report).await;
        report.causes = CauseReport::of(report.failures());
        Ok(report)
    }

    async fn recover_one(
        &self,
        table: &TableConfig,
        report: &mut RecoverReport,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let lease = self.sink.lease(&table.name, false).await?;
        let mut state = lease.state().clone();
        let scene = self.look_at_all(table, &state).await?;
        let mut stuck = false;
        for found in find(&scene) {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let in_order = matches!(found.mend, Mend::Load(..) | Mend::Restore(..));
            let (outcome, error) = match &found.mend {
                Mend::Person(_) => (Outcome::Person, None),
                _ if report.dry_run => (Outcome::Planned, None),
                // Later rows must not overtake those that cannot be loaded.
                _ if in_order && stuck => (Outcome::Waiting, None),
                _ => match self.mend(table, &mut state, &found, &mut report.runs, cancel).await {
                    Ok(()) => (Outcome::Mended, None),
                    Err(error) => (Outcome::Failed, Some(named(error, &table.name))),
                },
            };
            stuck |= in_order && outcome == Outcome::Failed;
            report.found.push(self.finding(table, found, outcome, error.as_ref()));
        }
        lease.release().await
    }

    fn finding(&self, table: &TableConfig, found: Found, outcome: Outcome, error: Option<&Error>) -> RecoverFinding {
        let (action, hint) = match found.mend {
            Mend::Load(..) | Mend::Restore(..) => (Remedy::Load, way_out(&found, outcome)),
            Mend::Move(_) => (Remedy::Move, None),
            Mend::Fail(..) | Mend::Drop(..) => (Remedy::FailRun, None),
            Mend::Delete(_) => (Remedy::Delete, None),
            Mend::SetAside(_) => (Remedy::SetAside, None),
            Mend::Number(_) => (Remedy::Number, None),
            Mend::Person(hint) => (Remedy::Person, Some(hint.replace("TABLE", &table.name))),
        };
        RecoverFinding {
            table: Some(table.name.clone()),
            state: found.trouble,
            run_id: found.run_id,
            csv_path: found.csv.map(|key| self.address(&key)),
            message: found.message,
            action,
            outcome,
            hint,
            error: error.map(Into::into),
        }
    }

    /// Under the lease: loads what was uploaded and not loaded, moves what was loaded and not moved, removes CSV files
    /// whose upload never finished, and fails runs whose process died.
    ///
    /// Loads are reported in `runs`; one that fails stops here, because later rows must not overtake it.
    pub(super) async fn recover_table(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        self.recover_leased(table, (state, None), runs, cancel).await
    }

    /// The same right after the lease was taken, which may have told how far the runs of the table are settled.
    pub(super) async fn recover_leased(
        &self,
        table: &TableConfig,
        (state, settled): (&mut TableState, Option<RunId>),
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let scene = self.look(table, state, settled).await?;
        for found in find(&scene) {
            match &found.mend {
                Mend::Person(hint) => {
                    self.warn(&table.name, &format!("{}; {}", found.message, hint.replace("TABLE", &table.name)));
                }
                Mend::Load(..) | Mend::Restore(..) => {
                    self.mend(table, state, &found, runs, cancel).await.map_err(|_| told())?;
                }
                _ => self.mend(table, state, &found, runs, cancel).await?,
            }
        }
        Ok(())
    }

    /// Before an extract alone: runs that died without a CSV are failed; uploaded ones wait for their load.
    pub(super) async fn fail_dead_extracts(&self, table: &TableConfig, state: &TableState) -> Result<()> {
        let (mut state, cancel) = (state.clone(), CancellationToken::new());
        let scene = self.look(table, &state, None).await?;
        let uploading = |found: &Found| {
            let record = found.run_id.and_then(|run_id| scene.records.get(&run_id));
            record.is_some_and(|record| record.status == crate::run::RunState::Extracting)
        };
        for found in find(&scene) {
            let wanted = match &found.mend {
                Mend::Fail(..) => uploading(&found),
                Mend::Delete(_) | Mend::Drop(..) | Mend::SetAside(_) => true,
                Mend::Load(..) | Mend::Restore(..) | Mend::Move(_) | Mend::Number(_) | Mend::Person(_) => false,
            };
            if wanted {
                self.mend(table, &mut state, &found, &mut Vec::new(), &cancel).await?;
            }
        }
        Ok(())
    }
}

/// What a person can do about a CSV whose load fails, or failed before.
fn way_out(found: &Found, outcome: Outcome) -> Option<String> {
    let failed = outcome == Outcome::Failed || (found.trouble == Trouble::FailedWithCsv && outcome != Outcome::Mended);
    let run_id = found.run_id.filter(|_| failed)?;
    Some(format!(
        "mend what it fails for, then run `dwh recover` again; if it can never be loaded, `dwh recover --set-aside {run_id}` takes it out of the way"
    ))
}
