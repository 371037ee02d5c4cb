//! Moments and lengths of time, to the microsecond.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Microseconds between 1970-01-01 and 2000-01-01, PostgreSQL's own epoch.
const PG_EPOCH_US: i64 = 946_684_800_000_000;

/// Where the number 0 has its place, in microseconds since 1970: in the year 38503. Numbers begin half-way there, negative
/// ones before it, and no moment is taken for one.
const NUMBERS_US: i64 = 1 << 60;

/// A moment to the microsecond, as PostgreSQL's `timestamptz` has it, with both infinities.
///
/// The watermark of a table that is read by a number has its place among them: far behind every moment, one microsecond for
/// each number, so that it is kept and compared like any other.
///
/// Never goes through a float or milliseconds. Text form: `2026-10-01T00:00:00.123456Z`, `-infinity`, `infinity`, `#42` for
/// a number.
///
/// ```
/// use dwh_core::Timestamp;
/// use dwh_core::watermark::Micros;
/// let noon: Timestamp = "2026-10-01T12:00:00Z".parse()?;
/// assert!(noon < noon.plus(Micros(1)) && noon < Timestamp::INFINITY);
/// assert_eq!(noon.plus(Micros::seconds(60)), "2026-10-01T12:01:00Z".parse()?);
/// # Ok::<(), dwh_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Before every moment; as a watermark: nothing was extracted yet.
    pub const NEG_INFINITY: Self = Self(i64::MIN);
    /// After every moment.
    pub const INFINITY: Self = Self(i64::MAX);
    /// The value with which a watermark row is seeded, `2000-01-01T00:00:00Z`: as a watermark, "nothing extracted yet".
    pub const SEED: Self = Self(PG_EPOCH_US);

    /// From microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 UTC; the extremes of `i64` for the infinities.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From PostgreSQL's binary form: microseconds since 2000-01-01, the extremes being the infinities.
    #[must_use]
    pub const fn from_pg_micros(micros: i64) -> Self {
        match micros {
            i64::MIN => Self::NEG_INFINITY,
            i64::MAX => Self::INFINITY,
            finite => Self(finite.saturating_add(PG_EPOCH_US)),
        }
    }

    /// PostgreSQL's binary form.
    #[must_use]
    pub const fn pg_micros(self) -> i64 {
        if self.is_finite() { self.0 - PG_EPOCH_US } else { self.0 }
    }

    /// This machine's clock, for what is only shown to people: no decision rests on it.
    #[must_use]
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    /// The place of a number.
    #[must_use]
    pub const fn of_number(number: i64) -> Self {
        Self(NUMBERS_US.saturating_add(number))
    }

    /// The number whose place it is; `None` for a moment.
    #[must_use]
    pub const fn number(self) -> Option<i64> {
        if self.is_finite() && self.0 >= NUMBERS_US / 2 { Some(self.0 - NUMBERS_US) } else { None }
    }

    /// Before all numbers, and after all moments that anybody means.
    pub(crate) const BEFORE_NUMBERS: Self = Self(NUMBERS_US / 2);

    /// Whether it is neither of the infinities.
    #[must_use]
    pub const fn is_finite(self) -> bool {
        self.0 != i64::MIN && self.0 != i64::MAX
    }

    /// Later by `span` (earlier if negative); an infinity stays what it is.
    #[must_use]
    pub const fn plus(self, span: Micros) -> Self {
        if self.is_finite() { Self(self.0.saturating_add(span.0)) } else { self }
    }

    /// Earlier by `span`; an infinity stays what it is.
    #[must_use]
    pub const fn minus(self, span: Micros) -> Self {
        self.plus(Micros(-span.0))
    }

    /// How long after `other`; negative if before. Saturates at the infinities.
    #[must_use]
    pub const fn since(self, other: Self) -> Micros {
        Micros(self.0.saturating_sub(other.0))
    }

    pub(super) fn jiff(self) -> Option<jiff::Timestamp> {
        if self.is_finite() { jiff::Timestamp::from_microsecond(self.0).ok() } else { None }
    }

    /// The moment as local time in `zone`, or `None` for an infinity or a year outside -9999..9999.
    #[must_use]
    pub fn in_zone(self, zone: &TimeZone) -> Option<jiff::Zoned> {
        self.jiff().map(|moment| moment.to_zoned(zone.clone()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.jiff()) {
            (Self::NEG_INFINITY, _) => f.write_str("-infinity"),
            (Self::INFINITY, _) => f.write_str("infinity"),
            (_, Some(moment)) => write!(f, "{moment:.6}"),
            (_, None) => match self.number() {
                Some(number) => write!(f, "#{number}"),
                None => write!(f, "{}us", self.0),
            },
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(number) = text.trim().strip_prefix('#').and_then(|number| number.parse::<i64>().ok()) {
            return Ok(Self::of_number(number));
        }
        match text.trim() {
            "-infinity" => Ok(Self::NEG_INFINITY),
            "infinity" => Ok(Self::INFINITY),
            other => other.parse::<jiff::Timestamp>().map(|moment| Self(moment.as_microsecond())).map_err(|_| {
                Error::new(ErrorKind::Config, format!("`{other}` is no point in time"))
                    .with_hint("write it with a zone, such as `2026-10-01T00:00:00Z` or `2026-10-01 03:00+03`")
            }),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A length of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

impl Micros {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole seconds.
    #[must_use]
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// The length of so many seconds, from a report; one beyond an i64 of microseconds is cut there.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e6).round() as i64)
    }

    /// Seconds with a fraction, for people; not for arithmetic.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Micros {
    /// As people read it: `0.4 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            return write!(f, "-{}", Self(self.0.saturating_neg()));
        }
        if self.0 < 59_950_000 {
            return write!(f, "{:.1} s", self.as_seconds());
        }
        let whole = (self.0 / 1_000_000) + i64::from(self.0 % 1_000_000 >= 500_000);
        let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
        match (days, hours) {
            (0, 0) => write!(f, "{minutes} min {} s", whole % 60),
            (0, _) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}
