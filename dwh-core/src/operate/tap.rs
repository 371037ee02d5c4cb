//! `tap`: the tables of a manifest by the load types of postgres_pipeline. Each is one of the engine's own verbs.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

use crate::config::{Deletes, Mode, OnSchemaChange, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::operate::{VerifyReport, VerifyRequest};
use crate::pipeline::deletes::none_looks;
use crate::pipeline::describe::finite;
use crate::pipeline::failure::{failed, named};
use crate::pipeline::report::one_code;
use crate::pipeline::{
    BackfillRequest, DeletesRequest, ErrorReport, Pipeline, ReseedRequest, RunReport, RunRequest, TableDeletes,
    TableRun, TableTrial, WindowReport,
};
use crate::sink::TableState;
use crate::watermark::{Micros, Timestamp};

/// What is done with the tables of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub enum LoadType {
    /// New rows of the tables that are read by a window.
    Incremental,
    /// A dated copy of each of the others.
    Scd,
    /// A window, or all history, of the tables that are read by a window, once more.
    Backfill,
    /// Rows that the source has deleted are marked or removed, as the configuration says.
    Deletes,
    /// A million rows of each at most go into a table that nobody keeps.
    Test,
    /// Source and bronze are compared.
    Validate,
}

impl LoadType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Incremental, Self::Scd, Self::Backfill, Self::Deletes, Self::Test, Self::Validate];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Scd => "scd",
            Self::Backfill => "backfill",
            Self::Deletes => "deletes",
            Self::Test => "test",
            Self::Validate => "validate",
        }
    }

    /// Whether it is for this table.
    fn is_for(self, table: &TableConfig) -> bool {
        match self {
            Self::Incremental | Self::Backfill => table.mode == Mode::Incremental,
            Self::Scd => table.mode == Mode::Scd,
            Self::Deletes => table.deletes != Deletes::Keep,
            Self::Test | Self::Validate => true,
        }
    }
}

/// What `tap` is asked for.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TapRequest {
    /// The file; a `[[manifest]]` of the configuration reads it.
    pub manifest: PathBuf,
    /// Tables as the manifest calls them; empty: all.
    pub tables: Vec<String>,
    /// What is done with them.
    pub load_type: LoadType,
    /// The end of the window, inclusive; `None`: now.
    pub execution_date: Option<Timestamp>,
    /// How long before that the window begins, inclusive.
    pub increment: Option<Micros>,
    /// The orchestrator's name of this run, for `_task_instance`; `None`: that of the environment.
    pub task_instance: Option<String>,
    /// Tables at the same time; `None`: as many as `[target] connections`.
    pub jobs: Option<usize>,
    /// Wait where another run holds a table, instead of failing with `Locked`.
    pub wait: bool,
    /// Only tell which tables that would be.
    pub dry_run: bool,
}

impl TapRequest {
    /// All tables of a manifest that this load type is for.
    #[must_use]
    pub fn new(manifest: impl Into<PathBuf>, load_type: LoadType) -> Self {
        let (execution_date, increment, task_instance, jobs) = (None, None, None, None);
        let (manifest, tables) = (manifest.into(), Vec::new());
        Self {
            manifest,
            tables,
            load_type,
            execution_date,
            increment,
            task_instance,
            jobs,
            wait: false,
            dry_run: false,
        }
    }
}

/// What `tap` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TapReport {
    /// The file.
    pub manifest: String,
    /// What was done.
    pub load_type: LoadType,
    /// The window that was asked for, both ends inclusive.
    pub window: Option<WindowReport>,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Tables that the load type is for.
    pub tables: Vec<String>,
    /// Tables that it is not for.
    pub skipped: Vec<String>,
    /// What was done with the others.
    pub runs: Vec<TableRun>,
    /// What became of rows that were only tried.
    pub tests: Vec<TableTrial>,
    /// What a comparison found.
    pub verify: Option<VerifyReport>,
}

impl TapReport {
    /// 0 if all went well; the code of what did not; 1 if there are several.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let runs = RunReport { runs: self.runs.clone(), ..RunReport::default() }.exit_code();
        let verified = self.verify.as_ref().map_or(0, VerifyReport::exit_code);
        let tested = self.tests.iter().map(TableTrial::exit_code);
        one_code([runs, verified].into_iter().chain(tested).filter(|code| *code > 0))
    }
}

impl TapReport {
    /// What went wrong, by table.
    pub fn errors(&self) -> impl Iterator<Item = (&String, &Option<ErrorReport>)> {
        let compared = self.verify.iter().flat_map(|report| &report.tables).map(|table| (&table.table, &table.error));
        let tried = self.tests.iter().map(|table| (&table.table, &table.error));
        self.runs.iter().map(|run| (&run.table, &run.error)).chain(tried).chain(compared)
    }
}

impl Pipeline {
    /// Does with the tables of a manifest what the load type says.
    ///
    /// `Incremental` goes on from the watermark up to the end of the window, whatever its beginning is: what an earlier
    /// call missed is read, and rows that appear late are found by the sweep. A window that was read already is read
    /// again. Nothing that bronze has is added twice.
    ///
    /// # Errors
    /// `Config` if no `[[manifest]]` reads the file, or it has no such table. What went wrong with a single table stands in
    /// its report.
    pub async fn tap(&self, request: &TapRequest, cancel: &CancellationToken) -> Result<TapReport> {
        let tables = self.tables_of(&request.manifest, &request.tables)?;
        let this = request.task_instance.as_deref().map_or_else(|| self.clone(), |name| self.as_task(name));
        let (wanted, skipped): (Vec<TableConfig>, Vec<TableConfig>) =
            tables.into_iter().partition(|table| request.load_type.is_for(table));
        let window = request.execution_date.map(|to| WindowReport {
            from: request.increment.and_then(|increment| finite(to.minus(increment))),
            to: Some(to),
        });
        let mut report = TapReport {
            manifest: request.manifest.display().to_string(),
            load_type: request.load_type,
            window,
            dry_run: request.dry_run,
            tables: wanted.iter().map(|table| table.name.clone()).collect(),
            skipped: skipped.into_iter().map(|table| table.name).collect(),
            runs: Vec::new(),
            tests: Vec::new(),
            verify: None,
        };
        if wanted.is_empty() && request.load_type == LoadType::Deletes {
            return Err(none_looks(&request.tables));
        }
        let names = || wanted.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
        if wanted.is_empty() || request.dry_run {
            return Ok(report);
        }
        if !matches!(request.load_type, LoadType::Test | LoadType::Validate) {
            this.make_new_tables(&wanted).await?;
        }
        match request.load_type {
            LoadType::Scd => report.runs = this.run(&this.up_to(names(), None, request), cancel).await?.runs,
            LoadType::Incremental => report.runs = this.go_on(&wanted, request, cancel).await?,
            LoadType::Backfill => report.runs = this.again(&wanted, request, cancel).await,
            LoadType::Deletes => {
                let again = DeletesRequest { wait: request.wait, ..DeletesRequest::new(names()) };
                let found = this.deletes(&again, cancel).await?;
                report.runs = found.tables.into_iter().flat_map(TableDeletes::into_runs).collect();
            }
            LoadType::Test => {
                for table in &wanted {
                    report.tests.push(this.trial(table, cancel).await);
                }
            }
            LoadType::Validate => report.verify = Some(this.verify(&VerifyRequest::new(names())).await?),
        }
        Ok(report)
    }

    /// The tables of a manifest that are called so, in the order of the file.
    fn tables_of(&self, manifest: &Path, names: &[String]) -> Result<Vec<TableConfig>> {
        let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let wanted = place(manifest);
        let is_there = |table: &&TableConfig| table.manifest.as_ref().is_some_and(|file| place(&file.path) == wanted);
        let all: Vec<&TableConfig> = self.config.tables.iter().filter(is_there).collect();
        let fail = |text: String, hint: String| Err(Error::new(ErrorKind::Config, text).with_hint(hint));
        let file = manifest.display();
        if all.is_empty() {
            return fail(
                format!("`{file}` is no manifest that `{}` reads", self.config.path.display()),
                format!("write there: [[manifest]] path = \"{file}\", relative to its folder"),
            );
        }
        let called = |table: &TableConfig, name: &str| {
            table.name == *name || table.manifest.as_ref().is_some_and(|entry| entry.name == *name)
        };
        if let Some(name) = names.iter().find(|name| !all.iter().any(|table| called(table, name))) {
            let entries = all.iter().filter_map(|table| table.manifest.as_ref()).map(|entry| entry.name.as_str());
            let entries: Vec<&str> = entries.collect();
            return fail(format!("`{file}` has no table `{name}`"), format!("its tables are: {}", entries.join(", ")));
        }
        let chosen = |table: &&TableConfig| names.is_empty() || names.iter().any(|name| called(table, name));
        Ok(all.into_iter().filter(chosen).cloned().collect())
    }

    /// Bronze tables that are not there yet are made, with all that they need: nobody has to be told of a new table. One
    /// that cannot be made is told by its run.
    async fn make_new_tables(&self, tables: &[TableConfig]) -> Result<()> {
        let known = self.sink.overview().await?.tables;
        let new =
            |table: &&TableConfig| table.on_schema_change == OnSchemaChange::Resync && !known.contains_key(&table.name);
        let mut loads = Vec::new();
        for table in tables.iter().filter(new) {
            if let Ok((plan, _)) = self.fit(table, &TableState::default()).await {
                loads.push(plan.load(false));
            }
        }
        if loads.is_empty() { Ok(()) } else { self.sink.make_tables(&loads).await }
    }

    fn up_to(&self, tables: Vec<String>, until: Option<Timestamp>, request: &TapRequest) -> RunRequest {
        RunRequest { until, jobs: request.jobs, wait: request.wait, ..RunRequest::new(tables) }
    }

    /// From the watermark to the end of the window; what lies below was read already, and is read again.
    async fn go_on(
        &self,
        tables: &[TableConfig],
        request: &TapRequest,
        cancel: &CancellationToken,
    ) -> Result<Vec<TableRun>> {
        let overview = self.sink.overview().await?;
        let low = |table: &TableConfig| overview.tables.get(&table.name).map(|seen| seen.state.low());
        let until = request.execution_date;
        let is_past = |table: &&TableConfig| low(table).zip(until).is_some_and(|(low, until)| until <= low);
        let (past, ahead): (Vec<&TableConfig>, Vec<&TableConfig>) = tables.iter().partition(is_past);
        let mut runs = Vec::new();
        if !ahead.is_empty() {
            let names = ahead.into_iter().map(|table| table.name.clone()).collect();
            runs = self.run(&self.up_to(names, until, request), cancel).await?.runs;
        }
        for table in past.into_iter().filter(|_| request.increment.is_some()) {
            runs.extend(self.window_again(table, request, cancel).await);
        }
        Ok(runs)
    }

    /// The window once more, or all history.
    async fn again(&self, tables: &[TableConfig], request: &TapRequest, cancel: &CancellationToken) -> Vec<TableRun> {
        let mut runs = Vec::new();
        for table in tables {
            runs.extend(self.window_again(table, request, cancel).await);
        }
        runs
    }

    async fn window_again(
        &self,
        table: &TableConfig,
        request: &TapRequest,
        cancel: &CancellationToken,
    ) -> Vec<TableRun> {
        let mut runs = Vec::new();
        let followed = self.follow_first(table, request.wait, &mut runs, cancel).await;
        if runs.iter().any(|run| run.error.is_some()) {
            return runs;
        }
        if let Err(error) = followed {
            return vec![failed(TableRun::new(&table.name, table.mode), &named(error, &table.name))];
        }
        let done: Result<Vec<TableRun>> = match (request.execution_date, request.increment) {
            (Some(to), Some(increment)) => {
                // Both ends belong to the window; the end of a back-fill does not.
                let (from, to) = (to.minus(increment), Some(to.plus(Micros(1))));
                let again = BackfillRequest { to, wait: request.wait, ..BackfillRequest::new(&table.name, from) };
                self.backfill(&again, cancel).await.map(|report| report.runs)
            }
            _ => {
                let again = ReseedRequest { wait: request.wait, ..ReseedRequest::new(vec![table.name.clone()]) };
                let reports = self.reseed(&again, cancel).await.map(|report| report.tables);
                reports.map(|reports| reports.into_iter().flat_map(|report| report.runs).collect())
            }
        };
        match done {
            Ok(again) => runs.extend(again),
            Err(error) => runs.push(failed(TableRun::new(&table.name, table.mode), &named(error, &table.name))),
        }
        runs
    }
}
