//! Which CSV files make up a table in bronze, and whether that can be told by them alone.

use std::collections::HashSet;

use super::history::{Judge, Rule, hash};
use super::key::{Keyed, Sameness, family};
use crate::blob::{BlobKey, Manifest};
use crate::chain::{Link, Replaced, serves};
use crate::config::{Deletes, Mode, OnConflict, RUN_ID, TASK_INSTANCE, TableConfig, UPLOADED_AT};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::archived::{Archived, GapReport, Lacks, PRUNED, READ_AGAIN, lacking, whole_from};
use crate::pipeline::links::{named_by_us, reads_today};
use crate::run::{RunId, RunKind, RunState};
use crate::schema::TypeName;
use crate::sink::RunFilter;
use crate::watermark::Timestamp;

/// The CSV files of a table, in the order of their runs; those of keys are among them.
pub(super) struct Chosen {
    pub(super) csvs: Vec<(BlobKey, Manifest)>,
    pub(super) gaps: Vec<GapReport>,
    /// Whether rows of several of them meet by their key, or go.
    pub(super) merged: bool,
}

impl Pipeline {
    /// The files that make up bronze as `rebuild` would make it.
    ///
    /// # Errors
    /// `Contract` where bronze has what no CSV tells; `Data` for gaps, unless they are accepted; `NotFound`.
    pub(super) async fn make_up(&self, table: &TableConfig, accept_gaps: bool, again: &str) -> Result<Chosen> {
        refuse_mode(table)?;
        let files = self.archived(table).await?;
        for csv in files.doubled {
            self.warn(&table.name, &format!("`{csv}` is left out: a later run bears the same number"));
        }
        let today = reads_today(table);
        let (mut serving, others): (Archived, Archived) =
            files.complete.into_iter().partition(|(_, (_, manifest))| serves(today, Link::from(manifest).reads));
        let resync = whole_from(table, &serving);
        let counts = |run_id: &RunId| resync.is_none_or(|resync| *run_id >= resync);
        refuse_other_mode(
            table,
            others.iter().chain(&serving).filter(|(run_id, _)| counts(run_id)).map(|(_, csv)| csv),
        )?;
        let lacks = self.lacks(table, &serving, (&files.bereft, files.torn)).await?;
        let gaps = self.judge_lacks(table, lacks, accept_gaps, again)?;
        self.refuse_by_hand(table, accept_gaps, again).await?;
        serving.retain(|run_id, _| counts(run_id));
        let newest = serving.keys().next_back().copied();
        if table.mode == Mode::Snapshot {
            serving.retain(|run_id, _| Some(*run_id) == newest);
        }
        let is_keys = |manifest: &Manifest| manifest.kind == RunKind::Keys;
        if table.deletes == Deletes::Keep && serving.values().any(|(_, manifest)| is_keys(manifest)) {
            self.warn(&table.name, "rows that were found deleted once are exported, for `deletes` is `keep` now");
            serving.retain(|_, (_, manifest)| !is_keys(manifest));
        }
        let csvs: Vec<(BlobKey, Manifest)> = serving.into_values().collect();
        if csvs.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("table `{}`: nothing of it is loaded yet", table.name),
            )
            .with_hint(format!("`dwh run {}` loads it", table.name)));
        }
        refuse_resync(table, &csvs)?;
        let merged = table.mode == Mode::Incremental && csvs.len() > 1;
        Ok(Chosen { csvs, gaps, merged })
    }

    fn judge_lacks(&self, table: &TableConfig, lacks: Lacks, accept_gaps: bool, again: &str) -> Result<Vec<GapReport>> {
        let Lacks { mut gaps, pruned, read_again, complete } = lacks;
        let told = |words: &str| GapReport { run_id: None, window: None, message: words.to_owned() };
        gaps.extend(pruned.then(|| told(PRUNED)));
        gaps.extend(read_again.then(|| told(READ_AGAIN)));
        if !gaps.is_empty() && !accept_gaps {
            return Err(lacking(&table.name, &gaps, again));
        }
        if !complete && gaps.is_empty() {
            self.warn(&table.name, "it is not proven that the CSV files hold all that was ever loaded");
        }
        Ok(gaps)
    }

    /// A file that a person made, and loaded, has no manifest: its rows are in bronze alone.
    async fn refuse_by_hand(&self, table: &TableConfig, accept_gaps: bool, again: &str) -> Result<()> {
        let filter = RunFilter {
            table: Some(table.name.clone()),
            states: vec![RunState::Loaded],
            with_csv: true,
            ..RunFilter::default()
        };
        let runs = match self.sink.runs(&filter).await {
            // There is no run log.
            Err(error) if error.kind() == ErrorKind::Contract => Vec::new(),
            other => other?,
        };
        let by_hand = runs.iter().find(|run| run.kind != RunKind::Replay && !named_by_us(run));
        let Some(run) = by_hand.filter(|_| !accept_gaps) else { return Ok(()) };
        let (name, run_id) = (&table.name, run.run_id);
        let message = format!("table `{name}`: run {run_id} has loaded a file without a manifest, made by hand");
        Err(Error::new(ErrorKind::Contract, message)
            .with_hint(format!("its rows are in bronze and in no file that can be exported; without them: `{again}`")))
    }
}

fn refuse_mode(table: &TableConfig) -> Result<()> {
    let why = match table.mode {
        Mode::Files => "it is read from raw files, and its CSV files have the values as those spell them",
        Mode::Incremental | Mode::Snapshot | Mode::Scd => return Ok(()),
    };
    Err(Error::new(ErrorKind::Contract, format!("table `{}`: {why}", table.name)).with_hint(format!(
        "nothing was written; read {} instead, such as with `copy (select …) to stdout`",
        table.target
    )))
}

/// Of a snapshot only the newest CSV counts, whatever was before.
fn refuse_other_mode<'a>(table: &TableConfig, csvs: impl Iterator<Item = &'a (BlobKey, Manifest)>) -> Result<()> {
    let mut others = csvs.filter(|(_, manifest)| table.mode != Mode::Snapshot && manifest.mode != table.mode);
    let Some((csv, manifest)) = others.next() else { return Ok(()) };
    let (was, is, name) = (manifest.mode.as_str(), table.mode.as_str(), &table.name);
    let message = format!("table `{name}`: `{csv}` was read in mode `{was}`, and the table has mode `{is}` now");
    Err(Error::new(ErrorKind::Contract, message).with_hint(format!(
        "what bronze has of it, the files do not tell; after `dwh resync {name}` they do, or read {} instead",
        table.target
    )))
}

/// Where versions or marks of rows stay, a resync keeps of them what its own files do not tell.
fn refuse_resync(table: &TableConfig, csvs: &[(BlobKey, Manifest)]) -> Result<()> {
    let keeps = table.is_appended() || table.marks_deleted();
    let of_resync = |(_, manifest): &&(BlobKey, Manifest)| matches!(manifest.kind, RunKind::Resync | RunKind::Chunk);
    let Some((csv, _)) = csvs.iter().find(of_resync).filter(|_| keeps) else { return Ok(()) };
    let what = if table.is_appended() { "versions of rows" } else { "deleted rows" };
    let message =
        format!("table `{}`: a resync, as of `{csv}`, keeps {what}, and which these are only bronze tells", table.name);
    Err(Error::new(ErrorKind::Contract, message)
        .with_hint(format!("nothing was written; read {} instead", table.target)))
}

/// How the rows of the CSV files meet.
pub(super) struct Meeting {
    pub(super) rules: Vec<Rule>,
    pub(super) judges: Vec<Judge>,
    /// The time of each judge, as PostgreSQL prints it.
    pub(super) marks: Vec<String>,
    pub(super) keyed: Vec<Keyed>,
}

impl Meeting {
    /// # Errors
    /// `Contract` if equal keys, or the rows that are gone, cannot be told by the texts of the files.
    pub(super) fn of(table: &TableConfig, csvs: &[(BlobKey, Manifest)]) -> Result<Self> {
        let key = sameness(table, csvs)?;
        let (mut rules, mut judges, mut marks, mut keyed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        // A row that was read again keeps in bronze when it was read first.
        let dated = csvs.iter().any(|(_, manifest)| manifest.columns.iter().any(|column| is_added(&column.name)));
        let last = if dated { Rule::Changed } else { Rule::Last };
        for (at, (_, manifest)) in csvs.iter().enumerate() {
            let csv = u32::try_from(at).unwrap_or(u32::MAX);
            if let Some(judge) = judge(table, manifest, csv, &key) {
                judges.push(judge);
                marks.push(printed(manifest.run_started_at));
            }
            rules.push(match manifest.kind {
                RunKind::Keys => Rule::Keys,
                _ if table.is_appended() => Rule::Version,
                RunKind::Chunk => Rule::Last,
                RunKind::Repair => last,
                _ if table.on_conflict == OnConflict::Update => last,
                _ => Rule::First,
            });
        }
        let compared = rules.iter().any(|rule| matches!(rule, Rule::Version | Rule::Changed));
        let told = if compared { told_apart_by(table, csvs)? } else { Vec::new() };
        for (csv, manifest) in csvs {
            let needed = !judges.is_empty() && manifest.kind != RunKind::Keys && manifest.rows > 0;
            let stamp = if needed { Some(stamp_of(table, csv, manifest)?) } else { None };
            let place = |name: &str| manifest.columns.iter().position(|column| column.name == name);
            let columns = table.key.iter().zip(&key).filter_map(|(name, same)| Some((place(name)?, *same)));
            // Keys alone are no version.
            let content = told.iter().filter(|_| manifest.kind != RunKind::Keys).filter_map(|(name, _)| place(name));
            let (key, content) = (columns.collect(), content.collect());
            keyed.push(Keyed { width: manifest.columns.len(), key, stamp, content });
        }
        Ok(Self { rules, judges, marks, keyed })
    }
}

/// Whether the column says when or by what a row was read: rows that differ in nothing else are the same.
fn is_added(name: &str) -> bool {
    [UPLOADED_AT, TASK_INSTANCE, RUN_ID].contains(&name)
}

/// A moment as an extract has it.
fn printed(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "+00")
}

/// The columns, with their types, by which the server tells versions of a row apart: their texts are compared.
fn told_apart_by<'a>(table: &TableConfig, csvs: &'a [(BlobKey, Manifest)]) -> Result<Vec<(&'a str, &'a str)>> {
    let of = |manifest: &'a Manifest| {
        let own = manifest.columns.iter().filter(|column| !is_added(&column.name));
        let mut columns: Vec<(&str, &str)> = own.map(|column| (column.name.as_str(), column.bare_type())).collect();
        columns.sort_unstable();
        columns
    };
    let mut rows = csvs.iter().filter(|(_, manifest)| manifest.kind != RunKind::Keys);
    let first = rows.next().map(|(_, manifest)| of(manifest)).unwrap_or_default();
    match rows.find(|(_, manifest)| of(manifest) != first) {
        None => Ok(first),
        Some((csv, _)) => Err(untold(table, &format!("`{csv}` has other columns than the ones before it"))),
    }
}

/// How the key of each column is made the same.
fn sameness(table: &TableConfig, csvs: &[(BlobKey, Manifest)]) -> Result<Vec<Sameness>> {
    let today: HashSet<&String> = table.key.iter().collect();
    let other = csvs.iter().find(|(_, manifest)| manifest.key.iter().collect::<HashSet<_>>() != today);
    if let Some((csv, _)) = other {
        return Err(untold(table, &format!("`{csv}` was read by another key than today's")));
    }
    let of = |name: &String| {
        let column = |manifest: &Manifest| -> Option<TypeName> {
            let column = manifest.columns.iter().find(|column| column.name == *name)?;
            Some(column.type_name.clone())
        };
        let mut types = csvs.iter().rev().filter_map(|(_, manifest)| Some((column(manifest)?, manifest)));
        let Some((newest, manifest)) = types.next() else {
            return Err(untold(table, &format!("column `{name}` of its key is in no CSV")));
        };
        if let Some((older, _)) = types.find(|(older, _)| family(older) != family(&newest)) {
            return Err(untold(table, &format!("column `{name}` of its key was {older} and is {newest} now")));
        }
        Sameness::of(&newest, &manifest.types).ok_or_else(|| {
            untold(table, &format!("equal values of `{name}`, a {newest} in its key, may be written in several ways"))
        })
    };
    table.key.iter().map(of).collect()
}

fn untold(table: &TableConfig, why: &str) -> Error {
    Error::new(ErrorKind::Contract, format!("table `{}`: {why}", table.name)).with_hint(format!(
        "which version of a row bronze has, its files do not tell; after `dwh resync {}` no row is in two of them until the \
         next run, or read {} instead",
        table.name, table.target
    ))
}

/// What a CSV says of rows that it lacks.
fn judge(table: &TableConfig, manifest: &Manifest, csv: u32, key: &[Sameness]) -> Option<Judge> {
    match manifest.kind {
        RunKind::Keys => {
            let high = manifest.window?.high?.micros();
            Some(Judge { csv, low: None, high, spares: HashSet::new(), marks: table.marks_deleted() })
        }
        // What was before a resync is left out already.
        RunKind::Repair => {
            let replaced = manifest.replaced()?;
            let low = (replaced.low != Timestamp::NEG_INFINITY).then(|| replaced.low.micros());
            let (high, spares) = (replaced.high.micros(), spares(table, &replaced, key));
            Some(Judge { csv, low, high, spares, marks: table.marks_deleted() })
        }
        _ => None,
    }
}

/// The spared keys, as the rows have them.
fn spares(table: &TableConfig, replaced: &Replaced, key: &[Sameness]) -> HashSet<super::history::Hash> {
    let place = |name: &String| replaced.key.iter().position(|column| column == name);
    let of = |spared: &crate::schema::RowKey| {
        let part =
            |(name, same): (&String, &Sameness)| Some(same.apply(spared.get(place(name)?)?.as_ref()?.as_bytes()));
        let parts: Option<Vec<_>> = table.key.iter().zip(key).map(part).collect();
        parts.map(|parts| hash(parts.iter().map(|part| Some(part.as_ref()))))
    };
    replaced.spares.iter().filter_map(of).collect()
}

/// The place of the watermark column, by which rows are judged.
fn stamp_of(table: &TableConfig, csv: &BlobKey, manifest: &Manifest) -> Result<usize> {
    let name = manifest.watermark_column.as_deref().unwrap_or_default();
    let found = manifest.columns.iter().position(|column| column.name == name);
    let zoned = |at: &usize| family(&manifest.columns[*at].type_name) == family(&TypeName::timestamptz());
    found.filter(zoned).ok_or_else(|| {
        untold(
            table,
            &format!("rows that are gone are told by a timestamp with time zone, which `{csv}` does not have"),
        )
    })
}
