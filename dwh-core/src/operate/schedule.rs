//! `schedule`: the cadence of a configuration as a cron line or a systemd timer. Pure; installs nothing.

mod quote;

use serde::Serialize;
use std::path::PathBuf;

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::watermark::Micros;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Who starts the runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheduler {
    /// A line of a crontab.
    Cron,
    /// A service and its timer.
    Systemd,
}

/// What is to be started, and within which hours.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ScheduleRequest {
    /// Who starts it.
    pub scheduler: Scheduler,
    /// First and last hour in which a run starts, both from 0 to 23; the first may be the later one, across midnight.
    pub hours: Option<(u8, u8)>,
    /// Absolute path of the command.
    pub binary: PathBuf,
    /// Absolute path of the configuration.
    pub config: PathBuf,
}

impl ScheduleRequest {
    /// Runs around the clock.
    #[must_use]
    pub fn new(scheduler: Scheduler, binary: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        Self { scheduler, hours: None, binary: binary.into(), config: config.into() }
    }
}

/// Texts to be put where they belong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ScheduleReport {
    /// The files, or the one piece of a crontab.
    pub files: Vec<ScheduleFile>,
    /// What somebody should know before they are used.
    pub notes: Vec<String>,
}

/// One text and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ScheduleFile {
    /// Where it belongs.
    pub path: String,
    /// The text.
    pub text: String,
}

/// When runs start.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Times {
    /// Every so many minutes, in these hours.
    Minutes { step: i64, hours: Hours },
    /// On the hour, in these hours.
    Hours(Hours),
    /// Once a day, at this hour.
    Daily(i64),
    /// Once a week, on Sunday, at this hour.
    Weekly(i64),
}

/// Hours of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hours {
    /// All of them.
    All,
    /// From, to, step.
    Range(i64, i64, i64),
    /// Across midnight, where no range goes.
    List(Vec<i64>),
}

/// The schedule of a configuration: its cadence in its time zone, for all its tables.
///
/// Runs may overlap without harm: a table that another run holds is left to it.
///
/// # Errors
/// `Config` for hours above 23, or paths that a scheduler cannot hold.
pub fn schedule(config: &Config, request: &ScheduleRequest) -> Result<ScheduleReport> {
    let (from, to) = request.hours.unwrap_or((0, 23));
    if from > 23 || to > 23 {
        return Err(Error::new(ErrorKind::Config, format!("`{from}-{to}` are no hours of a day"))
            .with_hint("write the first and the last hour in which a run starts, such as `5-23`"));
    }
    let (times, exact) = times(config.project.cadence, (i64::from(from), i64::from(to)));
    let mut notes = Vec::new();
    if !exact {
        notes.push("cron and systemd have no word for this cadence: the next shorter one was taken".to_owned());
    }
    let zone = config.project.zone.iana_name().unwrap_or("UTC");
    let files = match request.scheduler {
        Scheduler::Cron => {
            if zone != "UTC" {
                notes.push(
                    "CRON_TZ is read by cronie (Fedora, RHEL, Arch); the cron of Debian and Ubuntu uses the machine's \
                     zone: take `dwh schedule systemd` there"
                        .to_owned(),
                );
            }
            vec![crontab(config, request, &times, zone)?]
        }
        Scheduler::Systemd => units(config, request, &times, zone)?,
    };
    Ok(ScheduleReport { files, notes })
}

/// Times at most the cadence apart, outside the folded hours; and whether they are exactly the cadence.
fn times(cadence: Micros, (from, to): (i64, i64)) -> (Times, bool) {
    let whole = |unit: i64| cadence.0 % unit == 0;
    let day = (from, to) == (0, 23);
    match cadence.0 {
        0..HOUR => {
            let step = (cadence.0 / MINUTE).max(1);
            (Times::Minutes { step, hours: hours(from, to, 1) }, whole(MINUTE) && 60 % step == 0)
        }
        HOUR..DAY => {
            let step = cadence.0 / HOUR;
            (Times::Hours(hours(from, to, step)), whole(HOUR) && (24 % step == 0 || !day))
        }
        days if days >= 7 * DAY => (Times::Weekly(from), days == 7 * DAY),
        days => (Times::Daily(from), days == DAY),
    }
}

fn hours(from: i64, to: i64, step: i64) -> Hours {
    match (from, to) {
        (0, 23) if step == 1 => Hours::All,
        _ if from <= to => Hours::Range(from, to, step),
        _ => Hours::List((from..=to + 24).step_by(usize::try_from(step).unwrap_or(1)).map(|hour| hour % 24).collect()),
    }
}

impl Hours {
    /// Cron's field.
    fn cron(&self) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Range(0, 23, step) => format!("*/{step}"),
            Self::Range(from, to, _) if from == to => from.to_string(),
            Self::Range(from, to, 1) => format!("{from}-{to}"),
            Self::Range(from, to, step) => format!("{from}-{to}/{step}"),
            Self::List(hours) => list(hours.clone(), |hour| hour.to_string()),
        }
    }

    /// systemd's field.
    fn systemd(&self) -> String {
        match self {
            Self::All => "*".to_owned(),
            Self::Range(from, to, _) if from == to => format!("{from:02}"),
            Self::Range(from, to, 1) => format!("{from:02}..{to:02}"),
            Self::Range(from, to, step) => format!("{from:02}..{to:02}/{step}"),
            Self::List(hours) => list(hours.clone(), |hour| format!("{hour:02}")),
        }
    }
}

/// Both schedulers want their lists in order.
fn list(mut hours: Vec<i64>, text: impl Fn(&i64) -> String) -> String {
    hours.sort_unstable();
    hours.iter().map(text).collect::<Vec<_>>().join(",")
}

impl Times {
    fn cron(&self) -> String {
        match self {
            Self::Minutes { step: 1, hours } => format!("* {} * * *", hours.cron()),
            Self::Minutes { step, hours } => format!("*/{step} {} * * *", hours.cron()),
            Self::Hours(hours) => format!("0 {} * * *", hours.cron()),
            Self::Daily(hour) => format!("0 {hour} * * *"),
            Self::Weekly(hour) => format!("0 {hour} * * 0"),
        }
    }

    fn systemd(&self) -> String {
        match self {
            Self::Minutes { step, hours } => format!("*-*-* {}:00/{step}:00", hours.systemd()),
            Self::Hours(hours) => format!("*-*-* {}:00:00", hours.systemd()),
            Self::Daily(hour) => format!("*-*-* {hour:02}:00:00"),
            Self::Weekly(hour) => format!("Sun *-*-* {hour:02}:00:00"),
        }
    }
}

fn crontab(config: &Config, request: &ScheduleRequest, times: &Times, zone: &str) -> Result<ScheduleFile> {
    let text = format!(
        "# dwh, project {}. Errors are mailed by cron; `dwh runs --failed` lists them.\n\
         CRON_TZ={zone}\n{} {} --config {} --quiet run >/dev/null\n",
        quote::comment(&config.project.name),
        times.cron(),
        quote::cron(&request.binary)?,
        quote::cron(&request.config)?
    );
    Ok(ScheduleFile { path: "crontab -e".to_owned(), text })
}

fn units(config: &Config, request: &ScheduleRequest, times: &Times, zone: &str) -> Result<Vec<ScheduleFile>> {
    let project = quote::comment(&config.project.name);
    let unit = format!("dwh-{}", quote::unit_name(&config.project.name));
    let service = format!(
        "[Unit]\nDescription=dwh: one run of project {}\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=oneshot\n# A user of its own that may read the configuration and its .env:\n# User=dwh\n\
         ExecStart={} --config {} run\nStandardOutput=journal\nStandardError=journal\n\
         NoNewPrivileges=yes\nPrivateTmp=yes\n",
        project.replace('%', "%%"),
        quote::systemd(&request.binary)?,
        quote::systemd(&request.config)?
    );
    let timer = format!(
        "# systemctl daemon-reload && systemctl enable --now {unit}.timer; then: journalctl -u {unit}\n\
         [Unit]\nDescription=dwh: when project {} runs\n\n\
         [Timer]\nOnCalendar={} {zone}\n# What was missed while the machine was off is run once when it is back.\n\
         Persistent=true\n\n[Install]\nWantedBy=timers.target\n",
        project.replace('%', "%%"),
        times.systemd()
    );
    let file = |end: &str, text| ScheduleFile { path: format!("/etc/systemd/system/{unit}.{end}"), text };
    Ok(vec![file("service", service), file("timer", timer)])
}

#[cfg(test)]
mod tests {
    use super::{Times, times};
    use crate::watermark::Micros;

    #[test]
    fn cadences_fold() {
        let day = (0, 23);
        // Minutes, hours; cron; systemd; whether it is said exactly.
        let cases = [
            (1, day, "* * * * *", "*-*-* *:00/1:00", true),
            (15, day, "*/15 * * * *", "*-*-* *:00/15:00", true),
            (25, day, "*/25 * * * *", "*-*-* *:00/25:00", false),
            (15, (5, 23), "*/15 5-23 * * *", "*-*-* 05..23:00/15:00", true),
            (60, day, "0 * * * *", "*-*-* *:00:00", true),
            (90, day, "0 * * * *", "*-*-* *:00:00", false),
            (180, day, "0 */3 * * *", "*-*-* 00..23/3:00:00", true),
            (300, day, "0 */5 * * *", "*-*-* 00..23/5:00:00", false),
            (180, (5, 23), "0 5-23/3 * * *", "*-*-* 05..23/3:00:00", true),
            (180, (22, 5), "0 1,4,22 * * *", "*-*-* 01,04,22:00:00", true),
            (180, (7, 7), "0 7 * * *", "*-*-* 07:00:00", true),
            (1440, day, "0 0 * * *", "*-*-* 00:00:00", true),
            (2880, (5, 23), "0 5 * * *", "*-*-* 05:00:00", false),
            (7 * 1440, (5, 23), "0 5 * * 0", "Sun *-*-* 05:00:00", true),
        ];
        for (minutes, hours, cron, systemd, exact) in cases {
            let (times, said): (Times, bool) = times(Micros::seconds(minutes * 60), hours);
            assert_eq!((times.cron().as_str(), times.systemd().as_str(), said), (cron, systemd, exact), "{minutes}");
        }
    }
}
