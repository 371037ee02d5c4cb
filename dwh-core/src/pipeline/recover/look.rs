//! Reads what `find` judges.

use futures_util::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};

use super::scene::{Bare, Foreign, Scene, Whole};
use crate::blob::{BlobKey, Folder, Manifest, read_manifest, read_manifest_at, verify::Fingerprint};
use crate::chain::{self, Link, Lost, Reads, serves};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::archived::loaded_once;
use crate::pipeline::links::reads_today;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};

impl Pipeline {
    /// What lies in `exports/`, with the rows of the run log that it needs.
    pub(super) async fn look(&self, table: &TableConfig, state: &TableState, settled: Option<RunId>) -> Result<Scene> {
        let newest = self.round.as_ref().and_then(|round| round.exports.get()).map(|exports| exports.newest);
        let unsettled = match settled.filter(|settled| newest.is_none_or(|newest| *settled <= newest)) {
            Some(_) => Vec::new(),
            None => self.sink.unsettled(&table.name, newest).await?,
        };
        let keys = match self.lay_in_exports(table, &unsettled) {
            Some(keys) => keys,
            None => self.keys(table, Folder::Exports).await?,
        };
        let (mut scene, bare) = self.exports(table, keys).await?;
        scene.records = unsettled.into_iter().map(|record| (record.run_id, record)).collect();
        let in_names = bare.iter().filter_map(run_named);
        let named: BTreeSet<RunId> = scene.complete.iter().map(|manifest| manifest.run_id).chain(in_names).collect();
        self.know_runs(table, named, &mut scene).await?;
        self.know_the_rest(table, state, bare, &mut scene).await?;
        // A move whose last step is left to do, of a run that the log has forgotten.
        let alone =
            |manifest: &&Manifest| scene.manifest_only.contains(&manifest.csv) && scene.record_of(manifest).is_none();
        for csv in scene.complete.iter().filter(alone).cloned().collect::<Vec<_>>() {
            match self.is_copy(&csv, &self.layout.moved(&csv.csv, Folder::Processed)?).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copy => drop(scene.copies.insert(csv.csv, copy?)),
            }
        }
        Ok(scene)
    }

    /// Everything that can be known of the table.
    pub(super) async fn look_at_all(&self, table: &TableConfig, state: &TableState) -> Result<Scene> {
        let (mut scene, bare) = self.exports(table, self.keys(table, Folder::Exports).await?).await?;
        let filter = RunFilter { table: Some(table.name.clone()), ..RunFilter::default() };
        scene.records = self.sink.runs(&filter).await?.into_iter().map(|record| (record.run_id, record)).collect();
        let named: BTreeSet<RunId> = scene.complete.iter().map(|manifest| manifest.run_id).collect();
        self.know_runs(table, named, &mut scene).await?;
        self.know_the_rest(table, state, bare, &mut scene).await?;
        let archived = self.keys(table, Folder::Processed).await?;
        for manifest in &scene.complete {
            let copy = self.layout.moved(&manifest.csv, Folder::Processed)?;
            if archived.contains(&copy) {
                scene.copies.insert(manifest.csv.clone(), self.is_copy(manifest, &copy).await?);
            }
        }
        let names: BTreeSet<&str> = archived.iter().filter(|key| key.is_csv()).map(BlobKey::file_name).collect();
        let there = scene.records.values().filter(|record| self.has_file(record, &names)).map(|record| record.run_id);
        let there = there.collect();
        // The manifest is what makes a CSV one of ours.
        let complete = |key: &&BlobKey| key.is_csv() && archived.contains(&key.manifest());
        let numbers = archived.iter().filter(complete).filter_map(|key| key.csv_name().map(|name| name.run_id));
        let ahead = self.files_ahead(&scene, numbers.max()).await?;
        let copies = self.lost_copies(table, &scene, archived.iter().filter(complete)).await?;
        let versions = self.lost_versions(table, &scene, archived.iter().filter(complete)).await?;
        self.know_windows(&mut scene, archived.iter().filter(complete)).await?;
        let lost = self.lost_for_good(table, &scene, &archived).await?;
        scene.whole = Some(Whole { there, ahead, copies, versions, lost, state: state.clone(), mode: table.mode });
        Ok(scene)
    }

    /// Runs whose manifest is in `processed/` without its CSV, and that the log does not call loaded: the target was
    /// restored, or its log began anew.
    async fn lost_for_good(
        &self,
        table: &TableConfig,
        scene: &Scene,
        archived: &BTreeSet<BlobKey>,
    ) -> Result<Vec<(Lost, BlobKey)>> {
        let bereft = self.bereft(archived).await?;
        let known = |manifest: &Manifest| scene.record_of(manifest).is_some_and(|r| r.status == RunState::Loaded);
        let waits = |manifest: &Manifest| scene.complete.iter().any(|other| other.csv == manifest.csv);
        let gone: Vec<Manifest> = bereft.into_iter().filter(|one| !known(one) && !waits(one)).collect();
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let loaded = scene.records.values().filter(|record| record.status == RunState::Loaded);
        let loaded: Vec<Link> = loaded.map(Link::from).collect();
        let links: Vec<Link> = loaded_once(table, &gone).collect();
        let taken = self.taken().await;
        let lost = chain::lost(&loaded, &links).into_iter().filter(|lost| !taken(lost));
        let named = lost.map(|lost| {
            let wrote = |manifest: &&Manifest| lost.csv.run.differs(&(*manifest).into()).is_none();
            let manifest = gone.iter().find(wrote).map(|manifest| manifest.csv.manifest());
            let key = manifest.map(|key| self.layout.moved(&key, Folder::Processed)).transpose()?;
            Ok(key.map(|key| (lost, key)))
        });
        named.filter_map(Result::transpose).collect()
    }

    /// The highest number in `processed/`, if the log has not come so far: it began anew, or the next run that begins
    /// would get this number or a lower one.
    async fn files_ahead(&self, scene: &Scene, highest: Option<RunId>) -> Result<Option<RunId>> {
        let Some(highest) = highest.filter(|highest| !scene.records.contains_key(highest)) else { return Ok(None) };
        let anew = !scene.records.values().any(|record| record.status == RunState::Loaded);
        Ok((anew || self.sink.number_above(highest, true).await?).then_some(highest))
    }

    /// The complete CSV files, and those without a manifest.
    async fn exports(&self, table: &TableConfig, keys: BTreeSet<BlobKey>) -> Result<(Scene, Vec<BlobKey>)> {
        let (mut scene, mut bare) = (Scene::default(), Vec::new());
        for key in keys.iter().filter(|key| key.is_csv()) {
            let manifest = match keys.contains(&key.manifest()) {
                true => read_manifest(self.blobs.as_ref(), key).await.map_err(|error| unreadable(error, key))?,
                false => None,
            };
            match manifest {
                Some(manifest) => scene.complete.push(manifest),
                None => bare.push(key.clone()),
            }
        }
        // Rejected records are kept after their CSV and before its manifest; they go with the CSV.
        let rejected = |key: &&BlobKey| key.csv_name_of_rejected().is_some();
        if keys.iter().any(|key| rejected(&key)) {
            let kept: BTreeSet<BlobKey> = keys.iter().filter(|key| !rejected(key)).map(BlobKey::rejected).collect();
            bare.extend(keys.iter().filter(rejected).filter(|key| !kept.contains(key)).cloned());
        }
        // The CSV of an interrupted move may be gone while its manifest is still here.
        let beside: BTreeSet<BlobKey> = keys.iter().filter(|key| key.is_csv()).map(BlobKey::manifest).collect();
        for key in keys.iter().filter(|key| key.is_manifest() && !beside.contains(key)) {
            match read_manifest_at(self.blobs.as_ref(), key).await {
                Ok(Some(manifest)) if manifest.table == table.name => {
                    scene.manifest_only.insert(manifest.csv.clone());
                    scene.complete.push(manifest);
                }
                Ok(Some(manifest)) => {
                    let why = format!("it tells of table `{}`", manifest.table);
                    scene.foreign.push(Foreign { key: key.clone(), why });
                }
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Data => {
                    scene.foreign.push(Foreign { key: key.clone(), why: error.chain() });
                }
                Err(error) => return Err(error),
            }
        }
        scene.complete.sort_by_key(|manifest| (manifest.run_id, manifest.run_started_at));
        Ok((scene, bare))
    }

    /// Asks for the rows of these runs that are not known yet; a number may be another table's.
    async fn know_runs(&self, table: &TableConfig, runs: BTreeSet<RunId>, scene: &mut Scene) -> Result<()> {
        for run_id in runs {
            if scene.records.contains_key(&run_id) {
                continue;
            }
            match self.run_of(run_id).await? {
                Some(record) if record.table_name == table.name => drop(scene.records.insert(run_id, record)),
                Some(_) => drop(scene.taken.insert(run_id)),
                None => {}
            }
        }
        Ok(())
    }

    async fn know_the_rest(
        &self,
        table: &TableConfig,
        state: &TableState,
        bare: Vec<BlobKey>,
        scene: &mut Scene,
    ) -> Result<()> {
        for key in bare {
            let run_id = run_named(&key);
            let record = run_id.and_then(|run_id| scene.records.get(&run_id));
            let is_named = |name: &BlobKey| *name == key || name.rejected() == key;
            let named_by_us = record.is_some_and(|record| self.names_of(record).iter().any(is_named));
            scene.bare.push(Bare { key, run_id: run_id.filter(|_| named_by_us) });
        }
        let lost = scene.complete.iter().filter(|manifest| {
            let known = scene.records.contains_key(&manifest.run_id) || scene.taken.contains(&manifest.run_id);
            !known && !scene.manifest_only.contains(&manifest.csv) && self.is_ours(table, state, manifest)
        });
        scene.lost = lost.map(|manifest| manifest.csv.clone()).collect();
        self.know_asides(table, scene).await
    }

    /// Whether a CSV that the log does not know can only be one that it has lost: newer than all that is loaded, and read
    /// from the same source.
    fn is_ours(&self, table: &TableConfig, state: &TableState, manifest: &Manifest) -> bool {
        let source = manifest.snapshot.as_ref().map(|snapshot| &snapshot.identity.system_identifier);
        let reads = Link::from(manifest).reads;
        state.last_run_id.is_some()
            && state.newest_run_id.max(state.last_run_id) < Some(manifest.run_id)
            && source.is_some()
            && source == state.system_identifier.as_ref()
            && manifest.project == self.config.project.name
            && manifest.table == table.name
            // A chunk is left out with its resync, if that is lost too.
            && (manifest.kind == RunKind::Chunk || reads != Reads::Unknown && serves(reads_today(table), reads))
    }

    /// Dated copies in `processed/` whose load the log has lost. Rows of the log go oldest first, so a copy that is newer
    /// than any of them and unknown was lost with a backup that was restored.
    async fn lost_copies(
        &self,
        table: &TableConfig,
        scene: &Scene,
        archived: impl Iterator<Item = &BlobKey>,
    ) -> Result<Vec<(BlobKey, Manifest)>> {
        let mut found = Vec::new();
        let Some(oldest) = scene.records.keys().next().filter(|_| table.mode == Mode::Scd) else { return Ok(found) };
        for key in archived {
            let Some(name) = key.csv_name().filter(|name| name.run_id > *oldest) else { continue };
            let known = scene.records.get(&name.run_id);
            if known.is_some_and(|record| record.status == RunState::Loaded && self.is_file_of(record, key)) {
                continue;
            }
            let Some(manifest) = read_manifest(self.blobs.as_ref(), key).await? else { continue };
            let free = known.is_none() && self.run_of(name.run_id).await?.is_none();
            let ours = scene.record_of(&manifest).is_some_and(|record| record.status != RunState::Loaded);
            let waits = scene.complete.iter().any(|other| other.csv == manifest.csv);
            if (free || ours) && !waits && manifest.table == table.name && manifest.mode == Mode::Scd {
                found.push((key.clone(), manifest));
            }
        }
        found.sort_by_key(|(_, manifest)| manifest.run_id);
        Ok(found)
    }

    /// Newest versions of files in `processed/` whose load the log has lost, as for dated copies, and whose raw file is not
    /// there any more. Others are read by the next run.
    async fn lost_versions(
        &self,
        table: &TableConfig,
        scene: &Scene,
        archived: impl Iterator<Item = &BlobKey>,
    ) -> Result<Vec<(BlobKey, Manifest)>> {
        let Some(oldest) = scene.records.keys().next().filter(|_| table.mode == Mode::Files) else {
            return Ok(Vec::new());
        };
        let (mut newest, mut there) = (BTreeMap::<String, (BlobKey, Manifest)>::new(), None);
        for key in archived {
            let Some(name) = key.csv_name().filter(|name| name.run_id > *oldest) else { continue };
            let known = scene.records.get(&name.run_id);
            if known.is_some_and(|record| record.status == RunState::Loaded && self.is_file_of(record, key)) {
                continue;
            }
            let Some(manifest) = read_manifest(self.blobs.as_ref(), key).await? else { continue };
            let Some(path) = manifest.file.as_ref().map(|file| file.path.clone()) else { continue };
            let of_path = |record: &&RunRecord| record.file.as_ref().is_some_and(|file| file.path == path);
            let since = scene.records.values().filter(of_path).filter(|record| record.status == RunState::Loaded);
            let superseded = since.map(|record| record.run_id).max() > Some(manifest.run_id)
                || newest.get(&path).is_some_and(|(_, other)| other.run_id > manifest.run_id);
            let waits = scene.complete.iter().any(|other| other.csv == manifest.csv);
            if superseded || waits || manifest.table != table.name || manifest.kind != RunKind::File {
                continue;
            }
            if there.is_none() {
                there = Some(self.tree(table)?.list(table).await?);
            }
            if !there.iter().flatten().any(|file| file.path == path) {
                newest.insert(path, (key.clone(), manifest));
            }
        }
        Ok(newest.into_values().collect())
    }

    /// The windows of loaded runs whose row in the log was never filled: their manifests have them. Otherwise there would
    /// be gaps that never were.
    async fn know_windows(&self, scene: &mut Scene, archived: impl Iterator<Item = &BlobKey>) -> Result<()> {
        let unfilled = |record: &RunRecord| {
            record.status == RunState::Loaded && record.mode == Some(Mode::Incremental) && record.watermark.is_none()
        };
        if !scene.records.values().any(unfilled) {
            return Ok(());
        }
        for key in archived {
            let Some(name) = key.csv_name() else { continue };
            let Some(record) = scene.records.get_mut(&name.run_id).filter(|record| unfilled(record)) else { continue };
            if let Some(window) = read_manifest(self.blobs.as_ref(), key).await?.and_then(|manifest| manifest.window) {
                record.window_low = Some(window.low).filter(|low| low.is_finite());
                record.window_high = window.high;
                record.watermark = Some(window.watermark);
            }
        }
        Ok(())
    }

    /// The first run whose complete CSV waits for its load in `exports/`.
    pub(crate) async fn first_waiting(&self, table: &TableConfig, state: &TableState) -> Result<Option<RunId>> {
        let scene = self.look(table, state, None).await?;
        let waits = |manifest: &&Manifest| {
            let record = scene.record_of(manifest);
            !scene.manifest_only.contains(&manifest.csv) && record.is_some_and(|r| r.status != RunState::Loaded)
        };
        Ok(scene.complete.iter().find(waits).map(|manifest| manifest.run_id))
    }

    /// The keys of a table in a folder.
    pub(crate) async fn keys(&self, table: &TableConfig, folder: Folder) -> Result<BTreeSet<BlobKey>> {
        self.blobs.list(&self.layout.prefix(folder, &table.name)).map_ok(|meta| meta.key).try_collect().await
    }

    /// The row of a run, of whatever table.
    pub(crate) async fn run_of(&self, run_id: RunId) -> Result<Option<RunRecord>> {
        let filter = RunFilter { run_id: Some(run_id), ..RunFilter::default() };
        Ok(self.sink.runs(&filter).await?.pop())
    }

    /// The row of a run of this table.
    pub(crate) async fn record_of(&self, table: &TableConfig, run_id: RunId) -> Result<Option<RunRecord>> {
        Ok(self.run_of(run_id).await?.filter(|record| record.table_name == table.name))
    }

    /// Finds out which runs a person set aside without coming to the end of it.
    async fn know_asides(&self, table: &TableConfig, scene: &mut Scene) -> Result<()> {
        let mut begun = Vec::new();
        for manifest in &scene.complete {
            let aside = self.layout.moved(&manifest.csv, Folder::SetAside)?;
            let record = scene.record_of(manifest).filter(|record| record.status == RunState::Failed);
            if record.is_some_and(|record| record.csv_path.as_ref() == Some(&self.address(&aside))) {
                begun.push((manifest.csv.clone(), aside));
            }
        }
        if !begun.is_empty() {
            let copies = self.keys(table, Folder::SetAside).await?;
            scene.aside = begun.into_iter().filter(|(_, aside)| copies.contains(aside)).map(|(csv, _)| csv).collect();
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

/// The number in the name of a file without a manifest.
fn run_named(key: &BlobKey) -> Option<RunId> {
    key.csv_name().or_else(|| key.csv_name_of_rejected()).map(|name| name.run_id)
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
