//! A raw file: which it is, and in which version it was read. Pure.

use serde::{Deserialize, Serialize};

use crate::watermark::{Micros, Timestamp};

/// How long a file must have been left alone before its stamp is believed: a write in the same tick leaves no other one.
const SETTLED: Micros = Micros::seconds(2);

/// A raw file as it was listed, or read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawFile {
    /// Its path below the source.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written, by the clock of whoever keeps it.
    pub modified: Timestamp,
    /// What a bucket calls this version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// SHA-256 of its bytes, lower-case hex; `None` until it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How many of its records were rejected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RawFile {
    /// A file of which nothing was read yet.
    #[must_use]
    pub fn listed(path: impl Into<String>, bytes: u64, modified: Timestamp, etag: Option<String>) -> Self {
        Self { path: path.into(), bytes, modified, etag, sha256: None, rejected: 0 }
    }

    /// Whether a listing shows it as it was when this one was taken.
    #[must_use]
    pub fn looks_like(&self, listed: &Self) -> bool {
        let stamped = match (&self.etag, &listed.etag) {
            (Some(one), Some(other)) => one == other,
            _ => self.modified == listed.modified,
        };
        self.path == listed.path && self.bytes == listed.bytes && stamped
    }

    /// Its date: the first one that its path names, or else when it was written.
    #[must_use]
    pub fn date(&self) -> Option<jiff::civil::Date> {
        let named = |at: usize| {
            let text = self.path.get(at..at + 10)?;
            let is_date = text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
            if is_date { text.parse::<jiff::civil::Date>().ok() } else { None }
        };
        let in_path = (0..self.path.len().saturating_sub(9)).find_map(named);
        in_path.or_else(|| self.modified.in_zone(&jiff::tz::TimeZone::UTC).map(|zoned| zoned.date()))
    }

    /// Whether this version, which was read by a run that began then, proves that `listed` need not be read again. A stamp
    /// that is as young as the read proves nothing: it may have been written once more in the same tick.
    #[must_use]
    pub fn proves(&self, listed: &Self, run_started_at: Timestamp) -> bool {
        let old = self.etag.is_some() || run_started_at.since(self.modified) > SETTLED;
        self.sha256.is_some() && old && self.looks_like(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64, modified: &str, etag: Option<&str>) -> RawFile {
        let modified = modified.parse().expect("time");
        RawFile {
            sha256: Some("0".repeat(64)),
            ..RawFile::listed("a/data.json", bytes, modified, etag.map(str::to_owned))
        }
    }

    #[test]
    fn a_version_is_proven_by_size_and_stamp_once_it_is_settled() {
        let read = file(10, "2026-10-01T12:00:00Z", None);
        let late: Timestamp = "2026-10-01T12:00:03Z".parse().expect("time");
        let soon: Timestamp = "2026-10-01T12:00:01Z".parse().expect("time");
        assert!(read.proves(&file(10, "2026-10-01T12:00:00Z", None), late));
        assert!(
            !read.proves(&file(10, "2026-10-01T12:00:00Z", None), soon),
            "it may have been written in the same tick"
        );
        assert!(!read.proves(&file(11, "2026-10-01T12:00:00Z", None), late));
        assert!(!read.proves(&file(10, "2026-10-01T12:00:01Z", None), late));
        let unread = RawFile { sha256: None, ..read.clone() };
        assert!(!unread.proves(&read, late));
    }

    #[test]
    fn a_date_in_the_path_goes_before_the_stamp() {
        let file = |path: &str| RawFile::listed(path, 1, "2026-05-06T07:08:09Z".parse().expect("time"), None);
        assert_eq!(file("sff/dumps/2023-10-30/data.json").date(), "2023-10-30".parse().ok());
        assert_eq!(file("sff/2023-13-99/data.json").date(), "2026-05-06".parse().ok());
        assert_eq!(file("é.json").date(), "2026-05-06".parse().ok());
    }

    #[test]
    fn a_bucket_tells_versions_apart_by_their_tags() {
        let read = file(10, "2026-10-01T12:00:00Z", Some("x"));
        let at: Timestamp = "2026-10-01T12:00:00Z".parse().expect("time");
        assert!(read.proves(&file(10, "2026-10-02T12:00:00Z", Some("x")), at));
        assert!(!read.proves(&file(10, "2026-10-01T12:00:00Z", Some("y")), at));
    }
}
