//! The only module that prints: data on stdout, everything else on stderr.

mod fold;
mod human;
mod log;
mod paint;
mod progress;
mod table;
#[cfg(test)]
mod tests;
mod text;

use dwh_core::pipeline::{CauseReport, ErrorReport, Event, Observer};
use dwh_core::{Error, ErrorKind, Timestamp};
use indicatif::{MultiProgress, ProgressBar};
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::Format;
use crate::settings::Settings;
use fold::fold;
use paint::Clock;
use progress::Progress;

pub use paint::Paint;
pub use text::{Checked, Plans, Runs, Work, ended, freed};

/// A report that can be shown to people as well as to programs (its JSON).
pub trait Show: Serialize {
    /// The text for people, lines that end with a newline.
    fn text(&self, paint: Paint<'_>) -> String;
}

/// Prints; cheap to clone.
#[derive(Debug, Clone)]
pub struct Printer {
    format: Format,
    color_stdout: bool,
    stderr: Paint<'static>,
    width: Option<usize>,
    zone: Arc<OnceLock<TimeZone>>,
    quiet: bool,
    verbose: bool,
    bars: Option<MultiProgress>,
    screen: bool,
}

impl Printer {
    /// A printer of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            format: settings.format,
            color_stdout: settings.color_stdout,
            stderr: Paint::new(settings.color_stderr).within(settings.width_stderr),
            width: settings.width_stdout,
            zone: Arc::default(),
            quiet: settings.is_quiet(),
            verbose: settings.level >= Level::INFO,
            bars: settings.bars.then(MultiProgress::new),
            screen: settings.screen,
        }
    }

    /// Sends the log of this engine, and of nothing below it (drivers log values), to stderr.
    pub fn log(&self, settings: &Settings) {
        let targets = Targets::new().with_target("dwh", settings.level).with_target("dwh_core", settings.level);
        let lines = log::Lines { paint: self.stderr, stamped: self.verbose && self.stderr.width().is_none() };
        let lines = tracing_subscriber::fmt::layer().event_format(lines).with_writer(Stderr(self.clone()));
        tracing_subscriber::registry().with(targets).with(lines).init();
    }

    /// From now on moments on a screen are told in this zone.
    pub fn tell_times_in(&self, zone: &TimeZone) {
        // The first one stands: a command has one project.
        let _ = self.zone.set(zone.clone());
    }

    /// What people read of a report.
    fn text(&self, report: &impl Show) -> String {
        let paint = Paint::new(self.color_stdout);
        let Some(width) = self.width else { return report.text(paint) };
        let clock = Clock { now: Timestamp::now(), zone: self.zone.get().cloned().unwrap_or(TimeZone::UTC) };
        report.text(paint.on_screen(width, &clock))
    }

    /// Prints a report: its text, or its JSON on one line.
    pub fn show(&self, report: &impl Show) -> Result<(), Error> {
        match self.format {
            Format::Text => self.raw(self.text(report).as_bytes()),
            Format::Json => self.json(report),
        }
    }

    /// Prints a value as JSON on one line, whatever the format: orchestrators read the last line of stdout.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Error> {
        self.raw(json_line(value)?.as_bytes())
    }

    /// Prints SQL: as it is, or as `{"sql": …}`.
    pub fn sql(&self, sql: &str) -> Result<(), Error> {
        match self.format {
            Format::Text => self.raw(format!("{}\n", sql.trim_end()).as_bytes()),
            Format::Json => self.json(&json!({ "sql": sql })),
        }
    }

    /// Prints one of many reports, or why there is none: drawn over the last one on a screen, below it elsewhere, and as
    /// a line of JSON if that is asked for. Says whether anybody reads it still.
    pub fn screen(&self, report: &Result<impl Show, Error>) -> Result<bool, Error> {
        if self.format == Format::Json {
            return match report {
                Ok(report) => self.written(json_line(report)?.as_bytes()),
                Err(error) => self.written(json_line(&Failure { error: &error.into() })?.as_bytes()),
            };
        }
        let text = match report {
            Ok(report) => self.text(report),
            Err(error) if self.screen => error_text(&error.into(), Paint::new(self.color_stdout).within(self.width)),
            Err(error) => {
                self.error(&error.into());
                return Ok(true);
            }
        };
        if self.screen {
            // From the corner on: each line wipes the rest of the old one, and the end all that is below. Nothing flickers.
            let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
            self.written(format!("\x1b[H{lines}\x1b[J").as_bytes())
        } else {
            self.written(format!("{text}\n").as_bytes())
        }
    }

    /// Prints bytes. A reader that has gone away has seen enough: no error.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        self.written(bytes).map(drop)
    }

    /// Prints bytes, and says whether anybody reads them still.
    fn written(&self, bytes: &[u8]) -> Result<bool, Error> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Error::new(ErrorKind::Disk, "stdout: cannot be written")
                .with_hint("free some space where the output goes")
                .with_source(error)),
        }
    }

    /// An error that ended the command before it had a report.
    pub fn fail(&self, error: &Error) {
        let report = ErrorReport::from(error);
        self.error(&report);
        if self.format == Format::Json {
            // Nobody is left to tell if this fails too.
            let _ = self.json(&Failure { error: &report });
        }
    }

    /// An error, on stderr: message, blank line, hint.
    pub fn error(&self, error: &ErrorReport) {
        self.told(&error_text(error, self.stderr));
    }

    /// The errors of tables, each named, with a blank line between them. A cause that several share is told once.
    pub fn table_errors<'a>(&self, tables: impl IntoIterator<Item = (&'a String, &'a Option<ErrorReport>)>) {
        let named = CauseReport::among(tables).into_iter().map(|CauseReport { mut cause, tables, .. }| {
            let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
            cause.message = match tables[..] {
                [table] => progress::about(table, &cause.message),
                _ => format!("{}: {}", human::tables(&tables), cause.message),
            };
            cause
        });
        self.errors(&named.collect::<Vec<_>>());
    }

    /// Errors that say themselves what they are about, with a blank line between them.
    pub fn errors<'a>(&self, errors: impl IntoIterator<Item = &'a ErrorReport>) {
        for (at, error) in errors.into_iter().enumerate() {
            if at > 0 {
                self.told("\n");
            }
            self.error(error);
        }
    }

    /// A remark, on stderr, unless only errors are told.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            self.told(&format!("{}\n", fold(&printable(line), self.stderr.width(), 2)));
        }
    }

    /// Shows on a terminal that something is worked on, as long as what comes back is kept.
    pub fn busy(&self, doing: &'static str) -> Busy {
        let line = self.bars.as_ref().map(|bars| {
            let line = bars.add(ProgressBar::new_spinner().with_message(doing));
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        Busy(line)
    }

    /// A question, on stderr; what is typed stands behind it.
    pub fn prompt(&self, text: &str) {
        self.told(&printable(text));
    }

    /// A warning, on stderr, unless only errors are told.
    pub fn warning(&self, line: &str) {
        if !self.quiet {
            self.told(&log::warning(line, self.stderr));
        }
    }

    /// Tells what a run does: bars on a terminal, a line for each finished run elsewhere.
    pub fn observer(&self) -> Observer {
        let progress = Progress::new(self.clone());
        Arc::new(move |event: &Event| progress.tell(event))
    }

    /// A stderr that is closed or full leaves nobody to tell.
    fn told(&self, text: &str) {
        let print = || {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

fn json_line(value: &impl Serialize) -> Result<String, Error> {
    let line = serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "stdout: no JSON").with_source(error))?;
    Ok(line + "\n")
}

/// Message, blank line, hint.
fn error_text(error: &ErrorReport, paint: Paint<'_>) -> String {
    let folded = |word: &str, text: &str| {
        let indent = word.len() + 1;
        let mut text = printable(text).into_owned();
        if paint.width().is_some() {
            text = text.replace('\n', &format!("\n{:indent$}", ""));
        }
        let told = fold(&format!("{word} {text}"), paint.width(), indent);
        told[word.len()..].to_owned()
    };
    let mut text = format!("{}{}\n", paint.bad("dwh:"), folded("dwh:", &error.message));
    if !error.hint.is_empty() {
        text.push_str(&format!("\n{}{}\n", paint.warn("hint:"), folded("hint:", &error.hint)));
    }
    text
}

/// The document of a command that failed before it had a report.
#[derive(Serialize)]
struct Failure<'a> {
    error: &'a ErrorReport,
}

/// The document of a command line that could not be read: the parser has told people already.
pub fn usage_json(error: &Error) {
    let document = serde_json::to_string(&Failure { error: &ErrorReport::from(error) }).unwrap_or_default();
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stdout().lock(), "{document}");
}

/// Text without control characters: what a server says must not steer the terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(bad) { text.replace(bad, "\u{fffd}").into() } else { text.into() }
}

/// A line that is gone when this is dropped.
pub struct Busy(Option<ProgressBar>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.finish_and_clear();
        }
    }
}

/// Where log lines go: between the bars.
#[derive(Debug, Clone)]
struct Stderr(Printer);

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.told(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
