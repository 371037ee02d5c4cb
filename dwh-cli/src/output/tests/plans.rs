//! What a run, a load or a migration would do.

use dwh_core::config::Mode;
use dwh_core::operate::{
    AddedLabel, MigrateConflict, MigrateDrift, MigrateRefusal, MigrateReport, PlanReport, WorkUnit,
};
use dwh_core::pipeline::{ErrorReport, LoadPlanReport, LoadStep, WindowReport};
use dwh_core::sink::LeaseHolder;
use dwh_core::{Error, ErrorKind, RunId, RunKind, RunState};

use super::super::{Paint, Plans, Show, Work};
use super::at;
use super::snapshot::assert_snapshot;

fn plan(table: &str, bound: &str) -> PlanReport {
    PlanReport {
        table: table.into(),
        mode: Mode::Incremental,
        source: format!("main: public.{table}"),
        target: format!("bronze.{table}"),
        holder: None,
        window: None,
        watermark: None,
        bound: Some(bound.into()),
        first: None,
        extract_sql: String::new(),
        load_sql: Vec::new(),
        blob_prefix: format!("fleet/exports/{table}/"),
        units: Vec::new(),
        error: None,
    }
}

#[test]
fn a_dry_run_says_what_holds_the_watermark_once() {
    let open = "open transaction of pid 4711";
    let plans = vec![plan("trips", open), plan("stops", open), plan("zones", "quiet")];
    let text = Plans { plans, sql: false }.text(Paint::new(false));
    assert!(text.contains("\nbound  open transaction of pid 4711; it holds 2 tables (`trips`, `stops`)\n"), "{text}");
    assert!(!text.contains("quiet"), "{text}");
}

#[test]
fn plan_text() {
    let plan = PlanReport {
        window: Some(WindowReport { from: Some(at("2026-10-01T00:00:00Z")), to: None }),
        watermark: Some(at("2026-10-01T03:00:00Z")),
        extract_sql: "select id,\n  at\nfrom public.trips".into(),
        load_sql: vec!["insert into bronze.trips select 1;".into(), "commit".into()],
        ..plan("trips", "quiet")
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
    assert_snapshot(
        "text_plan",
        &Plans { plans: vec![plan.clone(), broken.clone()], sql: true }.text(Paint::new(false)),
    );

    let windows = |number| vec![WindowReport { from: None, to: None }; number];
    let run = WorkUnit {
        kind: RunKind::Run,
        command: "dwh run trips".into(),
        windows: windows(3),
        more_windows: false,
        done: 0,
        chunks: None,
        files: None,
        estimated_rows: Some(270_123),
        estimated_bytes: Some(24_300_000),
    };
    let left = WorkUnit {
        kind: RunKind::Backfill,
        command: "dwh backfill trips --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z --since-run 4711".into(),
        windows: windows(12),
        done: 18,
        ..run.clone()
    };
    let chunks =
        WorkUnit { kind: RunKind::Resync, command: "dwh resync trips".into(), chunks: Some(7), done: 5, ..run.clone() };
    let chunks = WorkUnit { windows: Vec::new(), estimated_rows: None, estimated_bytes: None, ..chunks };
    let many = WorkUnit {
        command: "dwh run position_history".into(),
        windows: windows(1000),
        more_windows: true,
        ..run.clone()
    };
    let whole = WorkUnit { command: "dwh run devices".into(), ..run.clone() };
    let plan = PlanReport { units: vec![run, chunks, left], ..plan };
    let other = PlanReport { table: "position_history".into(), units: vec![many], ..plan.clone() };
    let devices = PlanReport { table: "devices".into(), mode: Mode::Snapshot, units: vec![whole], ..plan.clone() };
    let free = Work { plans: vec![plan.clone(), other, devices, broken] }.text(Paint::new(false));
    assert!(free.lines().take_while(|line| !line.is_empty()).all(|line| line.chars().count() <= 80), "{free}");
    let holder = LeaseHolder { host: "etl1:4711".into(), since: at("2026-10-01T00:00:00Z") };
    let held = Work { plans: vec![PlanReport { holder: Some(holder), ..plan }] }.text(Paint::new(false));
    assert_snapshot("text_work", &(free + &held));
}

#[test]
fn load_plan_text() {
    let load = LoadPlanReport {
        table: "trips".into(),
        would: LoadStep::Load,
        mode: Mode::Incremental,
        target: "bronze.trips".into(),
        csv_path: "file:///var/lib/dwh/fleet/exports/trips/20261001_0800_EAT_4711.csv".into(),
        manifest: true,
        run_id: Some(RunId(4711)),
        status: Some(RunState::Uploaded),
        rows: 1204,
        bytes: 85_300,
        sha256: None,
        window: Some(WindowReport { from: Some(at("2026-10-01T02:00:00Z")), to: Some(at("2026-10-01T05:00:00Z")) }),
        watermark: Some(at("2026-10-01T05:00:00Z")),
        load_sql: vec!["insert into bronze.trips select 1".into()],
    };
    let moved = LoadPlanReport {
        would: LoadStep::Nothing,
        manifest: false,
        status: Some(RunState::Loaded),
        window: None,
        watermark: None,
        load_sql: Vec::new(),
        ..load.clone()
    };
    let by_hand =
        LoadPlanReport { would: LoadStep::Load, run_id: None, status: None, watermark: None, ..moved.clone() };
    let text = [load, moved, by_hand].map(|plan| plan.text(Paint::new(false))).join("\n");
    assert_snapshot("text_load_plan", &text);
}

#[test]
fn migrate_text() {
    let report = MigrateReport {
        dry_run: false,
        applied: vec!["261001_dwh_control.sql".into()],
        present: vec!["261003_dwh_roles.sql".into()],
        types_created: vec!["app.state".into()],
        labels_added: vec![AddedLabel { type_name: "app.mood".into(), label: "new".into() }],
        tables_created: vec!["bronze.trips".into()],
        tables_found: vec!["www.orders".to_owned()],
        notes: vec!["source `www`: `x` of `include` matches no table there".to_owned()],
        designs: vec!["designs/bronze/trips.sql".to_owned()],
        tables_present: vec!["bronze.devices".into()],
        drift_applied: vec![MigrateDrift {
            table: "trips".to_owned(),
            message: "column `n` is bigint in the source but integer in bronze".to_owned(),
            remedy: "alter table \"bronze\".\"trips\" alter column \"n\" type bigint;".to_owned(),
        }],
        drift_left: vec![MigrateDrift {
            table: "trips".to_owned(),
            message: "column `gone` exists in bronze but not in the source".to_owned(),
            remedy: "first this\nor that".to_owned(),
        }],
        refused: vec![MigrateRefusal {
            code: "contract".into(),
            cause: "the target has no extension `postgis`, which brings type `geometry`".into(),
            hint: "in the target, as a superuser: create extension if not exists \"postgis\";".into(),
            tables: ["a", "b", "c", "d", "e", "f", "g"].map(String::from).to_vec(),
        }],
        conflicts: vec![MigrateConflict {
            table: "trips".into(),
            message: "table `trips`: bronze.trips was dropped and made again after its rows were loaded".into(),
            hint: "`dwh reseed trips` reads everything from the source again".into(),
        }],
    };
    let would = MigrateReport { dry_run: true, ..report.clone() };
    assert_snapshot("text_migrate", &report.text(Paint::new(false)));
    assert_snapshot("text_migrate_dry_run", &would.text(Paint::new(false)));
    let designs = (1..=500).map(|at| format!("designs/bronze/t{at}.sql")).collect();
    let many = MigrateReport { designs, ..report }.text(Paint::new(false));
    let told: Vec<&str> = many.lines().filter(|line| line.contains("design")).collect();
    let first = (1..=5).map(|at| format!("designs/bronze/t{at}.sql")).collect::<Vec<_>>().join(", ");
    assert_eq!(told, [format!("NOTE  500 tables made by their designs: {first} and 495 more")]);
}
