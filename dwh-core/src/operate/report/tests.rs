use super::*;
use crate::config::Mode;
use crate::operate::status::{Breach, BreachCheck, DiskStatus, DiskUse, ModelStatus, StoreStatus, TableStatus};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{DayHistory, RunRecord, RunSums, TableHistory};
use crate::watermark::Micros;

#[test]
fn days_begin_at_midnight_of_the_zone_also_where_the_clock_is_turned() {
    let zone = TimeZone::get("Europe/Berlin").expect("zone");
    let now: Timestamp = "2026-10-26T10:00:00Z".parse().expect("moment");
    let begins = days_before(now, &zone, 3).expect("days");
    let told: Vec<String> = begins.iter().map(ToString::to_string).collect();
    // On the 25th the clock was put back: that day has 25 hours.
    assert_eq!(told, ["2026-10-23T22:00:00.000000Z", "2026-10-24T22:00:00.000000Z", "2026-10-25T23:00:00.000000Z"]);
}

const DAY: i64 = 24 * 3600;

fn now() -> Timestamp {
    "2026-10-26T10:00:00Z".parse().expect("moment")
}

fn run(name: &str, kind: RunKind, status: RunState) -> RunRecord {
    let begun = now().minus(Micros::seconds(60));
    RunRecord {
        status,
        run_finished_at: Some(begun.plus(Micros(40_000))),
        rows_loaded: Some(1200),
        ..RunRecord::begun(RunId(7), name, Mode::Incremental, kind, begun)
    }
}

/// A table that was loaded two minutes ago in 40 ms, or 9 hours ago and fails since.
fn table(name: &str, fails: bool) -> TableStatus {
    let lag = if fails { 32_400.0 } else { 120.0 };
    let failed = fails.then(|| run(name, RunKind::Run, RunState::Failed));
    TableStatus {
        table: name.to_owned(),
        mode: Mode::Incremental,
        watermark: None,
        extract_lag_seconds: Some(lag + 60.0),
        last_loaded_at: Some(now().minus(Micros::from_seconds(lag))),
        lag_seconds: Some(lag),
        max_lag_seconds: 21_600.0,
        fresh: !fails,
        rows_last_24h: 12_021,
        loads_last_24h: 8,
        failures_last_24h: 1,
        interruptions_last_24h: 0,
        runs_last_7d: 56,
        failures_last_7d: 1,
        success_rate_7d: Some(98.2),
        last_run_seconds: Some(0.04),
        longest_run_seconds_24h: Some(0.06),
        running: None,
        waiting: None,
        unresolved_failure: failed.clone(),
        last_run: failed,
        conflict: None,
    }
}

fn report(names: &[String], fails: bool, ran: bool) -> WarehouseReport {
    let sums = |rows: u64| RunSums {
        loaded: 8,
        failed: u64::from(fails),
        rows,
        bytes: rows * 40,
        median_seconds: Some(0.04),
        longest_seconds: Some(0.06 + rows as f64 / 1e7),
    };
    let days = (0..30).map(|day| DayHistory {
        begins: now().minus(Micros::seconds((29 - day) * DAY)),
        runs: if ran { sums(100_000 + 5_000 * (day as u64 % 7)) } else { RunSums::default() },
    });
    let of_table = |(at, name): (usize, &String)| TableHistory {
        table: name.clone(),
        runs: sums(24_042),
        bronze_bytes: ran.then(|| 1_000_000 * (at as u64 + 1)),
    };
    let breach = |(at, name): (usize, &String)| Breach {
        check: BreachCheck::Failure,
        table: Some(name.clone()),
        message: format!(
            "run {at} failed, and none was loaded since: source `app`: relation `public.{name}` is not there"
        ),
        remedy: format!("dwh runs show {at}"),
    };
    let breaches: Vec<Breach> = names.iter().enumerate().filter(|_| fails).map(breach).collect();
    let disk = |used_for, folder: &str| DiskStatus {
        used_for,
        folder: folder.to_owned(),
        used_percent: Some(43.2),
        free_bytes: Some(12_345_678_901),
        total_bytes: Some(21_739_000_000),
        error: None,
    };
    let model = |(name, status)| ModelStatus { model: String::from(name), last_run: run(name, RunKind::Model, status) };
    WarehouseReport {
        status: StatusReport {
            project: "fleet".to_owned(),
            now: now(),
            cadence_seconds: 10_800.0,
            healthy: breaches.is_empty(),
            tables: names.iter().map(|name| table(name, fails)).collect(),
            models: [("marts.days", RunState::Loaded), ("marts.total", RunState::Failed)].map(model).to_vec(),
            disks: vec![disk(DiskUse::Spool, "/tmp"), disk(DiskUse::Store, "/var/lib/dwh")],
            store: StoreStatus { url: "file:///var/lib/dwh".to_owned(), error: None },
            breaches,
        },
        timezone: "UTC".to_owned(),
        history: History { days: days.collect(), tables: names.iter().enumerate().map(of_table).collect() },
    }
}

fn names(many: usize) -> Vec<String> {
    (1..=many).map(|at| format!("warehouse_of_position_history_{at:03}")).collect()
}

#[test]
fn five_hundred_tables_that_share_a_cause_are_one_card() {
    let page = report(&names(500), true, true).html().expect("a page");
    assert_eq!(page.matches("<li>").count(), 1, "one card");
    assert!(
        page.contains("<b>500 tables</b> (warehouse_of_position_history_001, ") && page.contains(" and 495 more): ")
    );
    assert!(page.contains("relation `public.…` is not there") && page.contains("<code>dwh runs --failed</code>"));
    assert!(
        page.contains("warehouse_of_…_history_500") && page.contains("warehouse_of_…_history_499"),
        "names end apart"
    );
    assert!(page.contains("rows loaded 30\u{a0}d") && page.contains("\n20 ms\n"), "axis and head");
}

#[test]
fn what_is_well_or_empty_is_a_sentence() {
    let well = report(&names(3), false, true).html().expect("a page");
    assert!(well.contains("All tables are fresh: the oldest last load was 2 min 0 s ago."), "{well}");
    assert_eq!(well.matches("<svg").count(), 5, "no picture of ages");
    assert!(well.contains("failed runs in 24 h, all loaded since") && !well.contains("tile bad"), "{well}");
    assert!(well.contains("marts.<wbr>days") && well.contains(">built<"), "models are there");
    assert!(!well.contains("blob store"), "the disk tells of it: {well}");
    let empty = report(&names(3), false, false).html().expect("a page");
    assert!(empty.contains("No run ended in these days") && !empty.contains("<svg"), "{empty}");
}
