//! A project of release 0.1.0 goes on: its warehouse is migrated, and its blobs rebuild.
//!
//! `tests/data/release-0.1.0` is what that release left of a small project: a dump of the target, the blobs, a dump of the
//! source, and the configuration. It ran twice, the second time compressed; then a snapshot failed on drift, a run found
//! nothing, a back-fill read everything again, and one CSV was extracted and not loaded.

use dwh_core::testing::{TestDb, assert_equal_tables};
use std::fs;
use std::path::{Path, PathBuf};
use tokio_postgres::Client;

use crate::support::{Project, files, number, total};

const TABLES: [&str; 4] = ["events", "trips", "devices", "drivers"];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/release-0.1.0")
}

fn text(name: &str) -> String {
    fs::read_to_string(data().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn load(client: Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// The project as release 0.1.0 left it, in databases and a folder of its own.
async fn released(test: &str) -> (TestDb, Project) {
    let db = TestDb::new(test).await;
    load(db.another_source().await, &text("source.sql")).await;
    db.src("grant usage on schema app to app_ro; grant select on all tables in schema app to app_ro").await;
    let dump = text("target.sql").replace("file:///var/lib/dwh", &db.blob_url());
    load(db.another_target().await, &dump).await;
    let blobs = data().join("blobs");
    for file in files(&blobs) {
        let to = db.blobs().join(file.strip_prefix(&blobs).expect("below the folder"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("folder");
        fs::copy(&file, to).expect("copied");
    }
    let environment = [
        ("DWH_SOURCE_URL", db.source_url_as("app_ro")),
        ("DWH_TARGET_URL", db.target_url_as("dwh_loader")),
        ("DWH_BLOB_URL", db.blob_url()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    (db, Project::written(text("dwh.toml"), environment))
}

async fn assert_all_equal(db: &TestDb) {
    for table in TABLES.iter().filter(|table| **table != "drivers") {
        assert_equal_tables(db, &format!("select * from app.{table}"), &format!("select * from bronze.{table}")).await;
    }
    let newest =
        "select id, name, born from bronze.drivers where _uploaded_at = (select max(_uploaded_at) from bronze.drivers)";
    assert_equal_tables(db, "select * from app.drivers", newest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_of_release_0_1_0_goes_on() {
    let (db, project) = released("upgrade_goes_on").await;
    let before = project.dwh(&["run"]);
    assert_eq!(before.code, 4, "{}", before.all());
    assert!(
        before.all().contains("is of an older version") && before.all().contains("dwh migrate"),
        "{}",
        before.all()
    );
    let report = project.json(&["migrate"]);
    assert_eq!(
        report["applied"],
        serde_json::json!([
            "261101_dwh_identity.sql",
            "261102_dwh_error_code.sql",
            "261201_dwh_repair.sql",
            "261301_dwh_routes.sql",
            "261302_dwh_files.sql",
            "261303_dwh_resync.sql",
            "261401_dwh_deletes.sql",
            "261501_dwh_discovered.sql",
            "261601_dwh_alerts.sql",
            "261701_dwh_models.sql",
            "261801_dwh_freshness.sql"
        ]),
        "{report:#}"
    );
    assert_eq!(report["tables_created"], serde_json::json!([]), "{report:#}");
    // What the old log counted as different and updated is told apart.
    let counts = "select count(*) from dwh_control.extract_runs where run_id = 7 and rows_extracted = 3 and rows_loaded = 3
        and rows_inserted = 1 and rows_updated = 2 and rows_identical = 0 and rows_different = 0 and rows_kept_newer = 0";
    assert_eq!(number(&db, counts).await, 1);
    let unbalanced =
        "select count(*) from dwh_control.extract_runs where status = 'loaded' and (rows_extracted is distinct
        from rows_inserted + rows_updated + rows_identical + rows_different + rows_kept_newer)";
    assert_eq!(number(&db, unbalanced).await, 0);
    let newest =
        "select count(*) from dwh_control.extract_watermarks where newest_run_id is not null and origin is null
        and bronze is null";
    assert_eq!(number(&db, newest).await, 4);
    let checked = project.dwh(&["check", "--output", "json"]);
    assert_eq!(checked.code, 0, "{}", checked.all());
    assert!(!checked.stdout.contains("\"fail\""), "{}", checked.all());
    let report = project.json(&["run"]);
    // The CSV that waited is loaded first.
    let trips = report["runs"].as_array().expect("runs").iter().find(|run| run["table"] == "trips").expect("trips");
    assert_eq!(
        (trips["run_id"].as_i64(), trips["rows_updated"].as_i64(), trips["rows_inserted"].as_i64()),
        (Some(13), Some(1), Some(1))
    );
    assert_all_equal(&db).await;
    assert_eq!(number(&db, "select count(*) from dwh_control.extract_watermarks where bronze is null").await, 0);
    project.ok(&["verify"]);
    db.src("insert into app.events (id, note) values (9, 'new'); update app.trips set state = 'lost', updated_at = now() where id = 3").await;
    let report = project.json(&["run"]);
    assert_eq!(
        (total(&report, "events", "rows_inserted"), total(&report, "trips", "rows_updated")),
        (1, 1),
        "{report:#}"
    );
    assert_all_equal(&db).await;
    project.ok(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blobs_of_release_0_1_0_rebuild() {
    let (db, project) = released("upgrade_rebuild").await;
    db.tgt("drop schema bronze, dwh_control cascade").await;
    let report = project.json(&["rebuild"]);
    let loaded: u64 = report["tables"]
        .as_array()
        .expect("tables")
        .iter()
        .map(|table| table["csvs_loaded"].as_u64().expect("csvs"))
        .sum();
    assert_eq!(loaded, 8, "{report:#}");
    let runs = "select count(*) from dwh_control.extract_runs where run_id = 13 and status = 'uploaded'";
    assert_eq!(number(&db, runs).await, 1);
    project.ok(&["run"]);
    assert_all_equal(&db).await;
    project.ok(&["verify"]);
    // Both copies of before, and the one of now.
    assert_eq!(number(&db, "select count(distinct _uploaded_at) from bronze.drivers").await, 3);
}
