//! The watermark and the safe bound, pure: which rows a run may read, and how far the watermark may move.
//!
//! A row's `now()` is the **start** of its writer's transaction, so a row can become visible after a read with a stamp
//! below the watermark that the read left behind. The rule here keeps the watermark below every transaction that is
//! still open, or whose clock may have been read without being published yet. The reading itself (two looks at
//! `pg_stat_activity`, then the prepared transactions, then lock and snapshot, in this order) is done by the source;
//! this module only judges the values. `DESIGN.md` carries the proof.

mod timestamp;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

pub use timestamp::{Micros, Timestamp};

/// What the watermark column is, which decides by how much a stored value may lie below its writer's `now()`.
#[derive(Debug, Clone, PartialEq)]
pub enum WatermarkKind {
    /// `timestamptz(precision)`, 0 to 6 digits.
    TimestampTz {
        /// Digits of the second that are kept.
        precision: u8,
    },
    /// `timestamp(precision)` in a zone that the configuration names.
    Timestamp {
        /// Digits of the second that are kept.
        precision: u8,
        /// The zone in which the writers' sessions run.
        zone: TimeZone,
    },
    /// `date` in a zone that the configuration names.
    Date {
        /// The zone in which the writers' sessions run.
        zone: TimeZone,
    },
}

impl WatermarkKind {
    /// By how much the bound stays below the oldest writer: the column rounds, so a stored value may lie before `now()`.
    ///
    /// 10^-p seconds for p digits. A `date` is midnight of a day that may have 25 hours.
    #[must_use]
    pub const fn step(&self) -> Micros {
        match self {
            Self::TimestampTz { precision } | Self::Timestamp { precision, .. } => {
                let digits = if *precision > 6 { 6 } else { *precision };
                Micros(10_i64.pow(6 - digits as u32))
            }
            Self::Date { .. } => Micros::seconds(25 * 3600),
        }
    }

    /// The zone of a column that has none of its own.
    #[must_use]
    pub const fn zone(&self) -> Option<&TimeZone> {
        match self {
            Self::TimestampTz { .. } => None,
            Self::Timestamp { zone, .. } | Self::Date { zone } => Some(zone),
        }
    }
}

/// One session of the source database, as one look at `pg_stat_activity` showed it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backend {
    /// Process id.
    pub pid: i32,
    /// When the process started; together with `pid` it names the session.
    pub backend_start: Option<Timestamp>,
    /// `None` where the reader may not see other roles' sessions.
    pub backend_type: Option<String>,
    /// `active`, `idle`, `disabled`, …
    pub state: Option<String>,
    /// Start of the open transaction.
    pub xact_start: Option<Timestamp>,
    /// Arrival of the current or last message.
    pub query_start: Option<Timestamp>,
    /// Last change of `state`.
    pub state_change: Option<Timestamp>,
    /// What it waits for, if it waits.
    pub wait_event_type: Option<String>,
    /// Its role.
    pub user: Option<String>,
    /// Its `application_name`.
    pub application: Option<String>,
    /// Whether it is a session of our own role, shown unable to write the table.
    pub harmless: bool,
}

/// One look at the sessions of the source database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// `statement_timestamp()` of the look: stamped before activity was read.
    pub at: Timestamp,
    /// The sessions that it showed.
    pub backends: Vec<Backend>,
}

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
    /// A fixed lag that the configuration asked for; proves nothing.
    FixedLag {
        /// The lag.
        lag: Micros,
    },
}

impl BoundRule {
    /// Whether the rule proves that no row at or below the bound can still appear.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        !matches!(self, Self::FixedLag { .. })
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
            Self::FixedLag { lag } => write!(f, "fixed lag of {} s, unproven", lag.as_seconds()),
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
}

/// Everything the rule looks at; all of it read before the snapshot, in the order of the fields.
#[derive(Debug, Clone)]
pub struct Observation<'a> {
    /// L, the stored watermark; `NEG_INFINITY` when nothing was extracted yet.
    pub low: Timestamp,
    /// `now()` of the target when the run began.
    pub run_started_at: Timestamp,
    /// The column's rounding, from [`WatermarkKind::step`].
    pub step: Micros,
    /// The first look (R0).
    pub first: &'a Activity,
    /// The second look (R1), some milliseconds later.
    pub second: &'a Activity,
    /// Prepared transactions that hold a writing lock on the table, read after the second look (P).
    pub prepared: &'a [Prepared],
}

/// What the rule says of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The bound is known.
    Bound(SafeBound),
    /// These sessions could not be seen; only a fall-back can tell.
    Hidden(Vec<i32>),
}

/// The safe bound of an observation.
///
/// # Errors
/// `Data` when the watermark lies in the future of the source's clock: an empty window must never pass as success.
pub fn safe_bound(seen: &Observation<'_>) -> Result<Verdict> {
    let clock = seen.first.at;
    refuse_future(seen.low, clock)?;
    let hidden: Vec<i32> = seen.second.backends.iter().filter(|b| !b.harmless && is_hidden(b)).map(|b| b.pid).collect();
    if !hidden.is_empty() {
        return Ok(Verdict::Hidden(hidden));
    }
    let mut oldest = clock;
    let mut rule = BoundRule::Quiet;
    for backend in seen.second.backends.iter().filter(|b| !b.harmless) {
        if let Some((since, wrap)) = held_since(backend, seen.first)
            && since < oldest
        {
            oldest = since;
            rule = wrap(Holder {
                pid: backend.pid,
                user: backend.user.clone(),
                application: backend.application.clone(),
                since,
            });
        }
    }
    Ok(Verdict::Bound(settle(oldest, rule, seen.low, seen.run_started_at, seen.step, seen.prepared, clock)))
}

/// The last part of the rule, shared with the fall-backs: rounding, the target's clock, prepared transactions, and
/// never back.
#[must_use]
pub fn settle(
    oldest: Timestamp,
    rule: BoundRule,
    low: Timestamp,
    run_started_at: Timestamp,
    step: Micros,
    prepared: &[Prepared],
    source_clock: Timestamp,
) -> SafeBound {
    let stepped = oldest.minus(step);
    let (mut watermark, mut rule) = match rule {
        BoundRule::Quiet if run_started_at < stepped => (run_started_at, BoundRule::TargetClock),
        rule => (stepped.min(run_started_at), rule),
    };
    if let Some(first) = prepared.iter().min_by_key(|p| p.prepared_at) {
        watermark = low;
        rule = BoundRule::PreparedTransaction(first.clone());
    }
    SafeBound { watermark: watermark.max(low), rule, source_clock }
}

/// Refuses a watermark that lies ahead of the source's clock.
///
/// # Errors
/// `Data`, with the remedy.
pub fn refuse_future(low: Timestamp, source_clock: Timestamp) -> Result<()> {
    if low <= source_clock {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Data,
        format!("watermark {low} lies in the future of the source's clock, {source_clock}"),
    )
    .with_hint(
        "set `last_extracted_at` back to a time before the first row that may be missing (rows that are there already \
         are not doubled), and check the clocks of both servers",
    ))
}

fn is_hidden(backend: &Backend) -> bool {
    backend.backend_type.is_none() || backend.state.as_deref() == Some("disabled")
}

type Wrap = fn(Holder) -> BoundRule;

/// Since when this session may have been writing, seen from the second look; `None` if it cannot matter.
fn held_since(now: &Backend, first: &Activity) -> Option<(Timestamp, Wrap)> {
    if let Some(start) = now.xact_start {
        return Some((start, BoundRule::OpenTransaction));
    }
    if matches!(now.state.as_deref(), Some("active" | "fastpath function call")) {
        let since = now.query_start.or(now.backend_start).unwrap_or(Timestamp::NEG_INFINITY);
        return Some((since, BoundRule::ActiveStatement));
    }
    // Missing from the first look: it appeared after that, so its clock is read after that too.
    let before = first.backends.iter().find(|b| b.pid == now.pid && b.backend_start == now.backend_start)?;
    // Each of these was waiting at a moment after the first clock reading, before it reads its own.
    let waited = matches!(before.wait_event_type.as_deref(), Some("Client" | "Activity" | "Extension" | "Timeout"));
    let ended_since = now.state_change.is_some_and(|change| change > first.at);
    if waited || ended_since {
        return None;
    }
    let since = now.state_change.or(now.backend_start).unwrap_or(Timestamp::NEG_INFINITY);
    Some((since, BoundRule::Unpublished))
}

/// Moves a bound out of the hour that a zone's clocks run through twice, to just before its first start.
///
/// A column without a zone cannot tell the two passes apart, so nothing in it is safe until the second is over.
#[must_use]
pub fn hold_repeated_hour(bound: Timestamp, kind: &WatermarkKind) -> Timestamp {
    let Some((zone, moment)) = kind.zone().zip(bound.jiff()) else { return bound };
    let day = jiff::SignedDuration::from_hours(25);
    let Ok(from) = moment.checked_sub(day) else { return bound };
    for transition in zone.following(from) {
        let at = transition.timestamp();
        if at > moment.checked_add(day).unwrap_or(jiff::Timestamp::MAX) {
            break;
        }
        let Ok(just_before) = at.checked_sub(jiff::SignedDuration::from_micros(1)) else { continue };
        let back = i64::from(zone.to_offset(just_before).seconds()) - i64::from(transition.offset().seconds());
        if back <= 0 {
            continue;
        }
        let turn = Timestamp::from_micros(at.as_microsecond());
        let (start, end) = (turn.minus(Micros::seconds(back)), turn.plus(Micros::seconds(back)));
        if start <= bound && bound < end {
            return start.minus(kind.step());
        }
    }
    bound
}

/// What one run reads, and where the watermark stands after it. Low is exclusive, high inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// L, exclusive; `NEG_INFINITY`: from the first row on.
    pub low: Timestamp,
    /// U, inclusive; `None`: up to the moment of the snapshot, known only once it is taken.
    pub high: Option<Timestamp>,
    /// B: where the watermark moves when the run is loaded.
    pub watermark: Timestamp,
}

impl Window {
    /// Whether further windows follow before the table is up to date.
    #[must_use]
    pub fn is_last(&self, bound: Timestamp) -> bool {
        self.watermark >= bound
    }
}

/// Which rows below the watermark are read again, because they became visible late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sweep", rename_all = "snake_case")]
pub enum Sweep {
    /// None.
    Off,
    /// Those whose row version was not visible in the last loaded snapshot.
    Xmin {
        /// `xmin` of the last loaded snapshot (64 bit).
        since: u64,
        /// How far back it looks, exclusive; `NEG_INFINITY`: through all history.
        back_to: Timestamp,
    },
    /// All of them: the snapshots of two servers, or of a server before and after a restore, cannot be compared.
    LookBack {
        /// How far back it looks, exclusive.
        back_to: Timestamp,
    },
}

/// Whether a run reads beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoundMode {
    /// Everything visible is delivered now, the watermark still moves only to the bound; the next run reads the rest again.
    #[default]
    Overlap,
    /// Nothing above the bound is read; rows younger than the oldest open transaction wait.
    Hold,
}

/// The next window of a table.
///
/// `earliest` is the smallest watermark value above `low` in the source (or `None`, when there is none): years without
/// rows are jumped over. A window ends `window` after the first row in it, or at the bound.
#[must_use]
pub fn next_window(
    low: Timestamp,
    earliest: Option<Timestamp>,
    bound: Timestamp,
    window: Micros,
    mode: BoundMode,
) -> Window {
    let first = earliest.unwrap_or(bound).max(low);
    let end = match first.plus(window) {
        // As a watermark that one moment means "nothing yet".
        Timestamp::SEED => Timestamp::SEED.plus(Micros(1)),
        end => end,
    };
    if first.is_finite() && end < bound {
        return Window { low, high: Some(end), watermark: end };
    }
    let high = match mode {
        BoundMode::Overlap => None,
        BoundMode::Hold => Some(bound),
    };
    Window { low, high, watermark: bound }
}

#[cfg(test)]
#[path = "watermark/tests.rs"]
mod tests;
