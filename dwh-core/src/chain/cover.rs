//! Which windows were read, and what lies between them.

use std::collections::BTreeMap;

use super::{Link, Reads, Span};
use crate::run::RunId;
use crate::watermark::Timestamp;

/// A stretch that no run has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From here, exclusive.
    pub from: Timestamp,
    /// To here, inclusive.
    pub to: Timestamp,
    /// The run that begins where it ends.
    pub before: RunId,
    /// Whether it is known that no run which found nothing has read it: not from manifests of release 0.1 alone.
    pub proven: bool,
}

/// One window with what is needed to tell of a gap before it.
pub(super) struct Read {
    pub(super) span: Span,
    /// Up to where rows were read.
    high: Option<Timestamp>,
    pub(super) run_id: RunId,
    chained: bool,
    proven: bool,
}

/// What a run has read, and what it says of the runs before it that found nothing.
pub(super) fn reads(link: &Link) -> impl Iterator<Item = Read> {
    let (run_id, proven) = (link.run_id(), link.traced);
    let chained = link.kind.moves_watermark();
    let high = match link.reads {
        Reads::Window(window) => window.high,
        _ => None,
    };
    let own = link.span().map(|span| Read { span, high, run_id, chained, proven });
    let empty = link.before.as_ref().and_then(|before| before.empty.as_ref());
    let empty = empty.map(|empty| Read {
        span: Span { low: empty.window.low, end: empty.window.watermark },
        high: empty.window.high,
        run_id: empty.run_id,
        chained: true,
        proven,
    });
    own.into_iter().chain(empty)
}

/// Stretches between the first and the last window of ordinary runs that none of these runs has read, whatever the order
/// of the runs. What lies before the first is retention's: a backfill of older history begins no chain.
#[must_use]
pub fn gaps<'a>(links: impl IntoIterator<Item = &'a Link>) -> Vec<Gap> {
    let mut windows: Vec<Read> = links.into_iter().flat_map(reads).collect();
    windows.sort_unstable_by_key(|read| (read.span, read.run_id));
    let Some(first) = windows.iter().find(|read| read.chained) else { return Vec::new() };
    let mut reached = first.span.low;
    let mut found = Vec::new();
    let highs: BTreeMap<Timestamp, RunId> =
        windows.iter().filter(|read| read.chained).rev().filter_map(|read| Some((read.high?, read.run_id))).collect();
    for read in windows {
        let goes_on = highs.get(&read.span.low).is_some_and(|earlier| *earlier < read.run_id);
        // A watermark that stood nowhere yet leaves nothing behind it.
        if read.span.low > reached && reached.is_finite() && !goes_on {
            found.push(Gap { from: reached, to: read.span.low, before: read.run_id, proven: read.proven });
        }
        reached = reached.max(read.span.end);
    }
    found
}

/// Whether the spans together hold all of `wanted`.
pub(super) fn covers(mut spans: Vec<Span>, wanted: Span) -> bool {
    spans.sort_unstable();
    let mut reached = wanted.low;
    for span in spans {
        if span.low > reached {
            break;
        }
        reached = reached.max(span.end);
    }
    reached >= wanted.end
}

/// Whether no time that no run of the `log` has read lies between the windows of two ordinary runs; `None` where there are
/// no windows.
#[must_use]
pub fn joins(earlier: &Link, later: &Link, log: &[Link]) -> Option<bool> {
    let chained = |link: &Link| link.span().filter(|_| link.kind.moves_watermark());
    let (end, low) = (chained(earlier)?.end, chained(later)?.low);
    Some(!gaps(log.iter().chain([earlier, later])).iter().any(|gap| gap.from < low && gap.to > end))
}
