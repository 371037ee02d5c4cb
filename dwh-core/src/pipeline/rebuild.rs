//! `rebuild`: bronze, watermarks and run log made anew from the blob store alone. No source is asked.

mod archive;
mod relations;
mod together;

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobKey, Manifest};
use crate::chain::{Link, Standing};
use crate::config::{Deletes, Discovered, Mode};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::archived::{GapReport, lacking, whole_from};
use crate::pipeline::describe::finite;
use crate::pipeline::failure::{interrupted, named};
use crate::pipeline::links::{after, still_known};
use crate::pipeline::report::one_code;
use crate::pipeline::{CauseReport, ErrorReport, Pipeline, TableRun};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunState};
use crate::schema::Delivered;
use crate::sink::{Commit, LeftView, LogEntry, StageRequest, TableState};
use crate::watermark::Timestamp;

use archive::Archive;

/// What `rebuild` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RebuildRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Put aside what is there of these tables, into a schema of its own, instead of refusing.
    pub reset: bool,
    /// Go on with what there is, though CSV files that were loaded once are gone.
    pub accept_gaps: bool,
}

impl RebuildRequest {
    /// A rebuild of the tables that match, refused where something is there already.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// One table of `rebuild`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RebuiltTable {
    /// The table's name in the configuration.
    pub table: String,
    /// The bronze table.
    pub target: String,
    /// CSV files that make up the table.
    pub csvs: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes in them, uncompressed.
    pub bytes: u64,
    /// CSV files in `exports/`, which the next run loads.
    pub waiting: u64,
    /// CSV files loaded now.
    pub csvs_loaded: u64,
    /// Rows inserted or updated now.
    pub rows_loaded: u64,
    /// Whether the table was made anew now, with all of its CSV files.
    #[serde(default)]
    pub made: bool,
    /// Where the watermark stands now.
    pub watermark: Option<Timestamp>,
    /// What was loaded once and is in no CSV any more; the run log keeps the gap, and `dwh recover` tells of it.
    pub gaps: Vec<GapReport>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

/// What `rebuild` did, or would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RebuildReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// What is there already, and so is in the way unless it is put aside.
    pub in_the_way: Vec<String>,
    /// The schema into which it was put.
    pub backup: Option<String>,
    /// The tables in that schema.
    pub backup_tables: Vec<String>,
    /// The views that go on reading what is put aside, or was, each with its remedy.
    #[serde(default)]
    pub views_left_behind: Vec<LeftView>,
    /// SQL that brings all of it back to where it was; what was rebuilt goes into a schema of its own then.
    pub restore_sql: Option<String>,
    /// One entry a table.
    pub tables: Vec<RebuiltTable>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl RebuildReport {
    /// 0 if every table went well; the one code of all that failed; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.tables.iter().filter_map(|table| table.error.as_ref()).map(|error| error.exit_code))
    }
}

impl Pipeline {
    /// Makes control schema, bronze tables, run log and watermarks anew from the CSV files and manifests alone, so that
    /// the next run continues where the newest loaded CSV left off.
    ///
    /// Runs keep their numbers. A CSV in `exports/` becomes an `uploaded` run, which the next `run` loads. What is
    /// there of these tables already is refused, or put aside with `reset`; nothing is ever dropped. A call that was
    /// cut off leaves tables half built: call it again with `reset`.
    ///
    /// # Errors
    /// `Config` if no table matches; `Contract` if something is in the way, or the target may not be changed. What went
    /// wrong with a single table stands in its report.
    pub async fn rebuild(&self, request: &RebuildRequest, cancel: &CancellationToken) -> Result<RebuildReport> {
        let found = self.archived_relations().await?;
        let mut report = self.with_discovered(&found)?.rebuild_known(&found, request, cancel).await?;
        report.causes = CauseReport::among(report.tables.iter().map(|one| (&one.table, &one.error)));
        Ok(report)
    }

    /// The same, once it is known which tables there are.
    async fn rebuild_known(
        &self,
        found: &[Discovered],
        request: &RebuildRequest,
        cancel: &CancellationToken,
    ) -> Result<RebuildReport> {
        let mut archives = self.archives(request).await?;
        let mut report = RebuildReport { dry_run: request.dry_run, ..RebuildReport::default() };
        report.tables = archives.iter().map(Archive::report).collect();
        let loads: Vec<LoadPlan> = archives.iter().filter_map(Archive::table).collect();
        report.in_the_way = self.sink.occupied(&loads).await?;
        if !report.in_the_way.is_empty() {
            report.views_left_behind = self.sink.left_behind(&loads).await?;
        }
        if !request.accept_gaps {
            refuse_gaps(&mut report.tables);
        }
        // Before anything is put aside.
        if request.dry_run || report.tables.iter().any(|table| table.error.is_some()) {
            if !request.dry_run {
                not_made(&mut report.tables);
            }
            return Ok(report);
        }
        if !report.in_the_way.is_empty() {
            if !request.reset {
                return Err(occupied(&report.in_the_way, &request.tables));
            }
            // Afterwards new runs get numbers above all files, and nothing tells any more that a table is behind its own.
            self.number_above_files().await?;
            self.end_dead_extracts(&archives).await?;
            let moved = self.sink.move_away(&loads).await?;
            (report.backup, report.backup_tables) = (Some(moved.schema), moved.tables);
            report.restore_sql = Some(moved.restore_sql);
            // A run may have ended while they were looked at. The run log that knew what is gone is put aside.
            let now = self.archives(request).await.map_err(|error| put_aside(error, &report))?;
            archives = now.into_iter().zip(archives).map(|(now, before)| now.lacking_as(before)).collect();
            report.tables = archives.iter().map(Archive::report).collect();
        }
        match self.rebuild_all(&archives, found, &mut report, cancel).await {
            Ok(()) => Ok(report),
            Err(error) => Err(put_aside(error, &report)),
        }
    }

    async fn archives(&self, request: &RebuildRequest) -> Result<Vec<Archive>> {
        let mut archives = Vec::new();
        for table in self.config.select(&request.tables)? {
            archives.push(self.archive_of(table).await.map_err(|error| named(error, &table.name))?);
        }
        Ok(archives)
    }

    /// Removes what killed runs left unfinished in `exports/`: the run log that proves whose it is will be put aside.
    async fn end_dead_extracts(&self, archives: &[Archive]) -> Result<()> {
        let known = self.sink.overview().await?.tables;
        for table in archives.iter().map(|archive| &archive.table).filter(|table| known.contains_key(&table.name)) {
            let held = |error: Error| match error.kind() {
                ErrorKind::Locked => {
                    error.with_hint("nothing was put aside; stop the schedules, wait for the run, then call it again")
                }
                _ => error,
            };
            let lease = self.sink.lease(&table.name, false).await.map_err(held)?;
            self.fail_dead_extracts(table, lease.state()).await?;
            lease.release().await?;
        }
        Ok(())
    }

    async fn rebuild_all(
        &self,
        archives: &[Archive],
        found: &[Discovered],
        report: &mut RebuildReport,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let loads: Vec<LoadPlan> = archives.iter().filter_map(Archive::table).collect();
        self.sink.make_tables(&loads).await?;
        let is_made = |one: &&Discovered| archives.iter().any(|archive| archive.table.name == one.table);
        let made: Vec<Discovered> = found.iter().filter(is_made).cloned().collect();
        self.sink.remember(&self.config.project.name, &made).await?;
        let above = self.highest_run().await?;
        for (archive, told) in archives.iter().zip(&mut report.tables).filter(|(archive, _)| !archive.is_empty()) {
            match self.rebuild_table(archive, above, told, cancel).await {
                Ok(()) => told.made = true,
                Err(error) => told.error = Some((&half_built(error, &archive.table.name)).into()),
            }
        }
        Ok(())
    }

    async fn rebuild_table(
        &self,
        archive: &Archive,
        above: RunId,
        told: &mut RebuiltTable,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let lease = self.sink.lease(&archive.table.name, false).await?;
        let mut state = lease.state().clone();
        let mut empties = BTreeSet::new();
        // A row that is gone at the source, and stays with a mark, stands in older files alone.
        let marks = archive.table.deletes == Deletes::Mark;
        let whole_from = whole_from(&archive.table, &archive.loaded).filter(|_| !marks);
        let together = match whole_from {
            None => self.load_together(archive, above, &mut empties, &mut state, told, cancel).await?,
            Some(_) => 0,
        };
        for file in archive.loaded.values().skip(together) {
            let (csv, manifest) = file;
            if cancel.is_cancelled() {
                return Err(interrupted());
            }
            // Of snapshots only the last one is left in bronze, and of rows those that a resync read, or later runs.
            let replaced = match manifest.mode {
                Mode::Snapshot => Some(manifest.run_id) != archive.newest_loaded(),
                _ => whole_from.is_some_and(|resync| manifest.run_id < resync),
            };
            self.restore_next(archive, file, replaced, &mut empties, above).await?;
            if !replaced {
                self.load_restored(archive, csv, manifest, &mut state, told, cancel).await?;
            }
        }
        for (csv, manifest) in archive.waiting.values() {
            self.restore(csv, manifest, false, above).await?;
        }
        told.watermark = state.last_extracted_at.filter(|at| *at > Timestamp::SEED).and_then(finite);
        lease.release().await
    }

    /// The row of a run, after that of the run before it that found nothing, if there is one.
    async fn restore_next(
        &self,
        archive: &Archive,
        (csv, manifest): &(BlobKey, Manifest),
        replaced: bool,
        empties: &mut BTreeSet<RunId>,
        above: RunId,
    ) -> Result<()> {
        // Two extracts without a load between them name the same one.
        if let Some(empty) = archive.empty_before(manifest).filter(|empty| empties.insert(empty.run_id)) {
            self.restore_empty(manifest, empty, above).await?;
        }
        self.restore(csv, manifest, replaced, above).await.map(drop)
    }

    async fn load_restored(
        &self,
        archive: &Archive,
        csv: &BlobKey,
        manifest: &Manifest,
        state: &mut TableState,
        told: &mut RebuiltTable,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let run_id = manifest.run_id;
        let mut run = TableRun::new(&archive.table.name, manifest.mode);
        run.run_id = Some(run_id);
        let done = async {
            self.sink.log(LogEntry::Loading { run_id, upload: None }).await?;
            run.status = RunState::Loading;
            let place = Standing::from(&*state).place_across_gap(&Link::from(manifest));
            let load =
                self.load_again(&archive.table, manifest, place.older(), Delivered::Nothing, &archive.first).await?;
            let request = StageRequest::new(&load, self.stored_csv(csv, manifest)).of(run_id, state);
            let mut staged = tokio::select! {
                staged = self.sink.stage(request) => staged?,
                () = cancel.cancelled() => return Err(interrupted()),
            };
            if load.keys.is_some() {
                staged.gone(0).await?;
            }
            let becomes = after(state, manifest, place, &[]);
            let commit = Commit::of(run_id, Some(manifest.rows), state.clone())
                .becoming(becomes)
                .knowing(still_known(state, manifest));
            *state = self.commit(staged, commit, &mut run).await?;
            Ok(())
        };
        let done: Result<()> = done.await;
        if let Err(error) = &done {
            self.log_failure(&mut run, error).await;
        }
        told.csvs_loaded += u64::from(done.is_ok());
        told.rows_loaded += run.rows_loaded;
        done
    }
}

/// A table of which CSV files are gone is not made anew without them unless a person says so.
fn refuse_gaps(tables: &mut [RebuiltTable]) {
    for table in tables.iter_mut().filter(|table| !table.gaps.is_empty()) {
        let go_on = format!("dwh rebuild {} --accept-gaps", table.table);
        table.error = Some((&lacking(&table.table, &table.gaps, &go_on)).into());
    }
}

/// What was not even begun says so, and why.
fn not_made(tables: &mut [RebuiltTable]) {
    let failed = tables.iter().filter(|table| table.error.is_some()).map(|table| format!("`{}`", table.table));
    let failed = failed.collect::<Vec<_>>().join(", ");
    for table in tables.iter_mut().filter(|table| table.error.is_none()) {
        table.notes.push(format!(
            "not made: nothing is put aside or made while a CSV of {failed} is missing; `dwh rebuild '{}'` makes this one alone",
            table.table
        ));
    }
}

fn occupied(in_the_way: &[String], tables: &[String]) -> Error {
    let globs: String = tables.iter().map(|glob| format!(" '{glob}'")).collect();
    Error::new(ErrorKind::Contract, format!("the warehouse is not empty:\n  - {}", in_the_way.join("\n  - "))).with_hint(format!(
        "rebuild into an empty database; or `dwh rebuild{globs} --reset`, which first moves these tables and rows, also what a \
         rebuild that was cut off left, into a schema `dwh_backup_…`"
    ))
}

/// The error with the place where what was there before is, if it was put aside.
fn put_aside(error: Error, report: &RebuildReport) -> Error {
    let Some(backup) = &report.backup else { return error };
    let hint =
        format!("{}\nwhat was there before is in schema `{backup}`, whose comment is the SQL to go back", error.hint());
    error.with_hint(hint)
}

/// What stopped the rebuild of a table, with what to type afterwards.
fn half_built(error: Error, table: &str) -> Error {
    let first = match error.kind() {
        ErrorKind::Interrupted => String::new(),
        _ => format!("{}\nthen ", error.hint()),
    };
    named(error, table).with_hint(format!(
        "{first}`dwh rebuild '{table}' --reset`: the table is half built, and goes into a schema `dwh_backup_…` first"
    ))
}
