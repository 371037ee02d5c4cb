//! The page. `maud` escapes every text that comes from outside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::pictures::{self, BLUE, Bar, RED, SKY, Series};
use super::table::{models, storage, tables};
use super::{WarehouseReport, words};
use crate::error::Result;
use crate::operate::status::{BreachCause, BreachCheck, StatusReport, TableStatus};
use crate::sink::{RunSums, TableHistory};
use crate::watermark::Timestamp;

const STYLE: &str = include_str!("style.css");
/// How many causes are told one by one.
const CAUSES: usize = 50;
/// How many tables are named of those that share one.
const NAMES: usize = 5;
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
                p.soft { "As of " (report.moment(status.now)) ", and the " (report.history.days.len()) " days up to then" }
                (sentence(status))
                (tiles(status))
                (causes(&status.causes()))
                h2 { "The last days" }
                @if ran(report) { div.pictures { @for picture in &pictures { (picture) } } }
                @else { p.soft { "No run ended in these days, so there is nothing to draw." } }
                (all_fresh(&status.tables))
                h2 { "Tables" }
                (tables(report))
                (models(report))
                h2 { "Storage" }
                (storage(status))
                p.soft { (concat!("dwh", " ", env!("CARGO_PKG_VERSION"))) ". Times are those of the zone " (report.timezone) "." }
            }
        }
    };
    Ok(page.into_string())
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
    // What was loaded since needs nobody, however much failed before.
    let unresolved = status.breaches.iter().any(|breach| breach.check == BreachCheck::Failure);
    let told = match (failures, unresolved) {
        (0, _) | (_, true) => "failed runs in 24 h",
        _ => "failed runs in 24 h, all loaded since",
    };
    let tile = |name: &str, number: String, bad: bool| html! { div.tile.bad[bad] { b { (number) } (name) } };
    html! {
        div.tiles {
            (tile("tables", words::count(status.tables.len() as u64), false))
            (tile("late, or never loaded", words::count(late as u64), late > 0))
            (tile(told, words::count(failures), unresolved))
            (tile("rows in 24 h", words::count(sum(|table| table.rows_last_24h)), false))
            (tile("loads in 24 h", words::count(sum(|table| table.loads_last_24h)), false))
            (tile("of the runs of 7 days were loaded", rate, false))
        }
    }
}

fn causes(causes: &[BreachCause]) -> Markup {
    html! {
        @if !causes.is_empty() {
            h2 { "What needs attention" }
            ol.breaches {
                @for cause in causes.iter().take(CAUSES) {
                    li {
                        @match cause.tables.as_slice() {
                            [] => {},
                            [table] => { b { (table) } ": " },
                            many => {
                                b { (words::count(many.len() as u64)) " tables" } " (" (many[..many.len().min(NAMES)].join(", "))
                                @if many.len() > NAMES { " and " (words::count((many.len() - NAMES) as u64)) " more" }
                                "): "
                            },
                        }
                        (cause.message) br; @for line in cause.remedy.lines() { code { (line) } br; }
                    }
                }
            }
            @if causes.len() > CAUSES {
                p.soft { "and " (causes.len() - CAUSES) " more: " code { "dwh status" } }
            }
        }
    }
}

/// Whether any run ended in the days of the pictures.
fn ran(report: &WarehouseReport) -> bool {
    report.history.days.iter().any(|day| day.runs.loaded + day.runs.failed > 0)
}

/// In the place of a picture that would show nothing.
fn all_fresh(tables: &[TableStatus]) -> Markup {
    let oldest = tables.iter().filter_map(|table| table.lag_seconds).max_by(f64::total_cmp);
    html! {
        @if let Some(oldest) = oldest.filter(|_| tables.iter().all(|table| table.fresh)) {
            p.soft { "All tables are fresh: the oldest last load was " (words::span(oldest)) " ago." }
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
    let longest = seconds[0].values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    let bytes = [series("bytes", BLUE, |runs| runs.bytes as f64)];
    let mut drawn = vec![
        figure("Rows loaded a day", &[], &pictures::columns(&labels, &rows, &words::short)?),
        figure("Runs a day", &runs, &pictures::columns(&labels, &runs, &words::short)?),
        figure("How long runs took", &seconds, &pictures::lines(&labels, &seconds, &words::span_up_to(longest))?),
        figure("CSV files a day, uncompressed", &[], &pictures::columns(&labels, &bytes, &words::bytes)?),
    ];
    let ages = ages(&report.status.tables);
    // Of tables that are all fresh a line tells as much.
    if report.status.tables.iter().any(|table| !table.fresh) && !ages.is_empty() {
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
            Some(Bar { name: table.table.clone(), value: lag / table.max_lag_seconds, told: words::span(lag), color })
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
