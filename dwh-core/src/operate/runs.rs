//! `runs`: the run log, and everything that is known of one run.

mod explain;
mod report;

use futures_util::TryStreamExt;

use crate::blob::{BlobKey, BlobMeta, Folder, Manifest, read_manifest};
use crate::chain::{self, Link};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{ErrorReport, Pipeline};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord};

pub use report::{CsvPlace, CsvReport, ManifestReport, NeighbourReport, RunDetails};

impl Pipeline {
    /// Rows of the run log, newest first.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing; `Unreachable`, `Auth`.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.sink.runs(filter).await
    }

    /// Everything that is known of one run: its row, what held its bound, where its CSV lies now, what the manifest
    /// says, and whether its window joins those of its neighbours.
    ///
    /// A blob store that does not answer stands in the report; the rest is told all the same.
    ///
    /// # Errors
    /// `NotFound` if the run log has no such run; `Contract` if the control schema is missing; `Unreachable`, `Auth`.
    pub async fn run_details(&self, run_id: RunId) -> Result<RunDetails> {
        let of_id = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        let run = self.sink.runs(&of_id).await?.pop().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("run {run_id} is not in the run log"))
                .with_hint("`dwh runs` lists the runs there are; `dwh prune` removes old ones")
        })?;
        let (previous, next) = self.neighbours(&run).await?;
        let joins_previous = self.joins(previous.as_ref(), &run).await?;
        let joins_next = match &next {
            Some(next) => self.joins(Some(&run), next).await?,
            None => None,
        };
        // A resync goes on until one is loaded, whatever ordinary runs do meanwhile.
        let later = match run.kind {
            RunKind::Resync => self.loaded(&run, &[run.kind], false).await?.is_some(),
            _ => next.is_some(),
        };
        let overview = self.sink.overview().await?;
        let (csv, manifest) = self.whereabouts(&run).await;
        Ok(RunDetails {
            seconds: run.run_finished_at.map(|at| at.since(run.run_started_at).as_seconds()),
            bound: run.bound.as_ref().map(|bound| explain::bound(bound, run.watermark)),
            advice: explain::advice(&run, &csv, later, &overview),
            previous: previous.map(|other| NeighbourReport::new(&other, joins_previous)),
            next: next.map(|other| NeighbourReport::new(&other, joins_next)),
            csv,
            manifest,
            run,
        })
    }

    /// The loaded runs of its kind before and after it; of one that moves the watermark, those that move it too, whatever
    /// they were made for: they are its neighbours in the chain of windows.
    async fn neighbours(&self, run: &RunRecord) -> Result<(Option<RunRecord>, Option<RunRecord>)> {
        let chained: Vec<RunKind> = RunKind::ALL.into_iter().filter(|kind| kind.moves_watermark()).collect();
        let kinds = if run.kind.moves_watermark() { chained } else { vec![run.kind] };
        Ok((self.loaded(run, &kinds, true).await?, self.loaded(run, &kinds, false).await?))
    }

    /// The loaded run of these kinds that comes next before it, or after it.
    async fn loaded(&self, run: &RunRecord, kinds: &[RunKind], before: bool) -> Result<Option<RunRecord>> {
        let mut found: Vec<RunRecord> = Vec::new();
        for kind in kinds {
            let of_kind = RunFilter {
                kind: Some(*kind),
                before: before.then_some(run.run_id),
                after: (!before).then_some(run.run_id),
                limit: Some(1),
                ..loaded_of(&run.table_name)
            };
            found.extend(self.sink.runs(&of_kind).await?);
        }
        found.sort_unstable_by_key(|other| other.run_id);
        Ok(if before { found.pop() } else { found.into_iter().next() })
    }

    /// Whether no time that no run has read lies between the windows of two ordinary runs; `None` where there are no windows.
    async fn joins(&self, earlier: Option<&RunRecord>, later: &RunRecord) -> Result<Option<bool>> {
        let is_loaded = |run: &&RunRecord| run.status == RunState::Loaded;
        let (Some(earlier), true) = (earlier.filter(is_loaded), is_loaded(&later)) else { return Ok(None) };
        let (earlier, link) = (Link::from(earlier), Link::from(later));
        let touch = chain::joins(&earlier, &link, &[]);
        if touch != Some(false) {
            return Ok(touch);
        }
        // What was read again since is in other runs.
        let log: Vec<Link> = self.sink.runs(&loaded_of(&later.table_name)).await?.iter().map(Link::from).collect();
        Ok(chain::joins(&earlier, &link, &log))
    }

    /// Where its CSV lies now, and its manifest.
    async fn whereabouts(&self, run: &RunRecord) -> (CsvReport, Option<ManifestReport>) {
        if run.csv_path.is_none() && run.status == RunState::Loaded {
            return (CsvReport::none(), None);
        }
        match self.look_for(run).await {
            Ok(found) => found,
            Err(error) => {
                let error = Some(ErrorReport::from(&error));
                (CsvReport { place: CsvPlace::Unknown, path: run.csv_path.clone(), error, ..CsvReport::none() }, None)
            }
        }
    }

    async fn look_for(&self, run: &RunRecord) -> Result<(CsvReport, Option<ManifestReport>)> {
        let compression = self.config.blob.compression;
        // The address of another store, or none: then it has the name that the run gives.
        let key = run
            .csv_path
            .as_deref()
            .and_then(|path| self.layout.resolve(self.blobs.url(), &run.table_name, path).ok())
            .unwrap_or_else(|| self.layout.csv(&run.table_name, run.run_id, run.run_started_at, compression));
        let exports = self.beside(&self.layout.moved(&key, Folder::Exports)?).await?;
        let processed = self.beside(&self.layout.moved(&key, Folder::Processed)?).await?;
        let aside = self.beside(&self.layout.moved(&key, Folder::SetAside)?).await?;
        let (place, files) = match (csv_of(&exports), csv_of(&processed)) {
            (Some(_), None) => (CsvPlace::Exports, &exports),
            (None, Some(_)) => (CsvPlace::Processed, &processed),
            (Some(_), Some(_)) => (CsvPlace::Both, &processed),
            (None, None) if csv_of(&aside).is_some() => (CsvPlace::SetAside, &aside),
            (None, None) if run.csv_path.is_none() => return Ok((CsvReport::none(), None)),
            (None, None) => (CsvPlace::Gone, &processed),
        };
        let file = csv_of(files);
        let mut csv = CsvReport {
            place,
            path: file.map_or_else(|| run.csv_path.clone(), |file| Some(self.address(&file.key))),
            stored_bytes: file.map(|file| file.bytes),
            modified: file.map(|file| file.modified),
            complete: file.is_some_and(|file| files.iter().any(|other| other.key == file.key.manifest())),
            error: None,
        };
        let mut manifest = None;
        if let Some(file) = file.filter(|_| csv.complete) {
            match read_manifest(self.blobs.as_ref(), &file.key).await {
                Ok(read) => manifest = read.map(|read| self.manifest_report(&file.key, read)),
                Err(error) => csv.error = Some((&error).into()),
            }
        }
        Ok((csv, manifest))
    }

    /// A CSV and its manifest, as far as they are there: one listing.
    async fn beside(&self, csv: &BlobKey) -> Result<Vec<BlobMeta>> {
        let manifest = csv.manifest();
        let stem = manifest.as_str().trim_end_matches("manifest.json");
        self.blobs.list(stem).try_collect().await
    }

    fn manifest_report(&self, csv: &BlobKey, manifest: Manifest) -> ManifestReport {
        ManifestReport {
            path: self.address(&csv.manifest()),
            columns: manifest.columns.len(),
            key: manifest.key,
            rows: manifest.rows,
            compression: manifest.stored.map(|form| form.compression).unwrap_or_default(),
            previous_run_id: manifest.previous_run_id,
            snapshot: manifest.snapshot,
        }
    }
}

fn csv_of(files: &[BlobMeta]) -> Option<&BlobMeta> {
    files.iter().find(|meta| meta.key.is_csv())
}

fn loaded_of(table: &str) -> RunFilter {
    RunFilter { table: Some(table.to_owned()), states: vec![RunState::Loaded], ..RunFilter::default() }
}
