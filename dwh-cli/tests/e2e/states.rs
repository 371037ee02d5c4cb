//! Every state that a crash can leave, each in a table of its own, in a folder and in a bucket: `recover --dry-run` finds
//! it by its name and changes nothing, `recover` mends it, and one run later source and bronze are equal.

use serde_json::Value;

use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const EXTRACTING: &str = "status = 'extracting', csv_path = null, sha256 = null, rows_extracted = null, bytes = null";

/// A table in a state of its own.
struct State {
    name: &'static str,
    found: &'static [&'static str],
}

const STATES: [State; 14] = [
    State { name: "died_extracting", found: &["dead_run"] },
    State { name: "died_uploading", found: &["dead_run", "csv_without_manifest"] },
    State { name: "died_before_the_log_knew", found: &["uploaded_not_loaded"] },
    State { name: "uploaded", found: &["uploaded_not_loaded"] },
    State { name: "died_loading", found: &["uploaded_not_loaded"] },
    State { name: "failed", found: &["failed_with_csv"] },
    State { name: "committed", found: &["loaded_not_moved"] },
    State { name: "csv_copied", found: &["in_both_places"] },
    State { name: "both_copied", found: &["in_both_places"] },
    State { name: "csv_deleted", found: &["manifest_left_behind"] },
    State { name: "csv_lost", found: &["csv_missing"] },
    State { name: "only_manifest_left", found: &["csv_missing"] },
    State { name: "aside_copied", found: &["set_aside_halfway"] },
    State { name: "aside_csv_deleted", found: &["set_aside_halfway"] },
];

struct Scene {
    db: TestDb,
    project: Project,
    blobs: TestBlobs,
}

impl Scene {
    async fn new(db: TestDb, blobs: TestBlobs) -> Self {
        db.src("create schema app;").await;
        db.src(READABLE).await;
        let mut config = String::new();
        for State { name, .. } in &STATES {
            db.src(&format!(
                "create table app.{name} (id int primary key, at timestamptz not null default now());
                 create index on app.{name} (at); insert into app.{name} select generate_series(1, 20);"
            ))
            .await;
            config += &table(name, &format!("app.{name}"), "incremental", "watermark = \"at\"\nkey = [\"id\"]");
        }
        let project = Project::over(&db, &config, &blobs);
        project.ok(&["migrate"]);
        Self { db, project, blobs }
    }

    /// The CSV of a table in a folder, and its manifest.
    async fn files(&self, folder: &str, name: &str) -> [String; 2] {
        let listed = self.blobs.list(&format!("test/{folder}/{name}/")).await;
        listed.try_into().unwrap_or_else(|listed| panic!("{name}: not a CSV and its manifest: {listed:?}"))
    }

    async fn back(&self, file: &str) {
        let to = file.replace("/processed/", "/exports/").replace("/set_aside/", "/exports/");
        self.blobs.copy(file, &to).await;
    }

    async fn log(&self, name: &str, set: &str) {
        self.db.tgt(&format!("update dwh_control.extract_runs set {set} where table_name = '{name}'")).await;
    }

    async fn make(&self, name: &str) {
        match name {
            "died_extracting" => {
                let sql = format!(
                    "insert into dwh_control.extract_runs (table_name, status) values ('{name}', 'extracting')"
                );
                return self.db.tgt(&sql).await;
            }
            "committed" | "csv_copied" | "both_copied" | "csv_deleted" => {
                self.project.ok(&["run", name]);
                let [csv, manifest] = self.files("processed", name).await;
                self.back(&manifest).await;
                if name != "csv_deleted" {
                    self.back(&csv).await;
                }
                if matches!(name, "committed" | "csv_copied") {
                    self.blobs.delete(&manifest).await;
                }
                if name == "committed" {
                    self.blobs.delete(&csv).await;
                }
                return;
            }
            _ => {}
        }
        let run_id = self.project.json(&["extract", name])["run_id"].as_i64().expect("run_id").to_string();
        let [csv, manifest] = self.files("exports", name).await;
        match name {
            "died_uploading" => {
                self.blobs.delete(&manifest).await;
                self.log(name, EXTRACTING).await;
            }
            "died_before_the_log_knew" => self.log(name, EXTRACTING).await,
            "uploaded" => {}
            "died_loading" => self.log(name, "status = 'loading'").await,
            "failed" => self.log(name, "status = 'failed', error_message = 'x', run_finished_at = now()").await,
            "csv_lost" => {
                self.blobs.delete(&csv).await;
                self.blobs.delete(&manifest).await;
            }
            "only_manifest_left" => self.blobs.delete(&csv).await,
            "aside_copied" | "aside_csv_deleted" => {
                self.project.ok(&["recover", "--set-aside", &run_id]);
                let [csv, manifest] = self.files("set_aside", name).await;
                self.back(&manifest).await;
                if name == "aside_copied" {
                    self.back(&csv).await;
                }
            }
            other => panic!("nobody makes {other}"),
        }
    }

    /// All that there is: names of files, and the run log as a number.
    async fn all(&self) -> (Vec<String>, i64) {
        let log = "select coalesce(sum(hashtext(r::text)::bigint), 0)::bigint from dwh_control.extract_runs r";
        (self.blobs.list("").await, number(&self.db, log).await)
    }
}

fn words(report: &Value, outcome: &str) -> Vec<(String, String)> {
    let found = report["found"].as_array().expect("found").iter();
    found
        .map(|found| {
            assert_eq!(found["outcome"], outcome, "{found:#}");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&found["table"]), text(&found["state"]))
        })
        .collect()
}

async fn every_state_is_named_and_mended(db: TestDb, blobs: TestBlobs) {
    let scene = Scene::new(db, blobs).await;
    for state in &STATES {
        scene.make(state.name).await;
    }
    scene.blobs.leave_upload("test/exports/uploaded/20261001_0000_EAT_999.csv").await;
    let of =
        |state: &State| state.found.iter().map(|word| (state.name.to_owned(), (*word).to_owned())).collect::<Vec<_>>();
    let mut expected: Vec<(String, String)> = STATES.iter().flat_map(of).collect();
    // A young one may be under way.
    assert_eq!(words(&scene.project.json(&["recover", "--dry-run"]), "planned"), expected);
    expected.push((String::new(), "orphan_upload".to_owned()));
    let before = scene.all().await;
    let planned = scene.project.json(&["recover", "--dry-run", "--uploads-older-than", "0"]);
    assert_eq!(words(&planned, "planned"), expected);
    assert_eq!(scene.all().await, before, "a dry run changed something");

    let report = scene.project.json(&["recover", "--uploads-older-than", "0"]);
    assert_eq!(words(&report, "mended"), expected);
    assert_eq!(words(&scene.project.json(&["recover", "--uploads-older-than", "0"]), ""), [], "nothing is left");
    assert_eq!(scene.blobs.list("test/exports/").await, [""; 0]);
    scene.project.ok(&["run"]);
    for State { name, .. } in &STATES {
        assert_equal_tables(&scene.db, &format!("select * from app.{name}"), &format!("select * from bronze.{name}"))
            .await;
    }
    let open = "select count(*) from dwh_control.extract_runs where status not in ('loaded', 'failed')";
    assert_eq!(number(&scene.db, open).await, 0, "every run is final");
    assert_eq!(words(&scene.project.json(&["recover"]), ""), []);
    scene.project.ok(&["verify", "--blobs"]);
}

#[tokio::test]
async fn in_a_folder() {
    let db = TestDb::new("states_local").await;
    let blobs = TestBlobs::local(&db);
    every_state_is_named_and_mended(db, blobs).await;
}

#[tokio::test]
async fn in_a_bucket() {
    let db = TestDb::new("states_s3").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    every_state_is_named_and_mended(db, blobs).await;
}

#[tokio::test]
async fn all_verbs_at_once_harm_nobody() {
    let db = TestDb::new("at_once").await;
    db.src("create schema app;").await;
    db.src(READABLE).await;
    db.src(
        "create table app.trips (id int primary key, at timestamptz not null default now());
         create index on app.trips (at);
         insert into app.trips select i, now() - interval '3 days' + i * interval '1 minute' from generate_series(1, 4000) i",
    )
    .await;
    let config = table("trips", "app.trips", "incremental", "watermark = \"at\"\nkey = [\"id\"]\nwindow = \"6h\"")
        + "[retention]\nprocessed = \"1s\"\nexports = \"1s\"\nruns = \"1s\"\n";
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let since = ["backfill", "trips", "--from", "2020-01-01T00:00:00Z", "--wait", "--restart"];
    let verbs: [&[&str]; 8] = [
        &["run"],
        &["run", "--wait"],
        &["recover"],
        &since,
        &["prune"],
        &["replay", "trips", "--wait"],
        &["recover", "--dry-run"],
        &["run"],
    ];
    for round in 0..4 {
        db.src(&format!("insert into app.trips values ({})", 10_000 + round)).await;
        let mut children: Vec<_> = verbs.iter().map(|args| (args, project.spawn(args))).collect();
        for (args, child) in &mut children {
            let code = child.wait().expect("ended").code();
            // 5: another one holds the table.
            assert!(matches!(code, Some(0 | 5)), "{args:?} ended with {code:?}");
        }
    }
    project.ok(&["run"]);
    assert_equal_tables(&db, "select * from app.trips", "select * from bronze.trips").await;
    assert_eq!(words(&project.json(&["recover"]), ""), []);
    project.ok(&["verify", "--blobs"]);
    let moved = "select count(*) from (select watermark, lag(watermark) over (order by run_id) before
        from dwh_control.extract_runs where kind = 'run' and status = 'loaded') w where watermark < before";
    assert_eq!(number(&db, moved).await, 0, "the watermark never goes back");
}
