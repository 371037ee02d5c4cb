//! Flags, environment and file, resolved once: the rest of the command asks nobody else.

use dwh_core::config::Environment;
use dwh_core::{Config, Error, ErrorKind, Result};
use std::env;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use tracing::Level;

use crate::args::{Color, Format, Global};

/// What holds for every command.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file.
    pub config: PathBuf,
    /// What is printed on stdout.
    pub format: Format,
    /// Whether stdout is coloured.
    pub color_stdout: bool,
    /// Whether stderr is coloured.
    pub color_stderr: bool,
    /// How many columns stdout has; `None`: it is no screen.
    pub width_stdout: Option<usize>,
    /// How many columns stderr has; `None`: it is no screen.
    pub width_stderr: Option<usize>,
    /// How much is told on stderr.
    pub level: Level,
    /// Whether stderr shows bars.
    pub bars: bool,
    /// Whether stdout is a screen that can be drawn anew.
    pub screen: bool,
}

impl Settings {
    /// Resolves the options of every command.
    pub fn resolve(global: &Global) -> Self {
        let able = env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = io::stderr().is_terminal() && able;
        Self {
            config: existing_value(&global.config),
            format: global.output,
            color_stdout: colored(global.color, io::stdout().is_terminal()),
            color_stderr: colored(global.color, io::stderr().is_terminal()),
            width_stdout: width(io::stdout()),
            width_stderr: width(io::stderr()),
            level: level(global),
            // With -v the log lines tell the same, and bars would only be in their way.
            bars: terminal && !global.quiet && global.verbose == 0,
            screen: io::stdout().is_terminal() && able,
        }
    }

    /// Whether only errors are told.
    pub fn is_quiet(&self) -> bool {
        self.level == Level::ERROR
    }

    /// The configuration, checked.
    pub fn load_config(&self) -> Result<Config> {
        if !self.config.exists() {
            return Err(Error::new(ErrorKind::Config, format!("`{}` does not exist", self.config.display()))
                .with_hint("go to the folder of your `dwh.toml`, or name the file with `--config` or in DWH_CONFIG"));
        }
        Config::load(&self.config, Environment::of_process())
    }
}

/// An empty DWH_CONFIG is as good as none.
fn existing_value(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from("dwh.toml") } else { path.to_owned() }
}

fn colored(color: Color, terminal: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            terminal && !plain && env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// The columns of a screen; one that does not know how wide it is has none.
#[cfg(unix)]
fn width(stream: impl IsTerminal + std::os::fd::AsFd) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// The columns of a screen, which nobody asks for here.
#[cfg(not(unix))]
fn width(_: impl IsTerminal) -> Option<usize> {
    None
}

fn level(global: &Global) -> Level {
    match (global.quiet, global.verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, 2) => Level::DEBUG,
        (false, _) => Level::TRACE,
    }
}
