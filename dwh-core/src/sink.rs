//! The trait [`Sink`]: the warehouse, with the watermark and the run log that commit together with the rows.

mod memory;
mod postgres;
mod request;

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::blob::Body;
use crate::chain::RunIdentity;
use crate::config::Discovered;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::BronzeId;
use crate::plan::LoadPlan;
use crate::run::{RunId, RunState};
use crate::schema::{RowKey, TableRef, TableSchema};
use crate::watermark::Timestamp;

pub use crate::run::{Route, Routing};

pub use crate::record::{
    Accounting, AlertClaim, AlertDue, AlertLook, AlertThing, BronzeState, Commit, Committed, DayHistory, DueThing,
    History, LeaseHolder, LeftView, LogEntry, Moved, Overview, Restore, RunFilter, RunRecord, RunSums, TableHistory,
    TableOverview, TableState, Upload,
};
pub use memory::{MemoryBackup, MemoryRow, MemorySink};
pub use postgres::PgSink;
pub use request::{RefusedRow, Rehearsal, StageRequest};

/// The warehouse.
///
/// # Contract
/// For one run of one table the pipeline calls `lease` (held until the run ends), `log(Begin)`, and then, with the
/// extract going on behind it, `stage`; `log(Uploaded)` and `log(Loading)` once the manifest is written; then
/// [`Staged::commit`]. A run that found no row calls `load_nothing` in their place. Different tables call in parallel on one value. A crash between any two calls leaves bronze and
/// the watermark as they were; the run log tells how far it came.
///
/// # The least
/// `describe`, `lease`, `runs`, `log` and `stage`, with [`Lease`] and [`Staged`], are enough for runs. Every other method says what
/// a sink without it cannot do, as the error of the verb that needs it. `testing::sink_contract` checks the promises,
/// [`MemorySink`] keeps them without a server.
///
/// # Wrappers
/// A method that is not forwarded falls back to what the trait does by itself: put `#[deny(clippy::missing_trait_methods)]` on
/// the `impl`.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// What the catalog says of a bronze table; `None` if there is none.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`, `Permission`.
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>>;

    /// The same of many tables, in their order.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    async fn describe_all(&self, targets: &[&TableRef]) -> Result<Vec<Option<TableSchema>>> {
        let mut schemas = Vec::new();
        for target in targets {
            schemas.push(self.describe(target).await?);
        }
        Ok(schemas)
    }

    /// Takes the table for one run, so that no second run of it works at the same time.
    ///
    /// # Errors
    /// `Locked`, naming the holder, if another run has it and `wait` is false; `Contract` if the table has no
    /// watermark row.
    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>>;

    /// Rows of the run log, newest first unless the filter says otherwise.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>>;

    /// Runs of a table that are not final, and those that are newer than `after`, as far as one is enough to tell that there
    /// are any.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn unsettled(&self, table: &str, after: Option<RunId>) -> Result<Vec<RunRecord>> {
        let of_table = RunFilter { table: Some(table.to_owned()), ..RunFilter::default() };
        let mut runs = self.runs(&RunFilter { states: RunState::OPEN.to_vec(), ..of_table.clone() }).await?;
        if after.is_some() {
            runs.extend(self.runs(&RunFilter { after, limit: Some(1), ..of_table }).await?);
        }
        Ok(runs)
    }

    /// Writes the entry, at once and for good, and returns the row as it is then.
    ///
    /// # Errors
    /// `Contract` if the run is in a state from which the entry's cannot follow.
    async fn log(&self, entry: LogEntry) -> Result<RunRecord>;

    /// Which table a bronze table is, and whether it is empty; `None` if there is none, or the sink cannot tell.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn bronze_id(&self, _target: &TableRef) -> Result<Option<BronzeState>> {
        Ok(None)
    }

    /// The same of many tables, in their order; `None` also for one that has to be asked for by itself.
    ///
    /// # Errors
    /// As [`bronze_id`](Self::bronze_id).
    async fn bronze_ids(&self, targets: &[&TableRef]) -> Result<Vec<Option<BronzeState>>> {
        Ok(vec![None; targets.len()])
    }

    /// Of each of these tables its runs that began at `since` or later, at most `limit`, the newest first; or else its newest
    /// one, if it has any.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn recent(&self, tables: &[&str], since: Timestamp, limit: u32) -> Result<Vec<Vec<RunRecord>>> {
        let mut runs = Vec::new();
        for table in tables {
            let newest = RunFilter { table: Some((*table).to_owned()), limit: Some(1), ..RunFilter::default() };
            let recent = RunFilter { since: Some(since), limit: Some(limit), ..newest.clone() };
            let mut found = self.runs(&recent).await?;
            if found.is_empty() {
                found = self.runs(&newest).await?;
            }
            runs.push(found);
        }
        Ok(runs)
    }

    /// Sets the watermark row back to the seed, at once and for good, if it still is as `expected` says, and returns it
    /// as it is then: what it belongs to is forgotten, so the next run begins with the first row, whatever the table is
    /// read from by now. `newest_run_id` stays, for bronze keeps its rows. Called under the lease.
    ///
    /// # Errors
    /// `Locked` if the row changed meanwhile; `Contract` if the sink cannot do it.
    async fn begin_anew(&self, table: &str, _expected: &TableState) -> Result<TableState> {
        Err(Error::new(ErrorKind::Contract, format!("table `{table}`: this sink cannot set a watermark back"))
            .with_hint("set it back where the sink keeps it, and run again"))
    }

    /// Opens the load transaction and puts the CSV into a staging area, or straight into bronze where that comes to the same
    /// rows and counts: the [route](Route) is the sink's own choice. Nothing is visible before the commit. The body may be
    /// opened more than once.
    ///
    /// # Errors
    /// The stream's own error, unchanged, if it ended in one; `Data` if a value does not fit; `Locked` if the watermark
    /// moved meanwhile, where the sink sees that before the commit.
    async fn stage(&self, request: StageRequest<'_>) -> Result<Box<dyn Staged>>;

    /// Whether it takes the CSV files of several runs [together](StageRequest::together), and marks all of these runs `loaded`
    /// by [one commit](Commit::together). A sink that does not gets them one by one.
    fn loads_together(&self) -> bool {
        false
    }

    /// Puts the CSV into a table of its own, made as bronze is or would be, and rolls that back: tells how many rows fit, and
    /// which of the others do not, the first ones.
    ///
    /// # Errors
    /// `Contract` if the sink cannot do it, or such a table cannot be made.
    async fn rehearse(&self, load: &LoadPlan, _csv: &dyn Body) -> Result<Rehearsal> {
        Err(Error::new(ErrorKind::Contract, format!("table `{}`: this sink cannot try rows", load.table))
            .with_hint("implement `rehearse` of `Sink`"))
    }

    /// Ends a run that found no row, as `log(Uploaded)`, `log(Loading)`, `stage` of a CSV without rows and its commit do, in
    /// as few transactions as the sink can. There is no CSV, and the watermark moves all the same.
    ///
    /// # Errors
    /// Those of the four; nothing has changed then but perhaps the state of the run.
    async fn load_nothing(&self, load: &LoadPlan, upload: Upload, commit: Commit) -> Result<Committed> {
        let run_id = commit.run_id;
        self.log(LogEntry::Uploaded(Box::new(upload))).await?;
        self.log(LogEntry::Loading { run_id, upload: None }).await?;
        let header = Arc::new(Bytes::from(format!("{}\n", load.header())));
        self.stage(StageRequest::new(load, header).of(run_id, &commit.expected)).await?.commit(commit).await
    }

    /// The clock, the watermark rows, and who holds which table, without taking any; a sink that has no clock of its own
    /// and cannot tell more says what this machine's clock says.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn overview(&self) -> Result<Overview> {
        Ok(Overview { now: Timestamp::now(), tables: BTreeMap::new() })
    }

    /// The relations that patterns of the project's sources have made tables, as they were [remembered](Self::remember);
    /// none where nothing can be remembered.
    ///
    /// # Errors
    /// `Unreachable`, `Auth`.
    async fn discovered(&self, _project: &str) -> Result<Vec<Discovered>> {
        Ok(Vec::new())
    }

    /// Keeps what patterns have found; what is known already stays as it is.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing, or the sink cannot remember.
    async fn remember(&self, _project: &str, found: &[Discovered]) -> Result<()> {
        match found.first() {
            None => Ok(()),
            Some(one) => {
                Err(Error::new(ErrorKind::Contract, format!("table `{}`: this sink remembers no patterns", one.table))
                    .with_hint("write a `[[table]]` for each relation instead of `include`"))
            }
        }
    }

    /// The runs of these tables that ended since the first of these days, summed up by day and by table, and the room that
    /// their bronze tables take; a sink that cannot tell says nothing. A day begins at each of the moments, which ascend, and
    /// ends where the next one begins.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn history(&self, _tables: &[(&str, &TableRef)], _days: &[Timestamp]) -> Result<History> {
        Ok(History::default())
    }

    /// The clock alone, as [`overview`](Self::overview) tells it.
    ///
    /// # Errors
    /// Those of [`overview`](Self::overview).
    async fn now(&self) -> Result<Timestamp> {
        Ok(self.overview().await?.now)
    }

    /// Removes rows of the run log, final ones only, and returns how many; a sink that keeps them for ever removes none.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn forget(&self, _runs: &[RunId]) -> Result<u64> {
        Ok(0)
    }

    /// Sees to it that new runs get numbers above this one, and returns whether that was needed; `dry_run` only tells.
    /// A sink whose numbers never begin anew has nothing to do.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing.
    async fn number_above(&self, _run: RunId, _dry_run: bool) -> Result<bool> {
        Ok(false)
    }

    /// Adds the columns of the load that bronze lacks, all of them or none; rows that are there get the value that the source
    /// gave them, as far as the column tells it.
    ///
    /// # Errors
    /// `Contract` if the sink may not do it.
    async fn add_columns(&self, load: &LoadPlan) -> Result<()> {
        Err(Error::new(ErrorKind::Contract, format!("table `{}`: this sink cannot add columns", load.table))
            .with_hint("add them where the sink keeps the table, or implement `add_columns` of `Sink`"))
    }

    /// Makes bronze take the columns of the load, all of them or nothing: rows that are there are converted, and none is
    /// lost.
    ///
    /// # Errors
    /// `Contract` if the sink may not do it; the server's own where a value does not fit the new type.
    async fn fit_columns(&self, load: &LoadPlan) -> Result<()> {
        Err(no_resync(load))
    }

    /// Makes the table beside bronze that the chunks of a resync are loaded into, and tells which table it is. The one that
    /// this resync made before stays if it is to be `kept`; what else a resync left there goes first.
    ///
    /// # Errors
    /// `Contract` if a table of that name is there which no resync made, or the sink cannot do it.
    async fn make_apart(&self, load: &LoadPlan, _resync: &RunIdentity, _kept: bool) -> Result<BronzeId> {
        Err(no_resync(load))
    }

    /// Puts all rows of the table beside bronze, which must still be `apart`, in the place of those of bronze, whose columns
    /// become what the load brings; moves the watermark, marks the run `loaded`, drops the table beside it, and commits all
    /// of it as one. Bronze stays the table that it is: grants, comments, indexes and views are kept, and so are the values
    /// of columns that the load does not bring, by key. Where each version of a row stays, the rows are added as versions.
    ///
    /// # Errors
    /// `Data` if there are other rows than the chunks had; `Contract` if something in the target holds on to the type of a
    /// column that changes; as [`Staged::commit`]. Nothing has changed then.
    async fn swap(&self, load: &LoadPlan, _apart: &BronzeId, _commit: Commit) -> Result<Committed> {
        Err(no_resync(load))
    }

    /// What there is of these tables already, a sentence each; empty when nothing is in the way of a rebuild.
    ///
    /// # Errors
    /// `Contract` if a table may not be read, or if the sink cannot be rebuilt at all.
    async fn occupied(&self, _tables: &[LoadPlan]) -> Result<Vec<String>> {
        Err(no_rebuild())
    }

    /// The views over these tables, and those over them: they go on reading what is moved away. Without an answer of its own
    /// a sink has none.
    ///
    /// # Errors
    /// `Contract` if they may not be looked at.
    async fn left_behind(&self, _tables: &[LoadPlan]) -> Result<Vec<LeftView>> {
        Ok(Vec::new())
    }

    /// Moves these tables, with their watermarks and their rows of the run log, out of the way: all of it or nothing.
    /// Nothing is dropped, and the numbers of runs go on.
    ///
    /// # Errors
    /// `Locked` while a run holds one of the tables; `Contract` if the sink may not do it.
    async fn move_away(&self, _tables: &[LoadPlan]) -> Result<Moved> {
        Err(no_rebuild())
    }

    /// Makes what is missing: the bronze tables, empty, and their watermarks, which stand at the seed. What is there
    /// stays as it is.
    ///
    /// # Errors
    /// `Contract` if the sink may not do it.
    async fn make_tables(&self, _tables: &[LoadPlan]) -> Result<()> {
        Err(no_rebuild())
    }

    /// Takes what is due of a look, at once and for good, so that of two callers one gets each thing: what is new, what goes
    /// on and was told as long ago as `repeat` says, and what was told and is over. What another caller has taken is not due
    /// until its claim [expires](AlertClaim::EXPIRES), by the sink's clock.
    ///
    /// # Errors
    /// `Contract` if the sink cannot keep it, or the control schema is missing.
    async fn claim_alerts(&self, _look: &AlertLook) -> Result<AlertClaim> {
        Err(no_alerts())
    }

    /// Ends a claim: its things were `sent`, or are due as before. One that somebody took over meanwhile stays his.
    ///
    /// # Errors
    /// Those of [`claim_alerts`](Self::claim_alerts).
    async fn settle_alerts(&self, _claim: &AlertClaim, _sent: bool) -> Result<()> {
        Err(no_alerts())
    }
}

fn no_alerts() -> Error {
    Error::new(ErrorKind::Contract, "this sink cannot keep which alerts were sent")
        .with_hint("implement `claim_alerts` and `settle_alerts` of `Sink`")
}

fn no_resync(load: &LoadPlan) -> Error {
    Error::new(
        ErrorKind::Contract,
        format!("table `{}`: this sink cannot put a table in the place of bronze", load.table),
    )
    .with_hint("implement `fit_columns`, `make_apart` and `swap` of `Sink`")
}

fn no_rebuild() -> Error {
    Error::new(ErrorKind::Contract, "this sink cannot make its own tables")
        .with_hint("implement `occupied`, `move_away` and `make_tables` of `Sink`")
}

/// A table held for one run. Dropping it gives it free, and so does a crash.
#[async_trait]
pub trait Lease: Send + Sync {
    /// The watermark row, read under the lease.
    fn state(&self) -> &TableState;

    /// The newest run of the table, 0 if it has none, where all of its runs were final under the lease. `None`: one was not, or
    /// that is not known, and [`Sink::unsettled`] tells.
    fn settled(&self) -> Option<RunId> {
        None
    }

    /// Gives the table free.
    ///
    /// # Errors
    /// If the connection that held it is gone: another run may have come in between.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// What a snapshot of the keys says of bronze.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gone {
    /// Keys that the source has.
    pub keys: u64,
    /// Rows that were judged: those at or below the bound that are not marked.
    pub rows_compared: u64,
    /// Rows of these whose keys the source has no more.
    pub rows_gone: u64,
    /// Marked rows whose keys the source has again.
    pub rows_back: u64,
    /// The first keys of rows that are gone.
    pub first_keys: Vec<RowKey>,
}

/// Rows that are staged in an open transaction. Dropping it rolls back.
#[async_trait]
pub trait Staged: Send {
    /// Rows staged.
    fn rows(&self) -> u64;

    /// The next keys that bronze has in the window which the CSV stands for, and the CSV has not; none at the end, and
    /// none where that window is not [removed](LoadPlan::removes).
    ///
    /// # Errors
    /// `Contract` if the sink cannot replace a window.
    async fn extra(&mut self) -> Result<Vec<RowKey>> {
        Err(Error::new(ErrorKind::Contract, "this sink cannot put a CSV in the place of what bronze has")
            .with_hint("implement `extra` and `spare` of `Staged`"))
    }

    /// Rows with these keys are not removed by the commit, beside those that the load spares already.
    fn spare(&mut self, _keys: &[RowKey]) {}

    /// Moves the rows into bronze, accounts for each of them, moves the watermark by compare-and-set, marks the run
    /// `loaded`, and commits all of it as one.
    ///
    /// A CSV that [stands for its window alone](LoadPlan::replaced) overwrites what bronze has, whatever `on_conflict` says;
    /// what bronze has in the window beside it is removed, but for what is spared. Staged rows that newer CSV files have
    /// [removed](LoadPlan::overruled) are not wanted: bronze counts as newer there. A staged row that bronze has by a
    /// [former key](LoadPlan::former_keys) alone is refused, with all of the CSV.
    ///
    /// In the same transaction it writes which table bronze is, into the run's row, and into the watermark row unless
    /// that names another table and the load neither moves the watermark nor makes bronze whole: rows may be missing
    /// then, and what says so must stay. `newest_run_id` becomes the run's, unless the load is [older](LoadPlan::older)
    /// or a replay.
    ///
    /// Older runs that are committed [together](Commit::together) with the run become `loaded` in the same transaction, each
    /// with its own number of rows, all of them inserted.
    ///
    /// When the answer to the commit is lost, the run log is read again: it was written in the same transaction, so it
    /// is the proof.
    ///
    /// # Errors
    /// `Data` if the counts do not add up; `Locked` if the watermark moved meanwhile; `Contract` for a former key;
    /// nothing has changed then.
    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed>;

    /// Compares staged keys with bronze: how many rows a commit would mark or remove, and the first of their keys, at most
    /// `keys`. Called for every [CSV of keys](LoadPlan::keys) before it is committed: a sink that cannot tell must not take
    /// keys for rows.
    ///
    /// # Errors
    /// `Contract` if the sink cannot compare keys.
    async fn gone(&mut self, _keys: usize) -> Result<Gone> {
        Err(Error::new(ErrorKind::Contract, "this sink cannot compare keys, so it sees no deletes")
            .with_hint("say `deletes = \"keep\"`, or implement `gone` of `Staged`"))
    }

    /// Refuses the staged records of a file if some of them share a key, and names their places. Called for a table of
    /// files before its CSV counts; a sink that cannot tell finds it out in the commit.
    ///
    /// # Errors
    /// `Data`.
    async fn told_apart(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends at once what the sink is in the middle of for these rows; they are given up. Called where a caller stops before
    /// [`gone`](Self::gone), [`told_apart`](Self::told_apart) or [`extra`](Self::extra) has answered, and may end its process next.
    async fn stop(self: Box<Self>) {}

    /// Counts what a commit would do with the rows as those of the newest run, and rolls back. Called instead of
    /// [`commit`](Self::commit).
    ///
    /// # Errors
    /// Those of the commit; `Contract` if the sink cannot tell.
    async fn preview(self: Box<Self>) -> Result<Accounting> {
        Err(Error::new(ErrorKind::Contract, "this sink has no preview").with_hint("implement `preview` of `Staged`"))
    }
}

/// The error of a file whose records share a key: pairs of places.
fn doubled(load: &LoadPlan, pairs: &[(String, String)]) -> Error {
    let places: Vec<String> = pairs.iter().map(|(one, other)| format!("`{one}` and `{other}`")).collect();
    let file = load.file.as_deref().unwrap_or_default();
    let key = load.key.join(", ");
    Error::new(ErrorKind::Data, format!("file `{file}`: records share a key ({key}): {}", places.join("; "))).with_hint(
        "none of its records was loaded; correct the file where it comes from, or `key` of the table, and the next `dwh run` \
         reads it again",
    )
}
