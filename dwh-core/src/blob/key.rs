//! Keys: how objects are named, and which names are accepted back.

use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::chain::{Compression, CsvName};
use crate::error::{Error, ErrorKind, Result};
use crate::run::RunId;
use crate::watermark::Timestamp;

/// What stays as it is in a path segment; everything else is percent-encoded, so that a table's name never adds a level.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');

/// The name of an object below the store's address: segments of `[0-9A-Za-z_.%-]`, none empty, `.` or `..`.
///
/// ```
/// use dwh_core::BlobKey;
/// let key = BlobKey::parse("fleet/exports/trips/1.csv")?;
/// assert_eq!(key.file_name(), "1.csv");
/// assert!(key.manifest().is_manifest());
/// assert!(BlobKey::parse("fleet/../passwords").is_err());
/// # Ok::<(), dwh_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey(String);

impl BlobKey {
    /// A key from text that came from outside: a listing, a command line, a manifest.
    ///
    /// # Errors
    /// `Config` for a leading or doubled slash, a backslash, `.` or `..` as a segment, control or other characters.
    pub fn parse(text: &str) -> Result<Self> {
        let fine = !text.is_empty()
            && text.len() <= 1024
            && text.split('/').all(|segment| {
                !matches!(segment, "" | "." | "..")
                    && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-%".contains(&b))
            });
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(ErrorKind::Config, format!("blob key {text:?} is not one that dwh writes")).with_hint(
                "name a file under `<project>/exports/<table>/`, with letters, digits, `_`, `.` and `-` only",
            ))
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The key of the manifest that stands beside this CSV.
    #[must_use]
    pub fn manifest(&self) -> Self {
        let stem = ["", ".gz", ".zst"].iter().find_map(|end| self.0.strip_suffix(&format!(".csv{end}")));
        Self(format!("{}.manifest.json", stem.unwrap_or(&self.0)))
    }

    /// The key of the rejected records beside this CSV.
    #[must_use]
    pub fn rejected(&self) -> Self {
        let manifest = if self.is_manifest() { self.clone() } else { self.manifest() };
        Self(format!("{}.rejected.jsonl", manifest.0.trim_end_matches(".manifest.json")))
    }

    /// What its name says, if it is exactly one that a run gives to its CSV, or the manifest of one. It is no proof.
    #[must_use]
    pub fn csv_name(&self) -> Option<CsvName> {
        let name = self.file_name();
        CsvName::parse(name).or_else(|| CsvName::parse_manifest(name))
    }

    /// Whether this is a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        self.0.ends_with(".manifest.json")
    }

    /// The name of the CSV beside which these rejected records were kept; `None` for anything else.
    pub(crate) fn csv_name_of_rejected(&self) -> Option<CsvName> {
        CsvName::parse(&format!("{}.csv", self.file_name().strip_suffix(".rejected.jsonl")?))
    }

    /// Whether this is a CSV, compressed or not.
    #[must_use]
    pub fn is_csv(&self) -> bool {
        [".csv", ".csv.gz", ".csv.zst"].iter().any(|end| self.0.ends_with(end))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BlobKey {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.0
    }
}

/// The folders of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Folder {
    /// Extracted, not yet loaded.
    Exports,
    /// Loaded; kept.
    Processed,
    /// Never loaded, and out of the way: a person decided so.
    SetAside,
}

impl Folder {
    /// Every folder.
    pub const ALL: [Self; 3] = [Self::Exports, Self::Processed, Self::SetAside];

    /// The folder's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exports => "exports",
            Self::Processed => "processed",
            Self::SetAside => "set_aside",
        }
    }
}

/// Where a project's files lie: `<project>/exports/<table>/`, `<project>/processed/<table>/` and `<project>/set_aside/<table>/`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The project's name.
    pub project: String,
    /// The zone in which CSV files are stamped.
    pub zone: TimeZone,
}

impl Layout {
    /// The prefix of everything of the project, ending in a slash.
    pub(crate) fn project_prefix(&self) -> String {
        format!("{}/", segment(&self.project))
    }

    /// The prefix of a folder's tables, ending in a slash.
    #[must_use]
    pub fn folder(&self, folder: Folder) -> String {
        format!("{}{}/", self.project_prefix(), folder.as_str())
    }

    /// The prefix of a table in a folder, ending in a slash.
    #[must_use]
    pub fn prefix(&self, folder: Folder, table: &str) -> String {
        format!("{}{}/", self.folder(folder), segment(table))
    }

    /// The key of a run's CSV in `exports/`.
    #[must_use]
    pub fn csv(&self, table: &str, run_id: RunId, run_started_at: Timestamp, compression: Compression) -> BlobKey {
        let name = CsvName::of(run_id, run_started_at, &self.zone, compression);
        BlobKey(format!("{}{name}", self.prefix(Folder::Exports, table)))
    }

    /// The same file in another folder.
    ///
    /// # Errors
    /// `Config` if the key is in no folder of this project.
    pub fn moved(&self, key: &BlobKey, to: Folder) -> Result<BlobKey> {
        for from in Folder::ALL {
            if let Some(rest) = key.0.strip_prefix(&self.folder(from)) {
                return Ok(BlobKey(format!("{}{rest}", self.folder(to))));
            }
        }
        Err(Error::new(ErrorKind::Config, format!("blob `{key}` is not in a folder of project `{}`", self.project)))
    }

    /// The key that `path` names: a full address below `url`, or a key.
    ///
    /// # Errors
    /// `Config` if it lies outside the table's folders.
    pub fn resolve(&self, url: &str, table: &str, path: &str) -> Result<BlobKey> {
        let relative = path.strip_prefix(url).map_or(path, |rest| rest.trim_start_matches('/'));
        let key = BlobKey::parse(relative)?;
        let inside =
            [Folder::Exports, Folder::Processed].iter().any(|folder| key.0.starts_with(&self.prefix(*folder, table)));
        if inside && key.is_csv() {
            return Ok(key);
        }
        Err(Error::new(ErrorKind::Config, format!("`{path}` is no CSV of table `{table}`"))
            .with_hint(format!("it must lie in `{url}/{}`", self.prefix(Folder::Exports, table))))
    }
}

/// A name as one path segment.
fn segment(name: &str) -> String {
    if matches!(name, "." | "..") {
        return name.replace('.', "%2E");
    }
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(zone: &str) -> Layout {
        Layout { project: "fleet".into(), zone: TimeZone::get(zone).expect("zone") }
    }

    #[test]
    fn csv_is_stamped_in_the_projects_zone() {
        let at: Timestamp = "2026-04-24T11:00:00Z".parse().expect("time");
        let key = layout("Africa/Nairobi").csv("trips", RunId(7), at, Compression::Gzip);
        assert_eq!(key.as_str(), "fleet/exports/trips/20260424_1400_EAT_7.csv.gz");
        assert_eq!(key.manifest().as_str(), "fleet/exports/trips/20260424_1400_EAT_7.manifest.json");
        assert_eq!(
            layout("Asia/Dubai").csv("t", RunId(1), at, Compression::None).file_name(),
            "20260424_1500_UTCplus04_1.csv"
        );
        assert_eq!(
            layout("America/Sao_Paulo").csv("t", RunId(1), at, Compression::None).file_name(),
            "20260424_0800_UTCminus03_1.csv"
        );
    }

    #[test]
    fn hostile_table_names_stay_one_segment() {
        let at = Timestamp::SEED;
        for name in ["..", ".", "a/b", "../x", "%2e", "Ärger 🐘", "\"; drop table x;--"] {
            let key = layout("UTC").csv(name, RunId(1), at, Compression::None);
            assert!(BlobKey::parse(key.as_str()).is_ok(), "{key}");
            assert_eq!(key.as_str().split('/').count(), 4, "{key}");
            assert!(key.as_str().starts_with("fleet/exports/"), "{key}");
        }
    }

    #[test]
    fn foreign_names_are_refused() {
        for text in ["", "/a", "a//b", "a/../b", "a/./b", "a\\b", "a b", "a\n", "ä"] {
            assert!(BlobKey::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn resolve_takes_addresses_and_keys_of_the_table_only() {
        let layout = layout("UTC");
        let url = "s3://bucket/wip";
        let key = "fleet/exports/trips/x.csv";
        assert_eq!(layout.resolve(url, "trips", &format!("{url}/{key}")).expect("address").as_str(), key);
        assert_eq!(layout.resolve(url, "trips", key).expect("key").as_str(), key);
        for path in ["fleet/exports/other/x.csv", "fleet/exports/trips/x.txt", "s3://other/fleet/exports/trips/x.csv"] {
            assert!(layout.resolve(url, "trips", path).is_err(), "{path}");
        }
        assert_eq!(
            layout.moved(&BlobKey::parse(key).expect("key"), Folder::Processed).expect("moved").as_str(),
            "fleet/processed/trips/x.csv"
        );
    }
}
