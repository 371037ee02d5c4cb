//! The way that the rows of a CSV take into bronze. All of them end with the same rows and the same account.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// How the rows of a CSV get into bronze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Straight into an empty table, whose key and indexes are built afterwards.
    Fresh,
    /// Straight into the table beside the rows that are there; its key refuses what is there already.
    Direct,
    /// The table is emptied, and takes the rows straight: a snapshot.
    Replace,
    /// Into a temporary table first, and from there row by row.
    Staged,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 4] = [Self::Fresh, Self::Direct, Self::Replace, Self::Staged];

    /// The word in the column `route`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Direct => "direct",
            Self::Replace => "replace",
            Self::Staged => "staged",
        }
    }

    /// The route of a word from the column `route`.
    ///
    /// # Errors
    /// `Data` for any other word.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|route| route.as_str() == word)
            .ok_or_else(|| Error::new(ErrorKind::Data, format!("run log: `{word}` is no route")))
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A route, and why it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    /// The route.
    pub route: Route,
    /// Why, a few words.
    pub reason: String,
}

impl Routing {
    /// That route for that reason.
    #[must_use]
    pub fn new(route: Route, reason: impl Into<String>) -> Self {
        Self { route, reason: reason.into() }
    }
}
