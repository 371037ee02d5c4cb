//! What one call over many tables asks once for all of them.
//!
//! Catalogs are read ahead for the tables that come next, and the answer is good for a few seconds: the reading
//! transaction compares the table with its plan again, under the lock. The listing of `exports/` is believed of a table
//! only if the run log says, under the table's lease, that no run of it was at work since before the listing.

use futures_util::future::join_all;
use futures_util::try_join;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

use crate::blob::{BlobKey, Folder};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::failure::repeated;
use crate::run::RunId;
use crate::schema::{TableRef, TableSchema};
use crate::sink::{BronzeState, RunRecord};
use crate::source::SourceIdentity;
use crate::watermark::BoundMode;

/// How long a catalog is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// How long a source that did not answer is not asked again: each of its tables would wait for the same.
const SPARED: Duration = Duration::from_secs(30);

/// Tables that are looked at ahead at the least.
const LEAST: usize = 8;

/// One call, from its beginning.
#[derive(Debug)]
pub(crate) struct Round {
    /// When it began.
    pub(crate) since: Instant,
    catalogs: BTreeMap<String, Mutex<Ahead>>,
    /// Whether it is over so many tables that it is worth while to wait for what is asked for all of them.
    many: bool,
    /// The blob store as it was, once it was looked at.
    pub(super) exports: OnceCell<Exports>,
    /// Whether new runs have numbers above all files of the project.
    pub(super) numbered: OnceCell<()>,
}

/// `exports/`, and the run log before it was listed.
#[derive(Debug)]
pub(super) struct Exports {
    /// The newest run.
    pub(super) newest: RunId,
    /// Tables with runs that were not final.
    pub(super) at_work: BTreeSet<String>,
    /// What lay there, by the prefix of its table.
    pub(super) keys: BTreeMap<String, BTreeSet<BlobKey>>,
}

/// What both catalogs say of a table.
#[derive(Debug)]
pub(crate) struct Known {
    /// Which database the source is.
    pub(crate) identity: Option<SourceIdentity>,
    /// The table there.
    pub(crate) schema: TableSchema,
    /// The bronze table.
    pub(crate) bronze: Option<TableSchema>,
    /// Which table that is, where that was asked.
    state: Option<BronzeState>,
}

/// Catalogs read ahead, of one source.
#[derive(Debug, Default)]
struct Ahead {
    /// Tables that have not begun yet, in the order in which they will.
    waiting: Vec<TableConfig>,
    known: BTreeMap<String, Option<Known>>,
    read_at: Option<Instant>,
    /// How many tables have begun since.
    begun: usize,
    /// Since when the source does not answer, and what came instead.
    silent: Option<(Instant, Error)>,
}

impl Round {
    pub(super) fn new(tables: &[TableConfig]) -> Self {
        let mut catalogs: BTreeMap<String, Mutex<Ahead>> = BTreeMap::new();
        for table in tables {
            let ahead = catalogs.entry(table.source.clone()).or_default();
            ahead.get_mut().waiting.push(table.clone());
        }
        let many = tables.len() > LEAST;
        Self { since: Instant::now(), catalogs, many, exports: OnceCell::new(), numbered: OnceCell::new() }
    }
}

impl Ahead {
    /// Notes that a table begins, and takes what is known of it. `None`: it has to be read, with the tables that are
    /// returned.
    fn begin(&mut self, table: &TableConfig) -> std::result::Result<Option<Known>, Vec<TableConfig>> {
        self.waiting.retain(|other| other.name != table.name);
        let believed = self.read_at.is_some_and(|at| at.elapsed() < BELIEVED);
        if let Some(known) = self.known.remove(&table.name).filter(|_| believed) {
            self.begun += 1;
            return Ok(known);
        }
        // As many as will begin while it is believed, going by the last time, and some.
        let wanted = if self.read_at.is_none() { usize::MAX } else { LEAST.max(2 * self.begun) };
        let ahead = self.waiting.iter().take(wanted.saturating_sub(1)).cloned();
        Err(std::iter::once(table.clone()).chain(ahead).collect())
    }
}

/// Whether a run asks for the bound of this table as it was a moment ago.
fn takes_earlier_bound(table: &TableConfig) -> bool {
    table.mode == Mode::Incremental && table.fixed_lag.is_none() && table.bound == BoundMode::Overlap
}

impl Pipeline {
    /// What both catalogs say of a table, if they were asked for it with others; it is used once.
    pub(crate) async fn catalogs(&self, table: &TableConfig) -> Result<Option<Known>> {
        let Some(ahead) = self.round.as_ref().and_then(|round| round.catalogs.get(&table.source)) else {
            return Ok(None);
        };
        let mut ahead = ahead.lock().await;
        if let Some((since, error)) = ahead.silent.as_ref().filter(|(since, _)| since.elapsed() < SPARED) {
            tracing::debug!(source = table.source, table = table.name, ?since, "the source is not asked again yet");
            return Err(repeated(error));
        }
        let together = match ahead.begin(table) {
            Ok(known) => return Ok(known),
            Err(together) => together,
        };
        self.read_into(&mut ahead, &together, &[]).await?;
        ahead.begun = 1;
        Ok(ahead.known.remove(&table.name).flatten())
    }

    /// Which table bronze was, as it was read with others a moment ago.
    pub(super) async fn bronze_ahead(&self, table: &TableConfig) -> Option<BronzeState> {
        let ahead = self.round.as_ref().filter(|round| round.many)?.catalogs.get(&table.source)?.lock().await;
        ahead.read_at.filter(|at| at.elapsed() < BELIEVED)?;
        ahead.known.get(&table.name)?.as_ref()?.state.clone()
    }

    /// Reads the catalogs of all tables that wait, of every source at once: they answer while the run log and the blob store
    /// are still being looked at.
    pub(super) async fn read_ahead(&self) {
        let Some(round) = &self.round else { return };
        let of_source = async |ahead: &Mutex<Ahead>| {
            let mut ahead = ahead.lock().await;
            // A table that began before has asked for all of them.
            if ahead.read_at.is_some() {
                return;
            }
            let waiting = ahead.waiting.clone();
            let bounded: Vec<&TableConfig> = waiting.iter().filter(|table| takes_earlier_bound(table)).collect();
            if let Err(error) = self.read_into(&mut ahead, &waiting, &bounded).await {
                tracing::debug!(error = %error.chain(), "each table is told that its source does not answer");
            }
        };
        join_all(round.catalogs.values().map(of_source)).await;
    }

    /// Fills in what is known of these tables, which are all of one source; meanwhile it is looked at who may write to the
    /// `bounded` ones.
    async fn read_into(&self, ahead: &mut Ahead, tables: &[TableConfig], bounded: &[&TableConfig]) -> Result<()> {
        let Some(first) = tables.first() else { return Ok(()) };
        (ahead.read_at, ahead.begun) = (Some(Instant::now()), 0);
        // What keeps them from being read together is told by the table that it belongs to, asked for by itself.
        ahead.known = match self.read_together(first, tables, bounded).await {
            Ok(known) => known,
            Err(error) => {
                if error.kind() == ErrorKind::Unreachable {
                    // Or else it was the target that did not answer.
                    if let Err(error) = self.source(first)?.identity().await {
                        ahead.silent = Some((Instant::now(), repeated(&error)));
                        return Err(error);
                    }
                }
                tracing::debug!(source = first.source, error = %error.chain(), "tables are described one by one");
                tables.iter().map(|table| (table.name.clone(), None)).collect()
            }
        };
        Ok(())
    }

    async fn read_together(
        &self,
        first: &TableConfig,
        tables: &[TableConfig],
        bounded: &[&TableConfig],
    ) -> Result<BTreeMap<String, Option<Known>>> {
        let (source, all): (_, Vec<&TableConfig>) = (self.source(first)?, tables.iter().collect());
        let targets: Vec<&TableRef> = tables.iter().map(|table| &table.target).collect();
        let identity = async {
            let identity = source.identity().await?;
            if !bounded.is_empty()
                && let Err(error) = source.look_ahead(bounded).await
            {
                tracing::debug!(error = %error.chain(), "who writes is looked at table by table");
            }
            Ok(identity)
        };
        let bronze = async {
            let schemas = self.sink.describe_all(&targets).await?;
            // Of a few tables each asks by itself meanwhile.
            let states =
                if tables.len() > LEAST { self.sink.bronze_ids(&targets).await? } else { vec![None; tables.len()] };
            Ok((schemas, states))
        };
        let (identity, schemas, (bronze, states)) = try_join!(identity, source.describe_all(&all), bronze)?;
        let of_bronze = bronze.into_iter().zip(states);
        let known = tables.iter().zip(schemas).zip(of_bronze).map(|((table, schema), (bronze, state))| {
            let known = schema.map(|schema| Known { identity: identity.clone(), schema, bronze, state });
            (table.name.clone(), known)
        });
        Ok(known.collect())
    }

    /// What lay in `exports/` of the table, if that was listed while none of its runs was at work, and none is since.
    /// Asked under the table's lease; `unsettled` are its runs that are not final, or newer than the listing.
    pub(super) fn lay_in_exports(&self, table: &TableConfig, unsettled: &[RunRecord]) -> Option<BTreeSet<BlobKey>> {
        let exports = self.round.as_ref()?.exports.get()?;
        if !unsettled.is_empty() || exports.at_work.contains(&table.name) {
            return None;
        }
        Some(exports.keys.get(&self.layout.prefix(Folder::Exports, &table.name)).cloned().unwrap_or_default())
    }

    /// The same pipeline for one call over these tables.
    pub(crate) fn in_round(mut self, tables: &[TableConfig]) -> Self {
        self.round = Some(Arc::new(Round::new(tables)));
        self
    }
}
