//! `report`: the state of the warehouse as one page that opens anywhere, with pictures.

mod page;
mod pictures;
mod table;
mod words;

use jiff::{Span, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::status::StatusReport;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::sink::History;
use crate::watermark::Timestamp;

/// How many days a report looks back, unless told otherwise.
pub const REPORT_DAYS: u16 = 30;

/// What `report` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct WarehouseReport {
    /// What `status` says at this moment.
    pub status: StatusReport,
    /// IANA name of the project's time zone, in which the days begin.
    pub timezone: String,
    /// The runs of the last days, and the room that the tables take.
    pub history: History,
}

impl Pipeline {
    /// Reads what [`WarehouseReport::html`] shows: `status` of all tables, and the runs of today and the days before it, `days`
    /// in all (at least 1). Takes no lease, and opens no connection to a source.
    ///
    /// # Errors
    /// As [`status`](Pipeline::status).
    pub async fn report(&self, days: u16) -> Result<WarehouseReport> {
        let status = self.status(&[]).await?;
        let zone = &self.config.project.zone;
        let begins = days_before(status.now, zone, days)?;
        let tables = self.tables(&[]).await?;
        let named: Vec<_> = tables.iter().map(|table| (table.name.as_str(), &table.target)).collect();
        let history = self.sink.history(&named, &begins).await?;
        Ok(WarehouseReport { status, timezone: zone.iana_name().unwrap_or("UTC").to_owned(), history })
    }
}

impl WarehouseReport {
    /// One HTML page that needs nothing else: no network, no script. Reads in light and dark, and printed.
    ///
    /// # Errors
    /// `Internal` if a picture cannot be drawn.
    pub fn html(&self) -> Result<String> {
        page::html(self)
    }

    fn moment(&self, at: Timestamp) -> String {
        at.in_zone(&self.zone()).map_or_else(|| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M %Z").to_string())
    }

    fn zone(&self) -> TimeZone {
        TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC)
    }
}

/// The beginnings of the last `days` days, the day of `now` being the last one.
fn days_before(now: Timestamp, zone: &TimeZone, days: u16) -> Result<Vec<Timestamp>> {
    let begins = |back: u16| {
        let today = now.in_zone(zone)?.date();
        let midnight = today.checked_sub(Span::new().days(i64::from(back))).ok()?.to_zoned(zone.clone()).ok()?;
        Some(Timestamp::from_micros(midnight.timestamp().as_microsecond()))
    };
    (0..days.max(1)).rev().map(begins).collect::<Option<_>>().ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("report: {days} days before {now} is no date"))
            .with_hint("take fewer days")
    })
}

#[cfg(test)]
mod tests;
