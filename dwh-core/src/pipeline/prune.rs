//! `prune`: retention. Removes loaded CSV files and rows of the run log that are older than `[retention]` says.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobKey, BlobMeta, Folder, archive, read_manifest};
use crate::chain;
use crate::config::{Retention, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::failure::{interrupted, named};
use crate::pipeline::links::{identity, named_by_us};
use crate::pipeline::report::one_code;
use crate::pipeline::{CauseReport, ErrorReport, Pipeline};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};
use crate::watermark::{Micros, Timestamp};

/// What `prune` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct PruneRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Only tell what would be removed.
    pub dry_run: bool,
}

impl PruneRequest {
    /// Retention for the tables that match.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// One table of `prune`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct PrunedTable {
    /// The table's name in the configuration.
    pub table: String,
    /// Addresses of the files that were removed, or would be.
    pub files: Vec<String>,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Rows of the run log that were removed, or would be.
    pub runs: u64,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

/// What `prune` removed, or would remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct PruneReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// One entry a table.
    pub tables: Vec<PrunedTable>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl PruneReport {
    /// 0 if every table went well; the one code of all that failed; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.tables.iter().filter_map(|table| table.error.as_ref()).map(|error| error.exit_code))
    }

    /// Files, bytes and rows of all tables.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        self.tables.iter().fold((0, 0, 0), |(files, bytes, runs), table| {
            (files + table.files.len() as u64, bytes + table.bytes, runs + table.runs)
        })
    }
}

/// What is known of a table.
struct Kept {
    exports: BTreeMap<BlobKey, BlobMeta>,
    processed: BTreeMap<BlobKey, BlobMeta>,
    aside: BTreeMap<BlobKey, BlobMeta>,
    records: BTreeMap<RunId, RunRecord>,
    state: TableState,
    now: Timestamp,
}

/// What is to go.
#[derive(Debug, Default, PartialEq, Eq)]
struct Doomed {
    /// In `processed/`, a CSV before its manifest: a manifest alone says what is left to do.
    processed: Vec<BlobKey>,
    /// CSV files in `exports/` that were loaded and have a copy in `processed/`.
    exports: Vec<BlobKey>,
    /// In `set_aside/`.
    aside: Vec<BlobKey>,
    runs: Vec<RunId>,
}

impl Pipeline {
    /// Removes what `[retention]` lets go: CSV files in `processed/`, copies that were left in `exports/`, files in
    /// `set_aside/`, and rows of the run log.
    ///
    /// What is not loaded is never touched, nor the newest loaded CSV of a table, nor the run that set its watermark.
    /// May be cut off and repeated at any time: the oldest run goes first, so what is left is a whole chain. Ages are
    /// taken from the target's clock.
    ///
    /// # Errors
    /// `Config` without a `[retention]` section, or if no table matches. What went wrong with a single table stands in
    /// its report and stops no other. `Contract` if the target's clock and this machine's differ by more than an hour: one
    /// of them is wrong, and by a wrong one everything may be old.
    pub async fn prune(&self, request: &PruneRequest, cancel: &CancellationToken) -> Result<PruneReport> {
        let retention = self.config.retention.clone().ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("`{}` has no section `[retention]`", self.config.path.display()))
                .with_hint("say how long to keep what: `[retention]`, `processed = \"365d\"`, `exports = \"30d\"`, `runs = \"365d\"`")
        })?;
        let mut report = PruneReport { dry_run: request.dry_run, ..PruneReport::default() };
        let tables = self.tables(&request.tables).await?;
        let now = self.clock().await?;
        for table in &tables {
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            let mut told = PrunedTable { table: table.name.clone(), ..PrunedTable::default() };
            if let Err(error) = self.prune_table(table, &retention, now, request.dry_run, &mut told).await {
                told.error = Some((&named(error, &table.name)).into());
            }
            report.tables.push(told);
        }
        if let Some(keep) = retention.runs.filter(|_| request.tables.is_empty() && self.config.models.is_some()) {
            report.tables.push(self.prune_models(now.minus(keep), request.dry_run).await?);
        }
        report.causes = CauseReport::among(report.tables.iter().map(|one| (&one.table, &one.error)));
        Ok(report)
    }

    /// Runs of models that began before this, but of each the newest one of them that built it: it tells what is there.
    async fn prune_models(&self, before: Timestamp, dry_run: bool) -> Result<PrunedTable> {
        let old = RunFilter { kind: Some(RunKind::Model), until: Some(before), ..RunFilter::default() };
        let mut built = BTreeSet::new();
        let mut doomed = Vec::new();
        // The newest first.
        for run in self.sink.runs(&old).await?.iter().filter(|run| run.status.is_final()) {
            if run.status == RunState::Failed || !built.insert(run.table_name.clone()) {
                doomed.push(run.run_id);
            }
        }
        let runs = if dry_run { doomed.len() as u64 } else { self.sink.forget(&doomed).await? };
        Ok(PrunedTable { table: "[models]".to_owned(), runs, ..PrunedTable::default() })
    }

    async fn prune_table(
        &self,
        table: &TableConfig,
        retention: &Retention,
        now: Timestamp,
        dry_run: bool,
        told: &mut PrunedTable,
    ) -> Result<()> {
        let lease = self.sink.lease(&table.name, false).await?;
        let filter = RunFilter { table: Some(table.name.clone()), ..RunFilter::default() };
        let records = self.sink.runs(&filter).await?.into_iter().map(|record| (record.run_id, record)).collect();
        let kept = Kept {
            exports: self.metas(table, Folder::Exports).await?,
            processed: self.metas(table, Folder::Processed).await?,
            aside: self.metas(table, Folder::SetAside).await?,
            records,
            state: lease.state().clone(),
            now,
        };
        let doomed = self.doomed(table, &kept, retention).await?;
        for key in &doomed.processed {
            if !dry_run {
                self.blobs.delete(key).await?;
            }
            self.tell(told, key, kept.processed.get(key));
        }
        for key in &doomed.exports {
            if !dry_run && let Some(manifest) = read_manifest(self.blobs.as_ref(), key).await? {
                // Verifies the copy in full before it deletes.
                archive(self.blobs.as_ref(), &self.layout, &manifest).await?;
            }
            for key in [key.clone(), key.manifest()] {
                self.tell(told, &key, kept.exports.get(&key));
            }
        }
        for key in &doomed.aside {
            if !dry_run {
                self.blobs.delete(key).await?;
            }
            self.tell(told, key, kept.aside.get(key));
        }
        told.runs = if dry_run { doomed.runs.len() as u64 } else { self.sink.forget(&doomed.runs).await? };
        lease.release().await
    }

    async fn metas(&self, table: &TableConfig, folder: Folder) -> Result<BTreeMap<BlobKey, BlobMeta>> {
        let prefix = self.layout.prefix(folder, &table.name);
        self.blobs.list(&prefix).map_ok(|meta| (meta.key.clone(), meta)).try_collect().await
    }

    fn tell(&self, told: &mut PrunedTable, key: &BlobKey, meta: Option<&BlobMeta>) {
        told.files.push(self.address(key));
        told.bytes += meta.map_or(0, |meta| meta.bytes);
    }

    async fn doomed(&self, table: &TableConfig, kept: &Kept, retention: &Retention) -> Result<Doomed> {
        let mut doomed = Doomed::default();
        let complete = kept.complete().count();
        if complete > 0 && !kept.records.values().any(|record| record.status == RunState::Loaded) {
            return Err(self.lost_log(table, complete));
        }
        if let Some(keep) = retention.processed {
            let old = kept.old_archives(keep, self.needed_from(kept).await?);
            doomed.processed = self.only_their_own(kept, old).await?;
        }
        if let Some(keep) = retention.set_aside {
            doomed.aside = kept.aside.keys().filter(|key| kept.age(key, &kept.aside) > keep).cloned().collect();
        }
        if let Some(keep) = retention.exports {
            for key in kept.exports.keys().filter(|key| key.is_csv() && kept.exports.contains_key(&key.manifest())) {
                let copy = self.layout.moved(key, Folder::Processed)?;
                let loaded = kept
                    .record(key)
                    .is_some_and(|record| record.status == RunState::Loaded && self.is_file_of(record, key));
                let copied = kept.processed.contains_key(&copy) && !doomed.processed.contains(&copy);
                if loaded && copied && kept.age(key, &kept.exports) > keep {
                    doomed.exports.push(key.clone());
                }
            }
        }
        if let Some(keep) = retention.runs {
            doomed.runs = kept.old_runs(keep);
        }
        Ok(doomed)
    }
}

impl Pipeline {
    /// The run from which on every CSV is kept: the newest one, or an older one if those after it are of backfills, which
    /// carry no watermark.
    async fn needed_from(&self, kept: &Kept) -> Result<Option<RunId>> {
        let mut kinds = Vec::new();
        for (run_id, key) in kept.complete_by_run().into_iter().rev() {
            let kind = match kept.records.get(&run_id) {
                Some(record) => record.kind,
                None => match read_manifest(self.blobs.as_ref(), key).await? {
                    Some(manifest) => manifest.kind,
                    None => continue,
                },
            };
            kinds.push((run_id, kind));
            // Older ones change nothing.
            if kind.moves_watermark() {
                break;
            }
        }
        Ok(chain::needed_from(kinds))
    }

    /// Leaves out the files of runs that the log has under another identity: a number may have been given twice, and the
    /// file may be of the life before.
    async fn only_their_own(&self, kept: &Kept, old: Vec<BlobKey>) -> Result<Vec<BlobKey>> {
        let csvs: BTreeMap<BlobKey, &BlobKey> =
            kept.processed.keys().filter(|key| key.is_csv()).map(|csv| (csv.manifest(), csv)).collect();
        let mut own = Vec::new();
        for key in old {
            let csv = csvs.get(&key).copied().unwrap_or(&key);
            if let Some(record) = kept.record(&key).filter(|record| !self.is_file_of(record, csv)) {
                let manifest = read_manifest(self.blobs.as_ref(), csv).await?;
                if manifest.is_some_and(|manifest| identity(record).differs(&(&manifest).into()).is_some()) {
                    continue;
                }
            }
            own.push(key);
        }
        Ok(own)
    }
}

impl Kept {
    /// CSV files in `processed/` with their manifests.
    fn complete(&self) -> impl Iterator<Item = &BlobKey> {
        self.processed.keys().filter(|key| key.is_csv() && self.processed.contains_key(&key.manifest()))
    }

    /// The same by run: names that a person gave are not among them.
    fn complete_by_run(&self) -> BTreeMap<RunId, &BlobKey> {
        self.complete().filter_map(|key| Some((key.csv_name()?.run_id, key))).collect()
    }

    /// The row of the run whose number stands in the name.
    fn record(&self, key: &BlobKey) -> Option<&RunRecord> {
        self.records.get(&key.csv_name()?.run_id)
    }

    /// How old a file is: by its run if the log knows it, otherwise by the store's clock.
    fn age(&self, key: &BlobKey, folder: &BTreeMap<BlobKey, BlobMeta>) -> Micros {
        let started = self.record(key).map(|record| record.run_started_at);
        let written = folder.get(key).map(|meta| meta.modified);
        started.or(written).map_or(Micros::ZERO, |at| self.now.since(at))
    }

    /// CSV files in `processed/` with their manifests that are older than `keep`, and manifests whose CSV is gone; never
    /// those from the run `needed` on, nor a CSV without a manifest, nor one whose run the log does not call loaded.
    ///
    /// In the order of the runs: a call that is cut off leaves what a shorter retention would leave.
    fn old_archives(&self, keep: Micros, needed: Option<RunId>) -> Vec<BlobKey> {
        let csvs: BTreeSet<BlobKey> = self.processed.keys().filter(|key| key.is_csv()).map(BlobKey::manifest).collect();
        let alone = self.processed.keys().filter(|key| key.is_manifest() && !csvs.contains(key));
        let rejected = |key: &BlobKey| Some(key.rejected()).filter(|rejected| self.processed.contains_key(rejected));
        let alone = alone.filter(|key| self.age(key, &self.processed) > keep);
        let mut old: Vec<BlobKey> = alone.flat_map(|key| rejected(key).into_iter().chain([key.clone()])).collect();
        let of_files = self.newest_of_files();
        for (run_id, key) in self.complete_by_run() {
            if Some(run_id) >= needed {
                break;
            }
            if of_files.contains(&run_id) {
                continue;
            }
            let loaded = self.records.get(&run_id).is_none_or(|record| record.status == RunState::Loaded);
            if loaded && self.age(key, &self.processed) > keep {
                // The rejected records first: without the other two, nobody would know of them.
                old.extend(rejected(key).into_iter().chain([key.clone(), key.manifest()]));
            }
        }
        old
    }

    /// The newest loaded run of each file: it says that the file is loaded, and its CSV holds the file's rows.
    fn newest_of_files(&self) -> BTreeSet<RunId> {
        let mut newest: BTreeMap<&str, RunId> = BTreeMap::new();
        let loaded = self.records.values().filter(|record| record.status == RunState::Loaded);
        for record in loaded.filter(|record| record.kind == RunKind::File) {
            if let Some(file) = &record.file {
                newest.insert(&file.path, record.run_id);
            }
        }
        newest.into_values().collect()
    }

    /// Final runs older than `keep`; never the newest loaded one, the one that set the watermark, one whose CSV is still
    /// in `exports/`, or the newest that wrote a CSV and the newest ordinary one of these, which the next manifest names. Of the loaded ones the oldest go first, so that those left tell of windows without a gap.
    fn old_runs(&self, keep: Micros) -> Vec<RunId> {
        let newest =
            self.records.values().rfind(|record| record.status == RunState::Loaded).map(|record| record.run_id);
        let wrote = |record: &&RunRecord| record.status == RunState::Loaded && named_by_us(record);
        let named = self.records.values().rfind(wrote).map(|record| record.run_id);
        let ordinary = |record: &&RunRecord| wrote(record) && record.kind.moves_watermark();
        let ordinary = self.records.values().rfind(ordinary).map(|record| record.run_id);
        let waiting: Vec<RunId> = self.exports.keys().filter_map(BlobKey::csv_name).map(|name| name.run_id).collect();
        let of_files = self.newest_of_files();
        let stays = |record: &RunRecord| {
            !record.status.is_final()
                || [newest, named, ordinary].contains(&Some(record.run_id))
                || Some(record.run_id) == self.state.last_run_id
                || waiting.contains(&record.run_id)
                || of_files.contains(&record.run_id)
                || self.now.since(record.run_started_at) <= keep
        };
        let loaded = |record: &&RunRecord| record.status == RunState::Loaded;
        let first_kept = self.records.values().filter(loaded).find(|record| stays(record)).map(|record| record.run_id);
        // Files follow each other in no order.
        let in_order = |record: &&RunRecord| {
            !loaded(record) || record.kind == RunKind::File || first_kept.is_none_or(|first| record.run_id < first)
        };
        self.records.values().filter(|record| !stays(record)).filter(in_order).map(|record| record.run_id).collect()
    }
}
