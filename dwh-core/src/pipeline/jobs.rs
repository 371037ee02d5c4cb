//! The jobs of one call, shared by its tables: a table reads several windows at a time only while no other table waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many as the call may use.
#[derive(Debug)]
pub(super) struct Jobs {
    free: Arc<Semaphore>,
    most: usize,
    /// Tables that have not begun yet.
    waiting: AtomicUsize,
}

impl Jobs {
    pub(super) fn new(most: usize, tables: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most, waiting: AtomicUsize::new(tables) }
    }

    /// How many a table has where it is alone.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// One for a table that begins. The permits never run out for good, and are never taken away: `None` never comes.
    pub(super) async fn begin(&self) -> Option<OwnedSemaphorePermit> {
        let job = self.free.clone().acquire_owned().await.ok();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        job
    }

    /// A further one for a table that has begun; waits for ever while others have not.
    pub(super) async fn further(&self) -> Option<OwnedSemaphorePermit> {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return std::future::pending().await;
        }
        self.free.clone().acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Jobs;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn a_table_has_further_jobs_only_while_no_other_waits() {
        let jobs = Jobs::new(3, 2);
        let first = jobs.begin().now_or_never().expect("one is free");
        assert!(jobs.further().now_or_never().is_none(), "the second table has not begun");
        let second = jobs.begin().now_or_never().expect("one is free");
        let further = jobs.further().now_or_never().expect("nobody waits, and one is free");
        assert!(jobs.further().now_or_never().is_none(), "none is free");
        drop(second);
        let more = jobs.further().now_or_never().expect("the second table has ended");
        drop((first, further, more));
    }
}
