//! Log lines as sentences: what was decided, about which table, then what else is known in brackets.

use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{Paint, fold, human, printable, progress};
use dwh_core::Timestamp;

/// How lines are written.
pub struct Lines {
    /// Colours and width.
    pub paint: Paint<'static>,
    /// Whether each line begins with its moment: for files, which are read later.
    pub stamped: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut told = Told::default();
        event.record(&mut told);
        let line = told.sentence();
        if self.stamped {
            write!(writer, "{} ", human::moment(Some(Timestamp::now())))?;
        }
        match *event.metadata().level() {
            Level::ERROR | Level::WARN => write!(writer, "{}", warning(&line, self.paint)),
            _ => writeln!(writer, "{}", fold(&printable(&line), self.paint.width(), 2)),
        }
    }
}

/// A warning with its word before it.
pub fn warning(line: &str, paint: Paint<'_>) -> String {
    let word = "warning:";
    let folded = fold(&format!("{word} {}", printable(line)), paint.width(), 2);
    format!("{}{}\n", paint.warn(word), &folded[word.len()..])
}

/// The parts of an event.
#[derive(Default)]
struct Told {
    message: String,
    table: Option<String>,
    rest: Vec<String>,
}

impl Told {
    /// One part; a table's name and the message have their places.
    fn part(&mut self, name: &str, value: String) {
        match name {
            "message" => self.message = value,
            "table" => self.table = Some(value),
            "error" => self.rest.push(value),
            name => self.rest.push(format!("{} {value}", name.replace('_', " "))),
        }
    }

    fn sentence(self) -> String {
        let mut line = self.message;
        if !self.rest.is_empty() {
            line.push_str(&format!(" ({})", self.rest.join(", ")));
        }
        self.table.map_or_else(|| line.clone(), |table| progress::about(&table, &line))
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.part(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.part(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn an_event_is_a_sentence() {
        let mut told = Told::default();
        for (name, value) in
            [("message", "rows are at the target"), ("table", "trips"), ("route", "fresh"), ("rows", "3")]
        {
            told.part(name, value.to_owned());
        }
        assert_eq!(told.sentence(), "table `trips`: rows are at the target (route fresh, rows 3)");
        let mut told = Told::default();
        told.part("message", "source `www`: gone".to_owned());
        assert_eq!(told.sentence(), "source `www`: gone");
    }
}
