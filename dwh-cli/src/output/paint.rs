//! How a text is shown: colours, the room that it has, and how moments are told. A text is the same for a pipe, wherever
//! it is read later; on a screen it fits, and says how long ago things were.

use clap::builder::styling::{AnsiColor, Effects, Style};
use dwh_core::Timestamp;
use jiff::tz::TimeZone;

use super::human;

/// Older moments are told as a date.
const LONG_AGO: f64 = 48.0 * 3600.0;

/// What a screen tells moments by.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The moment at which the text is read.
    pub now: Timestamp,
    /// The project's zone.
    pub zone: TimeZone,
}

/// Colours text, or leaves it as it is. A text never depends on its colour.
#[derive(Debug, Clone, Copy)]
pub struct Paint<'a> {
    color: bool,
    width: Option<usize>,
    clock: Option<&'a Clock>,
}

impl<'a> Paint<'a> {
    /// For what is no screen: as wide as it is, moments exact and in UTC.
    pub const fn new(color: bool) -> Self {
        Self { color, width: None, clock: None }
    }

    /// For a screen of that many columns.
    pub const fn on_screen(self, width: usize, clock: &'a Clock) -> Self {
        Self { width: Some(width), clock: Some(clock), ..self }
    }

    /// For lines of that many columns, without a clock.
    pub const fn within(self, width: Option<usize>) -> Self {
        Self { width, ..self }
    }

    /// How many columns there are; `None`: as many as a line takes.
    pub const fn width(self) -> Option<usize> {
        self.width
    }

    fn wrap(self, style: Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What went wrong.
    pub fn bad(self, text: &str) -> String {
        self.wrap(AnsiColor::Red.on_default().bold(), text)
    }

    /// What may go wrong.
    pub fn warn(self, text: &str) -> String {
        self.wrap(AnsiColor::Yellow.on_default(), text)
    }

    /// What is well.
    pub fn good(self, text: &str) -> String {
        self.wrap(AnsiColor::Green.on_default(), text)
    }

    /// What is said beside it.
    pub fn faint(self, text: &str) -> String {
        self.wrap(Style::new().effects(Effects::DIMMED), text)
    }

    /// A moment that may be pasted: on a screen to the second, in the project's zone; `-` for none.
    pub fn moment(self, at: Option<Timestamp>) -> String {
        let local = || {
            let zoned = at?.in_zone(&self.clock?.zone)?;
            Some(zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z"))
        };
        local().unwrap_or_else(|| human::moment(at))
    }

    /// A moment by its distance: `3 min ago` on a screen, the moment itself elsewhere, and after two days.
    pub fn ago(self, at: Option<Timestamp>) -> String {
        let (Some(clock), Some(moment)) = (self.clock, at) else { return human::moment(at) };
        let past = clock.now.since(moment).as_seconds();
        if !(-LONG_AGO..LONG_AGO).contains(&past) {
            return self.moment(at);
        }
        match past {
            past if past.abs() < 1.0 => "now".to_owned(),
            past if past < 0.0 => format!("in {}", coarse(-past)),
            past => format!("{} ago", coarse(past)),
        }
    }
}

/// `5 s`, `3 min`, `2 h 5 min`.
pub fn coarse(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min", whole / 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Paint};
    use dwh_core::Timestamp;
    use jiff::tz::TimeZone;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().expect("a moment"))
    }

    #[test]
    fn a_screen_tells_how_long_ago_in_the_projects_zone_and_a_pipe_tells_the_moment() {
        let zone = TimeZone::get("Africa/Nairobi").expect("a zone");
        let clock = Clock { now: at("2026-10-01T03:00:00Z").expect("now"), zone };
        let screen = Paint::new(false).on_screen(80, &clock);
        let moments =
            ["2026-10-01T02:59:59.9Z", "2026-10-01T02:59:42Z", "2026-10-01T02:12:00Z", "2026-09-30T01:30:00Z"];
        assert_eq!(moments.map(|text| screen.ago(at(text))), ["now", "18 s ago", "48 min ago", "25 h 30 min ago"]);
        assert_eq!(screen.ago(at("2026-10-01T03:05:00Z")), "in 5 min");
        // what is long ago is a date, and a date can be pasted
        assert_eq!(screen.ago(at("2026-09-01T00:00:00.123456Z")), "2026-09-01T03:00:00+03:00");
        assert_eq!(screen.moment(at("2026-10-01T03:00:00Z")), "2026-10-01T06:00:00+03:00");
        assert_eq!((screen.ago(None), screen.moment(None)), ("-".into(), "-".into()));
        assert_eq!(Paint::new(false).ago(at("2026-10-01T02:59:42Z")), "2026-10-01T02:59:42Z");
    }
}
