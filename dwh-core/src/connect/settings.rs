//! The settings of a connection: from its string, then from the service file, then from the environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::options::{check, variables};
use super::parse::{Malformed, parse};
use crate::config::Environment;
use crate::error::{Error, ErrorKind, Result};

/// The settings by name, each with where it came from.
pub(super) struct Settings {
    values: BTreeMap<String, (String, String)>,
    home: Option<PathBuf>,
}

impl Settings {
    /// Gathers them. Earlier places win: the string, the service file, the environment.
    ///
    /// # Errors
    /// `Config`, without a piece of the string.
    pub(super) fn gather(text: &str, environment: &Environment) -> Result<Self> {
        let malformed = |Malformed(what)| {
            Error::new(ErrorKind::Config, format!("the connection string {what}")).with_hint(
                "write `postgresql://user:password@host:5432/database`; in user and password, percent-encode \
                 `%` as %25, `@` as %40, `/` as %2F, `:` as %3A, `?` as %3F, `#` as %23 and blanks as %20",
            )
        };
        let mut found = Self { values: BTreeMap::new(), home: environment.get("HOME").map(PathBuf::from) };
        let parsed = parse(text).map_err(malformed)?;
        let mut previous = None;
        for (name, value) in parsed.pairs {
            check(&name, &value, previous.as_deref(), parsed.names_are_safe)?;
            previous = Some(name.clone());
            // As in libpq, the last one of two counts, and an empty one counts as none.
            found.values.insert(name, (value, "the connection string".to_owned()));
        }
        found.values.retain(|_, (value, _)| !value.is_empty());
        if let Some(service) = found.get("service").or_else(|| environment.get("PGSERVICE")).map(str::to_owned) {
            found.add_service(&service, environment)?;
        }
        for (name, variable) in variables() {
            if let Some(value) = environment.get(variable) {
                found.add(name, value, &format!("`{variable}`"));
            }
        }
        Ok(found)
    }

    fn add(&mut self, name: &str, value: &str, origin: &str) {
        self.values.entry(name.to_owned()).or_insert_with(|| (value.to_owned(), origin.to_owned()));
    }

    fn add_service(&mut self, service: &str, environment: &Environment) -> Result<()> {
        let own = environment.get("PGSERVICEFILE").map(PathBuf::from);
        let own = own.or_else(|| self.in_home(".pg_service.conf"));
        let system = environment.get("PGSYSCONFDIR").unwrap_or("/etc/postgresql-common");
        let files = own.into_iter().chain([Path::new(system).join("pg_service.conf")]);
        for file in files.filter(|file| file.exists()) {
            let text = fs::read_to_string(&file).map_err(|error| {
                Error::new(ErrorKind::Config, format!("`{}` cannot be read", file.display())).with_source(error)
            })?;
            let Some(section) = section(&text, service) else { continue };
            for (name, value) in section {
                check(name, value, None, true)?;
                self.add(name, value, &format!("`{}`", file.display()));
            }
            return Ok(());
        }
        Err(Error::new(ErrorKind::Config, format!("no service file has the service `{service}`"))
            .with_hint("services stand in `~/.pg_service.conf`, or in the file that `PGSERVICEFILE` names"))
    }

    /// The value of a setting, if it has one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// Where the setting came from.
    pub(super) fn origin(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(_, origin)| origin.as_str())
    }

    /// The value as a number.
    ///
    /// # Errors
    /// `Config` if it is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>> {
        let wrong = |_| Error::new(ErrorKind::Config, format!("`{name}` of the connection is no whole number"));
        self.get(name).map(|value| value.trim().parse().map_err(wrong)).transpose()
    }

    /// The value as one of some words.
    ///
    /// # Errors
    /// `Config` if it is another.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        found.map(Some).ok_or_else(|| {
            let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            Error::new(ErrorKind::Config, format!("`{name}` of the connection is none of {}", list.join(", ")))
        })
    }

    /// A file in the home folder, if it is there.
    pub(super) fn in_home(&self, name: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(name)).filter(|path| path.exists())
    }

    /// A path that was configured, with `~/` replaced.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.get(name)?;
        Some(match (value.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(value),
        })
    }
}

/// The lines of a section of a service file.
fn section<'a>(text: &'a str, service: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let header = format!("[{service}]");
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == header)?;
    Some(
        lines
            .take_while(|line| !line.starts_with('['))
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('=').map(|(name, value)| (name.trim(), value.trim())))
            .collect(),
    )
}
