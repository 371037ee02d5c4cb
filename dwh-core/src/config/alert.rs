//! `[[alert]]`: who is told when something is wrong, by which way, and how often.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::watermark::Micros;

/// `[[alert]]`.
#[derive(Debug, Clone)]
pub struct AlertConfig {
    /// What it is called; what was sent is kept under this name.
    pub name: String,
    /// The way by which it is sent.
    pub channel: AlertChannel,
    /// What it tells of.
    pub on: Vec<AlertOn>,
    /// When something that goes on is told again; zero: never.
    pub repeat: Micros,
    /// How long sending may take.
    pub timeout: Micros,
}

impl AlertConfig {
    /// When something that goes on is told again, if not said.
    pub const REPEAT: Micros = Micros::seconds(6 * 3600);

    /// How long sending may take, if not said.
    pub const TIMEOUT: Micros = Micros::seconds(10);

    /// Whether it tells of this.
    #[must_use]
    pub fn tells(&self, what: AlertOn) -> bool {
        self.on.contains(&what)
    }
}

/// The way by which an alert is sent.
#[derive(Debug, Clone)]
pub enum AlertChannel {
    /// An address that takes `{"text": …}` by HTTP POST.
    Webhook(Secret),
    /// A mail server.
    Mail {
        /// `smtps://user:password@host`, or `smtp://host`.
        smtp: Secret,
        /// Who sends it.
        from: String,
        /// Who gets it.
        to: Vec<String>,
    },
    /// A program and its arguments, which may hold secrets; it gets JSON on stdin.
    Command(Vec<Secret>),
}

impl AlertChannel {
    /// The key that names it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail { .. } => "smtp",
            Self::Command(_) => "command",
        }
    }
}

/// What an alert tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertOn {
    /// A run failed, a resync was cut off, a watermark cannot be used, or the blob store does not answer.
    Failure,
    /// A limit of `[thresholds]` is not kept.
    Breach,
    /// What was told is over.
    Recovered,
}

impl AlertOn {
    /// All of them, as an alert has it that says nothing.
    pub const ALL: [Self; 3] = [Self::Failure, Self::Breach, Self::Recovered];
}
