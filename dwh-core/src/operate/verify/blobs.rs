//! The files of a table in `processed/`: read whole and compared with their manifests, the run log, and one another.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::blob::transform::{decode, verified};
use crate::blob::{BlobKey, Folder, Manifest, read_manifest};
use crate::chain::{self, Link};
use crate::config::{Compression, Mode, TableConfig};
use crate::dialect::Tally;
use crate::error::{ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::links::{identity, named_by_us};
use crate::run::{RunId, RunState};
use crate::sink::{RunFilter, RunRecord};

/// What the files in `processed/` are like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct BlobsReport {
    /// Files with a manifest.
    pub files: u64,
    /// Their bytes, as stored.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// CSV files without a manifest that people made: nothing vouches for them.
    pub by_hand: u64,
    /// Problems in all.
    pub problems_total: u64,
    /// The first of them, as many as were asked for.
    pub problems: Vec<String>,
    #[serde(skip)]
    limit: usize,
}

impl BlobsReport {
    fn problem(&mut self, text: String) {
        self.problems_total += 1;
        if self.problems.len() < self.limit {
            self.problems.push(text);
        }
    }
}

impl Pipeline {
    /// Reads every file of a table in `processed/`.
    pub(super) async fn verify_blobs(&self, table: &TableConfig, limit: usize) -> Result<BlobsReport> {
        let mut report = BlobsReport { limit, ..BlobsReport::default() };
        let filter =
            RunFilter { table: Some(table.name.clone()), states: vec![RunState::Loaded], ..RunFilter::default() };
        let log: BTreeMap<RunId, RunRecord> =
            self.sink.runs(&filter).await?.into_iter().map(|run| (run.run_id, run)).collect();
        let prefix = self.layout.prefix(Folder::Processed, &table.name);
        let keys: Vec<BlobKey> = self.blobs.list(&prefix).map_ok(|meta| meta.key).try_collect().await?;
        let mut manifests = BTreeMap::new();
        for csv in keys.iter().filter(|key| key.is_csv()) {
            match read_manifest(self.blobs.as_ref(), csv).await {
                Ok(Some(manifest)) => drop(manifests.insert(manifest.run_id, manifest)),
                Ok(None) if log.values().any(|run| named_by_us(run) && self.is_file_of(run, csv)) => {
                    report.problem(format!("`{csv}` has lost its manifest"));
                }
                Ok(None) => report.by_hand += 1,
                Err(error) if error.kind() == ErrorKind::Data => report.problem(error.chain()),
                Err(error) => return Err(error),
            }
        }
        // Retention takes the CSV first, and the oldest run first: a call that was cut off leaves one manifest.
        let oldest = manifests.keys().next().copied();
        let pruned = |key: &BlobKey| key.csv_name().is_some_and(|name| Some(name.run_id) < oldest);
        let beside: BTreeSet<BlobKey> = keys.iter().filter(|key| key.is_csv()).map(BlobKey::manifest).collect();
        for key in keys.iter().filter(|key| key.is_manifest() && !pruned(key)) {
            if !beside.contains(key) {
                report.problem(format!("`{key}` has lost its CSV"));
            }
        }
        for manifest in manifests.values() {
            self.read_file(manifest, &mut report).await?;
            compare_with_log(manifest, log.get(&manifest.run_id), &mut report);
        }
        missing_files(&manifests, &log, &mut report);
        if table.mode == Mode::Incremental {
            gaps(&manifests, &log, &mut report);
        }
        Ok(report)
    }

    /// Bytes and hash as stored and unpacked, and the rows.
    async fn read_file(&self, manifest: &Manifest, report: &mut BlobsReport) -> Result<()> {
        let csv = self.layout.moved(&manifest.csv, Folder::Processed)?;
        let (bytes, sha256) = manifest.stored_form();
        let mut tally = Tally::default();
        let read = async {
            let blob = self.blobs.get(&csv).await?;
            let stored = verified(blob.body, csv.to_string(), bytes, sha256.to_owned());
            let how = manifest.stored.as_ref().map_or(Compression::None, |form| form.compression);
            let mut plain = decode(stored, how);
            while let Some(piece) = plain.try_next().await? {
                tally.push(&piece);
            }
            Ok::<_, crate::Error>(())
        };
        match read.await {
            Ok(()) => {
                let totals = tally.totals();
                if (totals.rows, totals.bytes, &totals.sha256) != (manifest.rows, manifest.bytes, &manifest.sha256) {
                    report.problem(format!(
                        "`{csv}` has {} rows in {} bytes, its manifest promises {} in {}",
                        totals.rows, totals.bytes, manifest.rows, manifest.bytes
                    ));
                }
                report.files += 1;
                report.bytes += bytes;
                report.rows += totals.rows;
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Data) => {
                report.problem(error.chain())
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Runs that wrote a file which is not there. Those older than every file there is were pruned.
fn missing_files(manifests: &BTreeMap<RunId, Manifest>, log: &BTreeMap<RunId, RunRecord>, report: &mut BlobsReport) {
    let there: BTreeSet<RunId> = manifests.keys().copied().collect();
    let links: Vec<Link> = log.values().filter(|run| named_by_us(run)).map(Link::from).collect();
    for run_id in chain::missing(&links, &there, |_| true) {
        let name = log.get(&run_id).and_then(|run| run.csv_path.as_deref()?.rsplit('/').next());
        report.problem(format!(
            "run {run_id}: `{}` is not in `processed/`, or has no manifest",
            name.unwrap_or_default()
        ));
    }
}

fn compare_with_log(manifest: &Manifest, run: Option<&RunRecord>, report: &mut BlobsReport) {
    // Rows of the run log may be dropped after some time.
    let Some(run) = run else { return };
    let rows = run.rows_extracted.and_then(|rows| u64::try_from(rows).ok());
    if rows.is_some_and(|rows| rows != manifest.rows) {
        let rows = rows.unwrap_or_default();
        report.problem(format!("run {}: the run log has {rows} rows, the manifest {}", run.run_id, manifest.rows));
    }
    if let Some(what) = identity(run).differs(&manifest.into()) {
        report.problem(format!("run {}: the run log has another {what} than the manifest", run.run_id));
    }
}

/// Stretches of time that no run read, from the oldest file on: what is older was pruned. Runs that found nothing wrote
/// no file; the run log has their windows.
fn gaps(manifests: &BTreeMap<RunId, Manifest>, log: &BTreeMap<RunId, RunRecord>, report: &mut BlobsReport) {
    let Some(oldest) = manifests.values().find(|manifest| manifest.kind.moves_watermark()) else { return };
    let empty = log.values().filter(|run| run.run_id > oldest.run_id && run.csv_path.is_none()).map(Link::from);
    let links: Vec<Link> = manifests.values().map(Link::from).chain(empty).collect();
    for gap in chain::gaps(&links) {
        report.problem(format!("no file and no run covers the time from {} to {}", gap.from, gap.to));
    }
}
