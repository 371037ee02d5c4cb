//! The files of a table in `processed/`: read whole and compared with their manifests, the run log, and one another.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::blob::transform::{decode, verified};
use crate::blob::{BlobKey, Folder, Manifest, read_manifest, read_manifest_at};
use crate::chain::{self, Link, Reads, is_superseded};
use crate::config::{Compression, Mode, TableConfig};
use crate::dialect::Tally;
use crate::error::{ErrorKind, Result};
use crate::operate::shell::quoted;
use crate::pipeline::archived::window_mended_by;
use crate::pipeline::describe::finite;
use crate::pipeline::files::Versions;
use crate::pipeline::links::{identity, named_by_us};
use crate::pipeline::{Pipeline, WindowReport};
use crate::run::{RunId, RunKind, RunState};
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
    /// A file that is not there, unless newer ones hold what it held.
    fn lost(&mut self, mend: &Mend<'_>, wrong: String, csv: &Link) {
        if !is_superseded(csv, mend.sound) {
            self.problem(format!("{wrong}: {FROM_A_BACKUP}, or {}", mend.read_again(csv)));
        }
    }

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
        let (mut manifests, mut bare) = (BTreeMap::new(), Vec::new());
        let (mut damaged, mut unread) = (Vec::new(), BTreeSet::new());
        for csv in keys.iter().filter(|key| key.is_csv()) {
            match read_manifest(self.blobs.as_ref(), csv).await {
                Ok(Some(manifest)) => drop(manifests.insert(manifest.run_id, manifest)),
                Ok(None) => match log.values().find(|run| named_by_us(run) && self.is_file_of(run, csv)) {
                    Some(run) => bare.push((csv, run)),
                    None => report.by_hand += 1,
                },
                Err(error) if error.kind() == ErrorKind::Data => {
                    let run = log.values().find(|run| self.is_file_of(run, csv)).map(Link::from);
                    damaged.push((error.chain(), csv.clone(), run));
                }
                Err(error) => return Err(error),
            }
        }
        for manifest in manifests.values() {
            let wrong = self.read_file(manifest, &mut report).await?;
            let wrong = wrong.or_else(|| compare_with_log(manifest, log.get(&manifest.run_id)));
            if let Some(wrong) = wrong {
                unread.insert(manifest.run_id);
                let csv = self.layout.moved(&manifest.csv, Folder::Processed)?;
                damaged.push((wrong, csv, Some(manifest.into())));
            }
        }
        let mut sound: Vec<Link> =
            manifests.values().filter(|manifest| !unread.contains(&manifest.run_id)).map(Link::from).collect();
        // What a run has read and found nothing of, as the last window of a reseed may, was read again too.
        let empty = log.values().filter(|run| run.csv_path.is_none()).map(Link::from);
        sound.extend(empty.filter(|link| matches!(link.reads, Reads::Window(_))));
        let mend = Mend { table, store: self.blobs.url(), sound: &sound };
        damaged.iter().for_each(|(wrong, csv, link)| report.problem(mend.damaged(wrong, csv, link.as_ref())));
        for (csv, run) in bare {
            report.lost(&mend, format!("`{csv}` has lost its manifest"), &run.into());
        }
        let versions = Versions::of(log.values());
        self.manifests_alone(&keys, &manifests, &versions, &mend, &mut report).await?;
        missing_files(&manifests, &log, &versions, &mend, &mut report);
        if table.mode == Mode::Incremental {
            gaps(&manifests, &log, &mend, &mut report);
        }
        Ok(report)
    }

    /// Manifests without their CSV.
    async fn manifests_alone(
        &self,
        keys: &[BlobKey],
        manifests: &BTreeMap<RunId, Manifest>,
        versions: &Versions,
        mend: &Mend<'_>,
        report: &mut BlobsReport,
    ) -> Result<()> {
        // Retention takes the CSV first, and the oldest run first, of files all versions but the newest: a call that was cut
        // off leaves one manifest.
        let oldest = manifests.keys().next().copied();
        let is_old =
            |run: RunId| versions.older.contains(&run) || (Some(run) < oldest && !versions.newest.contains(&run));
        let pruned = |key: &BlobKey| key.csv_name().is_some_and(|name| is_old(name.run_id));
        let beside: BTreeSet<BlobKey> = keys.iter().filter(|key| key.is_csv()).map(BlobKey::manifest).collect();
        for key in keys.iter().filter(|key| key.is_manifest() && !pruned(key) && !beside.contains(key)) {
            match read_manifest_at(self.blobs.as_ref(), key).await {
                Ok(Some(manifest)) => report.lost(mend, format!("`{key}` has lost its CSV"), &Link::from(&manifest)),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Data => {
                    report.problem(format!("{}, and has lost its CSV: {FROM_A_BACKUP}", error.chain()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Bytes and hash as stored and unpacked, and the rows; returns what is wrong with them.
    async fn read_file(&self, manifest: &Manifest, report: &mut BlobsReport) -> Result<Option<String>> {
        let csv = self.layout.moved(&manifest.csv, Folder::Processed)?;
        let (bytes, sha256) = manifest.stored_form();
        let mut tally = Tally::default();
        let read = async {
            let blob = self.blobs.get(&csv).await?;
            let stored = verified(blob.body, csv.to_string(), bytes, sha256.to_owned());
            let how = manifest.stored.as_ref().map_or(Compression::None, |form| form.compression);
            let mut plain = decode(stored, how, csv.to_string());
            while let Some(piece) = plain.try_next().await? {
                tally.push(&piece);
            }
            Ok::<_, crate::Error>(())
        };
        match read.await {
            Ok(()) => {
                let totals = tally.totals();
                report.files += 1;
                report.bytes += bytes;
                report.rows += totals.rows;
                if (totals.rows, totals.bytes, &totals.sha256) != (manifest.rows, manifest.bytes, &manifest.sha256) {
                    return Ok(Some(format!(
                        "`{csv}` has {} rows in {} bytes, its manifest promises {} in {}",
                        totals.rows, totals.bytes, manifest.rows, manifest.bytes
                    )));
                }
                Ok(None)
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Data) => Ok(Some(error.chain())),
            Err(error) => Err(error),
        }
    }
}

/// What is said where no command helps.
const FROM_A_BACKUP: &str = "put it back from a backup of the store";

/// How what is wrong with the files of a table is mended.
struct Mend<'a> {
    table: &'a TableConfig,
    /// The address of the store.
    store: &'a str,
    /// The files that are as they should be.
    sound: &'a [Link],
}

impl Mend<'_> {
    /// What brings back the rows that a CSV held: into a newer one, from the source.
    fn read_again(&self, csv: &Link) -> String {
        // Late rows lie below the window.
        let spans = csv.named().span.zip(csv.span());
        let window = spans.map(|(all, own)| WindowReport { from: finite(all.low), to: finite(own.end) });
        match csv.reads {
            Reads::Copy => format!("{FROM_A_BACKUP}: a copy of that day is not at the source any more"),
            Reads::Keys => format!("`dwh deletes {}` reads the keys again", quoted(&self.table.name)),
            Reads::Whole => format!("`dwh run {}` reads the table again", quoted(&self.table.name)),
            Reads::Window(_) | Reads::Unknown => window_mended_by(&self.table.name, window),
        }
    }

    /// A file that a rebuild would stop at has to go first.
    fn damaged(&self, wrong: &str, csv: &BlobKey, link: Option<&Link>) -> String {
        let again = match link {
            Some(link) if is_superseded(link, self.sound) => "newer files hold its rows".to_owned(),
            Some(link) => format!("then {}", self.read_again(link)),
            None => "`dwh recover` tells what it is".to_owned(),
        };
        format!("{wrong}: {FROM_A_BACKUP}, or `{}`; {again}", self.take_away(csv))
    }

    /// The shell's command; what was taken away is no CSV any more, and nothing is lost.
    fn take_away(&self, csv: &BlobKey) -> String {
        let moved = |address: &str| format!("{} {}", quoted(address), quoted(&format!("{address}.damaged")));
        match self.store.strip_prefix("file://") {
            Some(folder) => format!("mv {}", moved(&format!("{folder}/{csv}"))),
            None => format!("aws s3 mv {}", moved(&format!("{}/{csv}", self.store))),
        }
    }
}

/// Runs that wrote a file which is not there. Those older than every file there is were pruned, and versions of raw files that
/// were replaced since.
fn missing_files(
    manifests: &BTreeMap<RunId, Manifest>,
    log: &BTreeMap<RunId, RunRecord>,
    versions: &Versions,
    mend: &Mend<'_>,
    report: &mut BlobsReport,
) {
    let there: BTreeSet<RunId> = manifests.keys().copied().collect();
    let wrote = log.values().filter(|run| named_by_us(run) && !versions.older.contains(&run.run_id));
    let links: Vec<Link> = wrote.map(Link::from).collect();
    for run_id in chain::missing(&links, &there, |link| !versions.newest.contains(&link.run_id())) {
        let Some(run) = log.get(&run_id) else { continue };
        let name = run.csv_path.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        report.lost(mend, format!("run {run_id}: `{name}` is not in `processed/`, or has no manifest"), &run.into());
    }
}

/// How a manifest differs from the run log. Rows of the run log may be dropped after some time.
fn compare_with_log(manifest: &Manifest, run: Option<&RunRecord>) -> Option<String> {
    let run = run?;
    let rows = run.rows_extracted.and_then(|rows| u64::try_from(rows).ok());
    // The rows of a resync are those of its chunks.
    if let Some(rows) = rows.filter(|rows| *rows != manifest.rows && manifest.kind != RunKind::Resync) {
        return Some(format!("run {}: the run log has {rows} rows, the manifest {}", run.run_id, manifest.rows));
    }
    let what = identity(run).differs(&manifest.into())?;
    Some(format!("run {}: the run log has another {what} than the manifest", run.run_id))
}

/// Stretches of time that no run read, from the oldest file on: what is older was pruned. Runs that found nothing wrote
/// no file; the run log has their windows.
fn gaps(
    manifests: &BTreeMap<RunId, Manifest>,
    log: &BTreeMap<RunId, RunRecord>,
    mend: &Mend<'_>,
    report: &mut BlobsReport,
) {
    let Some(oldest) = manifests.values().find(|manifest| manifest.kind.moves_watermark()) else { return };
    let empty = log.values().filter(|run| run.run_id > oldest.run_id && run.csv_path.is_none()).map(Link::from);
    let links: Vec<Link> = manifests.values().map(Link::from).chain(empty).collect();
    for gap in chain::gaps(&links) {
        let window = WindowReport { from: finite(gap.from), to: finite(gap.to) };
        report.problem(format!(
            "no file and no run covers the time from {} to {}: {}",
            gap.from,
            gap.to,
            window_mended_by(&mend.table.name, Some(window))
        ));
    }
}
