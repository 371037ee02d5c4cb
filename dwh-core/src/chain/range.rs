//! A range of history that is read again in windows: where they end, and where a call that was cut off goes on.

use crate::run::{RunId, RunKind};
use crate::watermark::{Micros, Timestamp};

/// A range on its way through its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// What it is read for.
    pub kind: RunKind,
    /// Exclusive.
    pub low: Timestamp,
    /// Inclusive; never above the watermark.
    pub end: Timestamp,
    /// Length of a window; zero: all in one.
    pub window: Micros,
}

/// A window of such a range that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The run that read it.
    pub run_id: RunId,
    /// What it was read for.
    pub kind: RunKind,
    /// Exclusive.
    pub low: Timestamp,
    /// Inclusive.
    pub high: Timestamp,
    /// The end of the range that it is a part of.
    pub end: Timestamp,
    /// Whether its rows are where rows of today would go: in the very bronze table of today, by the same select list.
    pub stands: bool,
}

impl Range {
    /// Where the window that begins at `low` ends. Ends lie on a grid that depends on the range alone, so that a second
    /// call cuts at the same places; stretches without a row, up to `earliest`, cost no window.
    #[must_use]
    pub fn next(&self, earliest: Option<Timestamp>) -> Timestamp {
        let Some(first) = earliest.filter(|first| *first < self.end && self.window.0 > 0) else { return self.end };
        self.cell(first).1.min(self.end)
    }

    /// Where the cell of the grid that holds a moment begins (exclusive) and ends (inclusive).
    fn cell(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        let origin = if self.low.is_finite() { self.low } else { Timestamp::SEED };
        let number = -origin.since(at).0.div_euclid(self.window.0);
        let end = origin.plus(Micros(number.saturating_mul(self.window.0)));
        (end.minus(self.window), end)
    }

    /// The same for a window that begins at `at`. Where windows are replaced, a stretch without a row at the source is one
    /// of its own: bronze may have rows there.
    #[must_use]
    pub fn next_after(&self, at: Timestamp, earliest: Option<Timestamp>) -> Timestamp {
        let first = earliest.filter(|first| *first <= self.end && self.window.0 > 0 && self.kind.replaces());
        first.map(|first| self.cell(first).0).filter(|begins| *begins > at).unwrap_or_else(|| self.next(earliest))
    }

    /// Where a call goes on that came to `at` itself, and how many windows others have loaded for it meanwhile: those of the
    /// same range by runs above `since`, the newest one before the call; `pieces` newest first.
    #[must_use]
    pub fn shared(&self, mut at: Timestamp, pieces: &[Piece], since: Option<RunId>) -> (Timestamp, u64) {
        let new = pieces.iter().take_while(|piece| piece.stands && Some(piece.run_id) > since);
        let of_range: Vec<&Piece> = new.filter(|piece| piece.kind == self.kind && piece.end == self.end).collect();
        let mut windows = 0;
        while let Some(piece) = of_range.iter().find(|piece| piece.low == at && piece.high > at) {
            (at, windows) = (piece.high, windows + 1);
        }
        (at, windows)
    }

    /// Where a call goes on, and how many windows others have loaded: one that was cut off before it, as [`Range::resume`]
    /// says, and those that share the range with it. `since` is the newest run before the call, `pieces` newest first.
    #[must_use]
    pub fn goes_on(&self, pieces: &[Piece], since: Option<RunId>) -> (Timestamp, u64) {
        let standing = pieces.iter().take_while(|piece| piece.stands);
        let before: Vec<Piece> = standing.filter(|piece| Some(piece.run_id) <= since).copied().collect();
        let (at, windows) = self.resume(&before);
        let (at, more) = self.shared(at, pieces, since);
        (at, windows + more)
    }

    /// How far an earlier call of this range came, and in how many windows; `pieces` newest first, those of other ranges
    /// among them. A call that came to the end is over; what came before it belongs to others. So does everything
    /// before a window that went into another table or was read by another plan: it may have replaced those rows.
    #[must_use]
    pub fn resume(&self, pieces: &[Piece]) -> (Timestamp, u64) {
        let standing = pieces.iter().take_while(|piece| piece.stands);
        let of_range = standing.filter(|piece| piece.kind == self.kind && piece.end == self.end);
        let unfinished: Vec<&Piece> = of_range.take_while(|piece| piece.high != self.end).collect();
        let (mut at, mut windows) = (self.low, 0);
        while let Some(piece) = unfinished.iter().find(|piece| piece.low == at && piece.high > at) {
            (at, windows) = (piece.high, windows + 1);
        }
        (at, windows)
    }
}

/// Where the range of this kind begins and ends whose newest call did not come to its end; `pieces` newest first.
#[must_use]
pub fn unfinished(kind: RunKind, pieces: &[Piece]) -> Option<(Timestamp, Timestamp)> {
    let standing = || pieces.iter().take_while(|piece| piece.stands).filter(|piece| piece.kind == kind);
    let end = standing().next()?.end;
    let left: Vec<&Piece> = standing().filter(|piece| piece.end == end).take_while(|piece| piece.high != end).collect();
    left.iter().map(|piece| piece.low).min().map(|low| (low, end))
}

/// The end of the range with the same beginning that an earlier call did not finish. The watermark has moved since, but
/// what lies above the end was loaded by ordinary runs meanwhile.
#[must_use]
pub fn unfinished_end(kind: RunKind, low: Timestamp, limit: Timestamp, pieces: &[Piece]) -> Option<Timestamp> {
    let standing = || pieces.iter().take_while(|piece| piece.stands).filter(|piece| piece.kind == kind);
    let end = standing().find(|piece| piece.low == low)?.end;
    let begun = standing().position(|piece| piece.low == low && piece.end == end)?;
    let finished = standing().take(begun + 1).any(|piece| piece.end == end && piece.high == end);
    (!finished && end <= limit).then_some(end)
}
