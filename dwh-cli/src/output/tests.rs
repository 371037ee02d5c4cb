use dwh_core::config::{Compression, Mode};
use dwh_core::operate::{
    Breach, BreachCheck, CheckReport, CsvPlace, CsvReport, DiskStatus, DiskUse, Finding, ManifestReport,
    NeighbourReport, RunDetails, RunningRun, Severity, StatusReport, StoreStatus, TableStatus, WaitingCsvs,
};
use dwh_core::pipeline::{ErrorReport, RunReport, Seconds, TableRun, WindowReport};
use dwh_core::sink::{Route, RunRecord};
use dwh_core::source::{Snapshot, SourceIdentity};
use dwh_core::{Error, ErrorKind, RunId, RunKind, RunState, Timestamp};

use super::paint::Clock;
use super::{Checked, Paint, Runs, Show, ended};
use snapshot::assert_snapshot;

mod plans;
#[path = "../../tests/cli/snapshot.rs"]
mod snapshot;

fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

fn loaded(table: &str) -> TableRun {
    TableRun {
        run_id: Some(RunId(17)),
        status: RunState::Loaded,
        window: Some(WindowReport { from: None, to: Some(at("2026-10-01T00:00:00Z")) }),
        watermark: Some(at("2026-10-01T00:00:00.123456Z")),
        rows_extracted: 1_234_567,
        rows_loaded: 1_233_990,
        rows_inserted: 1_230_000,
        rows_updated: 3_990,
        rows_identical: 560,
        rows_different: 7,
        rows_kept_newer: 10,
        route: Some(Route::Staged),
        route_reason: Some("bronze may have some of its rows".into()),
        bytes: 98_765_432,
        seconds: Seconds { total: 75.4, ..Seconds::default() },
        ..TableRun::new(table, Mode::Incremental)
    }
}

fn run_report() -> RunReport {
    let error = Error::new(ErrorKind::Drift, "table `orders`: column `note` exists in the source but not in bronze");
    let failed = TableRun { error: Some(ErrorReport::from(&error)), ..TableRun::new("orders", Mode::Snapshot) };
    RunReport {
        runs: vec![loaded("trips"), loaded("位置履歴"), loaded("position_history"), failed],
        ..RunReport::default()
    }
}

fn record(run_id: i64, status: RunState) -> RunRecord {
    let failed = status == RunState::Failed;
    RunRecord {
        run_finished_at: status.is_final().then(|| at("2026-10-01T03:00:02.5Z")),
        status,
        rows_extracted: Some(1200),
        rows_loaded: (!failed).then_some(1200),
        rows_inserted: (!failed).then_some(1200),
        rows_updated: (!failed).then_some(0),
        rows_identical: (!failed).then_some(0),
        rows_different: (!failed).then_some(0),
        rows_kept_newer: (!failed).then_some(0),
        route: (!failed).then_some(Route::Direct),
        route_reason: (!failed).then(|| "all rows of the run before it were new".into()),
        error_message: failed.then(|| "table `trips`:\n3 rows\tshort\u{1b}[2J".into()),
        watermark: Some(at("2026-10-01T02:59:59.5Z")),
        bytes: Some(3400),
        ..RunRecord::begun(RunId(run_id), "trips", Mode::Incremental, RunKind::Run, at("2026-10-01T03:00:00Z"))
    }
}

fn table_status(table: &str, lag_seconds: Option<f64>, fresh: bool) -> TableStatus {
    let failed = lag_seconds.filter(|_| !fresh).map(|_| record(9, RunState::Failed));
    TableStatus {
        table: table.into(),
        mode: Mode::Incremental,
        watermark: lag_seconds.map(|_| at("2026-10-01T00:00:00Z")),
        extract_lag_seconds: lag_seconds.map(|lag| lag + 61.0),
        last_loaded_at: lag_seconds.map(|_| at("2026-10-01T00:00:01Z")),
        lag_seconds,
        max_lag_seconds: 21_600.0,
        fresh,
        rows_last_24h: if fresh { 1_234_567 } else { 0 },
        loads_last_24h: u64::from(fresh) * 8,
        failures_last_24h: u64::from(failed.is_some()),
        interruptions_last_24h: 0,
        runs_last_7d: 56,
        failures_last_7d: u64::from(failed.is_some()),
        success_rate_7d: lag_seconds.map(|_| if fresh { 100.0 } else { 98.214 }),
        last_run_seconds: lag_seconds.map(|_| 2.5),
        longest_run_seconds_24h: lag_seconds.map(|_| 12.5),
        running: None,
        waiting: Some(WaitingCsvs { files: u64::from(failed.is_some()), oldest: None, oldest_seconds: None }),
        last_run: failed.clone().or_else(|| lag_seconds.map(|_| record(9, RunState::Loaded))),
        unresolved_failure: failed,
        conflict: None,
    }
}

fn status_report(tables: Vec<TableStatus>, breaches: Vec<Breach>) -> StatusReport {
    let disk = |used_for, folder: &str| DiskStatus {
        used_for,
        folder: folder.into(),
        used_percent: Some(43.21),
        free_bytes: Some(12_345_678_901),
        total_bytes: Some(21_739_000_000),
        error: None,
    };
    StatusReport {
        models: Vec::new(),
        project: "fleet".into(),
        now: at("2026-10-01T03:00:00Z"),
        cadence_seconds: 10_800.0,
        healthy: breaches.is_empty(),
        tables,
        disks: vec![disk(DiskUse::Spool, "/tmp"), disk(DiskUse::Store, "/var/lib/dwh")],
        store: StoreStatus { url: "file:///var/lib/dwh".into(), error: None },
        breaches,
    }
}

fn finding(severity: Severity, subject: &str, message: &str, remedy: Option<&str>) -> Finding {
    Finding {
        severity,
        subject: subject.into(),
        check: "connection".into(),
        message: message.into(),
        remedy: remedy.map(str::to_owned),
        exit_code: 4,
    }
}

#[test]
fn run_text_lines_up() {
    assert_snapshot("text_run", &run_report().text(Paint::new(false)));
    assert_eq!(RunReport::default().text(Paint::new(false)), "nothing to do\n");
}

#[test]
fn run_json_has_the_documented_keys() {
    let json = serde_json::to_string_pretty(&run_report()).expect("JSON");
    assert_snapshot("json_run", &(json + "\n"));
}

#[test]
fn colour_adds_nothing_but_colour() {
    let bare = |text: String| {
        let mut parts = text.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        let rest = parts.map(|part| part.split_once('m').map_or("", |(_, rest)| rest)).collect::<String>();
        // Blanks after a coloured last column are not trimmed.
        (first + &rest).lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>()
    };
    let colored = run_report().text(Paint::new(true));
    assert!(colored.contains('\u{1b}'));
    assert_eq!(bare(colored), run_report().text(Paint::new(false)));
    let checked = Checked { report: check_report(), all: true };
    assert_eq!(bare(checked.text(Paint::new(true))), checked.text(Paint::new(false)));
}

fn unwell() -> StatusReport {
    let breach = |check, table: Option<&str>, message: &str, remedy: &str| Breach {
        check,
        table: table.map(str::to_owned),
        message: message.into(),
        remedy: remedy.into(),
    };
    let running = RunningRun {
        run_id: Some(RunId(10)),
        status: Some(RunState::Loading),
        since: at("2026-10-01T02:00:00Z"),
        seconds: 3600.0,
        host: "etl pid 7".into(),
    };
    let error = Error::new(ErrorKind::Unreachable, "s3://bronze does not answer");
    let mut report = status_report(
        vec![
            TableStatus { running: Some(running), waiting: None, ..table_status("trips", Some(754.0), true) },
            table_status("position_history", Some(200_000.0), false),
            table_status("alarms", None, false),
        ],
        vec![
            breach(
                BreachCheck::Stale,
                Some("position_history"),
                "last loaded 2 d 7 h ago, it is fresh for less than 6 h 0 min",
                "dwh run position_history",
            ),
            breach(BreachCheck::Failure, Some("position_history"), "run 9 failed:\u{1b}[2J", "dwh runs show 9"),
            breach(BreachCheck::NeverLoaded, Some("alarms"), "never loaded", "dwh run alarms"),
            breach(BreachCheck::Store, None, "s3://bronze does not answer", "check host, port\nand network"),
        ],
    );
    report.disks.pop();
    report.store = StoreStatus { url: "s3://bronze".into(), error: Some((&error).into()) };
    report
}

#[test]
fn status_text() {
    let well = status_report(vec![table_status("trips", Some(754.0), true)], Vec::new());
    assert_snapshot("text_status_healthy", &well.text(Paint::new(false)));
    let unwell = unwell().text(Paint::new(false));
    assert_snapshot("text_status", &unwell);
    let widest = unwell.lines().map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 120), "{widest:?}");
}

#[test]
fn status_json_has_the_documented_keys() {
    let json = serde_json::to_string_pretty(&unwell()).expect("JSON");
    assert_snapshot("json_status", &(json + "\n"));
}

fn details() -> RunDetails {
    let window = WindowReport { from: None, to: Some(at("2026-10-01T00:00:00Z")) };
    let previous = NeighbourReport {
        run_id: RunId(16),
        status: RunState::Loaded,
        window,
        watermark: window.to,
        joins: Some(false),
    };
    let identity = SourceIdentity {
        system_identifier: "7301".into(),
        timeline: 1,
        database: "fleet".into(),
        server_version: "15.18".into(),
        in_recovery: true,
    };
    RunDetails {
        run: RunRecord {
            csv_path: Some("s3://bronze/fleet/exports/trips/20261001_0600_EAT_17.csv".into()),
            window_low: Some(at("2026-10-01T00:00:00Z")),
            window_high: Some(at("2026-10-01T03:00:00Z")),
            rows_late: Some(3),
            sha256: Some("0f".repeat(32)),
            host: Some("etl pid 7".into()),
            engine_version: Some("0.1.0".into()),
            ..record(17, RunState::Loaded)
        },
        seconds: Some(2.5),
        bound: Some("the source could be read up to 2026-10-01T02:59:59.500000Z: nobody was writing".into()),
        advice: None,
        csv: CsvReport {
            place: CsvPlace::Processed,
            path: Some("s3://bronze/fleet/processed/trips/20261001_0600_EAT_17.csv".into()),
            stored_bytes: Some(3400),
            modified: Some(at("2026-10-01T03:00:02Z")),
            complete: true,
            error: None,
        },
        manifest: Some(ManifestReport {
            path: "s3://bronze/fleet/processed/trips/20261001_0600_EAT_17.manifest.json".into(),
            columns: 9,
            key: vec!["id".into()],
            rows: 1200,
            compression: Compression::None,
            previous_run_id: Some(RunId(16)),
            snapshot: Some(Snapshot {
                taken_at: at("2026-10-01T03:00:00Z"),
                xmin: 12,
                xmax: 14,
                relations: None,
                identity,
            }),
        }),
        next: Some(NeighbourReport { run_id: RunId(18), joins: Some(true), ..previous.clone() }),
        previous: Some(previous),
    }
}

#[test]
fn one_run_in_words() {
    assert_snapshot("text_runs_show", &details().text(Paint::new(false)));
    let json = serde_json::to_string_pretty(&details()).expect("JSON");
    assert_snapshot("json_runs_show", &(json + "\n"));
    let error = Error::new(ErrorKind::Unreachable, "s3://bronze does not answer");
    let bare = RunDetails {
        run: record(17, RunState::Failed),
        bound: None,
        advice: Some("when the cause is mended, the next `dwh run` reads its rows again".into()),
        csv: CsvReport {
            place: CsvPlace::Unknown,
            stored_bytes: None,
            complete: false,
            error: Some((&error).into()),
            ..details().csv
        },
        manifest: None,
        previous: None,
        next: None,
        ..details()
    };
    assert_snapshot("text_runs_show_failed", &bare.text(Paint::new(false)));
}

#[test]
fn runs_text_keeps_one_line_a_run() {
    let runs = vec![record(3, RunState::Extracting), record(2, RunState::Failed), record(1, RunState::Loaded)];
    assert_snapshot("text_runs", &Runs { runs }.text(Paint::new(false)));
    assert_eq!(Runs { runs: Vec::new() }.text(Paint::new(false)), "no runs\n");
}

fn check_report() -> CheckReport {
    CheckReport {
        gate: None,
        findings: vec![
            finding(Severity::Ok, "source main", "PostgreSQL 15.4, TLS", None),
            finding(Severity::Warning, "target", "the role is a superuser", Some("use a role of its own")),
            finding(
                Severity::Failure,
                "table `trips`",
                "the watermark column has no index",
                Some("create index concurrently\n  on public.trips (recorded_at);"),
            ),
        ],
    }
}

#[test]
fn check_text() {
    let checked = |all| Checked { report: check_report(), all }.text(Paint::new(false));
    assert_snapshot("text_check", &checked(false));
    assert_snapshot("text_check_all", &checked(true));
}

#[test]
fn one_cause_of_many_tables_is_told_once_and_no_line_is_cut_in_a_word() {
    let names = ["trips", "devices", "alarms", "drivers", "zones", "stops"];
    let missing = |name: &str| {
        let message = format!("bronze.{name} does not exist in the target, where this run would load its rows");
        finding(Severity::Failure, &format!("table `{name}`"), &message, Some("dwh migrate"))
    };
    let report = CheckReport { gate: None, findings: names.map(missing).to_vec() };
    let text = Checked { report, all: false }.text(Paint::new(false).within(Some(60)));
    assert_snapshot("text_check_one_cause", &text);
    assert_eq!(text.matches("dwh migrate").count(), 1);
}

#[test]
fn a_narrow_screen_shows_the_run_in_its_width_and_how_long_ago() {
    let zone = jiff::tz::TimeZone::get("Africa/Nairobi").expect("a zone");
    let clock = Clock { now: at("2026-10-01T03:00:00Z"), zone };
    let screen = Paint::new(false).on_screen(80, &clock);
    let text = run_report().text(screen);
    assert_snapshot("text_run_80", &text);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let runs = vec![record(3, RunState::Extracting), record(1, RunState::Loaded)];
    assert_snapshot("text_runs_80", &Runs { runs }.text(screen));
    let many = |fresh| (0..60).map(|at| table_status(&format!("t{at}"), Some(60.0), fresh || at != 7)).collect();
    let text = status_report(many(false), Vec::new()).text(screen);
    assert_snapshot("text_status_80_of_60", &text);
    assert_eq!(status_report(many(true), Vec::new()).text(screen).lines().count(), 7);
}

#[test]
fn a_cause_of_many_tables_is_one_thing_to_attend_to() {
    let failed = |at: u64| Breach {
        check: BreachCheck::Failure,
        table: Some(format!("t{at}")),
        message: format!("run {} failed, and none was loaded since: nothing answers at 127.0.0.1:1", 990 + at),
        remedy: format!("dwh runs show {}", 990 + at),
    };
    let text = status_report(Vec::new(), (1..20).map(failed).collect()).text(Paint::new(false));
    assert_eq!(text.matches("ATTENTION").count(), 1, "{text}");
    let told = "ATTENTION  19 tables (`t1`, `t2`, `t3`, `t4`, `t5` and 14 more): the newest run of each failed, and none was loaded since: \
                nothing answers at 127.0.0.1:1\n           dwh runs --failed\n";
    assert!(text.contains(told), "{text}");
}

#[test]
fn the_last_line_of_a_run_has_the_sums() {
    assert_eq!(ended(&run_report(), 75.4), "1 of 4 tables FAILED, 3,703,701 rows, 296.30 MB, 1 min 15 s");
    let one = TableRun { rows_extracted: 1, ..TableRun::new("a", Mode::Snapshot) };
    let report = RunReport { runs: vec![one], ..RunReport::default() };
    assert_eq!(ended(&report, 0.2), "1 table, 1 row, 0 B, 0.2 s");
    let stopped = ErrorReport::from(&Error::new(ErrorKind::Interrupted, "stopped on request"));
    let one = TableRun { error: Some(stopped), ..TableRun::new("a", Mode::Snapshot) };
    let report = RunReport { runs: vec![one], ..RunReport::default() };
    assert_eq!(ended(&report, 0.2), "1 of 1 table interrupted, 0 rows, 0 B, 0.2 s");
}
