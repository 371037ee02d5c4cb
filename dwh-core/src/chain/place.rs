//! Whether a CSV continues what was loaded, and where the watermark stands afterwards.

use super::{Link, Reads};
use crate::run::RunId;
use crate::watermark::Timestamp;

/// Where a table stands: what of its watermark row the chain needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// L; `-infinity`: nothing was loaded yet.
    pub watermark: Timestamp,
    /// U of the run that was loaded last. Above a watermark that is held, the next run begins here: what appeared below
    /// since is found by transaction numbers.
    pub read_high: Option<Timestamp>,
    /// `xmin` of the snapshot that was loaded last.
    pub snapshot_xmin: Option<u64>,
    /// The run that put it there.
    pub last: Option<RunId>,
    /// The newest run whose rows are in bronze, of whatever kind but a replay.
    pub newest: Option<RunId>,
}

/// What the load of a CSV means for its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It moves the watermark.
    Continues {
        /// Whether bronze may hold rows of a newer snapshot, which stay.
        older: bool,
        /// Where the watermark stands afterwards.
        watermark: Timestamp,
    },
    /// Its rows are added, and the watermark stays.
    Beside {
        /// As above.
        older: bool,
    },
    /// Bronze holds a newer snapshot of the whole table: none of its rows is wanted.
    Superseded,
}

impl Place {
    /// Whether bronze may hold rows of a newer snapshot.
    #[must_use]
    pub const fn older(self) -> bool {
        matches!(self, Self::Superseded | Self::Continues { older: true, .. } | Self::Beside { older: true })
    }

    /// Whether it moves the watermark.
    #[must_use]
    pub const fn moves(self) -> bool {
        matches!(self, Self::Continues { .. })
    }
}

impl Standing {
    /// What loading this CSV now means.
    ///
    /// Everything at or below the watermark is in bronze, and what the last run saw up to where it read. A CSV holds
    /// everything above its own lower end, as its snapshot saw it. So it continues the chain if its window begins at or
    /// below that place and ends at or above the watermark, its sweep begins at the last loaded snapshot or before it, and
    /// no newer ordinary run was loaded.
    #[must_use]
    pub fn place(&self, link: &Link) -> Place {
        match (self.judge(link), link.reads) {
            // What lies between is not in bronze yet.
            (Place::Continues { older, .. }, Reads::Window(window)) if window.low > self.reached() => {
                Place::Beside { older }
            }
            // What was committed in between is neither in it nor in bronze, as after the target was restored from a
            // backup: the next run must sweep from where the table stands.
            (Place::Continues { older, .. }, _) if self.misses_what_was_committed_before(link) => {
                Place::Beside { older }
            }
            (place, _) => place,
        }
    }

    /// What loading it means in a rebuild, where what lies between it and the watermark is known to be gone.
    #[must_use]
    pub fn place_across_gap(&self, link: &Link) -> Place {
        self.judge(link)
    }

    /// What loading a CSV once more means that was loaded before: the watermark stays, and rows that are there too, but
    /// for a snapshot, which comes in the place of what is there unless that is newer.
    #[must_use]
    pub fn place_again(&self, link: &Link) -> Place {
        let older = self.newest.max(self.last).is_some_and(|newest| newest > link.run_id());
        match link.reads {
            Reads::Whole if older => Place::Superseded,
            Reads::Whole => Place::Beside { older: false },
            _ => Place::Beside { older: true },
        }
    }

    /// Whether its sweep begins after the last loaded snapshot.
    fn misses_what_was_committed_before(&self, link: &Link) -> bool {
        link.sweeps_from.zip(self.snapshot_xmin).is_some_and(|(from, loaded)| from > loaded)
    }

    /// Up to where rows were read.
    fn reached(&self) -> Timestamp {
        self.read_high.map_or(self.watermark, |high| high.max(self.watermark))
    }

    fn judge(&self, link: &Link) -> Place {
        let run_id = link.run_id();
        let older = self.newest.max(self.last).is_some_and(|newest| newest > run_id);
        let overtaken = self.last.is_some_and(|last| last > run_id);
        if !link.kind.moves_watermark() {
            // Rows of a newer snapshot may lack their keys in an older one.
            let superseded = older && link.reads == Reads::Keys;
            return if superseded { Place::Superseded } else { Place::Beside { older } };
        }
        let watermark = match link.reads {
            Reads::Whole if older || overtaken => return Place::Superseded,
            // Only for people: it says when the copy was made, and a clock may have been set back since.
            Reads::Whole | Reads::Copy => self.watermark.max(link.run.run_started_at),
            Reads::Window(window) if window.watermark.is_finite() => window.watermark,
            // Nothing is proven yet.
            Reads::Window(_) => self.watermark,
            Reads::Keys | Reads::Unknown => return Place::Beside { older },
        };
        if overtaken || watermark < self.watermark {
            return Place::Beside { older };
        }
        Place::Continues { older, watermark }
    }
}
