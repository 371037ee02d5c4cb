//! The three gates, each seen shut and open.

use dwh_core::operate::{CheckReport, Finding, Gate, MigrateRequest, Severity};
use dwh_core::pipeline::RunRequest;
use dwh_core::testing::TestDb;
use tokio_util::sync::CancellationToken;

use super::{TABLE, pipeline, problems, sound};

const DEVICES: &str = "[[table]]\nname = \"devices\"\nrelation = \"app.devices\"\nmode = \"snapshot\"\n";

/// Two tables with rows, one of them with geometry; migrated.
async fn two(name: &str) -> (TestDb, String) {
    let db = sound(name).await;
    db.src(
        "insert into app.trips select i, 'x', now() - i * interval '1 minute' from generate_series(1, 50) i; \
         create table app.devices (id int primary key, at public.geometry(point, 4326)); \
         insert into app.devices select i, public.st_setsrid(public.st_makepoint(36.8 + i / 77777.0, -1.3), 4326) \
         from generate_series(1, 20) i",
    )
    .await;
    let text = db.config(&format!("{TABLE}{DEVICES}"));
    pipeline(&text).migrate(&MigrateRequest::default()).await.expect("migrate");
    (db, text)
}

async fn run(text: &str, tables: &[&str]) {
    let request = RunRequest { tables: tables.iter().map(ToString::to_string).collect(), ..RunRequest::default() };
    let report = pipeline(text).run(&request, &CancellationToken::new()).await.expect("run");
    assert_eq!(report.exit_code(), 0, "{report:#?}");
}

fn told<'a>(report: &'a CheckReport, subject: &str, word: &str) -> &'a Finding {
    report
        .findings
        .iter()
        .find(|finding| finding.subject == subject && finding.check == word)
        .unwrap_or_else(|| panic!("no {word} of {subject}: {report:#?}"))
}

#[tokio::test]
async fn deploy_wants_one_table_that_went_all_the_way() {
    let (db, text) = two("gate_deploy").await;
    let report = pipeline(&text).gate(Gate::Deploy, &[]).await.expect("tables");
    assert_eq!(report.gate, Some(Gate::Deploy));
    assert!(serde_json::to_string(&report).expect("JSON").starts_with("{\"gate\":\"deploy\",\"findings\":["));
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].check.as_str(), found[0].remedy.as_deref()), ("manual_run", Some("dwh run trips")));
    assert_eq!(report.exit_code(), 4);

    run(&text, &["trips"]).await;
    let report = pipeline(&text).gate(Gate::Deploy, &[]).await.expect("tables");
    assert!(problems(&report).is_empty(), "{:#?}", problems(&report));
    assert_eq!(told(&report, "gate", "manual_run").severity, Severity::Ok);
    // It is the whole check.
    assert_eq!(told(&report, "blob", "write").severity, Severity::Ok);

    db.tgt("delete from dwh_control.extract_watermarks where table_name = 'devices'").await;
    let report = pipeline(&text).gate(Gate::Deploy, &[]).await.expect("tables");
    assert_eq!(told(&report, "table `devices`", "watermark_row").severity, Severity::Failure);
}

#[tokio::test]
async fn without_a_target_no_gate_is_passed() {
    let (db, text) = two("gate_down").await;
    let wrong = text.replace(&db.target_url_as("dwh_loader"), &db.target_url_as("nobody_there"));
    for gate in Gate::ALL {
        let report = pipeline(&wrong).gate(gate, &[]).await.expect("tables");
        assert_eq!(report.exit_code(), 3, "{report:#?}");
    }
}

#[tokio::test]
async fn first_run_wants_every_table_alike_at_both_ends_and_every_file_in_its_place() {
    let (db, text) = two("gate_first").await;
    run(&text, &["trips"]).await;
    let report = pipeline(&text).gate(Gate::FirstRun, &[]).await.expect("tables");
    let found = problems(&report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].subject.as_str(), found[0].check.as_str()), ("table `devices`", "loaded_run"));

    run(&text, &[]).await;
    // Rows on their way are no difference.
    db.src("insert into app.trips values (1000, 'new', now())").await;
    let report = pipeline(&text).gate(Gate::FirstRun, &[]).await.expect("tables");
    assert!(problems(&report).is_empty(), "{:#?}", problems(&report));
    for word in ["loaded_run", "row_count", "exports", "processed"] {
        assert_eq!(told(&report, "table `trips`", word).severity, Severity::Ok);
    }
    assert_eq!(
        told(&report, "table `devices`", "geometry").message,
        "20 of 20 geometries of `at` that were looked at are valid"
    );

    db.tgt("update bronze.devices set at = null where id = 3; delete from bronze.trips where id = 7").await;
    let report = pipeline(&text).gate(Gate::FirstRun, &[]).await.expect("tables");
    let of_devices = told(&report, "table `devices`", "row_count");
    assert_eq!(of_devices.severity, Severity::Failure);
    assert!(of_devices.message.contains("0 missing, 0 extra, 1 different"), "{of_devices:?}");
    assert!(told(&report, "table `trips`", "row_count").message.contains("1 missing"), "{report:#?}");
    assert_eq!(report.exit_code(), 4);
}

#[tokio::test]
async fn first_run_misses_files() {
    let (db, text) = two("gate_files").await;
    run(&text, &[]).await;
    let processed = db.blobs().join("test/processed/trips");
    let csv =
        super::walk(&processed).into_iter().find(|path| path.extension().is_some_and(|end| end == "csv")).expect("csv");
    let exports = db.blobs().join("test/exports/trips");
    std::fs::create_dir_all(&exports).expect("folder");
    std::fs::rename(&csv, exports.join(csv.file_name().expect("name"))).expect("moved back");
    let report = pipeline(&text).gate(Gate::FirstRun, &[]).await.expect("tables");
    let words: Vec<&str> = problems(&report).iter().map(|finding| finding.check.as_str()).collect();
    assert_eq!(words, ["exports", "processed"], "{report:#?}");
    assert!(told(&report, "table `trips`", "processed").message.contains("lacks the CSV of run"), "{report:#?}");
}

#[tokio::test]
async fn steady_wants_a_day_without_failures_in_which_rows_arrive() {
    let (db, text) = two("gate_steady").await;
    let report = pipeline(&text).gate(Gate::Steady, &[]).await.expect("tables");
    assert_eq!(told(&report, "table `trips`", "fresh").message, "never loaded");
    assert_eq!(report.exit_code(), 4);

    run(&text, &[]).await;
    let report = pipeline(&text).gate(Gate::Steady, &[]).await.expect("tables");
    let words: Vec<(&str, Severity)> =
        problems(&report).iter().map(|finding| (finding.check.as_str(), finding.severity)).collect();
    assert_eq!(words, [("history", Severity::Failure), ("history", Severity::Failure)], "{report:#?}");
    assert_eq!(report.exit_code(), 4);
    assert_eq!(told(&report, "table `trips`", "growth").message, "50 rows were loaded in the last 24 h");

    // The cadence is three hours: after six there is something to tell.
    db.tgt("update dwh_control.extract_runs set run_started_at = run_started_at - interval '7 hours'").await;
    let report = pipeline(&text).gate(Gate::Steady, &[]).await.expect("tables");
    assert!(problems(&report).is_empty(), "{:#?}", problems(&report));

    let few = text
        .replace("[[table]]\nname = \"trips\"", "[thresholds]\nmin_rows_per_day = 100\n\n[[table]]\nname = \"trips\"");
    let report = pipeline(&few).gate(Gate::Steady, &[]).await.expect("tables");
    let growth = told(&report, "table `trips`", "growth");
    assert_eq!(growth.severity, Severity::Failure);
    assert_eq!(growth.message, "50 rows were loaded in the last 24 h, at least 100 are expected");
    let many = few.replace("min_rows_per_day = 100", "max_rows_per_day = 49");
    assert_eq!(
        told(&pipeline(&many).gate(Gate::Steady, &[]).await.expect("tables"), "table `trips`", "growth").severity,
        Severity::Failure
    );

    db.tgt(
        "update dwh_control.extract_runs set run_started_at = run_started_at - interval '1 day', \
            run_finished_at = run_finished_at - interval '1 day'",
    )
    .await;
    let report = pipeline(&text).gate(Gate::Steady, &[]).await.expect("tables");
    let growth = told(&report, "table `trips`", "growth");
    assert_eq!((growth.severity, growth.message.as_str()), (Severity::Warning, "0 rows were loaded in the last 24 h"));
    assert_eq!(told(&report, "table `devices`", "growth").severity, Severity::Ok);

    db.tgt(
        "update dwh_control.extract_runs set run_finished_at = run_finished_at - interval '7 hours'; \
            update dwh_control.extract_watermarks set last_loaded_at = last_loaded_at - interval '7 hours'",
    )
    .await;
    let report = pipeline(&text).gate(Gate::Steady, &[]).await.expect("tables");
    let fresh = told(&report, "table `trips`", "fresh");
    assert_eq!(fresh.severity, Severity::Failure);
    assert!(fresh.message.contains("fresh is less than 6 h 0 min"), "{fresh:?}");

    db.tgt("insert into dwh_control.extract_runs (table_name, status, mode, error_message, run_finished_at) values ('trips', 'failed', 'incremental', 'x', now())")
        .await;
    let report = pipeline(&text).gate(Gate::Steady, &[]).await.expect("tables");
    assert_eq!(told(&report, "table `trips`", "recent_failures").severity, Severity::Failure);
    assert_eq!(told(&report, "table `devices`", "recent_failures").severity, Severity::Ok);
}
