//! Where a configuration comes from: a file, a dict of its sections, or the sections as keywords.

use dwh_core::config::{Config, Environment};
use dwh_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{convert, error};

/// What messages call a configuration that is no file.
const NO_FILE: &str = "configuration";

/// What Python gave, kept to make the same again.
pub struct Given {
    origin: Origin,
    /// From where a path leads; the process may go to another folder later.
    folder: PathBuf,
    /// Variables besides those of the process; they win.
    environment: BTreeMap<String, String>,
}

enum Origin {
    File(PathBuf),
    Sections(Value),
}

impl Given {
    /// Without a file and without sections: the file that `DWH_CONFIG` names, or `dwh.toml`.
    pub fn new(
        config: Option<Bound<'_, PyAny>>,
        environment: Option<BTreeMap<String, String>>,
        sections: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let environment = environment.unwrap_or_default();
        let sections = sections.filter(|sections| !sections.is_empty());
        let origin = match (config, sections) {
            (None, None) => Origin::File(default_file(&environment)),
            (None, Some(sections)) => Origin::Sections(value_of(sections)?),
            (Some(config), sections) => match config.cast::<PyMapping>() {
                Ok(mapping) => Origin::Sections(merged(value_of(mapping)?, sections)?),
                Err(_) if sections.is_some() => return Err(both(config.py())),
                Err(_) => Origin::File(config.extract()?),
            },
        };
        // A folder that is gone leaves the path as it was given.
        Ok(Self { origin, folder: std::env::current_dir().unwrap_or_default(), environment })
    }

    /// The configuration, read and checked.
    pub fn config(&self, py: Python<'_>) -> PyResult<Config> {
        let given: Environment = self.environment.clone().into_iter().collect();
        let environment = given.over(Environment::of_process());
        let config = match &self.origin {
            Origin::File(path) if !path.exists() => Err(missing(path)),
            Origin::File(path) => Config::load(path, environment),
            Origin::Sections(sections) => {
                let text = toml::to_string(sections).map_err(|error| error::internal(&error))?;
                Config::parse(&text, Path::new(NO_FILE), environment)
            }
        };
        config.map_err(|error| error::raise(py, &error))
    }

    /// The configuration as Python gave it, with a path that means the same in another folder.
    pub fn config_again<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.origin {
            Origin::File(path) => Ok(self.folder.join(path).into_pyobject(py)?.into_any()),
            Origin::Sections(sections) => convert::to_python(py, sections),
        }
    }

    /// The variables as Python gave them.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }
}

/// With the folder in which it was looked for: that of a notebook or a worker is rarely the one that is meant.
fn missing(path: &Path) -> Error {
    let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Error::new(ErrorKind::Config, format!("configuration `{}` does not exist", place.display())).with_hint(
        "give the whole path, `dwh.Pipeline(\"/path/to/dwh.toml\")`, name it in the variable DWH_CONFIG, or give the sections \
         of the file themselves: `dwh.Pipeline({\"project\": {…}, \"source\": {…}, \"target\": {…}, \"blob\": {…}, \
         \"table\": […]})`",
    )
}

fn default_file(environment: &BTreeMap<String, String>) -> PathBuf {
    let of_process = || std::env::var_os("DWH_CONFIG").map(PathBuf::from);
    let named = environment.get("DWH_CONFIG").map(PathBuf::from).or_else(of_process);
    named.filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("dwh.toml"))
}

/// A dict as JSON, without what is `None`: TOML has no word for it.
fn value_of(mapping: &Bound<'_, PyAny>) -> PyResult<Value> {
    let dict = mapping.py().get_type::<PyDict>().call1((mapping,))?;
    let mut value: Value =
        serde_json::from_str(&convert::from_python(&dict)?).map_err(|error| error::internal(&error))?;
    without_null(&mut value);
    Ok(value)
}

fn without_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// Sections as keywords stand in the place of those of the dict.
fn merged(mut value: Value, sections: Option<&Bound<'_, PyDict>>) -> PyResult<Value> {
    if let (Some(sections), Value::Object(map)) = (sections, &mut value)
        && let Value::Object(more) = value_of(sections)?
    {
        map.extend(more);
    }
    Ok(value)
}

fn both(py: Python<'_>) -> PyErr {
    let error = Error::new(ErrorKind::Config, "a file and sections are given: one of them is the configuration");
    error::raise(py, &error.with_hint("change the file, or give all sections as a dict or as keywords"))
}
