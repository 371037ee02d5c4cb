//! The tables of the page. What a narrow screen has no room for is left out there, and said to be.

use maud::{Markup, html};

use super::{WarehouseReport, words};
use crate::operate::status::{DiskUse, StatusReport, TableStatus};
use crate::run::RunState;
use crate::sink::TableHistory;

/// Heads, and the class of the screens that show them: all, those of a tablet, wide ones.
const COLUMNS: [(&str, &str); 12] = [
    ("table", "name"),
    ("state", "how"),
    ("last load", ""),
    ("behind", "wide"),
    ("rows 24\u{a0}h", "tablet"),
    ("loads 24\u{a0}h", "wide"),
    ("failed 7\u{a0}d", ""),
    ("median", "tablet"),
    ("longest", "wide"),
    ("rows loaded", "wide"),
    ("size", "tablet"),
    ("waiting", "tablet"),
];

/// All tables, those that need attention first.
pub(super) fn tables(report: &WarehouseReport) -> Markup {
    let status = &report.status;
    let bad = |table: &TableStatus| status.breaches.iter().any(|breach| breach.table.as_ref() == Some(&table.table));
    let mut rows: Vec<(&TableStatus, bool)> = status.tables.iter().map(|table| (table, bad(table))).collect();
    rows.sort_by_key(|(_, bad)| !bad);
    let of = |name: &str| report.history.tables.iter().find(|table| table.table == name);
    let days = report.history.days.len();
    html! {
        p.soft.narrow { "A wider screen, and paper, show more columns." }
        table.tables {
            thead { tr { @for (head, class) in COLUMNS { th scope="col" class=(class) {
                (head) @if head == "rows loaded" { " " (days) "\u{a0}d" }
            } } } }
            tbody { @for (table, bad) in rows { (row(report, table, of(&table.table), bad)) } }
        }
    }
}

fn row(report: &WarehouseReport, table: &TableStatus, history: Option<&TableHistory>, bad: bool) -> Markup {
    let ago = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), words::span);
    let runs = history.map(|history| &history.runs);
    let state = match (table.last_loaded_at, table.fresh) {
        (None, _) => "never loaded",
        (Some(_), false) => "late",
        (Some(_), true) if bad => "see above",
        (Some(_), true) => "fresh",
    };
    let size = history.and_then(|history| history.bronze_bytes);
    let cells = [
        words::count(table.rows_last_24h),
        words::count(table.loads_last_24h),
        format!("{}/{}", words::count(table.failures_last_7d), words::count(table.runs_last_7d)),
        ago(runs.and_then(|runs| runs.median_seconds)),
        ago(runs.and_then(|runs| runs.longest_seconds)),
        runs.map_or_else(|| "–".to_owned(), |runs| words::count(runs.rows)),
        size.map_or_else(|| "–".to_owned(), |size| words::bytes(size as f64)),
        table.waiting.map_or_else(|| "?".to_owned(), |waiting| words::count(waiting.files)),
    ];
    let fails = table.unresolved_failure.is_some();
    html! {
        tr {
            td.name { (name(&table.table)) }
            td class=(if bad { "how bad" } else { "how good" }) { (state) }
            td title=[table.last_loaded_at.map(|at| report.moment(at))] { (ago(table.lag_seconds)) }
            td.wide { (ago(table.extract_lag_seconds)) }
            @for (cell, (head, class)) in cells.iter().zip(&COLUMNS[4..]) {
                td class=(if fails && head.starts_with("failed") { "bad" } else { class }) { (cell) }
            }
        }
    }
}

/// A name that a narrow column parts behind its words.
fn name(name: &str) -> Markup {
    html! { @for part in name.split_inclusive(['_', '.']) { (part) wbr; } }
}

/// The models that ran in the last days.
pub(super) fn models(report: &WarehouseReport) -> Markup {
    let models = &report.status.models;
    html! {
        @if !models.is_empty() {
            h2 { "Models" }
            table {
                thead { tr { th.name scope="col" { "model" } th.how scope="col" { "state" } th scope="col" { "last build" }
                    th.tablet scope="col" { "rows" } th.tablet scope="col" { "took" } } }
                tbody { @for model in models {
                    @let run = &model.last_run;
                    @let built = run.status == RunState::Loaded;
                    @let took = run.run_finished_at.map(|at| words::span(at.since(run.run_started_at).as_seconds()));
                    tr {
                        td.name { (name(&model.model)) }
                        td class=(if built { "how good" } else { "how bad" }) {
                            (if built { "built" } else if run.was_interrupted() { "interrupted" } else { "failed" })
                        }
                        td.when { (report.moment(run.run_finished_at.unwrap_or(run.run_started_at))) }
                        td.tablet { (run.rows_loaded.and_then(|rows| u64::try_from(rows).ok()).map_or_else(|| "–".to_owned(), words::count)) }
                        td.tablet { (took.unwrap_or_else(|| "–".to_owned())) }
                    }
                } }
            }
        }
    }
}

pub(super) fn storage(status: &StatusReport) -> Markup {
    // A store in a folder is the disk that it lies on.
    let is_told = status.store.error.is_none() && status.disks.iter().any(|disk| disk.used_for == DiskUse::Store);
    html! {
        table {
            thead { tr { th.name scope="col" { "what" } th.how scope="col" { "where" } th scope="col" { "used" } th scope="col" { "free" } } }
            tbody {
                @for disk in &status.disks {
                    tr {
                        td.name { (disk.used_for.as_str()) }
                        td.how { (disk.folder) }
                        td { (disk.used_percent.map_or_else(|| "?".to_owned(), |used| format!("{used:.0} %"))) }
                        td { (disk.free_bytes.map_or_else(|| "?".to_owned(), |free| words::bytes(free as f64))) }
                    }
                }
                @if !is_told {
                    tr {
                        td.name { "blob store" }
                        td.how { (status.store.url) }
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
