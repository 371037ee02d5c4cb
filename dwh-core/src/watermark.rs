//! The watermark and the safe bound, pure: which rows a run may read, and how far the watermark may move.
//!
//! A row's `now()` is the **start** of its writer's transaction, so a row can become visible after a read with a stamp
//! below the watermark that the read left behind. The rule here keeps the watermark below every transaction that is
//! still open, or whose clock may have been read without being published yet. The reading itself (two looks at
//! `pg_stat_activity`, then the prepared transactions, then lock and snapshot, in this order) is done by the source;
//! this module only judges the values. `DESIGN.md` carries the proof.

mod rule;
mod server;
mod timestamp;
mod window;

use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, Result};

pub use rule::{BoundRule, Holder, Prepared, SafeBound, Undrained};
pub use server::Server;
pub use timestamp::{Micros, Timestamp};
pub use window::{BoundMode, Call, Progress, Sweep, Window};

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
    /// A whole number that only grows. Numbers are committed out of order: rows are told by the transactions that wrote
    /// them, and the number only says where most of them are.
    Number,
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
            Self::Number => Micros::ZERO,
        }
    }

    /// The zone of a column that has none of its own.
    #[must_use]
    pub const fn zone(&self) -> Option<&TimeZone> {
        match self {
            Self::TimestampTz { .. } | Self::Number => None,
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
    /// Some sessions could not be seen; only a fall-back can tell of them.
    Hidden {
        /// Those.
        pids: Vec<i32>,
        /// Since when one of the others may have been writing, and which.
        shown: (Timestamp, BoundRule),
    },
}

/// The safe bound of an observation.
///
/// # Errors
/// `Data` when the watermark lies in the future of the source's clock: an empty window must never pass as success.
pub fn safe_bound(seen: &Observation<'_>) -> Result<Verdict> {
    let clock = seen.first.at;
    refuse_future(seen.low, clock)?;
    let mut pids = Vec::new();
    let mut oldest = clock;
    let mut rule = BoundRule::Quiet;
    for backend in seen.second.backends.iter().filter(|b| !b.harmless) {
        if is_hidden(backend, seen.first) {
            pids.push(backend.pid);
        } else if let Some((since, wrap)) = held_since(backend, seen.first)
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
    if !pids.is_empty() {
        return Ok(Verdict::Hidden { pids, shown: (oldest, rule) });
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
    SafeBound { watermark: watermark.max(low), rule, source_clock, server: None }
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

/// Whether what the second look shows of a session tells nothing of its transaction.
///
/// `track_activities` can be switched on in the middle of a transaction, by `set` or by a reload: then the session is
/// shown busy, without the start of its transaction. A session that has only just begun looks the same for a moment; it
/// is told from that by having waited for its client, or shown the start of a transaction, at the first look.
fn is_hidden(now: &Backend, first: &Activity) -> bool {
    let state = now.state.as_deref().unwrap_or_default();
    if now.backend_type.is_none() || state == "disabled" {
        return true;
    }
    // Missing from the first look: it appeared after that, and so did its clock.
    let Some(before) = at_first(now, first).filter(|_| now.xact_start.is_none()) else { return false };
    match state {
        "active" | "fastpath function call" => {
            let rested = before.state.as_deref() == Some("idle") && waited(before);
            !rested && before.xact_start.is_none()
        }
        state => state.starts_with("idle in transaction"),
    }
}

/// Whether the session waited, so that it had not read the clock of its next message.
fn waited(before: &Backend) -> bool {
    matches!(before.wait_event_type.as_deref(), Some("Client" | "Activity" | "Extension" | "Timeout"))
}

/// The session as the first look showed it.
fn at_first<'a>(now: &Backend, first: &'a Activity) -> Option<&'a Backend> {
    first.backends.iter().find(|b| b.pid == now.pid && b.backend_start == now.backend_start)
}

type Wrap = fn(Holder) -> BoundRule;

/// Since when this session may have been writing, seen from the second look; `None` if it cannot matter.
fn held_since(now: &Backend, first: &Activity) -> Option<(Timestamp, Wrap)> {
    if let Some(start) = now.xact_start {
        return Some((start, BoundRule::OpenTransaction));
    }
    if matches!(now.state.as_deref(), Some("active" | "fastpath function call")) {
        let since = now.query_start.or(now.backend_start).unwrap_or(Timestamp::NEG_INFINITY);
        // The transaction of the first look may be open still, with its start hidden since.
        let shown = at_first(now, first).and_then(|before| before.xact_start).unwrap_or(since);
        return Some((since.min(shown), BoundRule::ActiveStatement));
    }
    // Missing from the first look: it appeared after that, so its clock is read after that too.
    let before = at_first(now, first)?;
    // Each of these was waiting at a moment after the first clock reading, before it reads its own.
    let ended_since = now.state_change.is_some_and(|change| change > first.at);
    if waited(before) || ended_since {
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

#[cfg(test)]
#[path = "watermark/tests.rs"]
mod tests;
