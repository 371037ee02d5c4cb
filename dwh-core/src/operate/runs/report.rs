//! What `runs show` says, as programs read it.

use serde::{Deserialize, Serialize};

use crate::config::Compression;
use crate::pipeline::{ErrorReport, WindowReport};
use crate::run::{RunId, RunState};
use crate::sink::RunRecord;
use crate::source::Snapshot;
use crate::watermark::Timestamp;

/// Everything that is known of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RunDetails {
    /// Its row of the run log.
    pub run: RunRecord,
    /// How long it took; `null` if it is not over.
    pub seconds: Option<f64>,
    /// What held its bound, in a sentence; `null` for tables that are read whole.
    pub bound: Option<String>,
    /// What there is to do about it; `null` for nothing.
    pub advice: Option<String>,
    /// Where its CSV lies now.
    pub csv: CsvReport,
    /// What the manifest says; `null` if there is none, or it cannot be read.
    pub manifest: Option<ManifestReport>,
    /// The loaded run of its kind before it; of one that moves the watermark, the last one before it that did.
    pub previous: Option<NeighbourReport>,
    /// The loaded run of its kind after it; of one that moves the watermark, the next one after it that did.
    pub next: Option<NeighbourReport>,
}

/// Where a CSV lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CsvPlace {
    /// The run has written none.
    None,
    /// In `exports/`.
    Exports,
    /// In `processed/`.
    Processed,
    /// In both: a move that was cut off.
    Both,
    /// In `set_aside/`: never loaded, and out of the way.
    SetAside,
    /// In neither: removed by `dwh prune`, or lost.
    Gone,
    /// The blob store does not say.
    Unknown,
}

/// A CSV, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct CsvReport {
    /// Where it lies.
    pub place: CsvPlace,
    /// Its address; of one that is gone, the last that is known.
    pub path: Option<String>,
    /// Its size as stored.
    pub stored_bytes: Option<u64>,
    /// When it was written, by the store's clock.
    pub modified: Option<Timestamp>,
    /// Whether its manifest stands beside it.
    pub complete: bool,
    /// Why the store, or the manifest, cannot be read.
    pub error: Option<ErrorReport>,
}

impl CsvReport {
    /// That of a run without one.
    pub(super) const fn none() -> Self {
        Self { place: CsvPlace::None, path: None, stored_bytes: None, modified: None, complete: false, error: None }
    }
}

/// What a manifest says beyond the run log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ManifestReport {
    /// Its address.
    pub path: String,
    /// How many columns the CSV has.
    pub columns: usize,
    /// The conflict key.
    pub key: Vec<String>,
    /// Rows, without the header.
    pub rows: u64,
    /// How the CSV is stored.
    pub compression: Compression,
    /// The run whose watermark this one continues.
    pub previous_run_id: Option<RunId>,
    /// The snapshot, with the identity of the source.
    pub snapshot: Option<Snapshot>,
}

/// A run before or after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct NeighbourReport {
    /// Its number.
    pub run_id: RunId,
    /// Where it stands.
    pub status: RunState,
    /// Its window.
    pub window: WindowReport,
    /// Where it moved the watermark.
    pub watermark: Option<Timestamp>,
    /// Whether no time lies between the two windows; `null` where there are none.
    pub joins: Option<bool>,
}

impl NeighbourReport {
    /// That of a run.
    pub(super) fn new(run: &RunRecord, joins: Option<bool>) -> Self {
        Self {
            run_id: run.run_id,
            status: run.status,
            window: WindowReport { from: run.window_low, to: run.window_high },
            watermark: run.watermark,
            joins,
        }
    }
}
