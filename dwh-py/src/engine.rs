//! A configuration, and the engine that each process builds from it.

use dwh_core::Config;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::Arc;

use crate::given::Given;
use crate::per_process::PerProcess;
use crate::{error, told};

/// Arguments and keywords that make the same pipeline again.
pub type Again<'py> = (Bound<'py, PyTuple>, Bound<'py, PyDict>);

/// What both faces, `Pipeline` and `AsyncPipeline`, call.
pub struct Engine {
    given: Given,
    config: Config,
    /// Called with what happens.
    progress: Option<Arc<Py<PyAny>>>,
    // Connections and HTTP clients must not be shared with a parent process.
    engine: PerProcess<dwh_core::Pipeline>,
}

impl Engine {
    /// The engine of a configuration.
    pub fn new(py: Python<'_>, given: Given, progress: Option<Py<PyAny>>) -> PyResult<Self> {
        let config = given.config(py)?;
        let engine = Self { given, config, progress: progress.map(Arc::new), engine: PerProcess::new() };
        engine.get(py)?;
        Ok(engine)
    }

    /// This process's engine. Connects to nothing yet.
    pub fn get(&self, py: Python<'_>) -> PyResult<dwh_core::Pipeline> {
        let engine = self.engine.get(py, || self.build(py, self.config.clone()))?;
        told::listen(py)?;
        Ok(engine)
    }

    /// The same without any table.
    pub fn without_tables(&self, py: Python<'_>) -> PyResult<dwh_core::Pipeline> {
        let mut config = self.config.clone();
        config.tables.clear();
        config.sources.values_mut().for_each(|source| source.patterns = None);
        self.build(py, config)
    }

    fn build(&self, py: Python<'_>, config: Config) -> PyResult<dwh_core::Pipeline> {
        let engine = dwh_core::Pipeline::from_config(config).map_err(|error| error::raise(py, &error))?;
        Ok(engine.with_observer(told::observer(self.progress.clone())))
    }

    /// The project's name.
    pub fn project(&self) -> &str {
        &self.config.project.name
    }

    /// Where the configuration lies.
    pub fn place(&self) -> String {
        format!("{:?}", self.config.path.display().to_string())
    }

    /// What makes it again; variables that were given are in it, those of the process are not.
    pub fn again<'py>(&self, py: Python<'py>) -> PyResult<Again<'py>> {
        let keywords = PyDict::new(py);
        if !self.given.environment().is_empty() {
            keywords.set_item("environment", self.given.environment())?;
        }
        if let Some(progress) = &self.progress {
            keywords.set_item("progress", progress.bind(py))?;
        }
        Ok((PyTuple::new(py, [self.given.config_again(py)?])?, keywords))
    }
}
