//! What a run reads between the watermark and the bound, and what below the watermark. Pure.

use serde::{Deserialize, Serialize};

use super::timestamp::{Micros, Timestamp};

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
    /// Whether it reads as far as there is anything to read. While the bound holds the watermark, pieces above it follow.
    #[must_use]
    pub fn is_last(&self, bound: Timestamp) -> bool {
        self.watermark >= bound && self.high.is_none_or(|high| high <= bound)
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
        /// How far back it looks, exclusive; `NEG_INFINITY`: through all history. Rows stamped `-infinity` are always
        /// looked at.
        back_to: Timestamp,
    },
    /// All of them: the snapshots of two servers, or of a server before and after a restore, cannot be compared, or
    /// nothing else finds what appears late.
    LookBack {
        /// How far back it looks, exclusive. Rows stamped `-infinity` are always read.
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

/// Which of the windows of one call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The first; further ones follow at once if they must.
    First,
    /// One after the first.
    Next,
    /// The call reads one window, whatever there is.
    Only,
}

/// Where a table stands when its next window is decided.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// L, the stored watermark.
    pub low: Timestamp,
    /// U of the run that was loaded last.
    pub read_high: Option<Timestamp>,
    /// B, the safe bound of this moment.
    pub bound: Timestamp,
    /// The source's clock.
    pub now: Timestamp,
    /// How long a window is; zero: as long as there are rows.
    pub window: Micros,
    /// How far below the watermark late rows are looked for.
    pub late_window: Micros,
    /// Whether rows above the bound are read.
    pub mode: BoundMode,
    /// `xmin` of the snapshot that was loaded last, where row versions can be told by it.
    pub since: Option<u64>,
    /// Whether all of `late_window` must be read again, because nothing else finds rows that appear late.
    pub look_back: bool,
    /// Whether rows appear with stamps of any age, as those of a materialized view do, and those that a resync missed.
    pub any_age: bool,
    /// Which window of the call it is.
    pub call: Call,
}

impl Progress {
    /// Whether the bound keeps the watermark where it is.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.bound <= self.low
    }

    /// From where on rows are read, exclusive: a held run goes on where the last one ended, if the row versions written
    /// below since then can be told.
    #[must_use]
    pub fn begin(&self) -> Timestamp {
        let goes_on = self.since.is_some() || self.call == Call::Next;
        match self.read_high {
            Some(high) if goes_on && self.is_held() && self.mode == BoundMode::Overlap => high.max(self.low),
            _ => self.low,
        }
    }

    /// The next window.
    ///
    /// `earliest` is the smallest watermark value above [`Progress::begin`] in the source (or `None`, when there is
    /// none): years without rows are jumped over. A window ends `window` after the first row in it, or at the bound; in
    /// a held run, at the source's clock.
    #[must_use]
    pub fn next_window(&self, earliest: Option<Timestamp>) -> Window {
        let low = self.begin();
        let pieces_above = self.is_held() && self.mode == BoundMode::Overlap;
        let limit = if pieces_above { self.now } else { self.bound };
        let first = earliest.unwrap_or(limit).max(low);
        let end = match first.plus(self.window) {
            // As a watermark that one moment means "nothing yet".
            Timestamp::SEED => Timestamp::SEED.plus(Micros(1)),
            end => end,
        };
        let cut = self.window.0 > 0 && first.is_finite() && end < limit;
        if pieces_above {
            // Without a second call, and without row versions, what a piece leaves would never be read.
            let cut = cut && (self.since.is_some() || self.call != Call::Only);
            return Window { low, high: cut.then_some(end), watermark: self.low };
        }
        if cut {
            return Window { low, high: Some(end), watermark: end };
        }
        Window { low, high: (self.mode == BoundMode::Hold).then_some(self.bound), watermark: self.bound }
    }

    /// What is read below the window, whose lower end is `begin`.
    #[must_use]
    pub fn sweep(&self, begin: Timestamp, clock_went_back: bool) -> Sweep {
        if !begin.is_finite() {
            return Sweep::Off;
        }
        let back_to =
            if clock_went_back || self.any_age { Timestamp::NEG_INFINITY } else { self.low.minus(self.late_window) };
        match self.since {
            Some(since) => Sweep::Xmin { since, back_to },
            // What lies below was read by the window before.
            None if self.call == Call::Next => Sweep::LookBack { back_to: begin },
            None if self.look_back || self.any_age || clock_went_back => Sweep::LookBack { back_to },
            None => Sweep::LookBack { back_to: begin },
        }
    }
}
