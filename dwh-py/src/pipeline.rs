//! The class `Pipeline`: a configuration, the engine that each process builds from it, and its verbs by name.

use dwh_core::Config;
use dwh_core::config::Environment;
use pyo3::prelude::*;
use std::path::PathBuf;

use crate::report::{CheckReport, LoadParams, MigrateReport, PlanReport, RunReport, StatusReport, TableRun};
use crate::runtime::PerProcess;
use crate::{check, error, extract, load, migrate, plan, run, status};

/// The engine of a `dwh.toml`.
#[pyclass(frozen, module = "dwh")]
pub struct Pipeline {
    config: Config,
    // Connections and HTTP clients must not be shared with a parent process.
    engine: PerProcess<dwh_core::Pipeline>,
}

impl Pipeline {
    /// This process's engine. Connects to nothing yet.
    pub fn engine(&self, py: Python<'_>) -> PyResult<dwh_core::Pipeline> {
        let make = || dwh_core::Pipeline::from_config(self.config.clone()).map_err(|error| error::raise(py, &error));
        self.engine.get(py, make)
    }
}

#[pymethods]
impl Pipeline {
    #[new]
    #[pyo3(signature = (path = PathBuf::from("dwh.toml")))]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let config = Config::load(&path, Environment::of_process()).map_err(|error| error::raise(py, &error))?;
        let pipeline = Self { config, engine: PerProcess::new() };
        pipeline.engine(py)?;
        Ok(pipeline)
    }

    /// Look at everything a run depends on, or judge the gate `deploy`, `first-run` or `steady`; the findings tell.
    #[pyo3(signature = (gate = None))]
    fn check(&self, py: Python<'_>, gate: Option<&str>) -> PyResult<CheckReport> {
        check::check(self, py, gate)
    }

    /// Extract the next window of one table; what comes back is what `load` takes.
    #[pyo3(signature = (table, wait = false))]
    fn extract(&self, py: Python<'_>, table: &str, wait: bool) -> PyResult<LoadParams> {
        extract::extract(self, py, table, wait)
    }

    /// Load one CSV and archive it; one that is loaded already counts as done.
    ///
    /// `params` is what `extract` returned, or its dict.
    #[pyo3(signature = (params, wait = false, accept_unverified = false))]
    fn load(
        &self,
        py: Python<'_>,
        params: &Bound<'_, PyAny>,
        wait: bool,
        accept_unverified: bool,
    ) -> PyResult<TableRun> {
        load::load(self, py, params, wait, accept_unverified)
    }

    /// Create control schema, roles, views and bronze tables, or assert them.
    fn migrate(&self, py: Python<'_>) -> PyResult<MigrateReport> {
        migrate::migrate(self, py)
    }

    /// What the next run of each matching table would do; nothing is moved or written.
    #[pyo3(signature = (tables = None))]
    fn plan(&self, py: Python<'_>, tables: Option<Vec<String>>) -> PyResult<Vec<PlanReport>> {
        plan::plan(self, py, tables)
    }

    /// Extract, load and archive the tables that match; all of them if none is named.
    ///
    /// Raises if a table failed, after all others were done; `report` on the exception holds what was.
    #[pyo3(signature = (tables = None, jobs = None, wait = false, allow_empty = false))]
    fn run(
        &self,
        py: Python<'_>,
        tables: Option<Vec<String>>,
        jobs: Option<usize>,
        wait: bool,
        allow_empty: bool,
    ) -> PyResult<RunReport> {
        run::run(self, py, tables, jobs, wait, allow_empty)
    }

    /// Freshness, lag and failures of every table.
    fn status(&self, py: Python<'_>) -> PyResult<StatusReport> {
        status::status(self, py)
    }

    fn __repr__(&self) -> String {
        format!("Pipeline({:?})", self.config.path.display().to_string())
    }
}
