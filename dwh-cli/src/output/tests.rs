use dwh_core::config::Mode;
use dwh_core::pipeline::{
    CheckReport, ErrorReport, Finding, MigrateReport, PlanReport, RunReport, Seconds, Severity, StatusReport, TableRun,
    TableStatus, WindowReport,
};
use dwh_core::sink::RunRecord;
use dwh_core::{Error, ErrorKind, RunId, RunKind, RunState, Timestamp};

use super::{Paint, Plans, Runs, Show};
use snapshot::assert_snapshot;

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
        rows_loaded: 1_234_000,
        rows_identical: 560,
        rows_different: 7,
        bytes: 98_765_432,
        seconds: Seconds { total: 75.4, ..Seconds::default() },
        ..TableRun::new(table, Mode::Incremental)
    }
}

fn run_report() -> RunReport {
    let error = Error::new(ErrorKind::Drift, "table `orders`: column `note` exists in the source but not in bronze");
    let failed = TableRun { error: Some(ErrorReport::from(&error)), ..TableRun::new("orders", Mode::Snapshot) };
    RunReport { runs: vec![loaded("trips"), loaded("位置履歴"), loaded("position_history"), failed] }
}

fn record(run_id: i64, status: RunState) -> RunRecord {
    let failed = status == RunState::Failed;
    RunRecord {
        run_id: RunId(run_id),
        table_name: "trips".into(),
        kind: RunKind::Run,
        run_started_at: at("2026-10-01T03:00:00Z"),
        run_finished_at: status.is_final().then(|| at("2026-10-01T03:00:02.5Z")),
        status,
        rows_extracted: Some(1200),
        rows_loaded: (!failed).then_some(1200),
        rows_identical: (!failed).then_some(0),
        rows_different: (!failed).then_some(0),
        rows_late: None,
        csv_path: None,
        error_message: failed.then(|| "table `trips`:\n3 rows\tshort\u{1b}[2J".into()),
        mode: Some(Mode::Incremental),
        window_low: None,
        window_high: None,
        watermark: Some(at("2026-10-01T02:59:59.5Z")),
        bound: None,
        bytes: Some(3400),
        sha256: None,
        attempt: 1,
        host: None,
        engine_version: None,
    }
}

fn table_status(table: &str, lag_seconds: Option<f64>, fresh: bool) -> TableStatus {
    TableStatus {
        table: table.into(),
        mode: Mode::Incremental,
        watermark: lag_seconds.map(|_| at("2026-10-01T00:00:00Z")),
        last_loaded_at: lag_seconds.map(|_| at("2026-10-01T00:00:01Z")),
        lag_seconds,
        fresh,
        loads_last_24h: u64::from(fresh) * 8,
        failures_last_24h: u64::from(!fresh),
        last_run: lag_seconds.map(|_| record(9, if fresh { RunState::Loaded } else { RunState::Failed })),
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
    assert_snapshot("text_run", &run_report().text(Paint(false)));
    assert_eq!(RunReport::default().text(Paint(false)), "nothing to do\n");
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
    let colored = run_report().text(Paint(true));
    assert!(colored.contains('\u{1b}'));
    assert_eq!(bare(colored), run_report().text(Paint(false)));
    let checked = check_report();
    assert_eq!(bare(checked.text(Paint(true))), checked.text(Paint(false)));
}

#[test]
fn status_text() {
    let report = StatusReport {
        project: "fleet".into(),
        now: at("2026-10-01T03:00:00Z"),
        cadence_seconds: 10_800.0,
        tables: vec![
            table_status("trips", Some(754.0), true),
            table_status("devices", Some(200_000.0), false),
            table_status("alarms", None, false),
        ],
    };
    assert_snapshot("text_status", &report.text(Paint(false)));
}

#[test]
fn runs_text_keeps_one_line_a_run() {
    let runs = vec![record(3, RunState::Extracting), record(2, RunState::Failed), record(1, RunState::Loaded)];
    assert_snapshot("text_runs", &Runs { runs }.text(Paint(false)));
    assert_eq!(Runs { runs: Vec::new() }.text(Paint(false)), "no runs\n");
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
    assert_snapshot("text_check", &check_report().text(Paint(false)));
}

#[test]
fn plan_text() {
    let plan = PlanReport {
        table: "trips".into(),
        mode: Mode::Incremental,
        source: "main: public.trips".into(),
        target: "bronze.trips".into(),
        window: Some(WindowReport { from: Some(at("2026-10-01T00:00:00Z")), to: None }),
        watermark: Some(at("2026-10-01T03:00:00Z")),
        bound: Some("quiet".into()),
        extract_sql: "select id,\n  at\nfrom public.trips".into(),
        load_sql: vec!["insert into bronze.trips select 1;".into(), "commit".into()],
        blob_prefix: "fleet/exports/trips/".into(),
        error: None,
    };
    let error = Error::new(ErrorKind::Drift, "table `orders`: column `note` is gone");
    let broken = PlanReport {
        table: "orders".into(),
        mode: Mode::Snapshot,
        window: None,
        watermark: None,
        bound: None,
        extract_sql: String::new(),
        load_sql: Vec::new(),
        error: Some(ErrorReport::from(&error)),
        ..plan.clone()
    };
    assert_snapshot("text_plan", &Plans { plans: vec![plan, broken] }.text(Paint(false)));
}

#[test]
fn migrate_text() {
    let report = MigrateReport {
        applied: vec!["261001_dwh_control.sql".into()],
        present: vec!["261003_dwh_roles.sql".into()],
        tables_created: vec!["bronze.trips".into()],
        tables_present: vec!["bronze.devices".into()],
    };
    assert_snapshot("text_migrate", &report.text(Paint(false)));
}
