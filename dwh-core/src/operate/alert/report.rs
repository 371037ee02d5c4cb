//! What `alert` is asked for, and what it says.

use serde::{Deserialize, Serialize};

use crate::config::AlertConfig;
use crate::pipeline::ErrorReport;
use crate::pipeline::report::one_code;
use crate::sink::AlertDue;
use crate::watermark::Timestamp;

/// What `alert` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AlertRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Send a message that says that it is one for trying, to every alert; look at nothing.
    pub test: bool,
    /// Only tell what would be sent.
    pub dry_run: bool,
}

impl AlertRequest {
    /// What is due of the tables that match.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// One thing that an alert tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ToldThing {
    /// Why it is told now.
    pub due: AlertDue,
    /// What is wrong: the word of `status`.
    pub check: String,
    /// `table NAME`, or `machine HOST` for disks and the blob store.
    pub subject: String,
    /// One line; of what is over, as it was told last.
    pub message: String,
    /// The command to type next, or what else to do; `null` when it is over.
    pub remedy: Option<String>,
    /// When it was seen first.
    pub since: Timestamp,
}

/// One alert, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct SentAlert {
    /// Its name.
    pub alert: String,
    /// The way: `webhook`, `smtp` or `command`.
    pub channel: String,
    /// Whether a message was sent.
    pub sent: bool,
    /// What is due; empty: nothing, so nothing was sent.
    pub things: Vec<ToldThing>,
    /// The message; `null` when there is nothing to tell.
    pub text: Option<String>,
    /// What went wrong.
    pub error: Option<ErrorReport>,
}

impl SentAlert {
    pub(super) fn of(alert: &AlertConfig) -> Self {
        Self {
            alert: alert.name.clone(),
            channel: alert.channel.as_str().to_owned(),
            sent: false,
            things: Vec::new(),
            text: None,
            error: None,
        }
    }
}

/// What `alert` sent, or would send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AlertReport {
    /// The project.
    pub project: String,
    /// Whether nothing was sent.
    pub dry_run: bool,
    /// Whether the messages were for trying.
    pub test: bool,
    /// One entry for each `[[alert]]`.
    pub alerts: Vec<SentAlert>,
}

impl AlertReport {
    /// 0 if every alert went well; the one code of all that failed; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.alerts.iter().filter_map(|alert| alert.error.as_ref()).map(|error| error.exit_code))
    }
}
