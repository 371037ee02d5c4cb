//! The newest bytes of a spool, in memory.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What one spool keeps in memory.
const OWN_BYTES: usize = 4 << 20;
/// What all spools of this process keep in memory together.
const ALL_BYTES: usize = 12 << 20;

/// Bytes that the spools of this process keep at this moment.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Chunks in their order, each with the place at which it begins.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Chunks>);

#[derive(Debug, Default)]
struct Chunks {
    chunks: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Newest {
    fn chunks(&self) -> MutexGuard<'_, Chunks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, at: u64, chunk: Bytes) {
        let mut kept = self.chunks();
        KEPT.fetch_add(chunk.len(), Ordering::Relaxed);
        kept.bytes += chunk.len();
        kept.chunks.push_back((at, chunk));
    }

    /// The oldest chunk, if there is no room for it.
    pub(super) fn to_leave(&self) -> Option<(u64, Bytes)> {
        let kept = self.chunks();
        let full = kept.bytes > OWN_BYTES || KEPT.load(Ordering::Relaxed) > ALL_BYTES;
        kept.chunks.front().filter(|_| full).cloned()
    }

    /// Forgets the oldest chunk.
    pub(super) fn leave(&self) {
        let mut kept = self.chunks();
        if let Some((_, chunk)) = kept.chunks.pop_front() {
            KEPT.fetch_sub(chunk.len(), Ordering::Relaxed);
            kept.bytes -= chunk.len();
        }
    }

    /// At most `most` bytes from `at` on.
    pub(super) fn from(&self, at: u64, most: usize) -> Place {
        let kept = self.chunks();
        let after = kept.chunks.partition_point(|(start, _)| *start <= at);
        let chunk = after.checked_sub(1).and_then(|before| kept.chunks.get(before));
        let here = chunk.and_then(|(start, chunk)| {
            let from = usize::try_from(at - start).ok().filter(|from| *from < chunk.len())?;
            Some(chunk.slice(from..chunk.len().min(from.saturating_add(most))))
        });
        here.map_or_else(
            || Place::File { until: kept.chunks.front().map_or(u64::MAX, |(start, _)| *start) },
            Place::Memory,
        )
    }
}

/// Where some bytes are.
pub(super) enum Place {
    Memory(Bytes),
    /// In the file, which has all bytes before `until`.
    File {
        until: u64,
    },
}

impl Drop for Newest {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.chunks().bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spools_together_have_a_bound() {
        // Each keeps less than is its own.
        let spools: Vec<Newest> = (0..4).map(|_| Newest::default()).collect();
        for spool in &spools {
            spool.push(0, Bytes::from(vec![1; OWN_BYTES / 8 * 7]));
        }
        assert!(spools.iter().all(|spool| spool.to_leave().is_some()));
    }
}
