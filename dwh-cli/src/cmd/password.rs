//! Passwords of logins that are made: from stdin, or typed on a terminal that does not show them; never an argument.

use dwh_core::operate::AccessReport;
use dwh_core::{Error, ErrorKind, Result, Secret};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use super::Context;
use crate::args::Format;

/// All of stdin but the end of its line.
pub async fn from_stdin(context: &Context) -> Result<Secret> {
    let fail = |what: &str| {
        Error::new(ErrorKind::Config, format!("`--password-stdin`: {what}"))
            .with_hint("hand it the password alone, as in: dwh user add tom --password-stdin < file")
    };
    let read = aside(|| io::read_to_string(io::stdin()));
    let text = context.unless_cancelled(read).await.map_err(|error| match error.kind() {
        ErrorKind::Interrupted => error,
        _ => fail("stdin cannot be read").with_source(error),
    })?;
    let password = without_end(text);
    if password.expose().is_empty() { Err(fail("stdin is empty")) } else { Ok(password) }
}

/// Whether somebody sits there who can be asked.
pub fn can_ask(context: &Context) -> bool {
    context.settings.format == Format::Text && io::stdin().is_terminal()
}

/// Asks for the password of the login that would be made, if one would; `None` if one is to be made up.
pub async fn for_login(planned: &AccessReport, context: &Context) -> Result<Option<Secret>> {
    let Some(login) = &planned.login else { return Ok(None) };
    let terminal = || File::options().read(true).write(true).open("/dev/tty");
    let terminal = terminal().map_err(|error| no_terminal().with_source(error))?;
    let silent = Silent::on(terminal).map_err(|error| no_terminal().with_source(error))?;
    let prompt = format!("password for `{}` (Enter alone: one is made up): ", login.role);
    let password = silent.ask(&prompt, context).await?;
    if password.expose().is_empty() {
        return Ok(None);
    }
    if silent.ask("the same once more: ", context).await? != password {
        return Err(Error::new(ErrorKind::Config, "the two passwords are not the same")
            .with_hint("call it again; nothing was changed"));
    }
    Ok(Some(password))
}

fn no_terminal() -> Error {
    Error::new(ErrorKind::Config, "the terminal cannot be asked for a password")
        .with_hint("hand the password to `--password-stdin`")
}

/// A terminal that does not show what is typed, until this is dropped: also when the command is interrupted.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn on(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // The end of the line is seen.
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }

    async fn ask(&self, prompt: &str, context: &Context) -> Result<Secret> {
        let refused = |error: io::Error| no_terminal().with_source(error);
        (&self.terminal).write_all(prompt.as_bytes()).map_err(refused)?;
        let terminal = self.terminal.try_clone().map_err(refused)?;
        let read = aside(move || {
            let mut line = String::new();
            // A terminal gives a line at a time: nothing of the next one is read.
            BufReader::new(terminal).read_line(&mut line).map(|_| line)
        });
        context.unless_cancelled(read).await.map(without_end)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Nothing is left to do about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// What `read` gives, read aside so that Ctrl-C still works.
async fn aside(read: impl FnOnce() -> io::Result<String> + Send + 'static) -> Result<String> {
    let read = tokio::task::spawn_blocking(read).await;
    let text = read.map_err(|error| no_terminal().with_source(error))?;
    text.map_err(|error| no_terminal().with_source(error))
}

fn without_end(mut text: String) -> Secret {
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Secret::new(text)
}
