//! How the CSV files of one table follow each other, pure: no I/O, nothing of databases or stores.
//!
//! Every run under a table's lease reads a newer snapshot than the runs with lower numbers, so the order of the numbers
//! is the order of the snapshots; clocks and stamps decide nothing here. An ordinary run continues where the watermark
//! stands and moves it; a backfill or reseed reads below it; a repair does so in the place of what bronze has there; a snapshot replaces all that was before; a dated copy is
//! history and replaces nothing. A resync replaces all that was before it, and its chunks, which have higher numbers, bring
//! the rows.

mod archive;
mod cover;
mod keys;
mod name;
mod part;
mod place;
mod range;
mod replaced;

use serde::{Deserialize, Serialize};

use crate::run::{RunId, RunKind};
use crate::watermark::{Timestamp, Window};

pub use archive::{Lost, is_superseded, missing, needed_from, serves};
pub use cover::{Gap, gaps, joins};
pub use keys::former_keys;
pub use name::{Compression, CsvName};
pub use part::{Chunk, KeyRange, Part};
pub use place::{Place, Standing};
pub use range::{Piece, Range, unfinished, unfinished_end};
pub use replaced::{Replaced, overruling, replay_order};

pub use archive::{is_replaced, lost};

/// Which run it was: a number alone may have been given twice, when a target was restored from a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// Its number.
    pub run_id: RunId,
    /// When it began, by the target's clock.
    pub run_started_at: Timestamp,
    /// SHA-256 of its CSV, uncompressed; `None` where that is not known yet.
    pub sha256: Option<String>,
}

impl RunIdentity {
    /// What keeps the two from being one run; `None` if they are.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.run_id != other.run_id {
            return Some("run number");
        }
        if self.run_started_at != other.run_started_at {
            return Some("start");
        }
        match (&self.sha256, &other.sha256) {
            (Some(a), Some(b)) if a != b => Some("sha256"),
            _ => None,
        }
    }
}

/// What a run reads of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// A window of the watermark column.
    Window(Window),
    /// All of it, in the place of what was there before.
    Whole,
    /// All of it, as a dated copy beside the others.
    Copy,
    /// The keys alone: no row comes from it, and some go.
    Keys,
    /// Nobody knows: a file that a person made.
    Unknown,
}

/// A stretch of the watermark column: above `low`, up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// Exclusive; `-infinity`: from the first row on.
    pub low: Timestamp,
    /// Inclusive.
    pub end: Timestamp,
}

/// The CSV that was loaded before another one was read; stands in the manifest of the later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCsv {
    /// Whose it is.
    #[serde(flatten)]
    pub run: RunIdentity,
    /// What of the watermark column it read; from the first row on if it holds late rows. `None` for a table that is
    /// read whole.
    pub span: Option<Span>,
}

/// Runs that found nothing and so left no CSV; several that follow each other are told as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyRun {
    /// The number of the last of them.
    pub run_id: RunId,
    /// When that one began.
    pub run_started_at: Timestamp,
    /// What they read.
    pub window: Window,
}

/// What was loaded before a CSV was read. With it a run that found nothing can be told from a CSV that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Before {
    /// The newest CSV that was loaded, of whatever kind of run; `None` if this is the first one of the table.
    pub csv: Option<NamedCsv>,
    /// What ordinary runs read since the last ordinary CSV, and found nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<EmptyRun>,
}

/// A run of the table, as far as its place in the chain needs it: from its manifest, or from its row in the run log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which run.
    pub run: RunIdentity,
    /// What it was made for.
    pub kind: RunKind,
    /// What it read.
    pub reads: Reads,
    /// Whether it delivered rows from below its window.
    pub late: bool,
    /// The transaction from which on its sweep reads; `None` if it does not go by their numbers.
    pub sweeps_from: Option<u64>,
    /// Whether it left a CSV that the engine wrote.
    pub csv: bool,
    /// What was loaded before it was read; `None` in manifests of release 0.1 and in the run log.
    pub before: Option<Before>,
    /// Whether runs before it that found nothing are known, from the run log or from its manifest.
    pub traced: bool,
}

impl Link {
    /// Its number.
    #[must_use]
    pub const fn run_id(&self) -> RunId {
        self.run.run_id
    }

    /// What of the watermark column is delivered for good once it is loaded.
    ///
    /// What an ordinary run read above its watermark is read again, so it counts up to there, unless something held the
    /// watermark: then the next run goes on where this one ended. The others set none.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        let Reads::Window(window) = self.reads else { return None };
        let end = match self.kind.moves_watermark() {
            true if window.watermark > window.low => window.watermark,
            true => window.high.unwrap_or(window.watermark),
            false => window.high?,
        };
        Some(Span { low: window.low, end })
    }

    /// The name under which the manifest of a later CSV knows it.
    #[must_use]
    pub fn named(&self) -> NamedCsv {
        let Reads::Window(window) = self.reads else { return NamedCsv { run: self.run.clone(), span: None } };
        let low = if self.late { Timestamp::NEG_INFINITY } else { window.low };
        let span = self.span().map(|span| Span { low, end: window.high.map_or(span.end, |high| high.max(span.end)) });
        NamedCsv { run: self.run.clone(), span }
    }

    /// Whether its CSV can have rows of the range. Its window begins above its low end; late rows may lie below, and
    /// their CSV meets every range that ends before the window does. A CSV without a window is dated by its run.
    #[must_use]
    pub fn meets(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        // Its rows were cut by their keys.
        if self.kind == RunKind::Chunk {
            return true;
        }
        let started = self.run.run_started_at;
        let (low, high) = match self.reads {
            Reads::Window(window) => {
                let low = if self.late { Timestamp::NEG_INFINITY } else { window.low };
                (low, window.high.unwrap_or(Timestamp::INFINITY))
            }
            _ => (started.minus(crate::watermark::Micros(1)), started),
        };
        from.is_none_or(|from| high >= from) && to.is_none_or(|to| low < to)
    }
}

#[cfg(test)]
#[path = "chain/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "chain/properties.rs"]
mod properties;
