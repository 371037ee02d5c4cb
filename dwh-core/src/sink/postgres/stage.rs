//! Rows of an open load transaction: in bronze already, or in a temporary table beside it.

use async_trait::async_trait;
use futures_util::try_join;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::CancelToken;

use super::PgSink;
use super::copy::{Begun, copy};
use super::deletes::Deleted;
use super::errors::named;
use super::merge::{self, Arrived};
use super::pool::Tx;
use super::replace::{Extra, Keyed};
use super::straight::{Chosen, Done, Straight};
use crate::blob::Body;
use crate::catalog::load_postgis;
use crate::connect::Connector;
use crate::control::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::retry::retry;
use crate::run::{Route, Routing, RunId, RunState};
use crate::schema::RowKey;
use crate::sink::{Accounting, Commit, Committed, Gone, StageRequest, Staged};

/// Rows of an open transaction.
pub(super) struct PgStaged {
    sink: PgSink,
    load: LoadPlan,
    tx: Tx,
    arrived: Arrived,
    extra: Extra,
    keyed: Keyed,
    /// Newer keys of the source.
    keys: Option<(LoadPlan, Arc<dyn Body>)>,
    stop: Stop,
    _one_of_the_loads: OwnedSemaphorePermit,
}

/// Ends the statement that rows which nobody wants any more are in the middle of. The server would notice that the connection is
/// closed when the statement is over, and hold its locks until then.
struct Stop {
    connector: Connector,
    token: Option<CancelToken>,
}

async fn ask_to_end(connector: Connector, token: CancelToken) {
    if let Err(error) = connector.cancel(&token).await {
        tracing::debug!(%error, "the cancel request was not taken; the statement goes on to its end");
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        if let (Some(token), Ok(runtime)) = (self.token.take(), Handle::try_current()) {
            runtime.spawn(ask_to_end(self.connector.clone(), token));
        }
    }
}

impl PgStaged {
    pub(super) async fn fill(sink: &PgSink, request: &StageRequest<'_>) -> Result<Self> {
        let permit = sink
            .loads
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "target: the sink is closed").with_source(error))?;
        // The watermark row comes first: it holds off every other load of the table, and a run that lost the race ends before it
        // has done any work.
        let opened = async {
            let tx = sink.begin().await?;
            let held = match request.run {
                Some((run_id, expected)) => sink.control.try_hold(tx.client()?, request.load, run_id, expected).await?,
                None => None,
            };
            let ready = make_ready(sink, &tx, held.as_ref(), request).await;
            Ok((tx, held, ready))
        };
        let (begun, (tx, held, ready)) = try_join!(Begun::read(request.csv.open()), opened)?;
        let arrived = match arrive(sink, &tx, held, ready, (request, begun)).await {
            Err(error) if request.together => {
                // They come again one by one, at once, and then nothing must be held any more.
                drop(tx.client()?.batch_execute("rollback").await);
                return Err(error);
            }
            arrived => arrived?,
        };
        if let Some(Routing { route, reason }) = &arrived.routing {
            let (table, rows) = (&request.load.table, arrived.rows);
            tracing::info!(%table, %route, reason, rows, "rows are at the target");
        }
        let (sink, load) = (sink.clone(), request.load.clone());
        let (extra, keyed, keys) = (Extra::default(), Keyed::default(), request.keys.clone());
        let stop = Stop { connector: sink.connector.clone(), token: Some(tx.client()?.cancel_token()) };
        Ok(Self { sink, load, tx, arrived, extra, keyed, keys, stop, _one_of_the_loads: permit })
    }
}

/// What can be done before the first row: the session loads what it needs for geometries, and the way of the rows is chosen,
/// where one is open to them.
async fn make_ready(sink: &PgSink, tx: &Tx, held: Option<&Held>, request: &StageRequest<'_>) -> Result<Option<Chosen>> {
    let load = request.load;
    let geometry = async {
        match load.columns.iter().any(|column| column.geometry) {
            true => load_postgis(tx.client()?, &load.target).await,
            false => Ok(()),
        }
    };
    let chosen = async {
        match held.zip(request.run).filter(|_| request.keys.is_none()) {
            Some((held, (run_id, _))) => straight(sink, tx, run_id, request).choose(held).await.map(Some),
            None => Ok(None),
        }
    };
    Ok(try_join!(geometry, chosen)?.1)
}

fn straight<'a>(sink: &'a PgSink, tx: &'a Tx, run_id: RunId, request: &'a StageRequest<'_>) -> Straight<'a> {
    Straight { sink, tx, load: request.load, run_id, patient: request.together }
}

/// Brings the rows to the target, by the shortest way that is open to them.
async fn arrive(
    sink: &PgSink,
    tx: &Tx,
    held: Option<Held>,
    ready: Result<Option<Chosen>>,
    (request, begun): (&StageRequest<'_>, Begun),
) -> Result<Arrived> {
    let (load, chosen) = (request.load, ready?);
    let deleted = Deleted::default;
    if load.adds_rows_alone() && begun.is_bare(load)? {
        return Ok(Arrived { rows: 0, routing: None, held, had_rows: false, deleted: deleted() });
    }
    let done = match (chosen, request.run) {
        (Some(chosen), Some((run_id, _))) => straight(sink, tx, run_id, request).go(chosen, begun).await?,
        _ if request.keys.is_some() => Done::staged("newer keys may say that some of its rows were deleted", begun),
        (_, Some(_)) => Done::staged("another transaction holds the watermark row", begun),
        (_, None) => Done::staged("the rows are only counted", begun),
    };
    let (reason, csv) = match done {
        Done::Loaded { routing, rows, had_rows } => {
            return Ok(Arrived { rows, routing: Some(routing), held, had_rows, deleted: deleted() });
        }
        Done::Staged { reason, .. } if request.together => return Err(not_together(load, &reason)),
        Done::Staged { reason, csv } => (reason, csv.unwrap_or_else(|| request.csv.open())),
    };
    let client = tx.client()?;
    client.batch_execute(&load.create_stage()).await.map_err(|error| named(load, error))?;
    let rows = copy(tx, load, &load.copy_in(), csv, None).await.map_err(|stopped| stopped.error(sink, load))?;
    let routing = Some(Routing::new(Route::Staged, reason));
    Ok(Arrived { rows, routing, held, had_rows: false, deleted: deleted() })
}

/// The CSV files of several runs are not staged: which of them brought which row could not be told any more.
fn not_together(load: &LoadPlan, reason: &str) -> Error {
    Error::new(ErrorKind::Contract, format!("table `{}`: its CSV files are not loaded together: {reason}", load.table))
        .with_hint("load them one by one")
}

#[async_trait]
impl Staged for PgStaged {
    fn rows(&self) -> u64 {
        self.arrived.rows
    }

    async fn extra(&mut self) -> Result<Vec<RowKey>> {
        self.extra.next(self.tx.client()?, &self.load, &self.keyed, named).await
    }

    fn spare(&mut self, keys: &[RowKey]) {
        if let Some(window) = &mut self.load.replaced {
            window.spares.extend_from_slice(keys);
        }
    }

    async fn gone(&mut self, keys: usize) -> Result<Gone> {
        super::deletes::gone(self.tx.client()?, &self.load, &self.keyed, self.arrived.rows, keys).await
    }

    async fn told_apart(&mut self) -> Result<()> {
        super::replace::told_apart(self.tx.client()?, &self.load, &self.keyed, named).await
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        let Self { sink, load, tx, mut arrived, keyed, keys, mut stop, _one_of_the_loads, .. } = *self;
        stop.token = None;
        if let Some(keys) = keys.as_ref().filter(|_| arrived.rows > 0) {
            arrived.deleted = Deleted::find(&sink, &tx, &load, &keyed, keys).await?;
        }
        let committed = match merge::merge(&sink, &load, &keyed, tx.client()?, arrived, &commit).await {
            Ok(committed) => committed,
            Err(error) => return Err(sink.naming_holders(Some(&load), error).await),
        };
        end(&sink, &load, tx, commit.run_id, committed).await
    }

    async fn stop(mut self: Box<Self>) {
        if let Some(token) = self.stop.token.take() {
            ask_to_end(self.stop.connector.clone(), token).await;
        }
    }

    async fn preview(self: Box<Self>) -> Result<Accounting> {
        let Self { sink, load, tx, arrived, keyed, mut stop, _one_of_the_loads, .. } = *self;
        stop.token = None;
        let counted = merge::preview(&load, &keyed, tx.client()?, arrived.rows).await;
        // Which rolls back.
        drop(tx);
        match counted {
            Ok(counts) => Ok(counts),
            Err(error) => Err(sink.naming_holders(Some(&load), error).await),
        }
    }
}

/// Commits a load, and finds out what became of it where the answer is lost.
pub(super) async fn end(
    sink: &PgSink,
    load: &LoadPlan,
    tx: Tx,
    run_id: RunId,
    committed: Committed,
) -> Result<Committed> {
    let done = match tx.commit().await {
        Ok(()) => Ok(committed),
        Err(error) if error.kind() == ErrorKind::Unreachable => prove(sink, run_id, error).await.map(|()| committed),
        Err(error) => Err(error),
    };
    done.map_err(|error| error.context(format!("table `{}`", load.table)))
}

/// The answer to a commit was lost: the run log, written in the same transaction, says what became of it.
async fn prove(sink: &PgSink, run_id: RunId, lost: Error) -> Result<()> {
    let state = retry("reading what became of a commit", || async {
        let tx = sink.begin().await?;
        // Waits for the lost session, which may still be at it.
        let state = sink.control.proof(tx.client()?, run_id).await?;
        tx.commit().await?;
        Ok(state)
    })
    .await?;
    if state == Some(RunState::Loaded) { Ok(()) } else { Err(lost) }
}
