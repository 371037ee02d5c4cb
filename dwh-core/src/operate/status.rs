//! `status`: whether all is well, and if not, what is wrong and what to do about it.

mod breach;
pub(in crate::operate) mod cause;
mod judge;
mod models;
mod report;
#[cfg(test)]
mod tests;

use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::blob::{BlobMeta, Folder};
use crate::config::TableConfig;
use crate::disk::{is_one_disk, space};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::belongs::looks_at_bronze;
use crate::run::RunState;
use crate::schema::TableRef;
use crate::sink::{BronzeState, Overview, RunRecord, TableState};
use crate::watermark::Timestamp;

use judge::{Facts, WEEK, table_status};

pub(in crate::operate) use breach::stamped_ahead;
pub use cause::BreachCause;
pub(in crate::operate) use judge::ahead;
pub use report::{
    Breach, BreachCheck, DiskStatus, DiskUse, ModelStatus, RunningRun, StatusReport, StoreStatus, TableStatus,
    WaitingCsvs,
};

impl StatusReport {
    /// What needs attention, the tables that share a cause together.
    #[must_use]
    pub fn causes(&self) -> Vec<BreachCause> {
        BreachCause::of(&self.breaches)
    }
}

/// How many runs of a table `status` looks back at most; more than a run a minute for a day.
const STATUS_RUNS: u32 = 2_000;

impl Pipeline {
    /// Whether all is well: freshness, lag, failures, rates and rows of every configured table that matches, what waits in
    /// the blob store, the disks of this machine, and what of it needs attention by `[thresholds]`. Takes no lease.
    ///
    /// A blob store that does not answer is a breach; the rest is told all the same.
    ///
    /// # Errors
    /// `Config` if no table matches; `Contract` if the control schema is missing; `Unreachable`, `Auth`.
    pub async fn status(&self, tables: &[String]) -> Result<StatusReport> {
        let all = tables.is_empty();
        let whole = self.expanded().await?;
        let (unknown, chosen) = (self.unknown_sources(&whole, tables), whole.config.select(tables)?);
        let (known, listed, disks) = tokio::join!(
            self.known(&chosen),
            self.complete_csvs(),
            tokio::task::spawn_blocking({
                let store = self.blobs.folder().map(Path::to_owned);
                move || disks(store.as_deref())
            })
        );
        let (overview, runs) = known?;
        let (disks, same) = disks.map_err(|stopped| {
            Error::new(ErrorKind::Internal, "disks: their free space was not asked for").with_source(stopped)
        })?;
        let store = StoreStatus { url: self.blobs.url().to_owned(), error: listed.as_ref().err().map(Into::into) };
        let mut tables = Vec::new();
        let mut breaches = Vec::new();
        let conflicts = self.conflicts(&chosen, &overview).await?;
        for ((table, runs), conflict) in chosen.into_iter().zip(&runs).zip(&conflicts) {
            let waiting = match &listed {
                Ok(listed) => Some(self.waiting(table, listed, runs).await?),
                Err(_) => None,
            };
            let seen = overview.tables.get(&table.name);
            let facts = Facts {
                table,
                now: overview.now,
                runs,
                overview: seen,
                waiting: waiting.as_deref(),
                conflict: conflict.as_ref(),
            };
            let status = table_status(&facts);
            breaches.extend(breach::of_table(&status, &table.thresholds));
            tables.push(status);
        }
        let (models, of_models) = if all { self.judge_models(overview.now).await? } else { Default::default() };
        breaches.extend(of_models);
        breaches.extend(unknown.iter().map(|(_, told)| breach::of_source(told)));
        breaches.extend(breach::of_project(&disks, same, &store, self.config.disk_used));
        Ok(StatusReport {
            project: self.config.project.name.clone(),
            now: overview.now,
            cadence_seconds: self.config.project.cadence.as_seconds(),
            healthy: breaches.is_empty(),
            tables,
            models,
            disks,
            store,
            breaches,
        })
    }

    /// What the sink knows: its clock, its watermark rows, and the runs of the last 7 days of each of these tables, or
    /// at least the newest one.
    async fn known(&self, tables: &[&TableConfig]) -> Result<(Overview, Vec<Vec<RunRecord>>)> {
        let overview = self.sink.overview().await?;
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let runs = self.sink.recent(&names, overview.now.minus(WEEK), STATUS_RUNS).await?;
        Ok((overview, runs))
    }

    /// Of each table, why its watermark cannot be used. Sources are not asked.
    async fn conflicts(&self, tables: &[&TableConfig], overview: &Overview) -> Result<Vec<Option<Error>>> {
        let state = |table: &TableConfig| overview.tables.get(&table.name).map(|known| &known.state);
        let looked_at =
            |table: &&&TableConfig| state(table).is_some_and(|state| looks_at_bronze(table, state).is_some());
        let targets: Vec<&TableRef> = tables.iter().filter(looked_at).map(|table| &table.target).collect();
        let found = self.sink.bronze_ids(&targets).await?;
        let bronze: BTreeMap<&TableRef, BronzeState> =
            targets.into_iter().zip(found).filter_map(|(target, found)| Some((target, found?))).collect();
        let looks = tables.iter().map(|table| self.conflict_of(table, state(table), bronze.get(&table.target)));
        stream::iter(looks.collect::<Vec<_>>()).buffered(self.config.target.connections.max(1)).try_collect().await
    }

    async fn conflict_of(
        &self,
        table: &TableConfig,
        state: Option<&TableState>,
        bronze: Option<&BronzeState>,
    ) -> Result<Option<Error>> {
        let Some(state) = state else { return Ok(None) };
        match self.conflict_with(table, state, None, bronze.cloned()).await {
            Ok(found) => Ok(found.map(|found| found.error(table, state))),
            Err(error) if error.kind() == ErrorKind::Unreachable => Err(error),
            // One table that cannot be looked at hides no other.
            Err(error) => Ok(Some(error)),
        }
    }

    /// The CSV files in `exports/` that have a manifest, of all tables, in one listing.
    async fn complete_csvs(&self) -> Result<Vec<BlobMeta>> {
        let mut listed: Vec<BlobMeta> = self.blobs.list(&self.layout.folder(Folder::Exports)).try_collect().await?;
        let manifests: BTreeSet<_> =
            listed.iter().map(|meta| meta.key.clone()).filter(|key| key.is_manifest()).collect();
        listed.retain(|meta| meta.key.is_csv() && manifests.contains(&meta.key.manifest()));
        Ok(listed)
    }

    /// When the runs began whose CSV files wait for their load; those that are loaded only wait to be moved.
    async fn waiting(&self, table: &TableConfig, listed: &[BlobMeta], runs: &[RunRecord]) -> Result<Vec<Timestamp>> {
        let prefix = self.layout.prefix(Folder::Exports, &table.name);
        let mut began = Vec::new();
        for meta in listed.iter().filter(|meta| meta.key.as_str().starts_with(&prefix)) {
            let run_id = meta.key.csv_name().map(|name| name.run_id);
            let record = match (run_id, runs.iter().find(|run| Some(run.run_id) == run_id)) {
                (_, Some(run)) => Some(run.clone()),
                (Some(run_id), None) => self.record_of(table, run_id).await?,
                (None, None) => None,
            };
            match record.filter(|record| self.is_file_of(record, &meta.key)) {
                Some(run) if run.status == RunState::Loaded => {}
                Some(run) => began.push(run.run_started_at),
                None => began.push(meta.modified),
            }
        }
        Ok(began)
    }
}

/// The disks of this machine that a run needs, and whether both folders lie on one.
fn disks(store: Option<&Path>) -> (Vec<DiskStatus>, bool) {
    let spool = std::env::temp_dir();
    let mut disks = vec![disk(DiskUse::Spool, &spool)];
    disks.extend(store.map(|store| disk(DiskUse::Store, store)));
    (disks, store.is_some_and(|store| is_one_disk(&spool, store)))
}

fn disk(used_for: DiskUse, folder: &Path) -> DiskStatus {
    let space = space(folder);
    let known = space.as_ref().ok();
    DiskStatus {
        used_for,
        folder: folder.display().to_string(),
        used_percent: known.map(|space| space.used_percent()),
        free_bytes: known.map(|space| space.free_bytes),
        total_bytes: known.map(|space| space.total_bytes),
        error: space.as_ref().err().map(Into::into),
    }
}
