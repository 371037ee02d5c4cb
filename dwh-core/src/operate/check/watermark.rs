//! The watermark column: filled by the source itself, indexed, never NULL, fine enough, and no device's clock.

use super::about::About;
use super::server::{Server, clock};
use super::words::Word;
use crate::config::{Mode, SourceConfig};
use crate::error::{ErrorKind, Result};
use crate::operate::init::{NOW, sets_now};
use crate::plan::Plan;
use crate::schema::{RelationKind, quote_ident};
use crate::source::survey::Writers;
use crate::watermark::{Micros, Timestamp, WatermarkKind};

/// Stamps may be this far ahead of the source's clock: a statement that is under way while we look.
const AHEAD: Micros = Micros::seconds(60);

/// Looks at the column, then at the ends of its values; returns how long the history is, where an index tells.
pub(super) async fn check(
    plan: &Plan,
    writers: Option<&Writers>,
    server: &Server,
    source: &SourceConfig,
    about: &mut About<'_>,
) -> Result<Option<Micros>> {
    let (Some(kind), Ok(name)) = (&plan.watermark, plan.watermark_column()) else { return Ok(None) };
    match writers {
        Some(writers) if is_table(plan) => column(plan, writers, kind, name, about),
        _ => about.ok(
            Word::Watermark,
            format!("`{name}`; {} is no table, so its indexes and defaults are not known", plan.source.table),
        ),
    }
    if let Some(zone) = kind.zone() {
        timezone(plan, zone, name, server, about).await?;
    }
    if writers.is_some_and(|writers| writers.subscribed) {
        about.warn(
            Word::Subscription,
            "logical replication writes it, with the stamps of the publisher: rows appear here later than they are stamped",
            "read it from the publisher; or keep `late_window` longer than the subscription may lag",
        );
    }
    sweep(plan, server, about).await?;
    bound(plan, source, about);
    unproven(plan, server, about).await?;
    values(plan, name, server, about).await
}

fn is_table(plan: &Plan) -> bool {
    matches!(plan.source.kind, RelationKind::Table | RelationKind::Partitioned | RelationKind::Hypertable)
}

/// What the catalog says of the column.
fn column(plan: &Plan, writers: &Writers, kind: &WatermarkKind, name: &str, about: &mut About<'_>) {
    let relation = plan.source.table.sql();
    let column = quote_ident(name);
    if plan.watermark_nullable {
        about.warn(
            Word::WatermarkNull,
            format!("`{name}` may be NULL, and a row without a time stops the table's runs"),
            format!("in the source: alter table {relation} alter column {column} set not null;"),
        );
    }
    if !plan.watermark_indexed {
        let concurrently = if plan.source.kind == RelationKind::Table { " concurrently" } else { "" };
        about.warn(
            Word::WatermarkIndex,
            format!("no index leads with `{name}`, so each run reads the whole table"),
            format!("in the source: create index{concurrently} on {relation} ({column});"),
        );
    }
    if *kind == WatermarkKind::Number {
        return about
            .ok(Word::Watermark, format!("`{name}` is a number; rows are told by the transactions that wrote them"));
    }
    let default = plan.source.column(name).and_then(|column| column.default.as_deref()).unwrap_or_default();
    let stamped = NOW.iter().any(|clock| default.to_lowercase().contains(clock))
        || writers.triggers.iter().any(|trigger| trigger.insert && sets_now(trigger, name));
    if plan.source.column(name).is_some_and(|column| column.generated) {
        about.warn(
            Word::WatermarkDefault,
            format!(
                "`{name}` is generated from other columns: is it really the time of insertion into the source? \
                 rows that are stamped earlier than they appear can be missed"
            ),
            "take a column as `watermark` that the source sets to `now()` on insertion; or keep `late_window` longer than a \
             row may appear after its stamp",
        );
    } else if !stamped {
        about.warn(
            Word::WatermarkDefault,
            format!("`{name}` has no `default now()`: is it really the time of insertion into the source? \
                     rows that are stamped earlier than they appear can be missed"),
            format!("in the source: alter table {relation} alter column {column} set default now(); -- and let no writer set it"),
        );
    }
    let (precision, whole) = match kind {
        WatermarkKind::TimestampTz { precision } => (*precision, "timestamptz"),
        WatermarkKind::Timestamp { precision, .. } => (*precision, "timestamp"),
        WatermarkKind::Date { .. } | WatermarkKind::Number => (0, "timestamptz"),
    };
    if precision < 6 {
        about.warn(
            Word::WatermarkPrecision,
            format!("`{name}` is rounded, so rows of some time share one value: each run holds the newest ones back"),
            format!("in the source: alter table {relation} alter column {column} type {whole};"),
        );
    }
    if plan.watermark_indexed && !plan.watermark_nullable {
        about.ok(Word::Watermark, format!("`{name}` is indexed and never NULL"));
    }
}

/// The zone that a column without one is read in: where writers' sessions run, and whether its clock goes back.
async fn timezone(
    plan: &Plan,
    zone: &jiff::tz::TimeZone,
    name: &str,
    server: &Server,
    about: &mut About<'_>,
) -> Result<()> {
    let called = zone.iana_name().unwrap_or("UTC");
    let sql = "select reset_val::text from pg_catalog.pg_settings where name = 'TimeZone'";
    let default: String = server.ask_one(sql, &[]).await?.get(0);
    let now = jiff::Timestamp::now();
    let differs = |other: &jiff::tz::TimeZone| other.to_offset(now) != zone.to_offset(now);
    if jiff::tz::TimeZone::get(&default).is_ok_and(|other| differs(&other)) {
        about.warn(
            Word::WatermarkTimezone,
            format!("`{name}` is read in {called}, but sessions at the source run in {default} by default"),
            format!(
                "say `watermark_timezone = \"{default}\"` of the table, unless those who write it set {called} \
                 themselves (`show timezone` in their session)"
            ),
        );
        return Ok(());
    }
    match repeated_hour(zone, now) {
        Some(day) if !matches!(plan.watermark, Some(WatermarkKind::Date { .. })) => {
            let (relation, column) = (plan.source.table.sql(), quote_ident(name));
            about.warn(
                Word::WatermarkTimezone,
                format!(
                    "clocks of {called} go back on {day}, and `{name}` cannot tell the two passes of that hour apart: \
                     the watermark waits until the second is over"
                ),
                format!(
                    "in the source: alter table {relation} alter column {column} type timestamptz using {column} at \
                     time zone {};",
                    crate::schema::quote_literal(called)
                ),
            );
        }
        _ => about.ok(Word::WatermarkTimezone, format!("`{name}` is read in {called}")),
    }
    Ok(())
}

/// The next day within a year on which the zone's clocks are put back.
fn repeated_hour(zone: &jiff::tz::TimeZone, now: jiff::Timestamp) -> Option<jiff::civil::Date> {
    let end = now.checked_add(jiff::SignedDuration::from_hours(366 * 24)).ok()?;
    zone.following(now).take_while(|transition| transition.timestamp() < end).find_map(|transition| {
        let before = transition.timestamp().checked_sub(jiff::SignedDuration::from_micros(1)).ok()?;
        let back = zone.to_offset(before).seconds() > transition.offset().seconds();
        back.then(|| transition.offset().to_datetime(transition.timestamp()).date())
    })
}

/// Whether late rows can be told by their row versions.
async fn sweep(plan: &Plan, server: &Server, about: &mut About<'_>) -> Result<()> {
    let late = plan.table.late_window;
    if plan.table.late_window.0 == 0 {
        about.ok(Word::Sweep, "late rows are not looked for (`late_window` is 0): the safe bound alone protects");
        return Ok(());
    }
    let relation = &plan.source.table;
    if !plan.source.kind.has_xmin() {
        let what = if plan.is_query() { "a query".to_owned() } else { format!("{relation}, which is no table,") };
        about.warn(
            Word::Sweep,
            format!(
                "rows of {what} have no transaction number: one that is stamped earlier than it appears is not found"
            ),
            "copy the table itself, if its rows may be stamped earlier than they appear",
        );
        return Ok(());
    }
    let sql = "select pg_catalog.has_column_privilege($1, 'xmin', 'select')";
    let name = relation.sql();
    if server.ask_one(sql, &[(&name, tokio_postgres::types::Type::TEXT)]).await?.get(0) {
        about.ok(Word::Sweep, format!("late rows are looked for {late} back"));
    } else {
        about.warn(
            Word::Sweep,
            format!(
                "`{}` may read columns of {relation}, and not its transaction numbers: each run reads the last {late} again",
                server.role
            ),
            format!("in the source: grant select on {name} to {};", quote_ident(&server.role)),
        );
    }
    Ok(())
}

/// A fixed lag proves nothing; without the sweep nothing is left that does.
fn bound(plan: &Plan, source: &SourceConfig, about: &mut About<'_>) {
    let Some(lag) = plan.table.fixed_lag else { return };
    let message = format!("`fixed_lag` of {lag}: a row that commits later than that is found");
    let remedy = "take `fixed_lag` out of the table: the safe bound needs no lag, and proves that no row is missed";
    if plan.can_sweep() || source.primary_url.is_some() && plan.table.late_window.0 > 0 {
        about.warn(Word::Bound, format!("{message} by the look for late rows alone"), remedy);
    } else {
        about.fail(Word::Bound, ErrorKind::Config, format!("{message} by nothing"), remedy);
    }
}

/// Rows that this database does not write itself, or that it does not show the origin of.
async fn unproven(plan: &Plan, server: &Server, about: &mut About<'_>) -> Result<()> {
    let Some(reason) = crate::source::unseen(&server.survey.client, plan).await? else { return Ok(()) };
    let late = plan.table.late_window;
    let remedy = "copy the table from its own server; or take mode `snapshot`; or make `late_window` longer than a row may \
                  appear after its stamp";
    let message = format!("{reason}: nothing proves that no row appears late");
    if late.0 > 0 {
        about.warn(Word::Bound, format!("{message}; each run reads the last {late} again"), remedy);
    } else {
        let message = format!("{message}, and with `late_window` 0 nothing is read again");
        about.fail(Word::Bound, ErrorKind::Config, message, remedy);
    }
    Ok(())
}

/// Rows that no window would ever contain, and rows from the future.
async fn values(plan: &Plan, name: &str, server: &Server, about: &mut About<'_>) -> Result<Option<Micros>> {
    let Some(sql) = plan.any_unreachable().filter(|_| plan.table.mode == Mode::Incremental) else { return Ok(None) };
    match server.survey.look(&sql).await? {
        None => about.ok(Word::WatermarkRows, format!("`{name}` was not looked through: that takes more than 5 s")),
        Some(row) => match (row.get(0), row.get(1)) {
            (false, false) => about.ok(Word::WatermarkRows, format!("`{name}` has a time in every row")),
            (null, infinite) => unreachable(plan, name, null, infinite, about),
        },
    }
    if plan.watermark == Some(WatermarkKind::Number) {
        return Ok(None);
    }
    let (true, Some(first), Some(last)) =
        (plan.watermark_indexed, plan.earliest(Timestamp::NEG_INFINITY), plan.latest())
    else {
        return Ok(None);
    };
    let now = clock(&server.survey.client).await?.0;
    let Some(first) = server.survey.look(&first).await?.and_then(|row| row.try_get(0).ok()) else { return Ok(None) };
    let Some(last) = server.survey.look(&last).await?.and_then(|row| row.try_get(0).ok()) else { return Ok(None) };
    let (first, last): (Timestamp, Timestamp) = (first, last);
    if last > now.plus(AHEAD) {
        about.warn(
            Word::WatermarkFuture,
            format!(
                "the newest `{name}` is {} ahead of the source's clock, and is read only then: does a device or \
                 a user set it{}?",
                last.since(now),
                if plan.table.watermark_zone.is_some() { ", or is `watermark_timezone` another one" } else { "" }
            ),
            "take a column that the source itself sets on insertion, or mode `snapshot`",
        );
    }
    Ok(Some(last.min(now).since(first)))
}

fn unreachable(plan: &Plan, name: &str, null: bool, infinite: bool, about: &mut About<'_>) {
    let what = match (null, infinite) {
        (true, true) => "NULL and infinity",
        (true, false) => "NULL",
        _ => "infinity",
    };
    let (relation, column) = (plan.source.table.sql(), quote_ident(name));
    let generated = plan.source.column(name).is_some_and(|column| column.generated);
    let remedy = if generated {
        "give the columns that it is generated from a value in these rows".to_owned()
    } else if is_table(plan) {
        let must = if plan.watermark_nullable {
            format!(" alter table {relation} alter column {column} set not null;")
        } else {
            String::new()
        };
        format!(
            "in the source: update {relation} set {column} = now() where {column} is null or {column} = 'infinity';{must}"
        )
    } else {
        "leave such rows out of the query or view, or give them a time".to_owned()
    };
    about.fail(
        Word::WatermarkRows,
        ErrorKind::Data,
        format!("`{name}` is {what} in some rows, and no window would ever contain them: the table's runs stop"),
        remedy,
    );
}

#[cfg(test)]
mod tests {
    use super::repeated_hour;

    #[test]
    fn the_day_on_which_clocks_go_back_is_known() {
        let day = |zone: &str, now: &str| {
            let zone = jiff::tz::TimeZone::get(zone).expect("zone");
            repeated_hour(&zone, now.parse().expect("moment")).map(|day| day.to_string())
        };
        assert_eq!(day("Europe/Berlin", "2026-07-01T00:00:00Z").as_deref(), Some("2026-10-25"));
        assert_eq!(day("Europe/Berlin", "2026-12-01T00:00:00Z").as_deref(), Some("2027-10-31"));
        assert_eq!(day("Africa/Nairobi", "2026-07-01T00:00:00Z"), None);
        assert_eq!(day("UTC", "2026-07-01T00:00:00Z"), None);
    }
}
