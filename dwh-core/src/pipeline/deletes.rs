//! `deletes`: the keys of the source, read in one snapshot and compared with bronze: rows whose keys are not among them are
//! gone there. A run of its own, of kind `keys`, with a CSV, a manifest and a commit like any other.
//!
//! Under the lease every row of bronze was read in an older snapshot, so a key that this one lacks was deleted. Rows above
//! the bound are left to the next time: a standby that is asked today may be behind the one of yesterday.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::{Body, Folder, Manifest};
use crate::config::{Deletes, Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::archived::Archived;
use crate::pipeline::belongs::is_behind;
use crate::pipeline::describe::window_report;
use crate::pipeline::failure::{failed, interrupted, named, or_stopped, told, with_way_out};
use crate::pipeline::report::one_code;
use crate::pipeline::transfer::{Slice, stopped};
use crate::pipeline::{CauseReport, ErrorReport, Event, Pipeline, TableRun};
use crate::plan::{LoadPlan, Plan};
use crate::run::{RunId, RunKind, RunState};
use crate::schema::RowKey;
use crate::sink::{Gone, RunFilter, Staged, TableState};
use crate::source::{BoundRequest, Snapshot};
use crate::watermark::{Timestamp, Window};

/// How many keys of rows that are gone a dry run names.
const KEYS_NAMED: usize = 10;

/// What `deletes` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DeletesRequest {
    /// Globs over table names; empty: all that mark or remove deleted rows.
    pub tables: Vec<String>,
    /// Wait where another run holds a table, instead of failing with `Locked`.
    pub wait: bool,
    /// Go on though the source has no key, or more rows would go than `deletes_max` allows.
    pub force: bool,
    /// Only count, and name the first keys.
    pub dry_run: bool,
}

impl DeletesRequest {
    /// The tables that match; empty: all that mark or remove deleted rows.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// One table of `deletes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableDeletes {
    /// The table's name in the configuration.
    pub table: String,
    /// What happens to a row that is gone: `mark` or `remove`.
    pub deletes: Deletes,
    /// Rows at or below this were judged; a number where the watermark is one.
    pub up_to: Option<Timestamp>,
    /// Keys that the source has.
    pub keys: u64,
    /// Rows of bronze that were judged.
    pub rows_compared: u64,
    /// Rows that were marked or removed, or would be.
    pub rows_gone: u64,
    /// Rows that lost the mark, or would.
    pub rows_back: u64,
    /// Of a dry run: the first keys of the rows that are gone.
    pub first_keys: Vec<RowKey>,
    /// What was done: what an earlier run had left, then the run of the keys.
    pub runs: Vec<TableRun>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

/// What `deletes` did, or would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DeletesReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// One entry a table.
    pub tables: Vec<TableDeletes>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl DeletesReport {
    /// 0 if every table went well; the one code of all that failed; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.tables.iter().filter_map(|table| table.error.as_ref()).map(|error| error.exit_code))
    }
}

impl TableDeletes {
    fn of(table: &TableConfig) -> Self {
        Self {
            table: table.name.clone(),
            deletes: table.deletes,
            up_to: None,
            keys: 0,
            rows_compared: 0,
            rows_gone: 0,
            rows_back: 0,
            first_keys: Vec::new(),
            runs: Vec::new(),
            error: None,
        }
    }

    /// Its runs; what went wrong outside of them is a failed one.
    pub(crate) fn into_runs(self) -> Vec<TableRun> {
        let mut runs = self.runs;
        if let Some(error) = self.error.filter(|_| runs.iter().all(|run| run.error.is_none())) {
            let mut run = TableRun::new(&self.table, Mode::Incremental);
            (run.kind, run.status, run.error) = (RunKind::Keys, RunState::Failed, Some(error));
            runs.push(run);
        }
        runs
    }

    fn tell(&mut self, run: &TableRun, gone: Gone) {
        self.up_to = run.window.and_then(|window| window.to);
        self.keys = gone.keys;
        self.rows_compared = gone.rows_compared;
        (self.rows_gone, self.rows_back, self.first_keys) = (gone.rows_gone, gone.rows_back, gone.first_keys);
    }
}

impl Pipeline {
    /// Finds rows of bronze that the source has deleted, and marks or removes them, as each table says.
    ///
    /// The keys of the source are read in one snapshot and kept as a CSV with a manifest. Rows above the bound are not
    /// judged, so rows that are inserted meanwhile are safe. What earlier runs left is loaded first. May be repeated.
    ///
    /// # Errors
    /// `Config` if no table matches, or none of them says what to do with deleted rows. What went wrong with a single table
    /// stands in its report: `Data` if the source has no key, or more rows would go than `deletes_max` allows.
    pub async fn deletes(&self, request: &DeletesRequest, cancel: &CancellationToken) -> Result<DeletesReport> {
        let chosen = self.tables(&request.tables).await?;
        let tables: Vec<&TableConfig> = chosen.iter().filter(|table| table.deletes != Deletes::Keep).collect();
        if tables.is_empty() {
            return Err(none_looks(&request.tables));
        }
        let this = Self { force_deletes: request.force, ..self.clone() };
        let mut report = DeletesReport { dry_run: request.dry_run, ..DeletesReport::default() };
        for table in tables {
            (self.observer)(&Event::TableStarted { table: table.name.clone() });
            let mut found = TableDeletes::of(table);
            let done = match request.dry_run {
                true => this.count_deleted(table, request.wait, &mut found, cancel).await,
                false => this.take_deleted(table, request.wait, &mut found, cancel).await,
            };
            let of_run = found.runs.iter().rev().find_map(|run| run.error.clone());
            found.error = done.err().map(|error| of_run.unwrap_or_else(|| (&named(error, &table.name)).into()));
            (self.observer)(&Event::TableFinished { table: table.name.clone() });
            report.tables.push(found);
        }
        report.causes = CauseReport::among(report.tables.iter().map(|one| (&one.table, &one.error)));
        Ok(report)
    }

    async fn take_deleted(
        &self,
        table: &TableConfig,
        wait: bool,
        found: &mut TableDeletes,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        self.number_above_files().await?;
        let lease = self.lease(table, wait, cancel).await?;
        let mut state = lease.state().clone();
        or_stopped(cancel, self.judge(table, &state)).await?;
        self.recover_table(table, &mut state, &mut found.runs, cancel).await?;
        let mut added = Vec::new();
        let plan = or_stopped(cancel, self.plan_to_load(table, &state, &mut added)).await?;
        refuse_unloaded(table, &state)?;
        let (mut run, gone) = self.keys_run(&plan, &mut state, cancel).await;
        run.columns_added = added;
        found.tell(&run, gone);
        let failure = run.error.is_some();
        found.runs.push(run);
        if failure { Err(told()) } else { lease.release().await }
    }

    /// Whether a run that is up to date looks for deletes too: nobody did for as long as the configuration says. A look that
    /// was refused counts, for the next one would be refused as well; one that broke off does not.
    pub(super) async fn deletes_due(&self, table: &TableConfig, state: &TableState) -> Result<bool> {
        let asked = table.deletes != Deletes::Keep && table.deletes_every.0 > 0 && self.until.is_none();
        if !asked || !state.low().is_finite() {
            return Ok(false);
        }
        let last = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::Keys),
            limit: Some(1),
            ..RunFilter::default()
        };
        let Some(last) = self.sink.runs(&last).await?.pop() else { return Ok(true) };
        let refused = last.error_code.as_deref() == Some(ErrorKind::Data.row().code);
        let counts = last.status == RunState::Loaded || refused;
        let now = self.sink.now().await?;
        Ok(!counts || now.since(last.run_started_at) >= table.deletes_every)
    }

    /// The run that reads the keys and loads them, and what it found. An error is in its report.
    pub(super) async fn keys_run(
        &self,
        plan: &Arc<Plan>,
        state: &mut TableState,
        cancel: &CancellationToken,
    ) -> (TableRun, Gone) {
        let (started, table) = (Instant::now(), &plan.table);
        let mut run = TableRun { kind: RunKind::Keys, ..TableRun::new(&table.name, table.mode) };
        let found = Arc::new(OnceLock::new());
        let done = async {
            let slice = self.begin(plan, state, RunKind::Keys, &mut run).await?;
            let slice = Slice { gone: Arc::clone(&found), ..slice };
            let slice = self.of_keys(slice, &mut run, cancel).await?;
            let bound = slice.bound.as_ref().map(|bound| bound.rule.to_string());
            (self.observer)(&Event::RunStarted { table: table.name.clone(), run_id: slice.record.run_id, bound });
            self.run_slice(slice, state, &mut run, cancel).await
        };
        let done: Result<Manifest> = done.await;
        let gone = found.get().cloned().unwrap_or_default();
        if let Err(error) = done {
            let error = with_way_out(named(error, &table.name), &run);
            self.log_failure(&mut run, &error).await;
            run = failed(run, &error);
        }
        run.seconds.total = started.elapsed().as_secs_f64();
        (self.ended(run), gone)
    }

    /// The same slice, which reads the keys alone: the bound is taken before the snapshot, and never above the watermark.
    async fn of_keys(&self, mut slice: Slice, run: &mut TableRun, cancel: &CancellationToken) -> Result<Slice> {
        let plan = Arc::clone(&slice.plan);
        plan.load(false).check_stamp()?;
        let low = slice.state.low();
        let request = BoundRequest {
            plan: &plan,
            low,
            run_started_at: slice.record.run_started_at,
            undrained: slice.state.undrained.as_ref(),
        };
        let source = self.source(&plan.table)?;
        let bound = tokio::select! {
            bound = source.bound(request) => bound?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        let high = bound.watermark.min(low);
        let window = Window { low: Timestamp::NEG_INFINITY, high: Some(high), watermark: low };
        run.window = Some(window_report(window));
        slice.plan = Arc::new(plan.keys_only());
        slice.keys = slice.plan.load(false).comparing(high, slice.record.run_started_at, &plan.source)?.keys;
        (slice.window, slice.bound) = (Some(window), Some(bound));
        Ok(slice)
    }

    /// Before the manifest of keys is written: nothing may go that looks like a mistake.
    ///
    /// # Errors
    /// `Data` if the source has no key, or more rows are gone than may go at once; `Contract` if the snapshot is older than
    /// what bronze holds.
    pub(super) async fn guard_deletes(
        &self,
        slice: &Slice,
        manifest: &Manifest,
        staged: &mut dyn Staged,
    ) -> Result<()> {
        refuse_older(slice, manifest.snapshot.as_ref())?;
        let gone = staged.gone(0).await?;
        let may_go = self.may_go(&slice.plan.table, manifest.rows, &gone);
        let _first = slice.gone.set(gone);
        may_go
    }

    /// Counts under the lease what a look would find; nothing is kept.
    async fn count_deleted(
        &self,
        table: &TableConfig,
        wait: bool,
        found: &mut TableDeletes,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let lease = self.lease(table, wait, cancel).await?;
        let state = lease.state().clone();
        or_stopped(cancel, self.judge(table, &state)).await?;
        let (plan, bronze) = or_stopped(cancel, self.fit(table, &state)).await?;
        plan.check_bronze(bronze.as_ref())?;
        refuse_unloaded(table, &state)?;
        let record = self.would_begin(table, RunKind::Keys).await?;
        let slice = Slice::new(RunKind::Keys, Arc::new(plan), state, record);
        let mut run = TableRun::new(&table.name, table.mode);
        let slice = self.of_keys(slice, &mut run, cancel).await?;
        let extract = self.open(&slice, &mut run, cancel).await?;
        let stage = self.spawn_stage(&slice, &extract, false);
        let ((ended, totals), _) = extract.pump(&self.observer).await?;
        refuse_older(&slice, Some(ended.snapshot()))?;
        let (mut staged, _) = tokio::select! {
            done = stage => done.map_err(stopped)??,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        let gone = tokio::select! {
            gone = staged.gone(KEYS_NAMED) => Some(gone?),
            () = cancel.cancelled() => None,
        };
        let Some(gone) = gone else {
            staged.stop().await;
            return Err(interrupted());
        };
        let may_go = self.may_go(table, totals.rows, &gone);
        found.tell(&run, gone);
        drop(staged);
        lease.release().await?;
        may_go
    }

    fn may_go(&self, table: &TableConfig, keys: u64, gone: &Gone) -> Result<()> {
        refusal(table, keys, gone).filter(|_| !self.force_deletes).map_or(Ok(()), Err)
    }

    /// Before an older CSV is loaded: the newest keys that were read after it, if it has rows that may be gone by now.
    pub(super) async fn keys_after(
        &self,
        table: &TableConfig,
        manifest: &Manifest,
        older: bool,
    ) -> Result<Option<(LoadPlan, Arc<dyn Body>)>> {
        if !older || table.deletes == Deletes::Keep || manifest.kind == RunKind::Keys {
            return Ok(None);
        }
        let files = self.held(table, Folder::Processed, Some(manifest.run_id)).await?;
        self.newer_keys(table, manifest.run_id, &files.complete).await
    }

    /// The newest keys among these files that were read after a run: what they lack, and bronze too, was deleted since.
    pub(super) async fn newer_keys(
        &self,
        table: &TableConfig,
        run: RunId,
        files: &Archived,
    ) -> Result<Option<(LoadPlan, Arc<dyn Body>)>> {
        let mut newer = files.range(RunId(run.0.saturating_add(1))..).rev();
        let newest = newer.find(|(_, (_, manifest))| manifest.kind == RunKind::Keys);
        let Some((csv, manifest)) = newest.map(|(_, found)| found).filter(|_| table.deletes != Deletes::Keep) else {
            return Ok(None);
        };
        let Some(bronze) = self.sink.describe(&table.target).await? else { return Ok(None) };
        let load = manifest.load_plan(false).as_configured(table).with_types_of(&bronze);
        let load = manifest.compared(load, &bronze)?;
        Ok(Some((load, self.stored_csv(csv, manifest))))
    }
}

pub(crate) fn none_looks(globs: &[String]) -> Error {
    let which = if globs.is_empty() { "no table" } else { "none of these tables" };
    Error::new(ErrorKind::Config, format!("{which} says what becomes of rows that the source has deleted")).with_hint(
        "write `deletes = \"mark\"` or `deletes = \"remove\"` under a `[[table]]` of mode `incremental`, or under its \
         `[[manifest]]`; then `dwh migrate`",
    )
}

fn refuse_unloaded(table: &TableConfig, state: &TableState) -> Result<()> {
    if state.low().is_finite() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Contract,
        format!("table `{}`: nothing is loaded yet, so there is nothing to compare", table.name),
    )
    .with_hint(format!("`dwh run {}` loads it first", table.name)))
}

/// Refuses keys of a server that is behind the one that bronze was loaded from.
fn refuse_older(slice: &Slice, snapshot: Option<&Snapshot>) -> Result<()> {
    let (state, table) = (&slice.state, &slice.plan.table);
    if !snapshot.is_some_and(|now| is_behind(state, now)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Busy,
        format!("table `{}`: source `{}` is behind the server that the last run has read", table.name, table.source),
    )
    .with_hint("nothing was marked or removed; call it again once the standby has caught up"))
}

/// Why that many rows do not go without a word from a person.
fn refusal(table: &TableConfig, keys: u64, gone: &Gone) -> Option<Error> {
    let Gone { rows_compared, rows_gone, .. } = *gone;
    if rows_gone == 0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "a share in percent needs no more than 15 digits")]
    let share = rows_gone as f64 * 100.0 / rows_compared as f64;
    let what = match table.deletes {
        Deletes::Remove => "removed from",
        _ => "marked in",
    };
    let (name, target) = (&table.name, &table.target);
    let message = if keys == 0 {
        format!("table `{name}`: the source has no row, and all {rows_gone} rows in question would be {what} {target}")
    } else if share > table.deletes_max {
        format!(
            "table `{name}`: {rows_gone} of {rows_compared} rows ({share:.1} %) would be {what} {target}, and `deletes_max` \
             is {}%",
            table.deletes_max
        )
    } else {
        return None;
    };
    Some(Error::new(ErrorKind::Data, message).with_hint(format!(
        "nothing was changed; `dwh deletes {name} --dry-run` names the first keys. If they were deleted on purpose: `dwh deletes \
         {name} --force`, or a higher `deletes_max`"
    )))
}
