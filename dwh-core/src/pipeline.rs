//! The pipeline: the only place that knows source, blob store and sink together.

mod ahead;
mod anew;
pub(crate) mod archived;
pub(crate) mod backfill;
pub(crate) mod belongs;
mod by_hand;
mod cause;
mod clock;
mod columns;
mod commit;
pub(crate) mod deletes;
pub(crate) mod describe;
pub(crate) mod failure;
pub(crate) mod files;
mod jobs;
pub(crate) mod links;
mod load;
mod model_run;
mod preview;
mod prune;
mod put_back;
mod rebuild;
pub(crate) mod recover;
mod repair;
mod replay;
pub(crate) mod report;
mod reseed;
mod restore;
mod resync;
pub(crate) mod round;
mod run;
mod tables;
mod trace;
mod transfer;
mod trial;
pub(crate) mod window;
mod windows;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobKey, BlobStore, Layout};
use crate::config::{Config, Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::files::FileSource;
use crate::pipeline::failure::interrupted;
use crate::pipeline::round::Known;
use crate::plan::Plan;
use crate::run::{RunId, RunKind};
use crate::schema::TableSchema;
use crate::sink::{Lease, LogEntry, PgSink, Sink, TableState};
use crate::source::{PgSource, Source};
use crate::watermark::Timestamp;

pub use archived::GapReport;
pub use backfill::{BackfillReport, BackfillRequest};
pub use cause::CauseReport;
pub use deletes::{DeletesReport, DeletesRequest, TableDeletes};
pub use load::{LoadPlanReport, LoadStep};
pub use model_run::{ModelRun, ModelState, ModelStep};
pub use prune::{PruneReport, PruneRequest, PrunedTable};
pub use put_back::RestoreReport;
pub use rebuild::{RebuildReport, RebuildRequest, RebuiltTable};
pub use recover::{Outcome, RecoverFinding, RecoverReport, RecoverRequest, Remedy, TableError, Trouble};
pub use replay::{ReplayCsv, ReplayReport, ReplayRequest};
pub use report::{ErrorReport, LoadParams, RunReport, Seconds, TableRun, WindowReport};
pub use reseed::{ReseedReport, ReseedRequest};
pub use resync::{ResyncReport, ResyncRequest, ResyncedTable};
pub use trial::TableTrial;

/// What happens during a run, for progress bars and logs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// So many tables are worked on; told before the first.
    TablesChosen {
        /// Their number.
        tables: usize,
    },
    /// A table is worked on.
    TableStarted {
        /// Its name.
        table: String,
    },
    /// A run has begun.
    RunStarted {
        /// Its table.
        table: String,
        /// Its number.
        run_id: RunId,
        /// What holds the bound, in a line; `None` for tables that are read whole.
        bound: Option<String>,
    },
    /// More of the table was read.
    Extracted {
        /// Its table.
        table: String,
        /// The run that read it: several of a table may read at a time.
        run_id: RunId,
        /// Rows of this run so far.
        rows: u64,
        /// Bytes of this run so far.
        bytes: u64,
    },
    /// Something that a person should know, though the run goes on.
    Warning {
        /// Its table.
        table: String,
        /// One line.
        message: String,
    },
    /// A run has ended, well or not.
    RunFinished(Box<TableRun>),
    /// No more runs of this table.
    TableFinished {
        /// Its name.
        table: String,
    },
    /// A model is built.
    ModelStarted {
        /// Its name.
        model: String,
        /// Which one of this call it is, counted from 1.
        number: usize,
        /// How many this call builds.
        of: usize,
    },
    /// A model is built, failed or was skipped.
    ModelFinished {
        /// What became of it.
        run: Box<ModelRun>,
        /// Which one of this call it is, counted from 1.
        number: usize,
        /// How many this call builds.
        of: usize,
    },
}

/// Called with every event, from any thread; must not block.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// What `run` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RunRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Tables at the same time, and while none waits for its turn windows of one table; `None`: as many tables as
    /// `[target] connections`, and of each one window.
    pub jobs: Option<usize>,
    /// Wait for a table that another run holds, instead of failing with `Locked`.
    pub wait: bool,
    /// Let a snapshot of no rows replace rows.
    pub allow_empty: bool,
    /// Go on though the source is another server than before: the same database, moved. Of a table that is read whole it
    /// may be another database, too.
    pub accept_source: bool,
    /// Count what would be inserted and changed, and keep nothing.
    pub preview: bool,
    /// Read no row of a table with a watermark that is stamped later than this; later runs do.
    pub until: Option<Timestamp>,
}

impl RunRequest {
    /// A run of the tables that match; empty: of all.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// The engine: verbs over a configuration, a source or several, a blob store and a sink.
#[derive(Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct Pipeline {
    pub(crate) config: Arc<Config>,
    sources: BTreeMap<String, Arc<dyn Source>>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) layout: Layout,
    pub(crate) observer: Observer,
    allow_empty: bool,
    accept_source: bool,
    /// Whether rows may be marked or removed as deleted, however many they are.
    force_deletes: bool,
    /// The last moment of which an ordinary run reads rows.
    until: Option<Timestamp>,
    /// The orchestrator's name of what this pipeline runs.
    task_instance: Option<String>,
    /// Files that are read again though they are loaded.
    reprocess: Vec<globset::GlobMatcher>,
    /// Chunks of one table at the same time; `None`: as many as `[target] connections`.
    jobs: Option<usize>,
    /// What the windows of a table share with those of the others; `None`: a table reads one at a time.
    shared: Option<Arc<jobs::Jobs>>,
    /// What a call over many tables asks once.
    round: Option<Arc<round::Round>>,
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("project", &self.config.project.name).finish_non_exhaustive()
    }
}

impl Pipeline {
    /// The pipeline of a configuration. Connects to nothing yet.
    ///
    /// # Errors
    /// `Config` for connection strings, TLS files or store addresses that cannot be used.
    pub fn from_config(config: Config) -> Result<Self> {
        let environment = &config.environment;
        let blobs = crate::blob::open(&config.blob, environment)?;
        let sink: Arc<dyn Sink> = Arc::new(PgSink::new(&config.target, environment)?);
        let mut sources: BTreeMap<String, Arc<dyn Source>> = BTreeMap::new();
        for (name, source) in &config.sources {
            let made: Arc<dyn Source> = match &source.files {
                Some(files) => Arc::new(FileSource::new(name, files, &config)?),
                None => Arc::new(PgSource::new(name, source, environment)?),
            };
            sources.insert(name.clone(), made);
        }
        Ok(Self::new(config, sources, blobs, sink))
    }

    /// A pipeline built by hand from any source, store and sink.
    #[must_use]
    pub fn new(
        config: Config,
        sources: BTreeMap<String, Arc<dyn Source>>,
        blobs: Arc<dyn BlobStore>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let task_instance = config.environment.get("DWH_TASK_INSTANCE").filter(|name| !name.is_empty());
        let task_instance = task_instance.map(str::to_owned);
        let layout = Layout { project: config.project.name.clone(), zone: config.project.zone.clone() };
        Self {
            config: Arc::new(config),
            sources,
            blobs,
            sink,
            layout,
            observer: Arc::new(|_| {}),
            allow_empty: false,
            accept_source: false,
            force_deletes: false,
            until: None,
            task_instance,
            reprocess: Vec::new(),
            jobs: None,
            shared: None,
            round: None,
        }
    }

    /// The same pipeline, telling `observer` what happens.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn source(&self, table: &TableConfig) -> Result<&Arc<dyn Source>> {
        self.sources.get(&table.source).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("table `{}`: there is no source `{}`", table.name, table.source))
                .with_hint("add `[source.NAME]`, or name one that is there")
        })
    }

    /// The same pipeline under another name of the orchestrator.
    pub(crate) fn as_task(&self, name: &str) -> Self {
        let mut this = self.clone();
        let tables = Arc::make_mut(&mut this.config).tables.iter_mut();
        tables.filter_map(|table| table.task_instance.as_mut()).for_each(|own| name.clone_into(own));
        this.task_instance = Some(name.to_owned()).filter(|name| !name.is_empty());
        this
    }

    /// What the run log gets when a run of a table begins.
    pub(crate) fn begins(&self, table: &TableConfig, mode: Mode, kind: RunKind) -> LogEntry {
        let (name, task_instance) = (table.name.clone(), self.task_instance.clone());
        LogEntry::Begin { table: name, mode, kind, task_instance, dated: table.is_dated() }
    }

    /// Takes a table's lease; waiting for another run ends when the call is cancelled.
    pub(crate) async fn lease(
        &self,
        table: &TableConfig,
        wait: bool,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Lease>> {
        tokio::select! {
            lease = self.sink.lease(&table.name, wait) => lease,
            () = cancel.cancelled() => Err(interrupted()),
        }
    }

    /// The plan of a table, judged against both catalogs and what was loaded before: nothing moves before this is right. It
    /// names the columns that a run adds first.
    pub(crate) async fn plan_table(&self, table: &TableConfig, state: &TableState) -> Result<Plan> {
        let (plan, bronze) = self.fit(table, state).await?;
        plan.check_bronze(bronze.as_ref())?;
        Ok(plan)
    }

    /// The same with the bronze table, which is not judged yet.
    pub(crate) async fn fit(&self, table: &TableConfig, state: &TableState) -> Result<(Plan, Option<TableSchema>)> {
        let (identity, schema, bronze) = match self.catalogs(table).await? {
            Some(Known { identity, schema, bronze, .. }) => (identity, schema, bronze),
            None => {
                let source = self.source(table)?;
                let identity = source.identity().await?;
                if let Some(identity) = &identity {
                    self.judge_source(table, state, identity)?;
                }
                let both = futures_util::try_join!(source.describe(table), self.sink.describe(&table.target))?;
                (identity, both.0, both.1)
            }
        };
        if let Some(identity) = &identity {
            self.judge_source(table, state, identity)?;
        }
        let plan = Plan::new(table, schema)?.fitted(bronze.as_ref(), state.delivered());
        Ok((plan, bronze))
    }

    pub(crate) fn address(&self, key: &BlobKey) -> String {
        format!("{}/{key}", self.blobs.url())
    }

    pub(crate) fn warn(&self, table: &str, message: &str) {
        (self.observer)(&Event::Warning { table: table.to_owned(), message: message.to_owned() });
    }
}
