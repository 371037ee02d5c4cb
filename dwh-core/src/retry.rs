//! Trying again what may go through later: jittered exponential backoff, bounded in number and time.

use backon::{ExponentialBuilder, Retryable};
use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::peer::was_not_asked;

/// After this nothing is tried once more: a server that was silent for a minute is asked a second time, and not a third.
const BUDGET: Duration = Duration::from_secs(75);

/// Calls `attempt` until it succeeds, ends in an error that no retry can mend, or was tried five times or for 75 seconds.
///
/// Waits about 0.2, 0.4, 0.8 and 1.6 seconds in between, each up to doubled by chance. A server that is known to be silent
/// is left alone.
///
/// # Errors
/// The last attempt's.
pub async fn retry<T, F, Fut>(what: &str, attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let pauses =
        ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(4).with_jitter();
    let began = Instant::now();
    attempt
        .retry(pauses)
        .when(|error| error.is_retryable() && !was_not_asked(error) && began.elapsed() < BUDGET)
        .notify(|error: &Error, pause| tracing::warn!("{what}: {error}; trying again in {:.1} s", pause.as_secs_f64()))
        .await
}
