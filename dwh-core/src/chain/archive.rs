//! What an archive of CSV files must hold so that its table can be made anew.

use std::collections::BTreeSet;

use super::cover::{covers, reads};
use super::{Link, NamedCsv, Reads, Span};
use crate::run::{RunId, RunKind};

/// A CSV that was loaded once and that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// It.
    pub csv: NamedCsv,
    /// Whether everything that is there is newer: retention takes the oldest first.
    pub oldest: bool,
}

/// The CSV files that later ones name, or the loaded runs of a `log`, and that are not among `links`, unless newer ones
/// read all of their window again.
///
/// What a run has read and found nothing of is among `links` too, without a CSV. Of snapshots only the newest one counts, so of those only that one is missed.
#[must_use]
pub fn lost(links: &[Link], log: &[Link]) -> Vec<Lost> {
    let first = links.iter().filter(|link| link.csv).map(Link::run_id).min();
    let newest = log.iter().filter(|link| link.csv).max_by_key(|link| link.run_id());
    let replaced = |link: &&Link| links.iter().any(|other| other.csv && other.run_id() >= link.run_id());
    let newest = newest.filter(|link| link.reads == Reads::Whole && !replaced(link)).map(Link::named);
    let mut found: Vec<Lost> = Vec::new();
    for csv in absent(links, log).chain(newest) {
        let told = found.iter().any(|lost| lost.csv.run.differs(&csv.run).is_none());
        if !told && !is_read_again(&csv, links) {
            let oldest = first.is_none_or(|first| csv.run.run_id < first);
            found.push(Lost { csv, oldest });
        }
    }
    found.sort_unstable_by_key(|lost| lost.csv.run.run_id);
    found
}

/// Whether CSV files are gone that are not [`lost`], because newer ones read all of their window again. A row that was
/// deleted at the source in between is in none of them.
#[must_use]
pub fn is_replaced(links: &[Link], log: &[Link]) -> bool {
    absent(links, log).any(|csv| is_read_again(&csv, links))
}

/// The CSV files of windows and copies that later ones name, or the loaded runs of a `log`, and that are not among
/// `links`.
fn absent<'a>(links: &'a [Link], log: &'a [Link]) -> impl Iterator<Item = NamedCsv> + 'a {
    let named =
        links.iter().filter(|link| link.reads != Reads::Whole).filter_map(|link| link.before.as_ref()?.csv.clone());
    let logged = log.iter().filter(|link| link.csv && link.reads != Reads::Whole).map(Link::named);
    let is_there = |csv: &NamedCsv| links.iter().any(|other| other.run.differs(&csv.run).is_none());
    named.chain(logged).filter(move |csv| !is_there(csv))
}

/// Whether a rebuild does not need this CSV, because newer ones among `links` hold what it held: they read all of its window
/// again, or it was a snapshot and there is a newer one. A dated copy is not at the source any more.
#[must_use]
pub fn is_superseded(link: &Link, links: &[Link]) -> bool {
    match link.reads {
        Reads::Copy | Reads::Keys => false,
        // A resync that was read later stands for it.
        Reads::Unknown if link.kind == RunKind::Chunk => {
            links.iter().any(|other| other.kind == RunKind::Resync && other.run_id() > link.run_id())
        }
        Reads::Whole => links.iter().any(|other| other.reads == Reads::Whole && other.run_id() > link.run_id()),
        Reads::Window(_) | Reads::Unknown => is_read_again(&link.named(), links),
    }
}

/// A newer run that found nothing has read its window too, and may have left its trace in a manifest alone.
fn is_read_again(csv: &NamedCsv, links: &[Link]) -> bool {
    let newer = links.iter().flat_map(reads).filter(|read| read.run_id > csv.run.run_id);
    let spans: Vec<Span> = newer.map(|read| read.span).collect();
    csv.span.is_some_and(|span| covers(spans, span))
}

/// The loaded runs of the log that wrote a CSV which is not among the runs `there`.
///
/// Retention takes the oldest first and never the newest: with `pruned` those older than all that are there are not
/// missed, unless one of them is the newest of the log.
#[must_use]
pub fn missing(log: &[Link], there: &BTreeSet<RunId>, pruned: impl Fn(&Link) -> bool) -> Vec<RunId> {
    let wrote = |link: &&Link| link.csv && link.kind != RunKind::Replay;
    let newest = log.iter().filter(wrote).map(Link::run_id).max();
    let oldest = there.first().copied();
    let gone = log.iter().filter(wrote).filter(|link| !there.contains(&link.run_id()));
    let missed = gone.filter(|link| {
        let in_between = oldest.is_some_and(|oldest| link.run_id() > oldest);
        Some(link.run_id()) == newest || in_between || !pruned(link)
    });
    let mut found: Vec<RunId> = missed.map(Link::run_id).collect();
    found.sort_unstable();
    found
}

/// The run from which on every CSV is needed: the newest one, or an older one if those after it are of backfills, which
/// carry no watermark.
#[must_use]
pub fn needed_from(archive: impl IntoIterator<Item = (RunId, RunKind)>) -> Option<RunId> {
    let all: Vec<(RunId, RunKind)> = archive.into_iter().collect();
    let ordinary = all.iter().filter(|(_, kind)| kind.moves_watermark()).map(|(run_id, _)| *run_id).max();
    ordinary.or_else(|| all.iter().map(|(run_id, _)| *run_id).max())
}

/// Whether a CSV can be loaded into a table that is read as `today` says. A part of a table must never be taken for the
/// whole, nor a dated copy for one without a date.
#[must_use]
pub const fn serves(today: Reads, csv: Reads) -> bool {
    match today {
        Reads::Window(_) => matches!(csv, Reads::Window(_) | Reads::Whole | Reads::Keys | Reads::Unknown),
        Reads::Whole => matches!(csv, Reads::Whole),
        Reads::Copy => matches!(csv, Reads::Copy),
        Reads::Keys | Reads::Unknown => false,
    }
}
