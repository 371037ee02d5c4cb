//! The page. `maud` escapes every text that comes from outside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::pictures::{self, BLUE, Bar, RED, SKY, Series};
use super::{WarehouseReport, words};
use crate::error::Result;
use crate::operate::status::{Breach, StatusReport, TableStatus};
use crate::sink::{RunSums, TableHistory};
use crate::watermark::{Micros, Timestamp};

const STYLE: &str = include_str!("style.css");
/// How many breaches are told one by one.
const BREACHES: usize = 50;
/// How many tables a picture shows.
const BARS: usize = 15;

pub(super) fn html(report: &WarehouseReport) -> Result<String> {
    let status = &report.status;
    let pictures = pictures(report)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "dwh: " (status.project) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (status.project) }
                p.soft { "As of " (moment(report, status.now)) ", and the " (report.history.days.len()) " days up to then" }
                (sentence(status))
                (tiles(status))
                (breaches(&status.breaches))
                h2 { "The last days" }
                div.pictures { @for picture in &pictures { (picture) } }
                h2 { "Tables" }
                (tables(report))
                h2 { "Storage" }
                (storage(status))
                p.soft { (concat!("dwh", " ", env!("CARGO_PKG_VERSION"))) ". Times are those of the zone " (report.timezone) "." }
            }
        }
    };
    Ok(page.into_string())
}

fn moment(report: &WarehouseReport, at: Timestamp) -> String {
    at.in_zone(&report.zone()).map_or_else(|| at.to_string(), |at| at.strftime("%Y-%m-%d %H:%M %Z").to_string())
}

fn sentence(status: &StatusReport) -> Markup {
    match status.breaches.len() {
        0 => html! { div.state.good { "All is well" } },
        1 => html! { div.state.bad { "1 thing needs attention" } },
        many => html! { div.state.bad { (many) " things need attention" } },
    }
}

fn tiles(status: &StatusReport) -> Markup {
    let sum = |of: fn(&TableStatus) -> u64| status.tables.iter().map(of).sum::<u64>();
    let (runs, failed) = (sum(|table| table.runs_last_7d), sum(|table| table.failures_last_7d));
    let rate = match runs {
        0 => "–".to_owned(),
        runs => format!("{:.1} %", (runs - failed) as f64 * 100.0 / runs as f64),
    };
    let late = status.tables.iter().filter(|table| !table.fresh).count();
    let failures = sum(|table| table.failures_last_24h);
    let tile = |name: &str, number: String, bad: bool| html! { div.tile.bad[bad] { b { (number) } (name) } };
    html! {
        div.tiles {
            (tile("tables", words::count(status.tables.len() as u64), false))
            (tile("late, or never loaded", words::count(late as u64), late > 0))
            (tile("failed runs in 24 h", words::count(failures), failures > 0))
            (tile("rows in 24 h", words::count(sum(|table| table.rows_last_24h)), false))
            (tile("loads in 24 h", words::count(sum(|table| table.loads_last_24h)), false))
            (tile("of the runs of 7 days were loaded", rate, false))
        }
    }
}

fn breaches(breaches: &[Breach]) -> Markup {
    html! {
        @if !breaches.is_empty() {
            h2 { "What needs attention" }
            ol.breaches {
                @for breach in breaches.iter().take(BREACHES) {
                    li {
                        @if let Some(table) = &breach.table { b { (table) } ": " }
                        (breach.message) br; code { (breach.remedy) }
                    }
                }
            }
            @if breaches.len() > BREACHES {
                p.soft { "and " (breaches.len() - BREACHES) " more: " code { "dwh status" } }
            }
        }
    }
}

fn pictures(report: &WarehouseReport) -> Result<Vec<Markup>> {
    let days = &report.history.days;
    if days.is_empty() {
        return Ok(Vec::new());
    }
    let zone = report.zone();
    let label = |begins: Timestamp| begins.in_zone(&zone).map(|at| at.strftime("%-d %b").to_string());
    let labels: Vec<String> = days.iter().map(|day| label(day.begins).unwrap_or_default()).collect();
    let series = |name, color, of: fn(&RunSums) -> f64| {
        let values = days.iter().map(|day| of(&day.runs)).collect();
        Series { name, color, values }
    };
    let rows = [series("rows", BLUE, |runs| runs.rows as f64)];
    let runs = [series("loaded", BLUE, |runs| runs.loaded as f64), series("failed", RED, |runs| runs.failed as f64)];
    let seconds = [
        series("longest", SKY, |runs| runs.longest_seconds.unwrap_or(f64::NAN)),
        series("median", BLUE, |runs| runs.median_seconds.unwrap_or(f64::NAN)),
    ];
    let bytes = [series("bytes", BLUE, |runs| runs.bytes as f64)];
    let mut drawn = vec![
        figure("Rows loaded a day", &[], &pictures::columns(&labels, &rows, words::short)?),
        figure("Runs a day", &runs, &pictures::columns(&labels, &runs, words::short)?),
        figure("How long runs took", &seconds, &pictures::lines(&labels, &seconds, span)?),
        figure("CSV files a day, uncompressed", &[], &pictures::columns(&labels, &bytes, words::bytes)?),
    ];
    let ages = ages(&report.status.tables);
    if !ages.is_empty() {
        let title = "Age of the last load; the line is what is allowed";
        drawn.push(figure(title, &[], &pictures::across(&ages, Some(1.0))?));
    }
    let sizes = sizes(&report.history.tables);
    if !sizes.is_empty() {
        drawn.push(figure("Largest tables in bronze", &[], &pictures::across(&sizes, None)?));
    }
    Ok(drawn)
}

fn figure(title: &str, series: &[Series], svg: &str) -> Markup {
    let class = |series: &Series| match series.color {
        RED => "red",
        SKY => "sky",
        _ => "blue",
    };
    html! {
        figure role="img" aria-label=(title) {
            figcaption {
                b { (title) }
                @for one in series { span class={ "swatch " (class(one)) } {} (one.name) }
            }
            (PreEscaped(svg))
        }
    }
}

/// The oldest last loads, each as a part of what its table allows.
fn ages(tables: &[TableStatus]) -> Vec<Bar> {
    let mut ages: Vec<Bar> = tables
        .iter()
        .filter_map(|table| {
            let lag = table.lag_seconds?;
            let color = if table.fresh { BLUE } else { RED };
            Some(Bar { name: table.table.clone(), value: lag / table.max_lag_seconds, told: span(lag), color })
        })
        .collect();
    largest(&mut ages);
    ages
}

fn sizes(tables: &[TableHistory]) -> Vec<Bar> {
    let bar = |table: &TableHistory| {
        let bytes = table.bronze_bytes? as f64;
        Some(Bar { name: table.table.clone(), value: bytes, told: words::bytes(bytes), color: BLUE })
    };
    let mut sizes: Vec<Bar> = tables.iter().filter_map(bar).collect();
    largest(&mut sizes);
    sizes
}

fn largest(bars: &mut Vec<Bar>) {
    bars.sort_by(|one, other| other.value.total_cmp(&one.value));
    bars.truncate(BARS);
}

fn span(seconds: f64) -> String {
    Micros::from_seconds(seconds).to_string()
}

/// All tables, those that need attention first.
fn tables(report: &WarehouseReport) -> Markup {
    let status = &report.status;
    let bad = |table: &TableStatus| status.breaches.iter().any(|breach| breach.table.as_ref() == Some(&table.table));
    let mut rows: Vec<(&TableStatus, bool)> = status.tables.iter().map(|table| (table, bad(table))).collect();
    rows.sort_by_key(|(_, bad)| !bad);
    let of = |name: &str| report.history.tables.iter().find(|table| table.table == name);
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        @for head in ["table", "state", "last load", "behind", "rows 24 h", "loads 24 h", "failed 7 d",
                            "median", "longest", "rows", "size", "waiting"] { th scope="col" { (head) } }
                    }
                }
                tbody { @for (table, bad) in rows { (row(report, table, of(&table.table), bad)) } }
            }
        }
    }
}

fn row(report: &WarehouseReport, table: &TableStatus, history: Option<&TableHistory>, bad: bool) -> Markup {
    let ago = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), span);
    let runs = history.map(|history| &history.runs);
    let state = match (table.last_loaded_at, table.fresh) {
        (None, _) => "never loaded",
        (Some(_), false) => "late",
        (Some(_), true) if bad => "see above",
        (Some(_), true) => "fresh",
    };
    let size = history.and_then(|history| history.bronze_bytes);
    html! {
        tr {
            td { (table.table) }
            td class=(if bad { "bad" } else { "good" }) { (state) }
            td title=[table.last_loaded_at.map(|at| moment(report, at))] { (ago(table.lag_seconds)) }
            td { (ago(table.extract_lag_seconds)) }
            td { (words::count(table.rows_last_24h)) }
            td { (table.loads_last_24h) }
            td.bad[table.failures_last_7d > 0] { (table.failures_last_7d) "/" (table.runs_last_7d) }
            td { (ago(runs.and_then(|runs| runs.median_seconds))) }
            td { (ago(runs.and_then(|runs| runs.longest_seconds))) }
            td { (runs.map_or_else(|| "–".to_owned(), |runs| words::count(runs.rows))) }
            td { (size.map_or_else(|| "–".to_owned(), |size| words::bytes(size as f64))) }
            td { (table.waiting.map_or_else(|| "?".to_owned(), |waiting| waiting.files.to_string())) }
        }
    }
}

fn storage(status: &StatusReport) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th scope="col" { "what" } th scope="col" { "where" } th scope="col" { "used" } th scope="col" { "free" } } }
                tbody {
                    @for disk in &status.disks {
                        tr {
                            td { (disk.used_for.as_str()) }
                            td { (disk.folder) }
                            td { (disk.used_percent.map_or_else(|| "?".to_owned(), |used| format!("{used:.0} %"))) }
                            td { (disk.free_bytes.map_or_else(|| "?".to_owned(), |free| words::bytes(free as f64))) }
                        }
                    }
                    tr {
                        td { "blob store" }
                        td { (status.store.url) }
                        td class=[status.store.error.is_some().then_some("bad")] {
                            (if status.store.error.is_some() { "does not answer" } else { "answers" })
                        }
                        td { "" }
                    }
                }
            }
        }
    }
}
