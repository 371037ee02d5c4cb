//! Reads what `find` judges.

use futures_util::TryStreamExt;
use std::collections::BTreeSet;

use super::find::{Bare, Scene, Whole};
use crate::blob::{BlobKey, Folder, Manifest, read_manifest, read_manifest_at, verify::Fingerprint};
use crate::config::{Compression, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::run::{RunId, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};

impl Pipeline {
    /// What lies in `exports/`, with the rows of the run log that it needs.
    pub(super) async fn look(&self, table: &TableConfig) -> Result<Scene> {
        let mut scene = self.exports(table).await?;
        let states = vec![RunState::Extracting, RunState::Uploaded, RunState::Loading];
        let filter = RunFilter { table: Some(table.name.clone()), states, ..RunFilter::default() };
        let open = self.sink.runs(&filter).await?;
        scene.records = open.into_iter().map(|record| (record.run_id, record)).collect();
        let named: BTreeSet<RunId> =
            scene.complete.keys().copied().chain(scene.bare.iter().filter_map(|bare| bare.run_id)).collect();
        for run_id in named {
            if !scene.records.contains_key(&run_id)
                && let Some(record) = self.record_of(table, run_id).await?
            {
                scene.records.insert(run_id, record);
            }
        }
        self.know_names(table, &mut scene);
        self.know_asides(table, &mut scene).await?;
        Ok(scene)
    }

    /// Everything that can be known of the table.
    pub(super) async fn look_at_all(&self, table: &TableConfig, state: &TableState) -> Result<Scene> {
        let mut scene = self.exports(table).await?;
        let filter = RunFilter { table: Some(table.name.clone()), ..RunFilter::default() };
        scene.records = self.sink.runs(&filter).await?.into_iter().map(|record| (record.run_id, record)).collect();
        self.know_names(table, &mut scene);
        self.know_asides(table, &mut scene).await?;
        let archived = self.keys(table, Folder::Processed).await?;
        for (run_id, manifest) in &scene.complete {
            let copy = self.layout.moved(&manifest.csv, Folder::Processed)?;
            if archived.contains(&copy) {
                scene.copies.insert(*run_id, self.is_copy(manifest, &copy).await?);
            }
        }
        let csvs = || archived.iter().filter(|key| key.is_csv());
        let processed: BTreeSet<RunId> = csvs().filter_map(run_id_of).collect();
        let names = csvs().map(|key| key.file_name().to_owned()).collect();
        let mut ahead = None;
        if let Some(highest) = processed.last().filter(|highest| !scene.records.contains_key(highest))
            && self.sink.number_above(*highest, true).await?
        {
            ahead = Some(*highest);
        }
        scene.whole = Some(Whole { processed, names, ahead, state: state.clone(), mode: table.mode });
        Ok(scene)
    }

    async fn exports(&self, table: &TableConfig) -> Result<Scene> {
        let keys = self.keys(table, Folder::Exports).await?;
        let mut scene = Scene::default();
        for key in keys.iter().filter(|key| key.is_csv()) {
            let manifest = match keys.contains(&key.manifest()) {
                true => read_manifest(self.blobs.as_ref(), key).await.map_err(|error| unreadable(error, key))?,
                false => None,
            };
            match manifest {
                Some(manifest) => drop(scene.complete.insert(manifest.run_id, manifest)),
                None => scene.bare.push(Bare { key: key.clone(), run_id: run_id_of(key), named_by_us: false }),
            }
        }
        // The CSV of an interrupted move may be gone while its manifest is still here.
        for key in keys.iter().filter(|key| key.is_manifest()) {
            if !keys.iter().any(|csv| csv.is_csv() && csv.manifest() == *key)
                && let Some(manifest) = read_manifest_at(self.blobs.as_ref(), key).await?
            {
                scene.manifest_only.insert(manifest.run_id);
                scene.complete.insert(manifest.run_id, manifest);
            }
        }
        Ok(scene)
    }

    /// The keys of a table in a folder.
    pub(crate) async fn keys(&self, table: &TableConfig, folder: Folder) -> Result<BTreeSet<BlobKey>> {
        self.blobs.list(&self.layout.prefix(folder, &table.name)).map_ok(|meta| meta.key).try_collect().await
    }

    /// The row of a run of this table.
    pub(crate) async fn record_of(&self, table: &TableConfig, run_id: RunId) -> Result<Option<RunRecord>> {
        let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        Ok(self.sink.runs(&filter).await?.pop().filter(|record| record.table_name == table.name))
    }

    /// Finds out which CSV files without a manifest have the name that their run gives.
    fn know_names(&self, table: &TableConfig, scene: &mut Scene) {
        for bare in &mut scene.bare {
            let record = bare.run_id.and_then(|run_id| scene.records.get(&run_id));
            bare.named_by_us = record.is_some_and(|record| self.names_of(table, record).contains(&bare.key));
        }
    }

    /// The names that the CSV of a run may have: the compression may have been another one then.
    pub(super) fn names_of(&self, table: &TableConfig, record: &RunRecord) -> [BlobKey; 3] {
        let name = |how: Compression| self.layout.csv(&table.name, record.run_id, record.run_started_at, how);
        [Compression::None, Compression::Gzip, Compression::Zstd].map(name)
    }

    /// Finds out which runs a person set aside without coming to the end of it.
    async fn know_asides(&self, table: &TableConfig, scene: &mut Scene) -> Result<()> {
        let mut begun = Vec::new();
        for (run_id, manifest) in &scene.complete {
            let aside = self.layout.moved(&manifest.csv, Folder::SetAside)?;
            let record = scene.records.get(run_id).filter(|record| record.status == RunState::Failed);
            if record.is_some_and(|record| record.csv_path.as_ref() == Some(&self.address(&aside))) {
                begun.push((*run_id, aside));
            }
        }
        if !begun.is_empty() {
            let copies = self.keys(table, Folder::SetAside).await?;
            scene.aside =
                begun.into_iter().filter(|(_, aside)| copies.contains(aside)).map(|(run_id, _)| run_id).collect();
        }
        Ok(())
    }

    /// Whether the file holds what the manifest says.
    async fn is_copy(&self, manifest: &Manifest, key: &BlobKey) -> Result<bool> {
        let there = match Fingerprint::of_blob(self.blobs.as_ref(), key).await {
            // It ends early, or its length is not the announced one.
            Err(error) if error.kind() == ErrorKind::Data => return Ok(false),
            other => other?,
        };
        Ok((there.bytes, there.sha256.as_str()) == manifest.stored_form())
    }
}

/// A manifest in `exports/` that cannot be read keeps its table waiting: with the way out of it.
fn unreadable(error: Error, csv: &BlobKey) -> Error {
    if error.kind() != ErrorKind::Data {
        return error;
    }
    let hint =
        format!("restore it, or take it out of the way with `dwh recover --set-aside {csv}`: its rows are read again");
    error.with_hint(hint)
}

/// The run id at the end of a CSV's name, or of its manifest's.
pub(crate) fn run_id_of(key: &BlobKey) -> Option<RunId> {
    let stem = key.file_name().split(".csv").next()?.trim_end_matches(".manifest.json");
    stem.rsplit('_').next()?.parse().ok().map(RunId)
}
