//! A configuration, and the engine that each process builds from it.

use dwh_core::Config;
use dwh_core::config::Environment;
use pyo3::prelude::*;
use std::path::Path;

use crate::error;
use crate::runtime::PerProcess;

/// What both faces, `Pipeline` and `AsyncPipeline`, call.
pub struct Engine {
    config: Config,
    // Connections and HTTP clients must not be shared with a parent process.
    engine: PerProcess<dwh_core::Pipeline>,
}

impl Engine {
    /// The engine of a `dwh.toml`.
    pub fn new(py: Python<'_>, path: &Path) -> PyResult<Self> {
        let config = Config::load(path, Environment::of_process()).map_err(|error| error::raise(py, &error))?;
        let engine = Self { config, engine: PerProcess::new() };
        engine.get(py)?;
        Ok(engine)
    }

    /// This process's engine. Connects to nothing yet.
    pub fn get(&self, py: Python<'_>) -> PyResult<dwh_core::Pipeline> {
        let make = || dwh_core::Pipeline::from_config(self.config.clone()).map_err(|error| error::raise(py, &error));
        self.engine.get(py, make)
    }

    /// Where the configuration lies.
    pub fn path(&self) -> String {
        self.config.path.display().to_string()
    }
}
