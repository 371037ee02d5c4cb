//! What the blob store has of a table, and what follows from it.

use futures_util::TryStreamExt;
use std::collections::BTreeMap;

use super::RebuiltTable;
use crate::blob::{BlobKey, Folder, Manifest, read_manifest};
use crate::config::{Mode, TableConfig};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::pipeline::recover::run_id_of;
use crate::plan::LoadPlan;
use crate::run::RunId;
use crate::schema::Column;
use crate::sink::TableState;
use crate::watermark::{Timestamp, Window};

type Csvs = BTreeMap<RunId, (BlobKey, Manifest)>;

/// The complete CSV files of a table.
#[derive(Debug)]
pub(super) struct Archive {
    pub table: TableConfig,
    /// In `processed/`.
    pub loaded: Csvs,
    /// In `exports/` alone.
    pub waiting: Csvs,
    /// CSV files in `processed/` that have no manifest.
    bare: usize,
    /// CSV files in `processed/` whose run number a later one bears too.
    doubled: Vec<BlobKey>,
}

impl Pipeline {
    pub(super) async fn archive_of(&self, table: &TableConfig) -> Result<Archive> {
        let (loaded, doubled) = self.archived(table).await?;
        let keys = self.keys(table, Folder::Processed).await?;
        let bare = keys.iter().filter(|key| key.is_csv() && !keys.contains(&key.manifest())).count();
        let mut waiting = Csvs::new();
        let keys = self.keys(table, Folder::Exports).await?;
        for key in keys.iter().filter(|key| key.is_csv() && keys.contains(&key.manifest())) {
            if let Some(manifest) = read_manifest(self.blobs.as_ref(), key).await?
                && !loaded.contains_key(&manifest.run_id)
            {
                waiting.insert(manifest.run_id, (key.clone(), manifest));
            }
        }
        Ok(Archive { table: table.clone(), loaded, waiting, bare, doubled })
    }

    /// The highest run number that any file of the project bears, 0 if none does: no new run may have it.
    pub(crate) async fn highest_run(&self) -> Result<RunId> {
        let prefix = self.layout.project_prefix();
        let mut names = self.blobs.list(&prefix);
        let mut highest = RunId(0);
        while let Some(meta) = names.try_next().await? {
            if meta.key.is_csv() {
                highest = highest.max(run_id_of(&meta.key).unwrap_or(highest));
            }
        }
        Ok(highest)
    }
}

impl Archive {
    pub(super) fn is_empty(&self) -> bool {
        self.loaded.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn newest_loaded(&self) -> Option<RunId> {
        self.loaded.keys().next_back().copied()
    }

    /// The bronze table that holds all of the CSV files: the columns of every one, with the types of the newest.
    ///
    /// A column that some of them do not have was added or dropped in between; it may be NULL then.
    pub(super) fn table(&self) -> Option<LoadPlan> {
        let manifests: BTreeMap<RunId, &Manifest> =
            self.loaded.iter().chain(&self.waiting).map(|(run_id, (_, manifest))| (*run_id, manifest)).collect();
        let mut columns: Vec<Column> = Vec::new();
        for manifest in manifests.values() {
            for column in &manifest.columns {
                match columns.iter_mut().find(|known| known.name == column.name) {
                    Some(known) => known.clone_from(column),
                    None => columns.push(column.clone()),
                }
            }
        }
        for column in &mut columns {
            let everywhere =
                |manifest: &&Manifest| manifest.columns.iter().any(|other| other.name == column.name && other.not_null);
            column.not_null &= manifests.values().all(everywhere);
        }
        let mut load = manifests.values().next_back()?.load_plan(false);
        load.table.clone_from(&self.table.name);
        load.target.clone_from(&self.table.target);
        load.columns = columns;
        Some(load)
    }

    /// The run before `manifest` that found nothing and so left no CSV: its manifest as it would have been.
    ///
    /// Without it, the log would show a gap that never was. That its CSV was lost cannot be told from that here; the
    /// report says so.
    pub(super) fn empty_run_before(&self, manifest: &Manifest, state: &TableState) -> Option<(BlobKey, Manifest)> {
        let run_id = manifest.previous_run_id.filter(|run_id| !self.loaded.contains_key(run_id))?;
        let (window, last) = (manifest.window?, state.last_run_id?);
        if self.waiting.contains_key(&run_id) || run_id <= last || window.low <= state.low() {
            return None;
        }
        let gap = Window { low: state.low(), high: Some(window.low), watermark: window.low };
        let empty = Manifest {
            run_id,
            window: Some(gap),
            rows: 0,
            late_rows: 0,
            bytes: 0,
            sha256: String::new(),
            bound: None,
            ..manifest.clone()
        };
        Some((manifest.csv.clone(), empty))
    }

    /// Where the oldest ordinary CSV begins, if there were older ones.
    fn pruned_below(&self) -> Option<Timestamp> {
        let (_, first) = self.loaded.values().find(|(_, manifest)| manifest.kind.moves_watermark())?;
        let low = first.window?.low;
        (first.mode == Mode::Incremental && first.previous_run_id.is_some() && low.is_finite()).then_some(low)
    }

    /// Stretches that no CSV covers.
    fn uncovered(&self) -> Vec<(Timestamp, Timestamp)> {
        let mut state = TableState { last_extracted_at: Some(Timestamp::SEED), ..TableState::default() };
        let mut found = Vec::new();
        for (_, manifest) in self.loaded.values().filter(|(_, manifest)| manifest.kind.moves_watermark()) {
            if let Some((_, empty)) = self.empty_run_before(manifest, &state)
                && let Some(window) = empty.window
            {
                found.push((window.low, window.watermark));
            }
            if !super::is_behind(manifest, &state) {
                let last_run_id = Some(manifest.run_id);
                state = TableState { last_run_id, ..super::after(&state, manifest) };
            }
        }
        found
    }

    pub(super) fn report(&self) -> RebuiltTable {
        let mut told = RebuiltTable {
            table: self.table.name.clone(),
            target: self.table.target.to_string(),
            csvs: self.loaded.len() as u64,
            rows: self.loaded.values().map(|(_, manifest)| manifest.rows).sum(),
            bytes: self.loaded.values().map(|(_, manifest)| manifest.bytes).sum(),
            waiting: self.waiting.len() as u64,
            ..RebuiltTable::default()
        };
        if self.is_empty() {
            told.notes.push("there is no CSV of it: `dwh migrate` makes the table from its source".to_owned());
        }
        if self.bare > 0 {
            told.notes.push(format!(
                "{} CSV files in `processed/` have no manifest: made by hand, they are loaded with `dwh load --accept-unverified`",
                self.bare
            ));
        }
        if !self.doubled.is_empty() {
            let names: Vec<&str> = self.doubled.iter().map(BlobKey::file_name).collect();
            told.notes.push(format!(
                "left out, because later runs bear the same numbers (the run log began anew once): {}",
                names.join(", ")
            ));
        }
        if let Some(low) = self.pruned_below() {
            let name = &self.table.name;
            told.notes.push(format!(
                "older CSV files are not there (pruned, or taken away): nothing up to {low} is brought back; `dwh reseed {name}` reads what the source still has"
            ));
        }
        if let [(from, _), .., (_, to)] | [(from, to)] = self.uncovered()[..] {
            told.notes.push(format!(
                "not all of {from} to {to} is covered by a CSV: there was nothing to read, or files are missing; `dwh verify` tells"
            ));
        }
        told
    }
}
