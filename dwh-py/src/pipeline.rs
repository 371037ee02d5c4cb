//! The two faces `Pipeline` and `AsyncPipeline`: the same verbs by the same names, with the same arguments. Those that
//! only look are in `looks`.

use dwh_core::operate::{
    DesignRequest, ExportRequest, FilesRequest, MaintainRequest, MigrateRequest, ModelsRequest, TapRequest,
};
use dwh_core::pipeline::{
    BackfillRequest, DeletesRequest, PruneRequest, RebuildRequest, RecoverRequest, ReplayRequest, ReseedRequest,
    ResyncRequest,
};
use dwh_core::watermark::Micros;
use dwh_core::{RunId, RunRequest};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::{Again, Engine};
use crate::given::Given;
use crate::moment::Moment;
use crate::pending::awaitable;
use crate::runtime::block_on;
use crate::set_aside::Aside;
use crate::tables::{Names, or_nothing};
use crate::{
    backfill, deletes, designs, export, extract, files, load, maintain, migrate, models, prune, rebuild, recover,
    replay, reseed, resync, run, set_aside, tap,
};

/// The engine of a configuration; calls block.
#[pyclass(frozen, module = "dwh")]
pub struct Pipeline(pub Engine);

/// The engine of a configuration; calls are awaited.
#[pyclass(frozen, module = "dwh")]
pub struct AsyncPipeline(pub Engine);

/// What is asked about raw files.
pub fn of_files(paths: Vec<String>, tables: Vec<String>) -> FilesRequest {
    let mut request = FilesRequest::new(paths);
    request.tables = tables;
    request
}

/// Writes both faces from one list of verbs: `$make` makes the call, by waiting for it or as a coroutine.
macro_rules! verbs { ($($face:ident $make:ident;)*) => {$(
#[pymethods]
#[allow(clippy::too_many_arguments)] // Python's keyword arguments
impl $face {
    #[new]
    #[pyo3(signature = (config = None, *, environment = None, progress = None, **sections))]
    fn new(
        py: Python<'_>,
        config: Option<Bound<'_, PyAny>>,
        environment: Option<BTreeMap<String, String>>,
        progress: Option<Py<PyAny>>,
        sections: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Engine::new(py, Given::new(config, environment, sections)?, progress).map(Self)
    }

    /// What makes the same pipeline again, in another process too.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Again<'py>> {
        self.0.again(py)
    }

    /// The project's name.
    #[getter]
    fn project(&self) -> &str {
        self.0.project()
    }

    /// Read a range of history again; the watermark stays where it is.
    #[pyo3(signature = (table, *, from_, to = None, wait = false, restart = false, since_run = None, dry_run = false))]
    fn backfill(
        &self,
        py: Python<'_>,
        table: String,
        from_: Moment,
        to: Option<Moment>,
        wait: bool,
        restart: bool,
        since_run: Option<i64>,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        let mut request = BackfillRequest::new(table, from_.0);
        request.since_run = since_run.map(RunId);
        request.to = to.map(|to| to.0);
        (request.wait, request.restart, request.dry_run) = (wait, restart, dry_run);
        $make(py, backfill::backfill(self.0.get(py)?, request))
    }

    /// Mark or remove rows of bronze that the source has deleted; raises if more would go than may go at once.
    #[pyo3(signature = (tables = None, *, wait = false, force = false, dry_run = false))]
    fn deletes(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        wait: bool,
        force: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, DeletesReport, "dry_run": dry_run);
        let mut request = DeletesRequest::new(tables);
        (request.wait, request.force, request.dry_run) = (wait, force, dry_run);
        $make(py, deletes::deletes(self.0.get(py)?, request))
    }

    /// Extract the next window of one table; what comes back is what `load` takes.
    #[pyo3(signature = (table, *, wait = false))]
    fn extract(&self, py: Python<'_>, table: String, wait: bool) -> PyResult<Py<PyAny>> {
        $make(py, extract::extract(self.0.get(py)?, table, wait))
    }

    /// Load one CSV and archive it; one that is loaded already counts as done.
    ///
    /// `params` is what `extract` returned, or its dict.
    #[pyo3(signature = (params, *, wait = false, accept_unverified = false))]
    fn load(
        &self,
        py: Python<'_>,
        params: &Bound<'_, PyAny>,
        wait: bool,
        accept_unverified: bool,
    ) -> PyResult<Py<PyAny>> {
        $make(py, load::load(self.0.get(py)?, params, wait, accept_unverified)?)
    }

    /// Move loaded files that are older than a day into `_archive/<year>/` below their source.
    #[pyo3(signature = (before, paths = None, *, tables = None, dry_run = false))]
    fn archive_files(
        &self,
        py: Python<'_>,
        before: String,
        paths: Option<Names>,
        tables: Option<Names>,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, paths tables, FilesReport, "dry_run": dry_run);
        $make(py, files::archive_files(self.0.get(py)?, before, of_files(paths, tables), dry_run))
    }

    /// Read files again that are loaded, and all that a run would read; with `dry_run` only list those that match.
    #[pyo3(signature = (paths, *, tables = None, wait = false, dry_run = false))]
    fn reprocess_files(
        &self,
        py: Python<'_>,
        paths: Names,
        tables: Option<Names>,
        wait: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, paths tables, RunReport);
        if dry_run {
            return $make(py, files::list_files(self.0.get(py)?, of_files(paths, tables)));
        }
        let mut request = RunRequest::new(tables);
        request.wait = wait;
        $make(py, files::reprocess_files(self.0.get(py)?, paths, request))
    }

    /// Undo the newest load of a file: rows and copy of the version before come back.
    #[pyo3(signature = (run_id, *, dry_run = false))]
    fn restore_file(&self, py: Python<'_>, run_id: i64, dry_run: bool) -> PyResult<Py<PyAny>> {
        $make(py, files::restore_file(self.0.get(py)?, RunId(run_id), dry_run))
    }

    /// Create control schema, roles, views and bronze tables, or assert them.
    #[pyo3(signature = (tables = None, *, dry_run = false, apply_drift = false))]
    fn migrate(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        dry_run: bool,
        apply_drift: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, MigrateReport, "dry_run": dry_run);
        let mut request = MigrateRequest::new(tables);
        (request.dry_run, request.apply_drift) = (dry_run, apply_drift);
        $make(py, migrate::migrate(self.0.get(py)?, request))
    }

    /// Write the SQL that makes each table that matches, a file each; files that are there stay, unless `force`.
    #[pyo3(signature = (tables = None, *, folder = None, force = false, dry_run = false))]
    fn pull_designs(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        folder: Option<PathBuf>,
        force: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, DesignReport, "folder": folder.clone().unwrap_or_default(), "dry_run": dry_run);
        let mut request = DesignRequest::new(tables);
        (request.folder, request.force, request.dry_run) = (folder, force, dry_run);
        $make(py, designs::pull_designs(self.0.get(py)?, request))
    }

    /// Vacuum what was loaded, refresh materialized views, apply retention; raises if a step fails.
    #[pyo3(signature = (tables = None, *, dry_run = false))]
    fn maintain(&self, py: Python<'_>, tables: Option<Names>, dry_run: bool) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, MaintainReport, "dry_run": dry_run);
        let mut request = MaintainRequest::new(tables);
        request.dry_run = dry_run;
        $make(py, maintain::maintain(self.0.get(py)?, request))
    }

    /// Write the CSV files of a table in `processed/` as Parquet, with the rows that bronze has.
    #[pyo3(signature = (table, to, *, from_ = None, to_time = None, as_text = None, accept_gaps = false, dry_run = false))]
    #[allow(clippy::too_many_arguments)] // Python's keyword arguments
    fn export(
        &self,
        py: Python<'_>,
        table: String,
        to: PathBuf,
        from_: Option<Moment>,
        to_time: Option<Moment>,
        as_text: Option<Vec<String>>,
        accept_gaps: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        let mut request = ExportRequest::new(table, to.to_string_lossy());
        (request.from, request.to_time) = (from_.map(|from| from.0), to_time.map(|to| to.0));
        request.as_text = as_text.unwrap_or_default();
        (request.accept_gaps, request.dry_run) = (accept_gaps, dry_run);
        $make(py, export::export(self.0.get(py)?, request))
    }

    /// Remove loaded CSV files and rows of the run log that are older than `[retention]` says.
    #[pyo3(signature = (tables = None, *, dry_run = false))]
    fn prune(&self, py: Python<'_>, tables: Option<Names>, dry_run: bool) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, PruneReport, "dry_run": dry_run);
        let mut request = PruneRequest::new(tables);
        request.dry_run = dry_run;
        $make(py, prune::prune(self.0.get(py)?, request))
    }

    /// Make bronze, run log and watermarks anew from the blobs alone.
    #[pyo3(signature = (tables = None, *, dry_run = false, reset = false, accept_gaps = false))]
    fn rebuild(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        dry_run: bool,
        reset: bool,
        accept_gaps: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, RebuildReport, "dry_run": dry_run);
        let mut request = RebuildRequest::new(tables);
        (request.dry_run, request.reset, request.accept_gaps) = (dry_run, reset, accept_gaps);
        $make(py, rebuild::rebuild(self.0.get(py)?, request))
    }

    /// Put in order what a crash left; raises if something is left that only a person can decide.
    #[pyo3(signature = (tables = None, *, dry_run = false, uploads_older_than = None))]
    fn recover(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        dry_run: bool,
        uploads_older_than: Option<Duration>,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, RecoverReport, "dry_run": dry_run);
        let micros = |age: Duration| Micros(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let mut request = RecoverRequest::new(tables);
        request.dry_run = dry_run;
        request.uploads_older_than = uploads_older_than.map(micros);
        $make(py, recover::recover(self.0.get(py)?, request))
    }

    /// Load the CSV files of a table in `processed/` again; the watermark stays where it is.
    #[pyo3(signature = (table, *, from_ = None, to = None, wait = false, dry_run = false, accept_gaps = false))]
    fn replay(
        &self,
        py: Python<'_>,
        table: String,
        from_: Option<Moment>,
        to: Option<Moment>,
        wait: bool,
        dry_run: bool,
        accept_gaps: bool,
    ) -> PyResult<Py<PyAny>> {
        let (from, to) = (from_.map(|from| from.0), to.map(|to| to.0));
        let mut request = ReplayRequest::new(table);
        (request.from, request.to) = (from, to);
        (request.wait, request.dry_run, request.accept_gaps) = (wait, dry_run, accept_gaps);
        $make(py, replay::replay(self.0.get(py)?, request))
    }

    /// Read all history of a table again, in windows; the watermark stays where it is.
    #[pyo3(signature = (tables, *, replace = false, allow_empty = false, wait = false, restart = false, dry_run = false))]
    fn reseed(
        &self,
        py: Python<'_>,
        tables: Names,
        replace: bool,
        allow_empty: bool,
        wait: bool,
        restart: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, ReseedReport);
        let mut request = ReseedRequest::new(tables);
        (request.replace, request.allow_empty) = (replace, allow_empty);
        (request.wait, request.restart, request.dry_run) = (wait, restart, dry_run);
        $make(py, reseed::reseed(self.0.get(py)?, request))
    }

    /// Read tables anew as a whole, beside bronze, and put them in its place.
    #[pyo3(signature = (tables, *, jobs = None, allow_empty = false, wait = false, restart = false, dry_run = false))]
    fn resync(
        &self,
        py: Python<'_>,
        tables: Names,
        jobs: Option<usize>,
        allow_empty: bool,
        wait: bool,
        restart: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, ResyncReport, "dry_run": dry_run);
        let mut request = ResyncRequest::new(tables);
        (request.jobs, request.allow_empty) = (jobs, allow_empty);
        (request.wait, request.restart, request.dry_run) = (wait, restart, dry_run);
        $make(py, resync::resync(self.0.get(py)?, request))
    }

    /// Extract, load and archive the tables that match; all of them if none is named.
    ///
    /// One that fails stops no other.
    #[pyo3(signature = (
        tables = None, *, jobs = None, wait = false, allow_empty = false, accept_source = false, preview = false,
        models = false
    ))]
    fn run(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        jobs: Option<usize>,
        wait: bool,
        allow_empty: bool,
        accept_source: bool,
        preview: bool,
        models: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, RunReport, "preview": preview);
        let mut request = RunRequest::new(tables);
        (request.jobs, request.wait) = (jobs, wait);
        (request.allow_empty, request.accept_source, request.preview) = (allow_empty, accept_source, preview);
        $make(py, run::run(self.0.get(py)?, request, models))
    }

    /// Build the models that match, each behind those that it reads; raises if one fails.
    #[pyo3(signature = (
        models = None, *, upstream = false, downstream = false, prefix = None, replace = false, dry_run = false
    ))]
    #[allow(clippy::too_many_arguments)]
    fn run_models(
        &self,
        py: Python<'_>,
        models: Option<Names>,
        upstream: bool,
        downstream: bool,
        prefix: Option<String>,
        replace: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, models, ModelsReport, "dry_run": dry_run);
        let mut request = ModelsRequest::new(models);
        (request.upstream, request.downstream, request.prefix) = (upstream, downstream, prefix);
        (request.replace, request.dry_run) = (replace, dry_run);
        $make(py, models::run_models(self.0.get(py)?, request))
    }

    /// Move a CSV that was never loaded out of the way of its table: that of a run, or one in `exports/`.
    #[pyo3(signature = (what, *, dry_run = false))]
    fn set_aside(&self, py: Python<'_>, what: Aside, dry_run: bool) -> PyResult<Py<PyAny>> {
        $make(py, set_aside::set_aside(self.0.get(py)?, what, dry_run))
    }

    /// Do with the tables of a postgres_pipeline manifest what the load type says.
    #[pyo3(signature = (
        manifest, tables = None, *, load_type, execution_date = None, increment = None, task_instance = None, jobs = None,
        wait = false, dry_run = false
    ))]
    fn tap(
        &self,
        py: Python<'_>,
        manifest: PathBuf,
        tables: Option<Names>,
        load_type: &str,
        execution_date: Option<Moment>,
        increment: Option<Duration>,
        task_instance: Option<String>,
        jobs: Option<usize>,
        wait: bool,
        dry_run: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, TapReport, "manifest": manifest, "load_type": load_type, "dry_run": dry_run);
        let mut request = TapRequest::new(manifest, tap::load_type(py, load_type)?);
        request.tables = tables;
        request.execution_date = execution_date.map(|at| at.0);
        request.increment = increment.map(|length| Micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)));
        (request.task_instance, request.jobs) = (task_instance, jobs);
        (request.wait, request.dry_run) = (wait, dry_run);
        $make(py, tap::tap(self.0.get(py)?, request))
    }

    fn __repr__(&self) -> String {
        format!("{}({})", stringify!($face), self.0.place())
    }
}
)*} }

verbs! {
    Pipeline block_on;
    AsyncPipeline awaitable;
}
