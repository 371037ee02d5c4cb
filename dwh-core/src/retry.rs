//! Trying again what may go through later: jittered exponential backoff, bounded in number and time.

use backon::{ExponentialBuilder, Retryable};
use std::future::Future;
use std::time::Duration;

use crate::error::{Error, Result};

/// Calls `attempt` until it succeeds, ends in an error that no retry can mend, or was tried five times.
///
/// Waits about 0.2, 0.4, 0.8 and 1.6 seconds in between, each up to doubled by chance.
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
    attempt
        .retry(pauses)
        .when(Error::is_retryable)
        .notify(|error: &Error, pause| tracing::warn!(what, %error, pause_ms = pause.as_millis(), "trying again"))
        .await
}
