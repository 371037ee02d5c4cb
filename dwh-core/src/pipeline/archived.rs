//! The archive of a table, `processed/`: its complete CSV files, and what is missing among them.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::blob::{BlobKey, Folder, Manifest, read_manifest, read_manifest_at};
use crate::chain::{self, Gap, Link, Lost, Part, RunIdentity, Span};
use crate::config::{Mode, OnConflict, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::describe::finite;
use crate::pipeline::links::{named_by_us, reads_today};
use crate::pipeline::{Pipeline, WindowReport};
use crate::plan::{LoadPlan, Missing, Plan};
use crate::run::{RunId, RunKind, RunState};
use crate::schema::{Column, Delivered, TableSchema, lost};
use crate::sink::{RunFilter, RunRecord};
use crate::watermark::{Micros, Timestamp};

/// Complete CSV files, by run.
pub(crate) type Archived = BTreeMap<RunId, (BlobKey, Manifest)>;

/// What a folder holds of a table.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The complete CSV files.
    pub complete: Archived,
    /// CSV files that are left out because a later one bears the same number, which happens when a run log begins anew
    /// beside older files.
    pub doubled: Vec<BlobKey>,
    /// Manifests whose CSV is gone.
    pub bereft: Vec<Manifest>,
    /// Chunks that a resync read and that are not there.
    pub torn: Vec<GapReport>,
}

impl Files {
    /// Leaves out the chunks of a resync that never came to its end, and those that were read once more; notes what is
    /// missing of the others.
    fn settle_chunks(&mut self) {
        let mut newest: BTreeMap<(RunId, u32), RunId> = BTreeMap::new();
        for (run_id, (_, manifest)) in &self.complete {
            let Some(Part::Chunk(chunk)) = &manifest.part else { continue };
            let of = self.complete.get(&chunk.resync.run_id).map(|(_, of)| RunIdentity::from(of));
            if of.is_some_and(|of| of.differs(&chunk.resync).is_none()) {
                newest.insert((chunk.resync.run_id, chunk.number), *run_id);
            }
        }
        let stays: BTreeSet<RunId> = newest.values().copied().collect();
        self.complete.retain(|run_id, (_, manifest)| manifest.kind != RunKind::Chunk || stays.contains(run_id));
        self.bereft.retain(|manifest| manifest.kind != RunKind::Chunk);
        let alone = |manifest: &Manifest| manifest.kind == RunKind::Resync && manifest.replaced().is_some();
        let last = self.complete.values().rev().map(|(_, manifest)| manifest).find(|manifest| alone(manifest));
        let last = last.map(|manifest| manifest.run_id);
        for (run_id, (_, manifest)) in self.complete.iter().filter(|(run_id, _)| Some(**run_id) >= last) {
            let Some(Part::Cuts(cuts)) = &manifest.part else { continue };
            let all = 1..=u32::try_from(cuts.len() + 1).unwrap_or(u32::MAX);
            self.torn.extend(all.filter(|number| !newest.contains_key(&(*run_id, *number))).map(|number| GapReport {
                run_id: Some(*run_id),
                window: manifest.window.map(|window| report(Span { low: window.low, end: window.watermark })),
                message: format!("the CSV of chunk {number} of resync {run_id} is not in `processed/`"),
            }));
        }
    }
}

/// The first CSV that has each column, and what its manifest says of the column.
#[derive(Debug, Default)]
pub(super) struct FirstCsvs(BTreeMap<String, (RunId, Column)>);

impl FirstCsvs {
    /// Of these manifests, oldest first.
    pub(super) fn of<'a>(manifests: impl IntoIterator<Item = &'a Manifest>) -> Self {
        let mut first = BTreeMap::new();
        for manifest in manifests {
            for column in &manifest.columns {
                first.entry(column.name.clone()).or_insert_with(|| (manifest.run_id, column.clone()));
            }
        }
        Self(first)
    }

    /// The columns that came after the CSV of this run, where it is known what rows of its age have there: a run that adds a
    /// column gives it to the rows that bronze has.
    fn later_than(&self, run: RunId, bronze: &TableSchema) -> Vec<Column> {
        let later = self.0.values().filter(|(first, column)| *first > run && column.old_value.is_some());
        let there = |(_, column): &(RunId, Column)| {
            let type_name = bronze.column(&column.name)?.type_name.clone();
            Some(Column { type_name, ..column.clone() })
        };
        later.filter_map(there).collect()
    }
}

/// A store answers after a while, and there may be thousands.
const MANIFESTS_AT_ONCE: usize = 16;

/// Something that was loaded once and that no CSV in the archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct GapReport {
    /// The run whose CSV is gone, where that is known.
    pub run_id: Option<RunId>,
    /// What it had read; `null` for a table that is read whole.
    pub window: Option<WindowReport>,
    /// One line for people.
    pub message: String,
}

/// What an archive lacks, and what cannot be told of it.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// What was loaded and is gone.
    pub gaps: Vec<GapReport>,
    /// What retention took: the lower end of what is left.
    pub pruned: bool,
    /// Whether CSV files are gone whose windows newer ones read again.
    pub read_again: bool,
    /// Stretches of which release 0.1 left no trace: nothing was there to read, or a CSV is gone.
    pub doubtful: Vec<Gap>,
}

/// What the archive of a table lacks.
#[derive(Debug)]
pub(crate) struct Lacks {
    /// What was loaded once and is gone.
    pub gaps: Vec<GapReport>,
    /// Whether retention took the lower end.
    pub pruned: bool,
    /// Whether CSV files are gone whose windows newer ones read again.
    pub read_again: bool,
    /// Whether it is proven that nothing is missing at all.
    pub complete: bool,
}

/// What is said where retention took the oldest CSV files.
pub(crate) const PRUNED: &str =
    "older CSV files are not there (pruned, or taken away): what they held is not brought back";

/// What is said where CSV files are gone that newer ones stand for.
pub(crate) const READ_AGAIN: &str = "CSV files are gone whose windows newer ones read again: rows that were deleted at the \
                                     source in between are not brought back";

impl Pipeline {
    /// What `processed/` holds of a table.
    pub(crate) async fn archived(&self, table: &TableConfig) -> Result<Files> {
        self.held(table, Folder::Processed, None).await
    }

    /// What a folder holds of a table; with `after` of newer runs than that, so that the age of the table does not matter.
    pub(super) async fn held(&self, table: &TableConfig, folder: Folder, after: Option<RunId>) -> Result<Files> {
        let mut keys = BTreeSet::new();
        let prefix = self.layout.prefix(folder, &table.name);
        let mut listed = self.blobs.list(&prefix);
        while let Some(meta) = listed.try_next().await? {
            if after.is_none_or(|after| meta.key.csv_name().is_some_and(|name| name.run_id > after)) {
                keys.insert(meta.key);
            }
        }
        let complete: Vec<BlobKey> =
            keys.iter().filter(|key| key.is_csv() && keys.contains(&key.manifest())).cloned().collect();
        let mut manifests = stream::iter(complete)
            .map(|key| async move { Ok((read_manifest(self.blobs.as_ref(), &key).await?, key)) })
            .buffered(MANIFESTS_AT_ONCE);
        let mut files = Files { bereft: self.bereft(&keys).await?, ..Files::default() };
        while let Some((manifest, key)) = manifests.try_next().await? {
            let Some(manifest) = manifest else { continue };
            match files.complete.get(&manifest.run_id) {
                Some((_, other)) if other.run_started_at > manifest.run_started_at => files.doubled.push(key),
                _ => {
                    let other = files.complete.insert(manifest.run_id, (key, manifest));
                    files.doubled.extend(other.map(|(key, _)| key));
                }
            }
        }
        files.settle_chunks();
        Ok(files)
    }

    /// The manifests among these files that lie there without their CSV: what it held was loaded once, if the folder is
    /// `processed/`.
    pub(super) async fn bereft(&self, keys: &BTreeSet<BlobKey>) -> Result<Vec<Manifest>> {
        let beside: BTreeSet<BlobKey> = keys.iter().filter(|key| key.is_csv()).map(BlobKey::manifest).collect();
        let mut found = Vec::new();
        for key in keys.iter().filter(|key| key.is_manifest() && !beside.contains(key)) {
            match read_manifest_at(self.blobs.as_ref(), key).await {
                Ok(manifest) => found.extend(manifest),
                // What cannot be read tells of no run; `verify --blobs` names the file.
                Err(error) if error.kind() == ErrorKind::Data => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|manifest| manifest.run_id);
        Ok(found)
    }

    /// The loaded runs of a table that wrote a CSV or found nothing to write, as far as there is a run log.
    pub(super) async fn logged(&self, table: &TableConfig) -> Result<Vec<Link>> {
        let filter =
            RunFilter { table: Some(table.name.clone()), states: vec![RunState::Loaded], ..RunFilter::default() };
        match self.sink.runs(&filter).await {
            Ok(runs) => {
                // A resync knows its chunks itself.
                let counts =
                    |run: &&RunRecord| run.kind != RunKind::Chunk && (run.csv_path.is_none() || named_by_us(run));
                Ok(runs.iter().filter(counts).map(Link::from).collect())
            }
            Err(error) if error.kind() == ErrorKind::Contract => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What retention may have taken: the oldest files, once they are old enough.
    pub(super) async fn taken(&self) -> impl Fn(&Lost) -> bool + use<> {
        // Before the control schema is made there is no better clock; it only tells what retention may have taken.
        let now = self.sink.overview().await.map_or_else(|_| Timestamp::now(), |overview| overview.now);
        let keep = self.config.retention.as_ref().and_then(|retention| retention.processed);
        move |lost| lost.oldest && keep.is_some_and(|keep| now.since(lost.csv.run.run_started_at) > keep)
    }

    /// What is missing between the CSV files and, where there is a run log, among those that it names; a manifest whose
    /// CSV is gone counts as a row of the log.
    pub(super) async fn holes(&self, table: &TableConfig, links: &[Link], log: &[Link]) -> Result<Holes> {
        let (taken, versions) = (self.taken().await, self.versions(table).await?);
        // What a run has read and found nothing of was read again too.
        let empty = log.iter().filter(|link| !link.csv).cloned();
        let readers: Vec<Link> = links.iter().cloned().chain(empty).collect();
        // Files follow each other in no order: of each, all versions but the newest may be taken.
        let of_files = |lost: Lost| match table.mode {
            Mode::Files => Lost { oldest: !versions.newest.contains(&lost.csv.run.run_id), ..lost },
            _ => lost,
        };
        let missed = chain::lost(&readers, log).into_iter().map(of_files);
        let missed = missed.filter(|lost| !versions.older.contains(&lost.csv.run.run_id));
        let (pruned, lost): (Vec<Lost>, Vec<Lost>) = missed.partition(taken);
        let told = |gap: &Gap| {
            let holds = |span: Span| span.low <= gap.from && span.end >= gap.to;
            lost.iter().any(|lost| lost.csv.span.is_some_and(holds))
        };
        let (proven, doubtful): (Vec<Gap>, Vec<Gap>) = chain::gaps(links).into_iter().partition(|gap| gap.proven);
        let mut gaps: Vec<GapReport> = lost.iter().map(of_lost).collect();
        gaps.extend(proven.iter().filter(|gap| !told(gap)).map(of_gap));
        let read_again = chain::is_replaced(&readers, log);
        Ok(Holes {
            gaps,
            pruned: !pruned.is_empty(),
            read_again,
            doubtful: doubtful.into_iter().filter(|gap| !told(gap)).collect(),
        })
    }

    /// What is missing among the CSV files that serve a table, by the run log and by their own manifests; `bereft` are
    /// manifests whose CSV is gone, `torn` missing chunks.
    pub(crate) async fn lacks(
        &self,
        table: &TableConfig,
        serving: &Archived,
        (bereft, torn): (&[Manifest], Vec<GapReport>),
    ) -> Result<Lacks> {
        let links: Vec<Link> = serving.values().map(|(_, manifest)| Link::from(manifest)).collect();
        let mut once = self.logged(table).await?;
        once.extend(loaded_once(table, bereft));
        let mut holes = self.holes(table, &links, &once).await?;
        holes.gaps.extend(torn);
        let from_the_first =
            table.mode != Mode::Incremental || links.iter().filter_map(Link::span).any(|span| !span.low.is_finite());
        let complete = holes.gaps.is_empty() && holes.doubtful.is_empty() && !holes.pruned && from_the_first;
        Ok(Lacks { gaps: holes.gaps, pruned: holes.pruned, read_again: holes.read_again, complete })
    }

    /// The columns that came after a CSV was written and before it is loaded, with what they gave to the rows that were there.
    ///
    /// Newer files tell of them. Where no load has brought one yet, bronze shows that it came with such a value, and the source
    /// is asked whether it is one of its own.
    pub(super) async fn came_later(
        &self,
        table: &TableConfig,
        load: &LoadPlan,
        bronze: &TableSchema,
        before: Delivered<'_>,
        (run, newer): (RunId, &FirstCsvs),
    ) -> Result<Vec<Column>> {
        let among = |column: &Column, others: &[Column]| others.iter().any(|other| other.name == column.name);
        let mut filled = newer.later_than(run, bronze);
        filled.retain(|column| !among(column, &load.columns));
        let lost = lost(&load.columns, &bronze.columns, before);
        let came = |column: &&Column| {
            let by_bronze = column.default.is_some() || column.generated || column.identity;
            let known = among(column, &load.columns) || among(column, &filled) || among(column, &lost);
            column.old_value.is_some() && !by_bronze && !known
        };
        let came: Vec<&Column> = bronze.columns.iter().filter(came).collect();
        if came.is_empty() {
            return Ok(filled);
        }
        let there = match self.source(table)?.describe(table).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            described => described.and_then(|schema| Plan::new(table, schema)).map(|plan| plan.delivered()),
        };
        let there = there.unwrap_or_default();
        let given = |column: &Column| {
            let old_value = there.iter().find(|own| own.name == column.name)?.old_value.clone()?;
            Some(Column { old_value: Some(old_value), ..column.clone() })
        };
        filled.extend(came.into_iter().filter_map(given));
        Ok(filled)
    }

    /// How a CSV of any age is loaded into bronze as it is now, and the table as it is configured now.
    ///
    /// An older CSV of an incremental table lacks columns that came later, and that takes nothing from bronze; a snapshot
    /// replaces every row, and must not lose what `before` says was loaded. `first` tells which columns came later.
    pub(super) async fn load_again(
        &self,
        table: &TableConfig,
        manifest: &Manifest,
        older: bool,
        before: Delivered<'_>,
        first: &FirstCsvs,
    ) -> Result<LoadPlan> {
        let bronze = self.sink.describe(&table.target).await?;
        loaded_into(bronze.as_ref(), table, manifest, older, before, first)
    }
}

/// The same into bronze as it was described.
pub(super) fn loaded_into(
    bronze: Option<&TableSchema>,
    table: &TableConfig,
    manifest: &Manifest,
    older: bool,
    before: Delivered<'_>,
    first: &FirstCsvs,
) -> Result<LoadPlan> {
    let mut load = manifest.load_plan(older).as_configured(table);
    // It was loaded before, so somebody allowed it then.
    load.allow_empty = true;
    // In the place of what was there before, as when the resync put them in.
    if manifest.kind == RunKind::Chunk && !load.is_appended() {
        load.on_conflict = OnConflict::Update;
    }
    if let Some(bronze) = bronze {
        load = manifest.compared(load.with_types_of(bronze), bronze)?;
        if table.mode == Mode::Incremental {
            load.filled = first.later_than(manifest.run_id, bronze);
        }
        if table.mode == Mode::Snapshot {
            load.missing = Missing::of(table, &load.columns, bronze, before);
        }
    }
    load.check_columns(bronze)?;
    Ok(load)
}

/// The newest resync: it stands for all that was read before it, unless each version of a row stays.
pub(crate) fn whole_from(table: &TableConfig, archived: &Archived) -> Option<RunId> {
    let resyncs = archived.values().filter(|(_, manifest)| manifest.kind == RunKind::Resync);
    resyncs.map(|(_, manifest)| manifest.run_id).max().filter(|_| !table.is_appended())
}

/// The keys, other than the table's, by which a CSV or newer ones among the `others` were read.
pub(super) fn former_keys_of(table: &TableConfig, manifest: &Manifest, others: &Archived) -> Vec<Vec<String>> {
    if table.mode != Mode::Incremental {
        return Vec::new();
    }
    let others = others.values().map(|(_, other)| other);
    let read_by = others.chain([manifest]).map(|manifest| (manifest.run_id, manifest.key.as_slice()));
    chain::former_keys(manifest.run_id, read_by, &table.key)
}

/// Manifests whose CSV is gone, as far as the CSV could serve the table as it is configured now.
pub(super) fn loaded_once(table: &TableConfig, bereft: &[Manifest]) -> impl Iterator<Item = Link> {
    let today = reads_today(table);
    bereft.iter().map(Link::from).filter(move |link| chain::serves(today, link.reads))
}

/// The error of a table whose archive lacks something; `go_on` is the call that takes what there is.
pub(crate) fn lacking(table: &str, gaps: &[GapReport], go_on: &str) -> Error {
    let list: Vec<&str> = gaps.iter().take(5).map(|gap| gap.message.as_str()).collect();
    let more = if gaps.len() > list.len() { format!("; and {} more", gaps.len() - list.len()) } else { String::new() };
    Error::new(ErrorKind::Data, format!("table `{table}`: {}{more}", list.join("; "))).with_hint(format!(
        "nothing was loaded; bring the files back from a backup of the store. To go on with what there is: `{go_on}`; then {}",
        mended_by(table, gaps)
    ))
}

/// What reads from the source what the archive lacks.
pub(super) fn mended_by(table: &str, gaps: &[GapReport]) -> String {
    let windows: Vec<WindowReport> = gaps.iter().filter_map(|gap| gap.window).collect();
    match windows[..] {
        [] => "what is gone is not at the source any more, unless `dwh run` brings it".to_owned(),
        [window] => window_mended_by(table, Some(window)),
        _ => window_mended_by(table, None),
    }
}

/// What reads this window from the source; without one, all of the table.
pub(crate) fn window_mended_by(table: &str, window: Option<WindowReport>) -> String {
    match window {
        Some(WindowReport { from: Some(from), to: Some(to) }) => {
            let (from, to) = (from.plus(Micros(1)), to.plus(Micros(1)));
            format!("`dwh backfill {table} --from {from} --to {to}` reads it from the source")
        }
        _ => format!("`dwh reseed {table}` reads it from the source"),
    }
}

/// What a CSV that is gone is told as.
pub(super) fn of_lost(lost: &Lost) -> GapReport {
    let run_id = lost.csv.run.run_id;
    let window = lost.csv.span.map(report);
    let of = window.map_or_else(String::new, |window| format!(", which read {}", words(window)));
    GapReport { run_id: Some(run_id), window, message: format!("the CSV of run {run_id}{of}, is not in `processed/`") }
}

fn of_gap(gap: &Gap) -> GapReport {
    let window = report(Span { low: gap.from, end: gap.to });
    GapReport { run_id: None, window: Some(window), message: format!("no CSV holds what was read {}", words(window)) }
}

fn report(span: Span) -> WindowReport {
    WindowReport { from: finite(span.low), to: finite(span.end) }
}

fn words(window: WindowReport) -> String {
    match (window.from, window.to) {
        (Some(from), Some(to)) => format!("from {from} to {to}"),
        (None, Some(to)) => format!("up to {to}"),
        _ => "everything".to_owned(),
    }
}
