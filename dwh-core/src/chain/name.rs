//! The names of CSV files that the engine writes. Any other name is a person's and says nothing.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::run::RunId;
use crate::watermark::Timestamp;

/// How CSV files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// What is appended to `.csv`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// The name of a run's CSV: `{YYYYMMDD_HHMM}_{ZONE}_{run_id}.csv`, with `.gz` or `.zst` where it is compressed.
///
/// The number in it keeps two runs of one minute apart. It is no proof: whose a file is, its manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvName {
    /// When the run began, to the minute, in the project's zone.
    pub stamp: DateTime,
    /// The zone's abbreviation at that moment: `EAT`, and `UTCplus04` where a zone has only a number.
    pub zone: String,
    /// The run.
    pub run_id: RunId,
    /// How it is stored.
    pub compression: Compression,
}

/// Stands for a moment that no calendar has; no run begins then.
const NO_DATE: DateTime = jiff::civil::date(1, 1, 1).at(0, 0, 0, 0);

impl CsvName {
    /// The name that a run gives to its CSV.
    #[must_use]
    pub fn of(run_id: RunId, run_started_at: Timestamp, zone: &TimeZone, compression: Compression) -> Self {
        let local = run_started_at.in_zone(zone).filter(|local| local.year() > 0);
        let stamp = local.as_ref().map_or(NO_DATE, |local| {
            let date = local.date();
            date.at(local.hour(), local.minute(), 0, 0)
        });
        let zone = local.as_ref().map(zone_word).filter(|word| !word.is_empty());
        Self { stamp, zone: zone.unwrap_or_else(|| "UTC".to_owned()), run_id, compression }
    }

    /// The name, if it is exactly one that the engine gives to a CSV.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let of = |how: &Compression| name.strip_suffix(how.suffix())?.strip_suffix(".csv").map(|stem| (stem, *how));
        // `.csv` is the end of the uncompressed ones alone, so at most one of them fits.
        let (stem, compression) = Compression::ALL.iter().find_map(of)?;
        Self::of_stem(stem, compression)
    }

    /// The name of the CSV beside which a manifest of this name lies; how that CSV is stored, the name does not say.
    #[must_use]
    pub fn parse_manifest(name: &str) -> Option<Self> {
        Self::of_stem(name.strip_suffix(".manifest.json")?, Compression::None)
    }

    fn of_stem(stem: &str, compression: Compression) -> Option<Self> {
        let mut parts = stem.split('_');
        let (date, time, zone, number) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || zone.is_empty() || !zone.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let (date, time) = (digits(date, 8)?, digits(time, 4)?);
        let day = jiff::civil::Date::new(
            i16::try_from(date / 10_000).ok()?,
            i8::try_from(date / 100 % 100).ok()?,
            i8::try_from(date % 100).ok()?,
        );
        let clock =
            jiff::civil::Time::new(i8::try_from(time / 100).ok()?, i8::try_from(time % 100).ok()?, 0, 0).ok()?;
        // A number is written in one way only.
        let run_id: i64 = number.parse().ok().filter(|run_id| *run_id > 0)?;
        if run_id.to_string() != number {
            return None;
        }
        Some(Self { stamp: day.ok()?.to_datetime(clock), zone: zone.to_owned(), run_id: RunId(run_id), compression })
    }

    /// Before this name, in byte order, lie only names of runs that began two days or more before `moment`: a zone may
    /// be 14 hours off, and the project's zone may have been another one then.
    #[must_use]
    pub fn not_before(moment: Timestamp) -> String {
        let early = moment.minus(crate::watermark::Micros::seconds(2 * 24 * 3600));
        let utc = early.in_zone(&TimeZone::UTC).filter(|utc| utc.year() > 0);
        utc.map_or_else(String::new, |utc| utc.strftime("%Y%m%d").to_string())
    }
}

impl fmt::Display for CsvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, zone, run_id) = (self.stamp.strftime("%Y%m%d_%H%M"), &self.zone, self.run_id);
        write!(f, "{at}_{zone}_{run_id}.csv{}", self.compression.suffix())
    }
}

fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The zone's abbreviation, in letters that every store takes.
fn zone_word(local: &jiff::Zoned) -> String {
    let word = local.strftime("%Z").to_string();
    match word.as_bytes().first() {
        Some(b'+') => format!("UTCplus{}", &word[1..]),
        Some(b'-') => format!("UTCminus{}", &word[1..]),
        _ => word,
    }
    .chars()
    .filter(char::is_ascii_alphanumeric)
    .collect()
}
