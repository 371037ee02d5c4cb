//! Ctrl-C and the polite kill: the first asks the engine to stop, the second ends the command.

use dwh_core::{Error, ErrorKind, Result};
use std::io;

use crate::cmd::Context;

/// Comes back after the second signal; cancels the work and says so at the first.
pub async fn twice(context: &Context) -> Result<()> {
    let refused =
        |error: io::Error| Error::new(ErrorKind::Internal, "signals: cannot be listened to").with_source(error);
    let mut signals = Signals::listen().map_err(refused)?;
    signals.next().await.map_err(refused)?;
    context.printer.note("stopping… (again to stop at once)");
    context.cancel.cancel();
    signals.next().await.map_err(refused)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}
