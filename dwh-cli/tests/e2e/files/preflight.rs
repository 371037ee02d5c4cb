//! What `check` says of files before a run meets it, and what a preview counts.

use super::{EVENT_SCHEMA, GRANTS_SCHEMA, Raw, TABLES, runs};
use crate::support::{Project, files, number};
use dwh_core::testing::TestBlobs;
use serde_json::Value;
use std::fs;

const GRANT: &str = r#"{"grant_id": "ID", "amount": 1, "date": "2024-03-15", "source": "Fund A"}"#;

fn grants(ids: &[&str]) -> String {
    format!("[{}]", ids.iter().map(|id| GRANT.replace("ID", id)).collect::<Vec<_>>().join(",\n"))
}

/// The same project with a change of its configuration.
fn changed(raw: &Raw, from: &str, to: &str) -> Project {
    let project = raw.project.config_with(from, to);
    fs::create_dir_all(project.folder().join("schemas")).expect("folder");
    for (name, text) in [("grants.json", GRANTS_SCHEMA), ("event.json", EVENT_SCHEMA)] {
        fs::write(project.folder().join("schemas").join(name), text).expect("schema");
    }
    project
}

/// What is told of a subject under a word: severity and message.
fn told(raw: &Raw, subject: &str, word: &str) -> Vec<(String, String)> {
    let report = raw.project.dwh(&["check", "--output", "json"]).json();
    let findings = report["findings"].as_array().expect("findings").iter();
    let text = |found: &Value, key: &str| found[key].as_str().expect("text").to_owned();
    findings
        .filter(|found| found["subject"] == subject && found["check"] == word)
        .map(|found| (text(found, "severity"), text(found, "message")))
        .collect()
}

fn one(found: &[(String, String)], severity: &str, words: &str) {
    assert!(found.iter().any(|(how, what)| how == severity && what.contains(words)), "`{words}` is not in {found:?}");
}

#[tokio::test]
async fn check_tells_what_a_run_of_files_would_meet() {
    let source = "validated = \"file://HOME/vali%64ated\"\nbackups = \"file://HOME/backups\"";
    let raw = Raw::with("files_check", TABLES, source).await;
    raw.write("a/dumps/1/data.json", grants(&["a"]));
    one(&told(&raw, "source raw", "files"), "ok", "1 file, the newest written ");
    one(&told(&raw, "source raw", "stray_files"), "ok", "every file belongs to a table");
    // How full it is, is this machine's matter.
    let space = told(&raw, "source raw", "space");
    assert!(space.iter().any(|(_, what)| what.contains("the disk of `validated`")), "{space:?}");
    one(&told(&raw, "table `grants`", "files"), "ok", "1 file to be read by the next run");
    one(&told(&raw, "table `grants`", "lease"), "ok", "no other run works on it");
    one(&told(&raw, "table `grants`", "json_schema"), "ok", "6 columns");

    // Files of nobody and of two, a file in another encoding, and one that is not valid.
    raw.write("notes.txt", "x");
    raw.write("a/dumps/2/data.json", grants(&["b"]));
    raw.write("a/dumps/3/data.json", b"[{\"grant_id\": \"caf\xE9\"}]");
    raw.write("a/dumps/4/data.json", grants(&["d"]).replace("Fund A", "hush-hush"));
    let more = changed(&raw, "files = \"events/*.json\"", "files = [\"events/*.json\", \"*/dumps/2/*\"]");
    let report = more.dwh(&["check", "--output", "json"]).stdout;
    assert!(report.contains("no table takes `notes.txt`"), "{report}");
    assert!(report.contains("two tables take `a/dumps/2/data.json` (grants, events)"), "{report}");
    one(&told(&raw, "table `grants`", "files"), "warning", "byte 19 is no UTF-8; it looks like Latin-1");
    one(&told(&raw, "table `grants`", "files"), "warning", "`/0/source` enum");
    one(&told(&raw, "table `grants`", "files"), "ok", "4 files to be read by the next run, 2 not valid");
    let all = raw.project.dwh(&["check"]).all();
    assert!(!all.contains("hush-hush"), "no value is told: {all}");

    // A process that holds the table, and one that left something behind.
    let holder = raw.db.another_target().await;
    let lock = "select pg_advisory_lock(hashtextextended('dwh dwh_control grants', 0))";
    holder.batch_execute(lock).await.expect("held");
    one(&told(&raw, "table `grants`", "lease"), "warning", "another run works on it: session ");
    drop(holder);

    // Where copies go there is a file.
    fs::write(raw.home().join("validated"), "in the way").expect("written");
    one(&told(&raw, "source raw", "write"), "failure", "the folder of `validated`, may not be written");

    // A schema that is none, and one that is not there.
    raw.schema("grants.json", r#"{"type": "objekt"}"#);
    one(&told(&raw, "table `grants`", "json_schema"), "failure", "schemas/grants.json");
    raw.schema("grants.json", r#"{"properties": {"id": {"$ref": "https://example.org/x.json"}}}"#);
    one(&told(&raw, "table `grants`", "json_schema"), "failure", "nothing but the file itself is read");
    fs::remove_file(raw.project.folder().join("schemas/grants.json")).expect("removed");
    one(&told(&raw, "table `grants`", "json_schema"), "failure", "schemas/grants.json");

    fs::remove_dir_all(&raw.folder).expect("removed");
    one(&told(&raw, "source raw", "files"), "failure", "does not exist");
}

#[tokio::test]
async fn a_preview_counts_what_the_run_then_counts() {
    let tables = TABLES.replace("[table.columns]", "on_invalid = \"reject_record\"\n[table.columns]");
    let raw = Raw::new("files_preview", &tables).await;
    let counts = |report: &Value| {
        let names =
            ["rows_extracted", "rows_inserted", "rows_updated", "rows_identical", "rows_removed", "rows_rejected"];
        names.map(|name| runs(report, "grants").iter().map(|run| run[name].as_u64().unwrap_or_default()).sum::<u64>())
    };
    let compared = async |expected: [u64; 6]| {
        let (before, log) =
            (files(raw.db.blobs()).len(), number(&raw.db, "select count(*) from dwh_control.extract_runs").await);
        let preview = raw.project.json(&["run", "--preview", "grants"]);
        assert_eq!(counts(&preview), expected, "{preview:#}");
        assert_eq!(files(raw.db.blobs()).len(), before, "no CSV is kept");
        assert_eq!(number(&raw.db, "select count(*) from dwh_control.extract_runs").await, log);
        let report = raw.project.json(&["run", "grants"]);
        assert_eq!(counts(&report), expected, "{report:#}");
    };
    let bad = GRANT.replace("Fund A", "sff");
    raw.write("a/dumps/1/data.json", grants(&["a", "b"]).replace(']', &format!(",{bad}]")));
    raw.write("a/dumps/2/data.json", grants(&["c"]));
    compared([3, 3, 0, 0, 0, 1]).await;
    raw.write("a/dumps/1/data.json", grants(&["a", "d"]).replacen("\"amount\": 1", "\"amount\": 2", 1));
    compared([2, 1, 1, 0, 1, 0]).await;
    compared([0; 6]).await;
    // A file that cannot be loaded stops no other, and is named.
    raw.write("a/dumps/3/data.json", "[{");
    raw.write("a/dumps/4/data.json", grants(&["e"]));
    let output = raw.project.fails(4, &["run", "--preview", "grants"]);
    assert!(
        output.all().contains("a/dumps/3/data.json") && output.all().contains("ends in the middle"),
        "{}",
        output.all()
    );
    assert_eq!(counts(&output.json())[1], 1, "{}", output.all());
}

#[tokio::test]
async fn a_member_that_no_column_takes_is_told_or_refused() {
    let raw = Raw::new("files_warning", TABLES).await;
    raw.write("a/dumps/1/data.json", grants(&["a"]).replace("\"amount\"", "\"colour\": \"secret\", \"amount\""));
    let strict = changed(&raw, "[table.columns]", "fail_on_warning = true\n[table.columns]");
    let output = strict.fails(4, &["run", "grants"]);
    let failure = output.failure("grants");
    assert!(failure.message.contains("`colour`") && failure.hint.contains("`fail_on_warning` is on"), "{failure:?}");
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants").await, 0);
    assert!(TestBlobs::local(&raw.db).list("test/").await.is_empty(), "nothing of it is kept");
    let output = raw.project.ok(&["run", "grants"]);
    assert!(output.stderr.contains("`colour`") && !output.all().contains("secret"), "{}", output.all());
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants").await, 1);
}

#[tokio::test]
async fn the_same_bytes_twice_are_two_files() {
    let tables = format!(
        "{TABLES}\n[[table]]\nname = \"each\"\nsource = \"raw\"\nfiles = \"*/dumps/*/data.json\"\nmode = \"files\"\n[table.columns]\ngrant_id = {{ type = \"text\" }}\n"
    );
    let raw = Raw::new("files_twice", &tables).await;
    raw.write("a/dumps/1/data.json", grants(&["a"]));
    fs::create_dir_all(raw.folder.join("a/dumps/2")).expect("folder");
    fs::copy(raw.folder.join("a/dumps/1/data.json"), raw.folder.join("a/dumps/2/data.json")).expect("copied");
    raw.project.ok(&["run", "grants", "each"]);
    let of = async |table: &str| {
        raw.rows(&format!("select concat_ws('|', grant_id, _file) from bronze.{table} order by 1")).await
    };
    assert_eq!(of("grants").await, ["a|a/dumps/2/data.json"], "with a key it is one row, of the file that came last");
    assert_eq!(
        of("each").await,
        ["a|a/dumps/1/data.json", "a|a/dumps/2/data.json"],
        "without one, each file has its rows"
    );
}
