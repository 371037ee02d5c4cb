//! What set a bound, and who.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::server::Server;
use super::timestamp::{Micros, Timestamp};

/// A prepared transaction that may have written the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Its global identifier.
    pub gid: String,
    /// When it was prepared, not when it started.
    pub prepared_at: Timestamp,
}

/// Who holds the bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id at the source.
    pub pid: i32,
    /// Its role.
    pub user: Option<String>,
    /// Its `application_name`.
    pub application: Option<String>,
    /// Since when it may have been writing.
    pub since: Timestamp,
}

/// The transactions that a drain waited for in vain; the next run can finish the proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undrained {
    /// The moment that becomes provable once all of `transactions` have ended.
    pub at: Timestamp,
    /// When the server started: virtual transaction ids are unique until then.
    pub server_started_at: Timestamp,
    /// Virtual transaction ids that were open.
    pub transactions: Vec<String>,
}

/// The rule that set a bound; stands in the run log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum BoundRule {
    /// Nobody was writing: the bound is the moment of the reading.
    Quiet,
    /// Nobody was writing: the bound is the start of the run, by the target's clock.
    TargetClock,
    /// A transaction has been open since then.
    OpenTransaction(Holder),
    /// A statement has been active since then and its transaction is not published yet.
    ActiveStatement(Holder),
    /// A session changed between the two looks in a way that may hide a clock reading.
    Unpublished(Holder),
    /// A prepared transaction may have written the table: the watermark stays.
    PreparedTransaction(Prepared),
    /// Sessions were hidden; every transaction that was open has ended since.
    Drained,
    /// Sessions were hidden and some did not end in time: the watermark stays, or moves to an earlier proof.
    NotDrained(Undrained),
    /// A standby whose primary cannot be asked: the watermark stays and the sweep delivers.
    SweepOnly,
    /// The largest number that was visible; rows below it that appear later are told by the transactions that wrote them.
    Number,
    /// A fixed lag that the configuration asked for; proves nothing.
    FixedLag {
        /// The lag.
        lag: Micros,
    },
    /// Rows that this database does not write itself, or that it does not show where they come from; proves nothing.
    Unproven {
        /// What cannot be seen, such as a foreign table.
        reason: String,
        /// What set the bound as far as it can be seen.
        here: Box<Self>,
    },
}

impl BoundRule {
    /// Whether the rule proves that no row at or below the bound can still appear.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        !matches!(self, Self::FixedLag { .. } | Self::Unproven { .. })
    }
}

impl fmt::Display for BoundRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = |f: &mut fmt::Formatter<'_>, what: &str, holder: &Holder| {
            write!(f, "{what} of pid {}", holder.pid)?;
            if let Some(user) = &holder.user {
                write!(f, ", user {user}")?;
            }
            if let Some(application) = holder.application.as_deref().filter(|name| !name.is_empty()) {
                write!(f, ", application {application}")?;
            }
            write!(f, ", since {}", holder.since)
        };
        match self {
            Self::Quiet => f.write_str("quiet"),
            Self::TargetClock => f.write_str("quiet, up to the start of the run"),
            Self::OpenTransaction(holder) => held(f, "open transaction", holder),
            Self::ActiveStatement(holder) => held(f, "active statement", holder),
            Self::Unpublished(holder) => held(f, "session in between", holder),
            Self::PreparedTransaction(prepared) => {
                write!(f, "prepared transaction {}, prepared at {}", prepared.gid, prepared.prepared_at)
            }
            Self::Drained => f.write_str("hidden sessions, all drained"),
            Self::NotDrained(open) => {
                write!(f, "hidden sessions, {} transactions not drained", open.transactions.len())
            }
            Self::SweepOnly => f.write_str("standby without its primary, sweep only"),
            Self::Number => f.write_str("the largest number, and a sweep by transactions"),
            Self::FixedLag { lag } => write!(f, "fixed lag of {} s, unproven", lag.as_seconds()),
            Self::Unproven { reason, here } => write!(f, "unproven: {reason}; here: {here}"),
        }
    }
}

/// How far the watermark may move, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafeBound {
    /// B: every row at or below it that will ever be visible is visible to a snapshot taken from now on.
    pub watermark: Timestamp,
    /// What set it.
    #[serde(flatten)]
    pub rule: BoundRule,
    /// The source's clock at the first look.
    pub source_clock: Timestamp,
    /// The server that the snapshot must be taken on; `None` where the source cannot tell, and in manifests of release
    /// 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

impl SafeBound {
    /// A bound, what set it, and the source's clock at the first look; the server is not told.
    #[must_use]
    pub const fn new(watermark: Timestamp, rule: BoundRule, source_clock: Timestamp) -> Self {
        Self { watermark, rule, source_clock, server: None }
    }

    /// The same bound for rows that its rule cannot see.
    #[must_use]
    pub fn unproven(self, reason: String) -> Self {
        Self { rule: BoundRule::Unproven { reason, here: Box::new(self.rule) }, ..self }
    }
}
