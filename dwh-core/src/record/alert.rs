//! What alerts have told, and what is to be told now.

use serde::{Deserialize, Serialize};

use crate::watermark::{Micros, Timestamp};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AlertThing {
    /// Stable word of what is not as it should be.
    pub check: String,
    /// What it is about: `table trips`, or `machine db1` for what one machine alone sees.
    pub subject: String,
    /// One line.
    pub message: String,
}

/// What one look found for one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AlertLook {
    /// The name of the alert.
    pub alert: String,
    /// The project.
    pub project: String,
    /// When it was looked, by the sink's clock. An older look never overrules a newer one.
    pub at: Timestamp,
    /// What is wrong, each check and subject once.
    pub found: Vec<AlertThing>,
    /// The subjects that were looked at: what was told of them and is not found any more is over.
    pub subjects: Vec<String>,
    /// Checks and subjects of which nothing is known this time: what was told of them is not over.
    pub unknown: Vec<(String, String)>,
    /// Checks whose message is a cause: another one, but for its numbers, is another thing, and told as new at once.
    pub by_cause: Vec<String>,
    /// When something that goes on is told again; zero: never.
    pub repeat: Micros,
    /// Whether it is told that something is over.
    pub recovered: bool,
    /// Only say what would be due, and keep nothing.
    pub dry_run: bool,
}

/// Why something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertDue {
    /// It was not told before.
    New,
    /// It goes on, and was told as long ago as `repeat` says.
    Again,
    /// It was told, and is over.
    Recovered,
}

impl AlertDue {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Again => "again",
            Self::Recovered => "recovered",
        }
    }
}

/// One thing that the caller, and nobody else, is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DueThing {
    /// Why.
    pub due: AlertDue,
    /// What. Of what is over, as it was told last.
    pub thing: AlertThing,
    /// When it was seen first.
    pub since: Timestamp,
}

/// What the caller is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AlertClaim {
    /// By what [`settle_alerts`](crate::Sink::settle_alerts) knows it.
    pub id: String,
    /// By check and subject; empty when nothing is due.
    pub due: Vec<DueThing>,
}

impl AlertClaim {
    /// A claim that nobody has settled for so long is taken over: its process died. Sending takes less.
    pub const EXPIRES: Micros = Micros::seconds(300);
}
