//! A server on the other side of a network: how long it may be silent, and what is known of one that was.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::watermark::Micros;

/// One server, shared by all that talk to it.
///
/// Who meets its silence says so here, and the others need not wait as long to learn the same: a run of many tables ends
/// soon after its first one. The times below are parts of the idle timeout, so that their sum stays below its double.
#[derive(Debug)]
pub(crate) struct Peer {
    idle: Duration,
    is_silent: AtomicBool,
    open: AtomicUsize,
    last: Mutex<Option<Silence>>,
}

#[derive(Debug, Clone)]
struct Silence {
    at: Instant,
    message: String,
    hint: String,
}

/// Below an error of a server that was silent a moment ago: nobody asked it again, and trying again at once is of no use.
#[derive(Debug)]
struct NotAsked;

impl fmt::Display for NotAsked {
    /// Nothing: people read the message above it.
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for NotAsked {}

/// Whether the error is of a server that was not asked again.
pub(crate) fn was_not_asked(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<NotAsked>())
}

impl Peer {
    pub(crate) fn new(idle: Micros) -> Self {
        let idle = Duration::from_micros(u64::try_from(idle.0).unwrap_or(0));
        Self { idle, is_silent: AtomicBool::new(false), open: AtomicUsize::new(0), last: Mutex::new(None) }
    }

    /// A connection to it begins.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to it has ended.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many connections to it are open, or begin.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How long it may be silent while something is asked of it.
    pub(crate) const fn idle(&self) -> Duration {
        self.idle
    }

    /// The same from now on: a twelfth of it while the server is known to be silent.
    pub(crate) fn patience(&self) -> Duration {
        if self.is_silent() { self.idle / 12 } else { self.idle }
    }

    /// How long the answer to "are you there" may take.
    pub(crate) fn probe(&self) -> Duration {
        // A login takes its time on a busy machine.
        (self.idle / 4).max(Duration::from_secs(1))
    }

    /// Whether nothing was heard of it since its silence was noticed.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// The silence that was noticed within the last half of an idle timeout, if it lasts.
    ///
    /// # Errors
    /// `Unreachable`, with the words of who noticed it.
    pub(crate) fn ask(&self) -> Result<()> {
        let known = self.last().clone().filter(|last| self.is_silent() && last.at.elapsed() < self.idle / 2);
        known.map_or(Ok(()), |last| Err(last.error().with_source(NotAsked)))
    }

    /// Nobody there answers: until something is heard, the others are told without being made to wait.
    pub(crate) fn silent(&self, error: Error) -> Error {
        self.is_silent.store(true, Ordering::Relaxed);
        self.lost(error)
    }

    /// One conversation was cut, though the server answers others.
    pub(crate) fn lost(&self, error: Error) -> Error {
        let (message, hint) = (error.to_string(), error.hint().to_owned());
        *self.last() = Some(Silence { at: Instant::now(), message, hint });
        error
    }

    /// Something was heard.
    pub(crate) fn heard(&self) {
        if self.is_silent() {
            self.is_silent.store(false, Ordering::Relaxed);
        }
    }

    /// The silence in place of what a driver makes of it: a connection that broke.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let recent = self.last().clone().filter(|last| last.at.elapsed() < self.idle);
        match recent {
            Some(last) if error.kind() == ErrorKind::Unreachable => last.error(),
            _ => error,
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<Silence>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Silence {
    fn error(&self) -> Error {
        Error::new(ErrorKind::Unreachable, self.message.clone()).with_hint(self.hint.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Error {
        Error::new(ErrorKind::Unreachable, "target: h:1 sent nothing for 2 s").with_hint("look there")
    }

    #[test]
    fn a_silent_peer_is_not_asked_again_until_it_is_heard() {
        let peer = Peer::new(Micros::seconds(60));
        assert!(peer.ask().is_ok());
        let _ = peer.silent(silence());
        let refused = peer.ask().expect_err("known to be silent");
        assert_eq!((refused.to_string().as_str(), refused.hint()), ("target: h:1 sent nothing for 2 s", "look there"));
        assert!(was_not_asked(&refused) && !was_not_asked(&silence()));
        assert_eq!(refused.chain(), refused.to_string(), "the marker is not read by people");
        assert_eq!(peer.patience(), Duration::from_secs(5));
        peer.heard();
        assert!(peer.ask().is_ok());
        assert_eq!(peer.patience(), Duration::from_secs(60));
    }

    #[test]
    fn one_cut_conversation_keeps_nobody_from_asking() {
        let peer = Peer::new(Micros::seconds(60));
        let _ = peer.lost(silence());
        assert!(peer.ask().is_ok() && !peer.is_silent());
        let closed = || Error::new(ErrorKind::Unreachable, "the server closed the connection");
        assert_eq!(peer.explain(closed()).to_string(), silence().to_string());
        let other = Error::new(ErrorKind::Data, "a value");
        assert_eq!(peer.explain(other).to_string(), "a value");
    }

    #[test]
    fn after_half_an_idle_timeout_it_is_asked_again() {
        let peer = Peer::new(Micros(2_000));
        let _ = peer.silent(silence());
        while peer.ask().is_err() {
            std::thread::yield_now();
        }
        assert!(peer.is_silent(), "still nothing was heard");
    }
}
