//! The short ways into bronze: straight, without a staging table. Which one is taken is judged by what is known before, and
//! never trusted: whatever turns out otherwise goes back to the savepoint, and the CSV through the staging table.

use std::time::Duration;

use super::PgSink;
use super::copy::{Begun, Stopped, copy};
use super::errors::named;
use super::pool::Tx;
use crate::blob::ByteStream;
use crate::catalog::{self, Loadable};
use crate::config::Mode;
use crate::control::Held;
use crate::error::{Error, Result};
use crate::plan::{BACK, LoadPlan, SAVEPOINT};
use crate::run::{Route, Routing, RunId, RunKind};
use crate::schema::IndexDef;
use crate::watermark::Micros;

/// Classes of SQLSTATEs after which staging would end as well: values, resources, an order to stop, a broken server.
const FINAL: [&str; 6] = ["08", "22", "53", "57", "58", "XX"];

/// A load that may go straight into bronze.
pub(super) struct Straight<'a> {
    pub(super) sink: &'a PgSink,
    pub(super) tx: &'a Tx,
    pub(super) load: &'a LoadPlan,
    pub(super) run_id: RunId,
    /// Whether its rows take as long as they take: others wait for a table that is made anew.
    pub(super) patient: bool,
}

/// What became of it.
pub(super) enum Done {
    /// The rows are in bronze.
    Loaded {
        /// The way that they took.
        routing: Routing,
        /// How many.
        rows: u64,
        /// Whether bronze had rows that were replaced.
        had_rows: bool,
    },
    /// They must be staged. Nothing is left of an attempt.
    Staged {
        /// Why, a few words.
        reason: String,
        /// The bytes, unless some of them were used up.
        csv: Option<ByteStream>,
    },
}

impl Done {
    /// Not even tried.
    pub(super) fn staged(reason: impl Into<String>, begun: Begun) -> Self {
        Self::Staged { reason: reason.into(), csv: Some(begun.whole()) }
    }
}

/// The way that a load should take, by how much there is to load.
pub(super) struct Chosen {
    /// Of a CSV that is small: for it, it is not worth while to keep others out.
    small: Routing,
    large: Routing,
}

impl Chosen {
    fn one(route: Route, reason: &str) -> Self {
        let routing = Routing::new(route, reason);
        Self { small: routing.clone(), large: routing }
    }
}

/// What ends an attempt.
enum Stop {
    /// The CSV can be staged still.
    Staged(String),
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A table that was made ready.
#[derive(Default)]
struct Ready {
    /// What it must look like afterwards, if indexes were dropped.
    indexes: Option<(Vec<IndexDef>, String)>,
    had_rows: bool,
}

impl Straight<'_> {
    /// Puts the rows straight into bronze if that seems to be the thing, and is.
    ///
    /// # Errors
    /// The CSV's own; `Data` if a value does not fit; those of the connection.
    pub(super) async fn go(&self, chosen: Chosen, begun: Begun) -> Result<Done> {
        let routing = if begun.ended { chosen.small } else { chosen.large };
        if routing.route == Route::Staged {
            return Ok(Done::staged(routing.reason, begun));
        }
        self.take(routing, begun).await
    }

    /// The way that the load should take, judged by what is known before its rows are there.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn choose(&self, held: &Held) -> Result<Chosen> {
        let (load, client) = (self.load, self.tx.client()?);
        let staged = |reason: &str| Ok(Chosen::one(Route::Staged, reason));
        if let Some(reason) = load.needs_staging(held.kind) {
            return staged(reason);
        }
        let Some(Loadable { obstacle, owned, truncates }) = catalog::loadable(client, &load.target).await? else {
            return staged("there is no bronze table");
        };
        if let Some(obstacle) = obstacle {
            return staged(&obstacle);
        }
        if load.apart {
            return Ok(Chosen::one(Route::Direct, "a table of its own, without a key"));
        }
        if load.mode == Mode::Snapshot {
            let small = Routing::new(Route::Staged, "a small snapshot: readers wait for its commit alone");
            let large = match truncates {
                true => Routing::new(Route::Replace, "a snapshot takes the place of all rows"),
                false => Routing::new(Route::Staged, "we may not empty bronze, or a foreign key points at it"),
            };
            return Ok(Chosen { small, large });
        }
        if !self.has_rows().await? {
            let way = |route| Routing::new(route, "bronze is empty");
            let large = if owned { Route::Fresh } else { Route::Direct };
            return Ok(Chosen { small: way(Route::Direct), large: way(large) });
        }
        if load.older {
            return staged("bronze may hold newer versions of its rows");
        }
        // No key would refuse a version that is there already.
        if load.is_appended() {
            return staged("bronze may have some of its rows as they are");
        }
        let direct = |reason: &str| Ok(Chosen::one(Route::Direct, reason));
        match (load.mode, held.kind) {
            (Mode::Scd, RunKind::Run) => direct("a dated copy beside the others"),
            (Mode::Scd, _) => staged("bronze may have this copy"),
            _ if self.sink.control.follows_new_rows(client, self.run_id, held.newest()).await? => {
                direct("all rows of the run before it were new")
            }
            _ => staged("bronze may have some of its rows"),
        }
    }

    /// Puts the rows into bronze by this way, or leaves everything as it was.
    async fn take(&self, mut routing: Routing, begun: Begun) -> Result<Done> {
        let first = routing.route;
        let (load, client) = (self.load, self.tx.client()?);
        client.batch_execute(SAVEPOINT).await.map_err(|error| named(load, error))?;
        let mut ready = self.make_ready(routing.route).await;
        if let (Route::Fresh, Err(Stop::Staged(reason))) = (routing.route, &ready) {
            // The key stays, then, and nobody is kept out.
            self.back().await?;
            client.batch_execute(SAVEPOINT).await.map_err(|error| named(load, error))?;
            routing = Routing::new(Route::Direct, format!("bronze is empty, but {reason}"));
            ready = Ok(Ready::default());
        }
        let done = match ready {
            Ok(ready) => self.fill(routing, ready, begun).await,
            Err(stop) => Err(stop),
        };
        match done {
            Ok(done) => Ok(done),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Staged(reason)) => {
                self.back().await?;
                Ok(Done::Staged { reason: format!("not {first}: {reason}"), csv: None })
            }
        }
    }

    async fn back(&self) -> Result<()> {
        self.tx.client()?.batch_execute(BACK).await.map_err(|error| named(self.load, error))
    }

    async fn has_rows(&self) -> Result<bool> {
        let row = self.tx.client()?.query_typed_one(&self.load.any_row(), &[]).await;
        row.map(|row| row.get(0)).map_err(|error| named(self.load, error))
    }

    async fn execute(&self, sql: &str) -> Result<(), Stop> {
        self.tx.client()?.batch_execute(sql).await.map_err(|error| self.stop(error))
    }

    fn stop(&self, error: tokio_postgres::Error) -> Stop {
        let code = error.code().map(|code| code.code().to_owned());
        match code.filter(|code| FINAL.iter().all(|class| !code.starts_with(class))) {
            Some(code) => Stop::Staged(match code.as_str() {
                "23505" => "a key of the CSV is there already, or there twice".to_owned(),
                "55P03" => "another session uses bronze".to_owned(),
                _ => format!("bronze does not take the rows straight (SQLSTATE {code})"),
            }),
            None => Stop::Error(self.sink.connector.explain(named(self.load, error))),
        }
    }

    /// Takes bronze for this load alone, and drops what is built again afterwards.
    async fn make_ready(&self, route: Route) -> Result<Ready, Stop> {
        let (load, client) = (self.load, self.tx.client()?);
        if route == Route::Direct {
            return Ok(Ready::default());
        }
        self.execute(&load.lock_alone()).await?;
        // Asked under the lock: nobody writes any more.
        let had_rows = self.has_rows().await?;
        if route == Route::Fresh && had_rows {
            return Err(Stop::Staged("somebody wrote into it meanwhile".to_owned()));
        }
        let indexes = match catalog::indexes(client, &load.target).await? {
            Some(indexes) => Some((indexes, catalog::portrait(client, &load.target).await?)),
            None if route == Route::Fresh => {
                return Err(Stop::Staged("one of its indexes cannot be dropped and built again".to_owned()));
            }
            None => None,
        };
        if route == Route::Replace {
            for sql in load.empty() {
                self.execute(&sql).await?;
            }
        }
        for index in indexes.iter().flat_map(|(indexes, _)| indexes) {
            self.execute(&load.drop_index(index)).await?;
        }
        Ok(Ready { indexes, had_rows })
    }

    async fn fill(&self, routing: Routing, ready: Ready, begun: Begun) -> Result<Done, Stop> {
        let load = self.load;
        let waits = routing.route == Route::Direct || self.patient;
        let patience = (!waits).then(|| self.patience()).flatten();
        let sql = load.copy_straight(routing.route == Route::Replace);
        let rows = copy(self.tx, load, &sql, begun.whole(), patience).await.map_err(|stopped| match stopped {
            Stopped::Csv(error) => Stop::Error(error),
            Stopped::Server(error) => self.stop(error),
            Stopped::Slow => Stop::Staged("the rows came slowly, and nobody could use bronze meanwhile".to_owned()),
        })?;
        if load.mode == Mode::Scd && routing.route == Route::Direct {
            let client = self.tx.client()?;
            // Dated copies have no key that would refuse one that is there already.
            if self.sink.control.rows_of_copy(client, load, self.run_id).await? != rows {
                return Err(Stop::Staged("bronze has rows of this copy already".to_owned()));
            }
        }
        if let Some((indexes, before)) = ready.indexes {
            for index in &indexes {
                self.execute(&load.build_index(index)).await?;
            }
            if catalog::portrait(self.tx.client()?, &load.target).await? != before {
                return Err(Stop::Staged("an index of bronze would not have become what it was".to_owned()));
            }
        }
        Ok(Done::Loaded { routing, rows, had_rows: ready.had_rows })
    }

    /// How long others may wait for bronze while it waits for the rows: as long as it would wait for them.
    fn patience(&self) -> Option<Duration> {
        let Micros(micros) = self.sink.lock_timeout;
        u64::try_from(micros).ok().filter(|micros| *micros > 0).map(Duration::from_micros)
    }
}
