//! What the blob store has of a table, and what follows from it.

use futures_util::TryStreamExt;
use std::collections::BTreeMap;

use super::RebuiltTable;
use crate::blob::{BlobKey, Folder, Manifest, read_manifest};
use crate::chain::{EmptyRun, Gap, Link, RunIdentity, serves};
use crate::config::{Deletes, Mode, TableConfig};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::pipeline::archived::{
    Archived, FirstCsvs, Holes, PRUNED, READ_AGAIN, former_keys_of, loaded_once, mended_by,
};
use crate::pipeline::links::reads_today;
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind};
use crate::schema::{Column, TypeDef, needed};
use crate::watermark::{Micros, Timestamp, Window};

/// The complete CSV files of a table.
#[derive(Debug)]
pub(super) struct Archive {
    pub table: TableConfig,
    /// In `processed/`.
    pub loaded: Archived,
    /// In `exports/` alone.
    pub waiting: Archived,
    /// CSV files in `processed/` that have no manifest.
    bare: usize,
    /// CSV files in `processed/` whose run number a later one bears too.
    doubled: Vec<BlobKey>,
    /// CSV files that were read in a mode which cannot serve the table as it is configured now.
    other_mode: usize,
    holes: Holes,
    /// Which CSV brought each column first.
    pub first: FirstCsvs,
    /// Runs that found nothing, as far as can be told where release 0.1 left no trace: by the run before whose end the
    /// next CSV begins.
    presumed: BTreeMap<RunId, EmptyRun>,
}

impl Pipeline {
    pub(super) async fn archive_of(&self, table: &TableConfig) -> Result<Archive> {
        let files = self.archived(table).await?;
        let today = reads_today(table);
        let serve = |manifest: &Manifest| serves(today, Link::from(manifest).reads);
        let (loaded, others): (Archived, Archived) =
            files.complete.into_iter().partition(|(_, (_, manifest))| serve(manifest));
        let keys = self.keys(table, Folder::Processed).await?;
        let bare = keys.iter().filter(|key| key.is_csv() && !keys.contains(&key.manifest())).count();
        let mut waiting = Archived::new();
        let keys = self.keys(table, Folder::Exports).await?;
        for key in keys.iter().filter(|key| key.is_csv() && keys.contains(&key.manifest())) {
            if let Some(manifest) = read_manifest(self.blobs.as_ref(), key).await?
                && !loaded.contains_key(&manifest.run_id)
                && serve(&manifest)
            {
                waiting.insert(manifest.run_id, (key.clone(), manifest));
            }
        }
        let links: Vec<Link> = loaded.values().map(|(_, manifest)| Link::from(manifest)).collect();
        let mut log = self.logged(table).await?;
        log.extend(loaded_once(table, &files.bereft));
        // What waits in `exports/` comes in by the next run.
        let waits = |run: &RunIdentity| waiting.values().any(|(_, other)| run.differs(&other.into()).is_none());
        let log: Vec<Link> = log.into_iter().filter(|link| !waits(&link.run)).collect();
        let mut holes = self.holes(table, &links, &log).await?;
        holes.gaps.extend(files.torn);
        let presumed = presumed(&loaded, &holes.doubtful);
        let all: BTreeMap<RunId, &Manifest> =
            loaded.iter().chain(&waiting).map(|(run_id, (_, manifest))| (*run_id, manifest)).collect();
        let first = FirstCsvs::of(all.into_values().filter(|manifest| manifest.kind != RunKind::Keys));
        let (table, other_mode, doubled) = (table.clone(), others.len(), files.doubled);
        Ok(Archive { table, loaded, waiting, bare, doubled, other_mode, holes, first, presumed })
    }

    /// The highest run number that any complete CSV of the project bears, 0 if none does: no new run may have it.
    pub(crate) async fn highest_run(&self) -> Result<RunId> {
        let prefix = self.layout.project_prefix();
        let mut names = self.blobs.list(&prefix);
        let mut highest = RunId(0);
        while let Some(meta) = names.try_next().await? {
            // The manifest is what makes a CSV one of ours.
            if meta.key.is_manifest() {
                highest = highest.max(meta.key.csv_name().map_or(highest, |name| name.run_id));
            }
        }
        Ok(highest)
    }
}

/// The runs to which manifests of release 0.1 point and that left no CSV.
fn presumed(loaded: &Archived, doubtful: &[Gap]) -> BTreeMap<RunId, EmptyRun> {
    let run = |gap: &Gap| {
        let (_, next) = loaded.get(&gap.before)?;
        let run_id = next.previous_run_id.filter(|run_id| !loaded.contains_key(run_id))?;
        let window = Window { low: gap.from, high: Some(gap.to), watermark: gap.to };
        Some((gap.before, EmptyRun { run_id, run_started_at: next.run_started_at, window }))
    };
    doubtful.iter().filter_map(run).collect()
}

impl Archive {
    /// The same, lacking what was missed when the run log was there.
    pub(super) fn lacking_as(self, before: Self) -> Self {
        Self { holes: before.holes, ..self }
    }

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
        let files = self.loaded.iter().chain(&self.waiting);
        let rows = files.filter(|(_, (_, manifest))| manifest.kind != RunKind::Keys);
        let manifests: BTreeMap<RunId, &Manifest> = rows.map(|(run_id, (_, manifest))| (*run_id, manifest)).collect();
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
        let mut load = manifests.values().next_back()?.load_plan(false).as_configured(&self.table);
        load.table.clone_from(&self.table.name);
        load.columns = columns;
        // The definition of the newest CSV that tells of a type comes first, and is the one that is found.
        let types: Vec<TypeDef> = manifests.values().rev().flat_map(|manifest| manifest.types.clone()).collect();
        load.types = needed(load.columns.iter().map(|column| &column.type_name), &types);
        Some(load)
    }

    /// Keys by which files were read, other than the one of today: what was one row by them may be several now.
    fn former_keys(&self) -> Vec<Vec<String>> {
        match self.loaded.values().next() {
            Some((_, first)) => former_keys_of(&self.table, first, &self.loaded),
            None => Vec::new(),
        }
    }

    /// The run before `manifest` that found nothing and so left no CSV. Without its row the log would show a gap that
    /// never was.
    pub(super) fn empty_before<'a>(&'a self, manifest: &'a Manifest) -> Option<&'a EmptyRun> {
        let traced = manifest.before.as_ref().and_then(|before| before.empty.as_ref());
        let empty = traced.or_else(|| self.presumed.get(&manifest.run_id));
        empty.filter(|empty| !self.loaded.contains_key(&empty.run_id) && !self.waiting.contains_key(&empty.run_id))
    }

    /// Where the oldest ordinary CSV begins, if there were older ones.
    fn pruned_below(&self) -> Option<Timestamp> {
        let (_, first) = self.loaded.values().find(|(_, manifest)| manifest.kind.moves_watermark())?;
        let low = first.window?.low;
        let untraced = first.before.is_none() && first.previous_run_id.is_some();
        let cut = first.mode == Mode::Incremental && (self.holes.pruned || untraced) && low.is_finite();
        cut.then_some(low)
    }

    pub(super) fn report(&self) -> RebuiltTable {
        let mut told = RebuiltTable {
            table: self.table.name.clone(),
            target: self.table.target.to_string(),
            csvs: self.loaded.len() as u64,
            rows: self.loaded.values().map(|(_, manifest)| manifest.rows).sum(),
            bytes: self.loaded.values().map(|(_, manifest)| manifest.bytes).sum(),
            waiting: self.waiting.len() as u64,
            gaps: self.holes.gaps.clone(),
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
        if self.holes.pruned && self.pruned_below().is_none() {
            told.notes.push(PRUNED.to_owned());
        }
        if self.holes.read_again {
            told.notes.push(READ_AGAIN.to_owned());
        }
        let mut links = self.loaded.values().map(|(_, manifest)| manifest);
        if self.table.deletes == Deletes::Keep && links.any(|manifest| manifest.kind == RunKind::Keys) {
            told.notes.push(
                "some CSV files hold keys, and `deletes` is `keep`: rows that they tell to be deleted are as they were before"
                    .to_owned(),
            );
        }
        if self.other_mode > 0 {
            told.notes.push(format!(
                "{} CSV files are left out: they cannot serve a table of mode `{}`",
                self.other_mode,
                self.table.mode.as_str()
            ));
        }
        for former in self.former_keys() {
            told.notes.push(format!(
                "some CSV files were read when the key was ({}): what was another version of a row then may be a row of its own by ({})",
                former.join(", "),
                self.table.key.join(", ")
            ));
        }
        if !told.gaps.is_empty() {
            told.notes.push(format!("CSV files are gone: {}", mended_by(&self.table.name, &told.gaps)));
        }
        if let (Some(first), Some(last)) = (self.holes.doubtful.first(), self.holes.doubtful.last()) {
            let (name, from, to) = (&self.table.name, first.from, last.to);
            told.notes.push(format!(
                "not all of {from} to {to} is covered by a CSV, and release 0.1 left no trace of runs that found nothing: there \
                 was nothing to read, or files are missing; `dwh backfill {name} --from {from} --to {}` reads it from the source",
                to.plus(Micros(1))
            ));
        }
        told
    }
}
