//! The other verbs treat a table of files as any other.

use super::{GRANTS_SCHEMA, Raw, TABLES, runs};
use crate::support::{Project, age, files, number};
use dwh_core::testing::{TestBlobs, TestDb};
use serde_json::Value;
use std::fs;

fn grants(all: &[(&str, &str)]) -> String {
    let one = |(id, amount): &(&str, &str)| {
        format!(r#"{{"grant_id": "{id}", "amount": {amount}, "date": "2024-03-15", "source": "Fund A"}}"#)
    };
    format!("[{}]", all.iter().map(one).collect::<Vec<_>>().join(",\n"))
}

const ROWS: &str = "select concat_ws('|', grant_id, amount, _file, _record) from bronze.grants order by 1";

fn verified(report: &Value) -> [u64; 4] {
    let table = &report["tables"][0];
    assert_eq!(table["compared"], true, "{report:#}");
    ["rows_bronze", "missing", "extra", "different"].map(|name| table[name].as_u64().expect("count"))
}

#[tokio::test]
async fn verify_replay_rebuild_recover_and_prune_know_files() {
    let keep = "[retention]\nprocessed = \"1h\"\nruns = \"1h\"";
    let raw = Raw::with("files_verbs", TABLES, keep).await;
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("b", "1"), ("c", "1")]));
    raw.write("a/dumps/2/data.json", grants(&[("c", "2"), ("d", "2")]));
    raw.project.ok(&["run"]);
    raw.write("a/dumps/1/data.json", grants(&[("a", "10"), ("b", "1")]));
    raw.project.ok(&["run"]);
    let rows = raw.rows(ROWS).await;
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert_eq!(verified(&raw.project.json(&["verify", "grants"])), [4, 0, 0, 0]);

    // A row that is lost is missed, and comes back out of the archive; a row of nobody is found.
    raw.db.tgt("delete from bronze.grants where grant_id = 'b'").await;
    let report = raw.project.fails(4, &["verify", "grants"]).json();
    assert_eq!(verified(&report), [3, 1, 0, 0]);
    assert_eq!(report["tables"][0]["remedy"], "dwh files reprocess '**' --table grants");
    raw.project.ok(&["replay", "grants"]);
    assert_eq!(raw.rows(ROWS).await, rows);
    raw.db.tgt("insert into bronze.grants values ('z', 1, null, null, 'x', '/0')").await;
    assert_eq!(verified(&raw.project.fails(4, &["verify", "grants"]).json()), [5, 0, 1, 0]);

    // Made anew out of the archive, older versions and all.
    raw.project.ok(&["rebuild", "grants", "--reset"]);
    assert_eq!(raw.rows(ROWS).await, rows);
    let again = raw.project.json(&["run", "grants"]);
    assert!(runs(&again, "grants")[0]["file"].is_null(), "{again:#}");
    assert_eq!(raw.project.json(&["recover", "--dry-run"])["found"], Value::Array(Vec::new()));
    raw.project.ok(&["status", "--check"]);

    // Retention leaves the newest run of each file, and its CSV.
    age(&raw.db, &TestBlobs::local(&raw.db), "true", "2 days").await;
    raw.project.ok(&["prune"]);
    let done = "select count(distinct file->>'path') from dwh_control.extract_runs where file is not null and status = 'loaded'";
    assert_eq!(number(&raw.db, done).await, 2);
    let again = raw.project.json(&["run", "grants"]);
    assert!(runs(&again, "grants")[0]["file"].is_null(), "{again:#}");
    assert_eq!(verified(&raw.project.json(&["verify", "grants"])), [4, 0, 0, 0]);
}

#[tokio::test]
async fn a_key_of_several_files_that_bronze_lacks_is_one_missing_row() {
    let raw = Raw::new("files_lost_key", TABLES).await;
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("c", "1")]));
    raw.write("a/dumps/2/data.json", grants(&[("c", "2"), ("d", "2")]));
    raw.write("a/dumps/3/data.json", grants(&[("c", "3"), ("e", "3")]));
    raw.project.ok(&["run", "grants"]);
    raw.db.tgt("delete from bronze.grants where grant_id in ('c', 'd')").await;
    let report = raw.project.fails(4, &["verify", "grants"]).json();
    assert_eq!(verified(&report), [2, 2, 0, 0], "`c` and `d`: {report:#}");
    assert_eq!(report["tables"][0]["rows_source"], 4, "{report:#}");
    raw.project.ok(&["files", "reprocess", "a/**"]);
    assert_eq!(verified(&raw.project.json(&["verify", "grants"])), [4, 0, 0, 0]);
}

#[tokio::test]
async fn of_a_file_that_was_replaced_only_the_newest_version_is_missed() {
    let raw = Raw::with("files_missed", TABLES, "[retention]\nprocessed = \"1h\"").await;
    let csvs = || -> Vec<std::path::PathBuf> {
        let mut all = files(&raw.db.blobs().join("test/processed/grants"));
        all.retain(|path| path.extension().is_some_and(|end| end == "csv"));
        all.sort();
        all
    };
    raw.write("a/dumps/1/data.json", grants(&[("a", "1")]));
    raw.project.ok(&["run", "grants"]);
    raw.write("a/dumps/2/data.json", grants(&[("b", "1"), ("c", "1")]));
    raw.project.ok(&["run", "grants"]);
    raw.write("a/dumps/2/data.json", grants(&[("b", "20")]));
    raw.project.ok(&["run", "grants"]);
    let rows = raw.rows(ROWS).await;
    age(&raw.db, &TestBlobs::local(&raw.db), "true", "2 days").await;
    raw.project.ok(&["prune"]);
    assert_eq!(csvs().len(), 2, "the version that was replaced went: {:?}", csvs());
    assert_eq!(raw.project.json(&["recover", "--dry-run"])["found"], Value::Array(Vec::new()));
    raw.project.ok(&["verify", "grants", "--blobs"]);
    raw.project.ok(&["replay", "grants"]);
    raw.project.ok(&["rebuild", "grants", "--reset"]);
    assert_eq!(raw.rows(ROWS).await, rows);
    // The newest version of a file is missed, though all other CSV files are newer.
    fs::remove_file(&csvs()[0]).expect("removed");
    let told = raw.project.fails(4, &["verify", "grants", "--blobs"]).json();
    assert!(told["causes"].to_string().contains("the CSV of run 1, which loaded `a/dumps/1/data.json`"), "{told:#}");
    let found = raw.project.dwh(&["recover", "--dry-run", "--output", "json"]).json();
    assert_eq!(found["found"][0]["state"], "csv_missing", "{found:#}");
    let refused = raw.project.fails(4, &["rebuild", "grants", "--reset"]);
    assert!(refused.all().contains("the CSV of run 1, is not in `processed/`"), "{}", refused.all());
}

#[tokio::test]
async fn a_process_that_dies_leaves_nothing_half_loaded() {
    let raw = Raw::new("files_killed", TABLES).await;
    let many: Vec<String> = (0..40_000).map(|n| format!("g{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|id| (id.as_str(), "1")).collect();
    raw.write("a/dumps/1/data.json", grants(&many));
    let begun = "select count(*) from dwh_control.extract_runs where table_name = 'grants'";
    let mut child = raw.project.spawn(&["run", "grants"]);
    crate::support::killed_at(&raw.db, &mut child, begun, 1).await;
    raw.project.ok(&["run", "grants"]);
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants").await, 40_000);
    assert_eq!(raw.project.json(&["recover", "--dry-run"])["found"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn copies_are_made_good_backed_up_and_put_back() {
    let source = "validated = \"file://HOME/validated\"\nbackups = \"file://HOME/backups\"";
    let raw = Raw::with("files_copies", TABLES, source).await;
    let (path, copy) = ("a/dumps/1/data.json", raw.home().join("validated/a/dumps/1/data.json"));
    let (one, two) = (grants(&[("a", "1"), ("b", "1")]), grants(&[("a", "2")]));
    raw.write(path, &one);
    raw.project.ok(&["run", "grants"]);
    assert_eq!(fs::read_to_string(&copy).expect("copy"), one);
    fs::remove_file(&copy).expect("removed");
    raw.project.ok(&["run", "grants"]);
    assert_eq!(fs::read_to_string(&copy).expect("made again"), one);
    raw.write(path, &two);
    let report = raw.project.json(&["run", "grants"]);
    let run = runs(&report, "grants")[0]["run_id"].as_i64().expect("a number").to_string();
    assert_eq!(fs::read_to_string(&copy).expect("copy"), two);
    let backup = raw.home().join(format!("backups/run-{run}/{path}"));
    assert_eq!(fs::read_to_string(backup).expect("backup"), one);
    let report = raw.project.json(&["files", "restore", "--run", &run]);
    assert_eq!((&report["copy_restored"], &report["run"]["rows_inserted"]), (&true.into(), &1.into()), "{report:#}");
    assert_eq!(fs::read_to_string(&copy).expect("copy"), one);
    assert_eq!(raw.rows("select concat(grant_id, amount) from bronze.grants order by 1").await, ["a1", "b1"]);
    let failure = raw.project.fails(4, &["files", "restore", "--run", &run]);
    assert!(failure.all().contains(&format!("run {run} is undone: run")), "{}", failure.all());
    assert!(failure.all().contains("loaded the version of run 1 again"), "{}", failure.all());
    // What bronze holds now is what the archive says.
    raw.project.ok(&["rebuild", "grants", "--reset"]);
    assert_eq!(raw.rows("select concat(grant_id, amount) from bronze.grants order by 1").await, ["a1", "b1"]);
    // The first version has none before it.
    let output = raw.project.dwh(&["files", "restore", "--run", "1"]);
    assert_eq!(output.code, 4, "{}", output.all());
}

/// Once it cannot write the copy, once it is killed before its load: the same call goes on with it each time.
#[tokio::test]
async fn a_restore_that_dies_is_gone_on_with() {
    let source = "validated = \"file://HOME/validated\"\nbackups = \"file://HOME/backups\"";
    let raw = Raw::with("files_restore_dies", TABLES, source).await;
    let (path, copy) = ("a/dumps/1/data.json", raw.home().join("validated/a/dumps/1/data.json"));
    let (one, two) = (grants(&[("a", "1"), ("b", "1")]), grants(&[("a", "2")]));
    for text in [&one, &two] {
        raw.write(path, text);
        raw.project.ok(&["run", "grants"]);
    }
    // Nothing reads it again.
    fs::remove_file(raw.folder.join(path)).expect("removed");
    let (version, loading) = (
        || fs::read_to_string(&copy).expect("copy"),
        "select count(*) from dwh_control.extract_runs where status = 'loading'",
    );
    let die = async || {
        raw.db.tgt("begin; lock table bronze.grants in exclusive mode").await;
        let mut child = raw.project.spawn(&["files", "restore", "--run", "2"]);
        crate::support::killed_at(&raw.db, &mut child, loading, 1).await;
        raw.db.tgt("rollback").await;
    };
    let amounts = "select concat(grant_id, amount) from bronze.grants order by 1";
    let folders = ["validated/a", "away"].map(|name| raw.home().join(name));
    fs::rename(&folders[0], &folders[1]).expect("moved");
    fs::write(&folders[0], "").expect("in the way");
    raw.project.fails(1, &["files", "restore", "--run", "2"]);
    fs::remove_file(&folders[0]).expect("removed");
    fs::rename(&folders[1], &folders[0]).expect("moved back");
    die().await;
    assert_eq!(raw.rows(amounts).await, ["a2"]);
    let report = raw.project.json(&["files", "restore", "--run", "2"]);
    assert_eq!((&report["copy_restored"], &report["run"]["rows_inserted"]), (&true.into(), &1.into()), "{report:#}");
    assert_eq!((raw.rows(amounts).await, version()), (vec!["a1".to_owned(), "b1".to_owned()], one.clone()));
    assert_eq!(raw.project.json(&["recover", "--dry-run"])["found"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_copy_of_the_version_before_is_made_good_though_it_has_the_same_size() {
    let raw = Raw::with("files_same_size", TABLES, "validated = \"file://HOME/validated\"").await;
    let (path, copy) = ("a/dumps/1/data.json", raw.home().join("validated/a/dumps/1/data.json"));
    raw.write(path, grants(&[("a", "1")]));
    raw.project.ok(&["run", "grants"]);
    // As a process leaves it that dies between load and copy. The files have times from before the copies.
    for (amount, next, code) in [("2", "run", 0), ("3", "extract", 4)] {
        let now = grants(&[("a", amount)]);
        raw.write(path, &now);
        let file = fs::File::options().write(true).open(raw.folder.join(path)).expect("file");
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + 60 * number_of(amount));
        file.set_modified(at).expect("a time");
        let params = raw.project.json(&["extract", "grants"]);
        raw.project.ok(&["load", "--params", &params.to_string()]);
        assert_ne!(fs::read_to_string(&copy).expect("copy"), now);
        let output = raw.project.dwh(&[next, "grants"]);
        assert_eq!(output.code, code, "{}", output.all());
        assert_eq!(fs::read_to_string(&copy).expect("copy"), now, "{}", output.all());
        assert_eq!(copy.metadata().and_then(|meta| meta.modified()).expect("a time"), at);
    }
}

fn number_of(text: &str) -> u64 {
    text.parse().expect("a number")
}

#[tokio::test]
async fn files_are_listed_validated_reprocessed_and_archived() {
    let raw = Raw::new("files_list", TABLES).await;
    raw.write("a/dumps/2023-05-01/data.json", grants(&[("a", "1")]));
    raw.write("b/dumps/2025-05-01/data.json", grants(&[("b", "1")]));
    raw.project.ok(&["run", "grants"]);
    raw.write("b/dumps/2025-05-01/data.json", grants(&[("b", "22")]));
    raw.write("c/dumps/2023-05-01/data.json", "[]");
    raw.write("notes.txt", "x");
    let states = |report: &Value| -> Vec<String> {
        let files = report["files"].as_array().expect("files").iter();
        files
            .map(|file| format!("{} {}", file["path"].as_str().expect("path"), file["state"].as_str().expect("state")))
            .collect()
    };
    let listed = raw.project.json(&["files", "list"]);
    assert_eq!(
        states(&listed),
        [
            "a/dumps/2023-05-01/data.json loaded",
            "b/dumps/2025-05-01/data.json changed",
            "c/dumps/2023-05-01/data.json new"
        ]
    );
    assert_eq!(listed["unmatched"], serde_json::json!(["raw: notes.txt"]));
    let told = raw.project.fails(4, &["files", "validate", "{b,c}/**"]).json();
    assert_eq!(states(&told), ["b/dumps/2025-05-01/data.json valid", "c/dumps/2023-05-01/data.json failed"]);
    let report = raw.project.dwh(&["files", "reprocess", "a/**", "--output", "json"]).json();
    let read: Vec<&str> = runs(&report, "grants").iter().filter_map(|run| run["file"].as_str()).collect();
    assert_eq!(read, ["a/dumps/2023-05-01/data.json", "b/dumps/2025-05-01/data.json", "c/dumps/2023-05-01/data.json"]);
    let planned = raw.project.fails(4, &["files", "archive", "--before", "2024-01-01", "--dry-run"]).json();
    let place = "_archive/2023/a/dumps/2023-05-01/data.json";
    assert_eq!(planned["files"][0]["moved_to"], place, "{planned:#}");
    assert!(planned["files"][1]["moved_to"].is_null(), "{planned:#}");
    let archived = raw.project.fails(4, &["files", "archive", "--before", "2024-01-01"]).json();
    assert_eq!(states(&archived), ["a/dumps/2023-05-01/data.json archived", "c/dumps/2023-05-01/data.json failed"]);
    assert!(raw.folder.join("_archive/2023/a/dumps/2023-05-01/data.json").is_file());
    let log = fs::read_to_string(raw.folder.join("_archive/ARCHIVE_LOG.txt")).expect("log");
    assert!(log.contains("a/dumps/2023-05-01/data.json -> _archive/2023/a/dumps/2023-05-01/data.json"), "{log}");
    let listed = raw.project.json(&["files", "list", "a/**"]);
    assert_eq!(states(&listed), ["a/dumps/2023-05-01/data.json archived"]);
    assert_eq!(
        (&listed["files"][0]["moved_to"], &listed["files"][0]["rows"]),
        (&place.into(), &1.into()),
        "{listed:#}"
    );
    raw.project.ok(&["files", "archive", "--before", "2024-01-01", "a/**"]);
    fs::remove_file(raw.folder.join(place)).expect("removed");
    assert_eq!(states(&raw.project.json(&["files", "list", "a/**"])), ["a/dumps/2023-05-01/data.json gone"]);
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants where grant_id = 'a'").await, 1);
    let output = raw.project.dwh(&["files", "reprocess", "nothing/**"]);
    assert_eq!(output.code, 4, "{}", output.all());
}

#[tokio::test]
async fn a_file_of_two_tables_is_archived_once_both_have_it() {
    let tables = format!(
        "{TABLES}{}",
        TABLES[..TABLES.find("[[table]]\nname = \"events\"").expect("the next")].replace("\"grants\"", "\"again\"")
    );
    let raw = Raw::new("files_shared", &tables).await;
    let path = "a/dumps/2023-05-01/data.json";
    raw.write(path, grants(&[("a", "1")]));
    raw.project.ok(&["run", "grants"]);
    let archive = ["files", "archive", "--before", "2024-01-01"];
    let narrow = [&archive[..], &["--table", "grants"]].concat();
    let told = raw.project.fails(4, &narrow).json();
    let message = told["files"][0]["error"]["message"].as_str().expect("a message");
    assert_eq!(message, format!("file `{path}` is new for table `again`, so it stays"), "{told:#}");
    assert!(raw.folder.join(path).exists());
    raw.project.ok(&["run"]);
    let told = raw.project.json(&archive);
    let moved: Vec<&Value> = told["files"].as_array().expect("files").iter().map(|file| &file["moved_to"]).collect();
    assert_eq!(moved, [&Value::from(format!("_archive/2023/{path}")); 2], "{told:#}");
    let log = fs::read_to_string(raw.folder.join("_archive/ARCHIVE_LOG.txt")).expect("log");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[tokio::test]
async fn a_file_that_was_read_again_in_vain_stays_as_it_was_loaded() {
    let raw = Raw::new("files_in_vain", TABLES).await;
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("b", "1")]));
    raw.project.ok(&["run", "grants"]);
    raw.schema("grants.json", &GRANTS_SCHEMA.replace("\"required\": [", "\"required\": [\"url\", "));
    raw.project.fails(4, &["files", "reprocess", "a/**"]);
    let listed = raw.project.dwh(&["files", "list", "--output", "json"]).json();
    let file = &listed["files"][0];
    assert_eq!(
        (&file["state"], &file["run_id"], &file["rows"]),
        (&"loaded".into(), &1.into(), &2.into()),
        "{listed:#}"
    );
}

#[tokio::test]
async fn a_bucket_holds_files_as_a_folder_does() {
    let db = TestDb::new("files_bucket").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    let address = blobs.toml().split('"').nth(1).expect("an address").to_owned();
    let toml = format!("[source.raw]\nfiles = \"{address}/raw\"\nvalidated = \"{address}/validated\"\n{TABLES}");
    let project = Project::over(&db, &toml, &blobs);
    fs::create_dir_all(project.folder().join("schemas")).expect("folder");
    fs::write(project.folder().join("schemas/grants.json"), GRANTS_SCHEMA).expect("schema");
    project.ok(&["migrate", "grants"]);
    blobs.write("raw/a/dumps/1/data.json", grants(&[("a", "1"), ("b", "1")]).into_bytes()).await;
    blobs.write("raw/a/dumps/1/_metadata.json", b"{}".to_vec()).await;
    let report = project.json(&["run", "grants"]);
    assert_eq!(runs(&report, "grants")[0]["rows_inserted"], 2, "{report:#}");
    let again = project.json(&["run", "grants"]);
    assert!(runs(&again, "grants")[0]["file"].is_null(), "{again:#}");
    blobs.write("raw/a/dumps/1/data.json", grants(&[("a", "2")]).into_bytes()).await;
    let report = project.json(&["run", "grants"]);
    let run = runs(&report, "grants")[0];
    assert_eq!((&run["rows_updated"], &run["rows_removed"]), (&1.into(), &1.into()), "{report:#}");
    assert_eq!(blobs.read("validated/a/dumps/1/data.json").await, grants(&[("a", "2")]).into_bytes());
    project.ok(&["files", "archive", "--before", "2999-01-01"]);
    let names = blobs.list("raw/").await;
    assert!(
        names.iter().any(|name| name.ends_with("/a/dumps/1/data.json") && name.starts_with("raw/_archive/")),
        "{names:?}"
    );
}
