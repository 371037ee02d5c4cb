//! Ctrl-C and the polite kill: the first asks the engine to stop, the second ends the command.

use dwh_core::{Error, ErrorKind, Result};
use std::io;

use crate::cmd::Context;
use crate::exit::Exit;

/// Comes back after the second signal; cancels the work and says so at the first.
pub async fn twice(context: &Context) -> Result<()> {
    let refused =
        |error: io::Error| Error::new(ErrorKind::Internal, "signals: cannot be listened to").with_source(error);
    let mut signals = Signals::listen().map_err(refused)?;
    let signal = signals.next().await.map_err(refused)?;
    // The first one: the shell is told what ended the command.
    let _ = context.signal.set(Exit::by_signal(signal));
    context.printer.note("stopping… (again to stop at once)");
    context.cancel.cancel();
    signals.next().await.map_err(refused).map(|_| ())
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

    /// Its number.
    async fn next(&mut self) -> io::Result<u8> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(2),
            _ = self.terminate.recv() => Ok(15),
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

    async fn next(&mut self) -> io::Result<u8> {
        tokio::signal::ctrl_c().await.map(|()| 2)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::twice;
    use crate::args::Cli;
    use crate::cmd::Context;
    use crate::exit::Exit;
    use crate::output::Printer;
    use crate::settings::Settings;
    use clap::Parser;
    use std::sync::OnceLock;
    use tokio_util::sync::CancellationToken;

    fn interrupt() {
        assert!(dwh_core::testing::signal("INT", &[std::process::id()]));
    }

    #[tokio::test]
    async fn the_first_cancels_and_the_second_ends() {
        let cli = Cli::try_parse_from(["dwh", "-q", "status"]).expect("a command line");
        let settings = Settings::resolve(&cli.global);
        let context = Context {
            printer: Printer::new(&settings),
            settings,
            cancel: CancellationToken::new(),
            signal: OnceLock::new(),
        };
        let send = async {
            interrupt();
            context.cancel.cancelled().await;
            interrupt();
        };
        // Polled in this order: listening before sending.
        let (ended, ()) = tokio::join!(biased; twice(&context), send);
        ended.expect("signals are heard");
        assert_eq!(context.signal.get(), Some(&Exit(130)));
    }
}
