//! The states of a run, pure: which may follow which. The database repeats the list as a CHECK.

mod route;

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::error::{Error, ErrorKind, Result};

pub use route::{Route, Routing};

/// The number of a run: the identity column of `extract_runs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a run was made for. Only an ordinary one, of rows or of a file, and a resync move the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// The next window of the table.
    #[default]
    Run,
    /// A range below the watermark, read again.
    Backfill,
    /// All history below the watermark, read again.
    Reseed,
    /// The same for a window or all of them, in the place of what bronze has there: rows that the source has no more are
    /// removed.
    Repair,
    /// A CSV that was loaded before, loaded again.
    Replay,
    /// One file of a table of files.
    File,
    /// All of a table, read in chunks beside bronze, in the place of what bronze has.
    Resync,
    /// A part of that: its rows lie beside bronze until the resync puts all of them in.
    Chunk,
    /// The keys of the source alone: rows of bronze that have none of them are gone there.
    Keys,
    /// A model: a SELECT whose rows become a table or a view of the warehouse. It has no CSV.
    Model,
}

impl RunKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Run,
        Self::Backfill,
        Self::Reseed,
        Self::Repair,
        Self::Replay,
        Self::File,
        Self::Resync,
        Self::Chunk,
        Self::Keys,
        Self::Model,
    ];

    /// The word in the column `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Backfill => "backfill",
            Self::Reseed => "reseed",
            Self::Repair => "repair",
            Self::Replay => "replay",
            Self::File => "file",
            Self::Resync => "resync",
            Self::Chunk => "chunk",
            Self::Keys => "keys",
            Self::Model => "model",
        }
    }

    /// The kind of a word from the column `kind`.
    ///
    /// # Errors
    /// `Data` for any other word.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| Error::new(ErrorKind::Data, format!("run log: `{word}` is no kind of run")))
    }

    /// Whether its load moves the watermark; if not, its rows may be older than what bronze holds.
    #[must_use]
    pub const fn moves_watermark(self) -> bool {
        matches!(self, Self::Run | Self::File | Self::Resync)
    }

    /// Whether its rows must be staged before its CSV counts: what cannot be loaded is read again, and no CSV of it is kept.
    #[must_use]
    pub const fn stages_first(self) -> bool {
        matches!(self, Self::Repair | Self::File | Self::Keys)
    }

    /// Whether its CSV stands for its window alone: rows that bronze has there too are overwritten or removed. That of a
    /// resync has no row: those of its chunks follow it.
    #[must_use]
    pub const fn replaces(self) -> bool {
        matches!(self, Self::Repair | Self::Resync)
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a run stands.
///
/// `extracting → uploaded → loading → loaded`, and `failed` from each of the first three. A failed run whose CSV is
/// complete (it has a manifest) may be loaded again: `failed → loading`, counted in `attempt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Set when the run begins; the CSV may be partly written.
    Extracting,
    /// Set once the manifest stands beside the CSV.
    Uploaded,
    /// Set before the load transaction opens, so that it is visible while it works.
    Loading,
    /// Set inside the load transaction: rows, watermark and this word commit together.
    Loaded,
    /// Set when any of the first three went wrong; `error_message` says why.
    Failed,
}

impl RunState {
    /// Every state, in the order of the arrow.
    pub const ALL: [Self; 5] = [Self::Extracting, Self::Uploaded, Self::Loading, Self::Loaded, Self::Failed];

    /// Those in which somebody is at work on the run, or was when he died.
    pub(crate) const OPEN: [Self; 3] = [Self::Extracting, Self::Uploaded, Self::Loading];

    /// The word in the column `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Extracting => "extracting",
            Self::Uploaded => "uploaded",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Failed => "failed",
        }
    }

    /// The state of a word from the column `status`.
    ///
    /// # Errors
    /// `Data` for any other word.
    pub fn parse(word: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| Error::new(ErrorKind::Data, format!("run log: `{word}` is no status")))
    }

    /// Whether `next` may follow.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Extracting, Self::Uploaded | Self::Failed)
                | (Self::Uploaded, Self::Loading | Self::Failed)
                | (Self::Loading, Self::Loaded | Self::Failed)
                | (Self::Failed, Self::Loading)
        )
    }

    /// Whether nothing more happens to the run by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Loaded | Self::Failed)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::RunKind;
    use super::RunState::{self, Extracting, Failed, Loaded, Loading, Uploaded};

    #[test]
    fn transitions_are_exactly_these() {
        let allowed = [
            (Extracting, Uploaded),
            (Extracting, Failed),
            (Uploaded, Loading),
            (Uploaded, Failed),
            (Loading, Loaded),
            (Loading, Failed),
            (Failed, Loading),
        ];
        for from in RunState::ALL {
            for to in RunState::ALL {
                assert_eq!(from.may_become(to), allowed.contains(&(from, to)), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn words_round_trip_and_others_are_refused() {
        for state in RunState::ALL {
            assert_eq!(RunState::parse(state.as_str()).expect("own word"), state);
        }
        assert!(RunState::parse("done").is_err());
        for kind in RunKind::ALL {
            assert_eq!(RunKind::parse(kind.as_str()).expect("own word"), kind);
        }
        assert!(RunKind::parse("").is_err());
    }
}
