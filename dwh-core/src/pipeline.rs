//! The pipeline: the only place that knows source, blob store and sink together.

mod report;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobStore, Layout};
use crate::config::Config;
use crate::error::Result;
use crate::run::RunId;
use crate::sink::{RunFilter, RunRecord, Sink};
use crate::source::Source;

pub use report::{
    CheckReport, ErrorReport, Finding, LoadParams, MigrateReport, PlanReport, RunReport, Seconds, Severity,
    StatusReport, TableRun, TableStatus, WindowReport,
};

/// What happens during a run, for progress bars and logs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
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
}

/// Called with every event, from any thread; must not block.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// What `run` is asked for.
#[derive(Debug, Clone, Default)]
pub struct RunRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Tables at the same time; `None`: as many as `[target] connections`.
    pub jobs: Option<usize>,
    /// Wait for a table that another run holds, instead of failing with `Locked`.
    pub wait: bool,
    /// Let a snapshot of no rows replace rows.
    pub allow_empty: bool,
}

/// The engine: verbs over a configuration, a source or several, a blob store and a sink.
#[derive(Clone)]
pub struct Pipeline {
    config: Arc<Config>,
    sources: BTreeMap<String, Arc<dyn Source>>,
    blobs: Arc<dyn BlobStore>,
    sink: Arc<dyn Sink>,
    layout: Layout,
    observer: Observer,
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
        let _ = config;
        panic!("later")
    }

    /// A pipeline built by hand from any source, store and sink.
    #[must_use]
    pub fn new(
        config: Config,
        sources: BTreeMap<String, Arc<dyn Source>>,
        blobs: Arc<dyn BlobStore>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let layout = Layout { project: config.project.name.clone(), zone: config.project.zone.clone() };
        Self { config: Arc::new(config), sources, blobs, sink, layout, observer: Arc::new(|_| {}) }
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

    /// What the next run of each matching table would do; nothing is moved or written.
    ///
    /// # Errors
    /// `Config` if no table matches. What keeps a single table from running stands in its report.
    pub async fn plan(&self, tables: &[String]) -> Result<Vec<PlanReport>> {
        let _ = tables;
        panic!("later")
    }

    /// The whole run for the tables that match: recover, extract, load, archive.
    ///
    /// # Errors
    /// `Config` if no table matches. What went wrong with a single table stands in its report and stops no other.
    pub async fn run(&self, request: &RunRequest, cancel: &CancellationToken) -> Result<RunReport> {
        let _ = (request, cancel);
        panic!("later")
    }

    /// Extracts the next window of one table and stops when its manifest is written.
    ///
    /// # Errors
    /// Any kind; nothing was loaded then.
    pub async fn extract(&self, table: &str, wait: bool, cancel: &CancellationToken) -> Result<LoadParams> {
        let _ = (table, wait, cancel);
        panic!("later")
    }

    /// Loads one CSV and archives it. A CSV that is loaded already counts as done.
    ///
    /// # Errors
    /// Any kind; bronze and watermark are as they were then.
    pub async fn load(
        &self,
        params: &LoadParams,
        wait: bool,
        accept_unverified: bool,
        cancel: &CancellationToken,
    ) -> Result<TableRun> {
        let _ = (params, wait, accept_unverified, cancel);
        panic!("later")
    }

    /// Freshness, lag and failures of every configured table.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing; `Unreachable`, `Auth`.
    pub async fn status(&self) -> Result<StatusReport> {
        panic!("later")
    }

    /// Rows of the run log, newest first.
    ///
    /// # Errors
    /// `Contract` if the control schema is missing; `Unreachable`, `Auth`.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.sink.runs(filter).await
    }

    /// Looks at everything a run depends on, each thing on its own.
    pub async fn check(&self) -> CheckReport {
        panic!("later")
    }

    /// Creates control schema, roles, views and bronze tables, or asserts them.
    ///
    /// # Errors
    /// `Contract` with the list of what is missing and the SQL that makes it.
    pub async fn migrate(&self) -> Result<MigrateReport> {
        panic!("later")
    }

    /// The SQL that [`Pipeline::migrate`] would run, for a DBA to read and apply.
    ///
    /// # Errors
    /// If a source cannot be asked for its tables.
    pub async fn migration_sql(&self) -> Result<String> {
        panic!("later")
    }
}
