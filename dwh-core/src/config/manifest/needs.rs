//! What a configuration must say so that a manifest can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Problems, file, variables};
use crate::error::{Error, ErrorKind, Result};

/// What a manifest names and does not hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Each `import_db`, with what `database_type` says beside it.
    pub(crate) databases: BTreeMap<String, BTreeSet<String>>,
    /// `connection_info`: what of an address stands in which variable of the environment.
    pub(crate) connection: BTreeMap<String, String>,
    /// `{NAME}`s of its queries that only the configuration gives a value.
    pub(crate) variables: BTreeSet<String>,
}

/// What a manifest needs.
///
/// # Errors
/// `Config` if it cannot be read, or is none.
pub(crate) fn needs(path: &Path) -> Result<Needs> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Config, format!("manifest `{}` cannot be read", path.display())).with_source(error)
    })?;
    let problems = Problems::new(path, &text);
    let mut found = Needs { connection: file::connection_info(&text), ..Needs::default() };
    for entry in file::entries(path, &text, &problems) {
        let types = entry.get("import_db").map(|database| found.databases.entry(database.to_owned()).or_default());
        if let (Some(types), Some(kind)) = (types, entry.get("database_type")) {
            types.insert(kind.to_owned());
        }
        for key in ["import_query", "additional_filtering"] {
            found.variables.extend(entry.get(key).into_iter().flat_map(variables::unknown));
        }
    }
    problems.into_result()?;
    Ok(found)
}
