//! Windows that one CSV stands for alone, and what that means for older ones.

use super::{Link, Span};
use crate::run::RunId;
use crate::schema::RowKey;
use crate::watermark::Timestamp;

/// A window of bronze that a CSV stands for: it holds the rows of the CSV, those that are spared, and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Exclusive; `-infinity`: from the first row on.
    pub low: Timestamp,
    /// Inclusive.
    pub high: Timestamp,
    /// The columns of the spared keys: the key may have been another one then.
    pub key: Vec<String>,
    /// Keys of rows that bronze had in the window, and that the source had elsewhere when it was read: another CSV brings
    /// them as they are there.
    pub spares: Vec<RowKey>,
    /// When the run began that read it: the mark of rows that it finds deleted, where those are marked. `None`: they go in
    /// any case.
    pub at: Option<Timestamp>,
}

impl Link {
    /// The window that its CSV stands for alone; `None` for one that only adds rows.
    #[must_use]
    pub fn replaces(&self) -> Option<Span> {
        self.span().filter(|_| self.kind.replaces())
    }
}

/// The newer runs whose CSV stands for a window alone: a row of `run` that lies there and that bronze lacks was removed.
pub fn overruling(run: RunId, links: &[Link]) -> impl Iterator<Item = &Link> {
    links.iter().filter(move |link| link.run_id() > run && link.replaces().is_some())
}

/// The order in which CSV files are loaded again, where no row that is there is ever replaced: the one that decides what
/// a row is like comes before all others that have it.
///
/// Where newer versions replace older ones, the newest first. Where the first one stays, the oldest first, but after
/// those that were read in the place of what bronze had.
#[must_use]
pub fn replay_order(links: &[Link], newest_wins: bool) -> Vec<RunId> {
    let mut order: Vec<&Link> = links.iter().collect();
    let newest = |link: &Link| std::cmp::Reverse(link.run_id());
    if newest_wins {
        order.sort_unstable_by_key(|link| newest(link));
    } else {
        order.sort_unstable_by_key(|link| {
            let replaces = link.replaces().is_some();
            let oldest = if replaces { -link.run_id().0 } else { link.run_id().0 };
            (!replaces, oldest)
        });
    }
    order.into_iter().map(Link::run_id).collect()
}
