//! The verbs that look and tell, on both faces: they move no row.

use dwh_core::operate::{AlertRequest, DesignRequest, Gate, PlanRequest, RepairRequest, VerifyRequest};
use dwh_core::sink::RunFilter;
use pyo3::prelude::*;
use std::path::PathBuf;

use crate::moment::Moment;
use crate::pending::awaitable;
use crate::pipeline::{AsyncPipeline, Pipeline, of_files};
use crate::runtime::block_on;
use crate::tables::{Names, chosen, or_nothing};
use crate::{alert, check, designs, error, files, load, models, plan, run_details, runs, status, tables, verify};

/// Writes both faces from one list of verbs, as in `pipeline`.
macro_rules! verbs { ($($face:ident $make:ident;)*) => {$(
#[pymethods]
#[allow(clippy::too_many_arguments)] // Python's keyword arguments
impl $face {
    /// The names of the tables that match, those that patterns have found among them.
    #[pyo3(signature = (tables = None))]
    fn tables(&self, py: Python<'_>, tables: Option<Names>) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables);
        $make(py, tables::tables(self.0.get(py)?, tables))
    }

    /// Send what needs attention, and what is over, to each `[[alert]]`, once; raises if one cannot be sent.
    #[pyo3(signature = (tables = None, *, test = false, dry_run = false))]
    fn alert(&self, py: Python<'_>, tables: Option<Names>, test: bool, dry_run: bool) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, AlertReport, "project": self.0.project(), "dry_run": dry_run, "test": test);
        let mut request = AlertRequest::new(tables);
        (request.test, request.dry_run) = (test, dry_run);
        $make(py, alert::alert(self.0.get(py)?, request))
    }

    /// Look at everything a run depends on, or judge a gate; raises if anything would make a run fail.
    #[pyo3(signature = (tables = None, *, gate = None))]
    fn check(&self, py: Python<'_>, tables: Option<Names>, gate: Option<&str>) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, CheckReport);
        let gate = gate.map(Gate::parse).transpose().map_err(|error| error::raise(py, &error))?;
        $make(py, check::check(self.0.get(py)?, tables, gate))
    }

    /// Every raw file, and where it stands.
    #[pyo3(signature = (paths = None, *, tables = None))]
    fn list_files(
        &self,
        py: Python<'_>,
        paths: Option<Names>,
        tables: Option<Names>,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, paths tables, FilesReport);
        $make(py, files::list_files(self.0.get(py)?, of_files(paths, tables)))
    }

    /// Read files to their ends and say which are valid; raises if one is not.
    #[pyo3(signature = (paths = None, *, tables = None))]
    fn validate_files(
        &self,
        py: Python<'_>,
        paths: Option<Names>,
        tables: Option<Names>,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, paths tables, FilesReport);
        $make(py, files::validate_files(self.0.get(py)?, of_files(paths, tables)))
    }

    /// What the next run or extract of each matching table would do, and the work that there is, in units; nothing is moved or
    /// written.
    #[pyo3(signature = (tables = None, *, from_ = None, to = None))]
    fn plan(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        from_: Option<Moment>,
        to: Option<Moment>,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, PlansReport);
        let mut request = PlanRequest::new(tables);
        (request.from, request.to) = (from_.map(|from| from.0), to.map(|to| to.0));
        $make(py, plan::plan(self.0.get(py)?, request))
    }

    /// What `load` would do with a CSV, which is read to its end for it; nothing is written.
    #[pyo3(signature = (params, *, accept_unverified = false))]
    fn plan_load(&self, py: Python<'_>, params: &Bound<'_, PyAny>, accept_unverified: bool) -> PyResult<Py<PyAny>> {
        $make(py, load::plan_load(self.0.get(py)?, params, accept_unverified)?)
    }

    /// Compare the designs of the tables that match with the tables that are there; raises if one is different.
    #[pyo3(signature = (tables = None, *, folder = None))]
    fn diff_designs(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        folder: Option<PathBuf>,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, DesignReport, "folder": folder.clone().unwrap_or_default(), "dry_run": true);
        let mut request = DesignRequest::new(tables);
        request.folder = folder;
        $make(py, designs::diff_designs(self.0.get(py)?, request))
    }

    /// The models that match, in the order in which they are built, each with its newest run.
    #[pyo3(signature = (models = None))]
    fn list_models(&self, py: Python<'_>, models: Option<Names>) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, models, ModelList);
        $make(py, models::list_models(self.0.get(py)?, models))
    }

    /// The bronze tables that match as the `sources.yml` of a dbt project.
    #[pyo3(signature = (tables = None))]
    fn dbt_sources(&self, py: Python<'_>, tables: Option<Names>) -> PyResult<Py<PyAny>> {
        match chosen(tables) {
            Some(tables) => $make(py, models::dbt_sources(self.0.get(py)?, tables)),
            None => $make(py, crate::tables::nothing_at_all(String::new())),
        }
    }

    /// Everything that is known of one run.
    fn run_details(&self, py: Python<'_>, run_id: i64) -> PyResult<Py<PyAny>> {
        $make(py, run_details::run_details(self.0.get(py)?, run_id))
    }

    /// Rows of the run log of the tables that match, newest first; `limit=None` for all.
    #[pyo3(
        signature = (
            tables = None, *, run_id = None, kind = None, states = None, since = None, until = None, limit = Some(20)
        ),
        text_signature = "($self, tables=None, *, run_id=None, kind=None, states=None, since=None, until=None, limit=20)"
    )]
    fn runs(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        run_id: Option<i64>,
        kind: Option<&str>,
        states: Option<Vec<String>>,
        since: Option<Moment>,
        until: Option<Moment>,
        limit: Option<u32>,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, RunsReport);
        let words = runs::filter(py, run_id, kind, &states.unwrap_or_default())?;
        let (since, until) = (since.map(|since| since.0), until.map(|until| until.0));
        let filter = RunFilter { since, until, limit, ..words };
        $make(py, runs::runs(self.0.get(py)?, tables, filter))
    }

    /// Whether all is well; with `check`, raises if anything needs attention.
    #[pyo3(signature = (tables = None, *, check = false))]
    fn status(&self, py: Python<'_>, tables: Option<Names>, check: bool) -> PyResult<Py<PyAny>> {
        // With no table the project is left: its disks, its store.
        let engine = if tables.as_ref().is_some_and(Names::is_empty) { self.0.without_tables(py)? } else { self.0.get(py)? };
        $make(py, status::status(engine, chosen(tables).unwrap_or_default(), check))
    }

    /// Compare source and bronze, by counts and hashes up to the watermark; raises if they differ.
    #[pyo3(signature = (tables = None, *, since = None, sample = 100, limit = 20, blobs = false, repair = false, dry_run = false, wait = false, allow_empty = false))]
    fn verify(
        &self,
        py: Python<'_>,
        tables: Option<Names>,
        since: Option<Moment>,
        sample: u8,
        limit: usize,
        blobs: bool,
        repair: bool,
        dry_run: bool,
        wait: bool,
        allow_empty: bool,
    ) -> PyResult<Py<PyAny>> {
        or_nothing!($make, py, tables, VerifyReport);
        let mut request = VerifyRequest::new(tables);
        request.since = since.map(|since| since.0);
        (request.sample_percent, request.limit, request.blobs) = (sample, limit, blobs);
        if !repair {
            return $make(py, verify::verify(self.0.get(py)?, request));
        }
        let mut asked = RepairRequest::new(request);
        (asked.dry_run, asked.wait, asked.allow_empty) = (dry_run, wait, allow_empty);
        $make(py, verify::repair(self.0.get(py)?, asked))
    }
}
)*} }

verbs! {
    Pipeline block_on;
    AsyncPipeline awaitable;
}
