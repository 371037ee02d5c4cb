//! `resync`: all of a table, read anew in chunks beside bronze, and put in the place of what bronze has in one transaction.
//!
//! The run of the resync takes bound and snapshot before the first chunk, cuts the table, and writes that into its manifest,
//! with a CSV of no rows. Each chunk is a run of its own, loaded into a table beside bronze. Until the swap the resync is
//! `uploaded`: whatever settles the table goes on with it, so a call that is cut off loses no chunk.

mod chunks;
mod report;

use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::{Folder, Manifest, archive};
use crate::chain::{Link, Part, Standing};
use crate::config::{Mode, OnSchemaChange, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::columns::{changed, differences};
use crate::pipeline::describe::{describe_manifest, window_report};
use crate::pipeline::failure::{failed, interrupted, named, or_stopped, told, with_way_out};
use crate::pipeline::links::after;
use crate::pipeline::transfer::Goal;
use crate::pipeline::{CauseReport, Event, Pipeline, TableRun};
use crate::plan::Plan;
use crate::run::{RunKind, RunState};
use crate::schema::{Column, TableSchema};
use crate::sink::{Commit, Committed, LogEntry, RunFilter, RunRecord, TableState};
use crate::source::SourceIdentity;
use crate::watermark::{Call, Micros, Timestamp, Window};
use chunks::Gathered;

pub use report::{ResyncReport, ResyncRequest, ResyncedTable};

impl Pipeline {
    /// Reads the tables that match anew, and puts them in the place of what bronze has: afterwards it has the columns and the
    /// rows of the source, and no other rows. A table that is read whole is run, once bronze takes its columns.
    ///
    /// Bronze is as it was until the last chunk is there. A call that was cut off is gone on with by the next one, and by
    /// whatever else loads the table.
    ///
    /// # Errors
    /// `Config` if no table matches. What went wrong with a single table stands in its report and stops no other.
    pub async fn resync(&self, request: &ResyncRequest, cancel: &CancellationToken) -> Result<ResyncReport> {
        let mut report = ResyncReport { dry_run: request.dry_run, ..ResyncReport::default() };
        let mut this = self.clone();
        this.allow_empty |= request.allow_empty;
        this.jobs = request.jobs;
        let tables = self.tables(&request.tables).await?;
        (self.observer)(&Event::TablesChosen { tables: tables.len() });
        for table in &tables {
            let mut told = ResyncedTable::of(table);
            (self.observer)(&Event::TableStarted { table: table.name.clone() });
            if let Err(error) = this.resync_table(table, request, &mut told, cancel).await
                && told.runs.last().is_none_or(|run| run.error.is_none())
            {
                let run = failed(TableRun::new(&table.name, table.mode), &named(error, &table.name));
                told.runs.push(self.ended(run));
            }
            if !request.dry_run {
                told.count();
            }
            (self.observer)(&Event::TableFinished { table: table.name.clone() });
            report.tables.push(told);
        }
        let runs = report.tables.iter().flat_map(|table| &table.runs);
        report.causes = CauseReport::among(runs.map(|run| (&run.table, &run.error)));
        Ok(report)
    }

    async fn resync_table(
        &self,
        table: &TableConfig,
        request: &ResyncRequest,
        told: &mut ResyncedTable,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        if table.mode == Mode::Files {
            return Err(Error::new(ErrorKind::Config, format!("table `{}`: it is made of files", table.name))
                .with_hint(format!("`dwh reseed {}` reads all of them again", table.name)));
        }
        if !request.dry_run {
            self.number_above_files().await?;
        }
        let lease = self.lease(table, request.wait, cancel).await?;
        let mut state = lease.state().clone();
        or_stopped(cancel, self.judge(table, &state)).await?;
        if request.dry_run {
            let (plan, _) = self.fit(table, &state).await?;
            told.chunks = match table.mode {
                Mode::Incremental => self.source(table)?.cuts(&plan, table.chunk_rows).await?.len() as u64 + 1,
                _ => 1,
            };
            return lease.release().await;
        }
        if request.restart {
            self.give_up_resyncs(table).await?;
        }
        self.recover_table(table, &mut state, &mut told.runs, cancel).await?;
        self.may_begin(table, &state).await?;
        // One that was cut off has come to its end by now.
        if table.mode != Mode::Incremental {
            self.run_whole(table, &mut state, &mut told.runs, cancel).await?;
        } else if told.runs.iter().all(|run| run.kind != RunKind::Resync) {
            self.resync_leased(table, &mut state, &mut told.runs, cancel).await?;
        }
        lease.release().await
    }

    /// Before a run: brings bronze to the columns of the source, if the configuration says so and they differ in more than
    /// that some only came, or only went. Says whether it did.
    pub(super) async fn follow_schema(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        fitted: &(Plan, Option<TableSchema>),
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<bool> {
        if !changed(fitted) {
            return Ok(false);
        }
        let found = differences(fitted);
        if table.mode == Mode::Incremental {
            self.warn(&table.name, &format!("{found}: the table is read anew, as a whole"));
            self.resync_leased(table, state, runs, cancel).await?;
        } else {
            self.warn(&table.name, &format!("{found}: bronze follows"));
            self.sink.fit_columns(&fitted.0.load(false)).await?;
        }
        Ok(true)
    }

    /// The same for whatever reads a part of the table and has no lease yet.
    pub(crate) async fn follow_first(
        &self,
        table: &TableConfig,
        wait: bool,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if table.on_schema_change != OnSchemaChange::Resync {
            return Ok(());
        }
        let lease = self.lease(table, wait, cancel).await?;
        let mut state = lease.state().clone();
        // One that cannot go on is left to what begins it anew.
        if self.judge(table, &state).await.is_ok() {
            self.recover_table(table, &mut state, runs, cancel).await?;
            let fitted = self.fit(table, &state).await?;
            self.follow_schema(table, &mut state, &fitted, runs, cancel).await?;
        }
        lease.release().await
    }

    /// A table that is read whole.
    async fn run_whole(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let (plan, bronze) = self.fit(table, state).await?;
        if bronze.is_some_and(|bronze| !plan.load(false).drift(&bronze).is_empty()) {
            self.sink.fit_columns(&plan.load(false)).await?;
        }
        self.run_leased(table, (state, None), cancel, runs).await
    }

    /// Under the lease: cuts the table, reads it, and swaps.
    async fn resync_leased(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let (plan, bronze) = self.fit(table, state).await?;
        if bronze.is_none() {
            return plan.check_bronze(None);
        }
        if !table.is_appended() {
            plan.load(false).check_stamp()?;
        }
        let mut run = TableRun::new(&table.name, table.mode);
        run.kind = RunKind::Resync;
        match self.cut(&plan, state, &mut run, cancel).await {
            Ok((manifest, record)) => self.gather(&plan, state, &manifest, &record, runs, cancel).await,
            Err(error) => Err(self.end_resync(run, &named(error, &table.name), runs).await),
        }
    }

    /// Begins the resync: bound, snapshot and cuts, in a manifest beside a CSV of no rows.
    async fn cut(
        &self,
        plan: &Plan,
        state: &TableState,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<(Manifest, RunRecord)> {
        let table = &plan.table;
        let mut slice = self.begin(&plan.clone().into(), state, RunKind::Resync, run).await?;
        // As a table is read that was never read before, but in one window.
        let whole = Plan { table: TableConfig { window: Micros::ZERO, ..table.clone() }, ..plan.clone() };
        let fresh = TableState {
            last_extracted_at: Some(Timestamp::SEED),
            source_clock: state.source_clock,
            undrained: state.undrained.clone(),
            ..TableState::default()
        };
        let started = slice.record.run_started_at;
        let (ahead, cuts) = tokio::select! {
            both = async {
                // A call that ends at some moment would leave out rows that bronze has.
                let ahead = Self { until: None, ..self.clone() }.ahead(&whole, &fresh, started, Call::First).await?;
                Ok::<_, Error>((ahead, self.source(table)?.cuts(plan, table.chunk_rows).await?))
            } => both?,
            () = cancel.cancelled() => return Err(interrupted()),
        };
        // What was proven once stays so.
        let watermark = ahead.window.watermark.max(state.low());
        let high = ahead.window.high.map(|high| high.max(watermark));
        let window = Window { low: Timestamp::NEG_INFINITY, high, watermark };
        run.window = Some(window_report(window));
        (slice.window, slice.bound, slice.part) = (Some(window), Some(ahead.bound), Some(Part::Cuts(cuts)));
        let bound = slice.bound.as_ref().map(|bound| bound.rule.to_string());
        (self.observer)(&Event::RunStarted { table: table.name.clone(), run_id: slice.record.run_id, bound });
        let extracted = self.transfer(&slice, Goal::Blob, run, cancel).await?;
        self.record_upload(&extracted.manifest, true, run).await?;
        Ok((extracted.manifest, slice.record))
    }

    /// Goes on with a resync that was cut off; begins anew if the table is another one by now.
    pub(super) async fn go_on_with(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        manifest: &Manifest,
        record: &RunRecord,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if table.mode != manifest.mode {
            return self.give_up(manifest, record).await;
        }
        let (plan, _) = self.fit(table, state).await?;
        let columns: Vec<Column> = plan.delivered().into_iter().map(Column::for_manifest).collect();
        let same = manifest.columns == columns
            && manifest.plan_sha256 == Some(plan.sha256())
            && (&manifest.key, &manifest.target) == (&table.key, &table.target)
            && self.is_same_server(table, manifest).await?;
        if same {
            return self.gather(&plan, state, manifest, record, runs, cancel).await;
        }
        self.warn(&table.name, "the table, or its server, is another one than when the resync began: it begins anew");
        self.give_up(manifest, record).await?;
        self.resync_leased(table, state, runs, cancel).await
    }

    async fn is_same_server(&self, table: &TableConfig, manifest: &Manifest) -> Result<bool> {
        let now = self.source(table)?.identity().await?;
        Ok(now.as_ref().map(SourceIdentity::history) == history(manifest))
    }

    /// Reads the chunks that are left, and swaps. The error is in a report already.
    async fn gather(
        &self,
        plan: &Plan,
        state: &mut TableState,
        manifest: &Manifest,
        record: &RunRecord,
        runs: &mut Vec<TableRun>,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let started = Instant::now();
        let table = &plan.table;
        let mut run = TableRun::new(&table.name, table.mode);
        (run.run_id, run.kind, run.status) = (Some(record.run_id), RunKind::Resync, RunState::Uploaded);
        run.csv_path = Some(self.address(&manifest.csv));
        let done = async {
            let gathered = self.chunks(plan, state, manifest, runs, cancel).await?;
            self.put_in(plan, state, manifest, record, &gathered, &mut run).await
        };
        match done.await {
            Ok(()) => {
                run.seconds.total = started.elapsed().as_secs_f64();
                runs.push(self.ended(run));
                Ok(())
            }
            Err(error) => {
                let error = with_way_out(named(error, &table.name), &run);
                Err(self.end_resync(run, &error, runs).await)
            }
        }
    }

    /// The swap, under the run of the resync.
    async fn put_in(
        &self,
        plan: &Plan,
        state: &mut TableState,
        manifest: &Manifest,
        record: &RunRecord,
        gathered: &Gathered,
        run: &mut TableRun,
    ) -> Result<()> {
        self.enter_loading(manifest, &self.run_of(record.run_id).await?.unwrap_or_else(|| record.clone())).await?;
        run.status = RunState::Loading;
        let started = Instant::now();
        let place = Standing::from(&*state).place(&Link::from(manifest));
        let mut load = plan.load(false);
        load.allow_empty |= self.allow_empty;
        load.replaced = manifest.replaced();
        let becomes = after(state, manifest, place, &[]).map(|becomes| TableState {
            // What loads brought before is not there any more, or is kept for good.
            columns: Some(manifest.columns.iter().map(|column| column.name.clone()).collect()),
            ..becomes
        });
        let commit =
            Commit { newest: gathered.newest, ..Commit::of(record.run_id, Some(gathered.rows), state.clone()) };
        let Committed { counts, state: now, .. } =
            self.sink.swap(&load, &gathered.apart, commit.becoming(becomes)).await?;
        describe_manifest(run, manifest, Some(self.address(&manifest.csv)));
        run.rows_extracted = gathered.rows;
        run.seconds.commit = started.elapsed().as_secs_f64();
        run.status = RunState::Loaded;
        crate::pipeline::commit::tell_counts(run, &counts);
        run.watermark = now.last_extracted_at;
        *state = now;
        let moved = archive(self.blobs.as_ref(), &self.layout, manifest).await?;
        run.csv_path = Some(self.address(&moved.csv));
        Ok(())
    }

    /// Puts the failed run into log and report.
    async fn end_resync(&self, mut run: TableRun, error: &Error, runs: &mut Vec<TableRun>) -> Error {
        self.log_failure(&mut run, error).await;
        let run = failed(run, error);
        runs.push(self.ended(run));
        told()
    }

    /// Forgets a resync that was cut off: its CSV has no row, and nobody needs its chunks.
    async fn give_up(&self, manifest: &Manifest, record: &RunRecord) -> Result<()> {
        if record.status != RunState::Failed {
            let message = "the resync was given up; another one reads all chunks".to_owned();
            self.sink.log(LogEntry::Failed { run_id: record.run_id, message, kind: None }).await?;
        }
        // In this order: what is left of a cut off call is known to be nothing.
        self.blobs.delete(&manifest.csv).await?;
        self.blobs.delete(&manifest.csv.manifest()).await
    }

    /// The same for all of a table that wait.
    async fn give_up_resyncs(&self, table: &TableConfig) -> Result<()> {
        for (manifest, record) in self.waiting_resyncs(table).await? {
            self.give_up(&manifest, &record).await?;
        }
        Ok(())
    }

    /// Before an extract alone: what it reads would come into bronze after chunks that were read later.
    pub(super) async fn refuse_under_resync(&self, table: &TableConfig) -> Result<()> {
        let Some((manifest, _)) = self.waiting_resyncs(table).await?.pop() else { return Ok(()) };
        let (name, run_id) = (&table.name, manifest.run_id);
        Err(Error::new(ErrorKind::Contract, format!("table `{name}`: resync {run_id} has not come to its end"))
            .with_hint(format!("`dwh resync {name}` goes on with it, and so does `dwh run {name}`")))
    }

    /// How many chunks of a resync that was cut off are left, and how many are loaded; `None` if none waits.
    pub(crate) async fn chunks_left(&self, table: &TableConfig) -> Result<Option<(u64, u64)>> {
        let Some((manifest, _)) = self.waiting_resyncs(table).await?.pop() else { return Ok(None) };
        let Some(Part::Cuts(cuts)) = &manifest.part else { return Ok(None) };
        let loaded = self.loaded_chunks(table, &manifest).await?.len() as u64;
        Ok(Some(((cuts.len() as u64 + 1).saturating_sub(loaded), loaded)))
    }

    async fn waiting_resyncs(&self, table: &TableConfig) -> Result<Vec<(Manifest, RunRecord)>> {
        let mut found = Vec::new();
        for (_, manifest) in self.held(table, Folder::Exports, None).await?.complete.into_values() {
            let record = match manifest.kind {
                RunKind::Resync => self.record_of(table, manifest.run_id).await?,
                _ => None,
            };
            found.extend(record.filter(|record| record.status != RunState::Loaded).map(|record| (manifest, record)));
        }
        Ok(found)
    }

    /// A chunk whose resync is over: nobody needs it.
    pub(super) async fn leave_out(&self, manifest: &Manifest) -> Result<()> {
        let Some(record) = self.run_of(manifest.run_id).await? else { return Ok(()) };
        if record.status == RunState::Loaded {
            return archive(self.blobs.as_ref(), &self.layout, manifest).await.map(drop);
        }
        self.give_up(manifest, &record).await
    }

    /// Loaded chunks of a resync, from the run log.
    async fn loaded_chunks(&self, table: &TableConfig, manifest: &Manifest) -> Result<Vec<RunRecord>> {
        let filter = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::Chunk),
            states: vec![RunState::Loaded],
            after: Some(manifest.run_id),
            ..RunFilter::default()
        };
        self.sink.runs(&filter).await
    }
}

/// The server that it was read from.
fn history(manifest: &Manifest) -> Option<(&str, i64)> {
    manifest.snapshot.as_ref().map(|snapshot| snapshot.identity.history())
}
