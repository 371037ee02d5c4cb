//! Files that are not as they should be: each is named, none of it is loaded, and the others go on.

use super::{Raw, TABLES, runs};
use crate::support::{files, number};
use dwh_core::testing::TestBlobs;
use serde_json::Value;

const GOOD: &str = r#"[{"grant_id": "good", "amount": 1, "date": "2024-03-15", "source": "Fund A"}]"#;

/// What is told of a file after one run beside a good one.
async fn told(raw: &Raw, bytes: &[u8]) -> (String, String) {
    raw.write("a/dumps/bad/data.json", bytes);
    let output = raw.project.fails(4, &["run", "grants"]);
    let failure = output.failure("grants");
    assert_eq!(failure.code, "data", "{failure:?}");
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants where grant_id <> 'good'").await, 0);
    (failure.message, failure.hint)
}

#[tokio::test]
async fn a_file_that_is_broken_is_named_and_the_others_go_on() {
    let raw = Raw::new("files_broken", TABLES).await;
    raw.write("b/dumps/good/data.json", GOOD);
    let cases: [(&[u8], &str); 10] = [
        (b"", "`a/dumps/bad/data.json` is empty"),
        (b"[{\"grant_id\": \"x\", \"am", "ends in the middle, in line 1"),
        (b"[\n{\"grant_id\": \"x\",, }]", "broken in line 2"),
        (b"\"text\"", "holds no array or object"),
        (b"[]", "holds no record"),
        (br#"[{"grant_id": "caf\u00e9"}]"#, "required `amount`"),
        (b"[{\"grant_id\": \"caf\xE9\"}]", "byte 19 is no UTF-8; it looks like Latin-1"),
        (
            br#"[{"grant_id": "x", "amount": 1, "date": "2024-03-15", "source": "Fund A"},
                 {"grant_id": "x", "amount": 2, "date": "2024-03-15", "source": "Fund A"}]"#,
            "records share a key (grant_id): `/0` and `/1`",
        ),
        (
            br#"[{"grant_id": "x", "amount": 1, "amount": 2, "date": "2024-03-15", "source": "Fund A"}]"#,
            "`/0/amount` a member only once",
        ),
        (br#"[{"grant_id": "x", "amount": 1, "grant_date": "2024-03-15", "source": "sff"}]"#, "`/0` required `date`"),
    ];
    for (bytes, word) in cases {
        let (message, hint) = told(&raw, bytes).await;
        assert!(message.contains(word), "`{word}` is not in {message}");
        assert!(!hint.is_empty());
    }
    // The good one was loaded in the first call, and no CSV of a bad one was kept.
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants").await, 1);
    let blobs = files(raw.db.blobs());
    assert_eq!(blobs.iter().filter(|path| path.extension().is_some_and(|end| end == "csv")).count(), 1, "{blobs:?}");
    // Its failure stands in the log with its path; once it is mended it is loaded.
    let failed = "select count(*) from dwh_control.extract_runs where status = 'failed' and file->>'path' = 'a/dumps/bad/data.json'";
    assert_eq!(number(&raw.db, failed).await, 10);
    raw.write("a/dumps/bad/data.json", GOOD.replace("good", "mended"));
    raw.project.ok(&["run", "grants"]);
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants").await, 2);
}

#[tokio::test]
async fn the_first_ten_problems_are_told_by_pointer_and_rule_and_never_by_value() {
    let raw = Raw::new("files_ten", TABLES).await;
    let bad: Vec<String> = (0..12)
        .map(|n| format!(r#"{{"grant_id": "g{n}", "amount": -{n}.5, "date": "secret-{n}", "source": "Fund A"}}"#))
        .collect();
    let (message, _) = told(&raw, format!("[{}]", bad.join(",")).as_bytes()).await;
    assert!(message.contains("12 of 12 records are not valid"), "{message}");
    assert!(message.contains("`/0/amount` minimum 0"), "{message}");
    assert!(message.contains(r"`/0/date` pattern `^\d{4}-\d{2}-\d{2}$`"), "{message}");
    assert!(message.contains("and 14 more") && !message.contains("secret"), "{message}");
}

#[tokio::test]
async fn rejected_records_are_counted_and_kept_beside_the_csv() {
    let tables = TABLES.replace("[table.columns]", "on_invalid = \"reject_record\"\n[table.columns]");
    let raw = Raw::new("files_rejected", &tables).await;
    raw.write(
        "a/dumps/1/data.json",
        r#"[{"grant_id": "a", "amount": 1, "date": "2024-03-15", "source": "Fund A"},
            {"grant_id": "b",
             "amount": 2.50, "date": "2024-03-15", "source": "sff"}]"#,
    );
    let report = raw.project.json(&["run", "grants"]);
    let run = runs(&report, "grants")[0];
    assert_eq!((&run["rows_inserted"], &run["rows_rejected"]), (&1.into(), &1.into()), "{report:#}");
    let blobs = TestBlobs::local(&raw.db);
    let names = blobs.list("test/").await;
    let kept: Vec<&String> = names.iter().filter(|name| name.ends_with(".rejected.jsonl")).collect();
    assert_eq!(kept.len(), 1, "{names:?}");
    assert!(kept[0].starts_with("test/processed/grants/"), "{kept:?}");
    let line = String::from_utf8(blobs.read(kept[0]).await).expect("text");
    let record: Value = serde_json::from_str(&line).expect("one document");
    assert_eq!((&record["_record"], &record["problems"][0]["rule"]), (&"/1".into(), &"enum".into()), "{line}");
    assert!(line.contains("2.50"), "{line}");
    // So the screen says, of the run and in the log; and a look at the run names no table and no server.
    let log = raw.project.json(&["runs", "--table", "grants", "--limit", "1"]);
    assert_eq!(log["runs"][0]["file"]["rejected"], 1, "{log:#}");
    assert!(raw.project.ok(&["runs"]).all().contains("rejected"));
    let shown = raw.project.ok(&["runs", "show", &run["run_id"].to_string()]).all();
    for word in ["1 of the file rejected", ".rejected.jsonl", "the whole file", "out of source `raw`, file:///"] {
        assert!(shown.contains(word), "`{word}` is not in {shown}");
    }
    for word in ["whole table", "PostgreSQL", "cluster", "snapshot 0:0"] {
        assert!(!shown.contains(word), "`{word}` is in {shown}");
    }
    let again = raw.project.ok(&["files", "reprocess", "a/**"]).all();
    assert!(again.contains("rejected"), "{again}");
    // A file of which nothing is left is refused all the same.
    let all_bad = r#"[{"grant_id": "b", "amount": 1, "date": "2024-03-15", "source": "x"}]"#;
    let (message, _) = told_with(&raw, all_bad);
    assert!(message.contains("1 of 1 records are not valid"), "{message}");
}

#[tokio::test]
async fn rejected_records_of_a_csv_that_goes_go_with_it() {
    let tables = TABLES.replace("[table.columns]", "on_invalid = \"reject_record\"\n[table.columns]");
    let raw = Raw::with("files_rejected_left", &tables, "[retention]\nprocessed = \"1h\"").await;
    let blobs = TestBlobs::local(&raw.db);
    let names = async |folder: &str, end: &str| -> Vec<String> {
        let mut names = blobs.list(&format!("test/{folder}/grants/")).await;
        names.retain(|name| name.ends_with(end));
        names
    };
    let written = async |amount: u64| {
        let good = r#""date": "2024-03-15", "source": "Fund A""#;
        let all =
            format!(r#"[{{"grant_id": "a", "amount": {amount}, {good}}}, {{"grant_id": "b", "amount": -1, {good}}}]"#);
        raw.write("a/dumps/1/data.json", all);
        raw.project.ok(&["extract", "grants"]);
        assert_eq!(names("exports", "").await.len(), 3, "a CSV, its manifest, and what was rejected");
    };
    let died = "update dwh_control.extract_runs set status = 'extracting', csv_path = null, sha256 = null,
         rows_extracted = null, bytes = null where status = 'uploaded'";
    // Died before the manifest was written; and the same, but its CSV went.
    for gone in ["json", "on"] {
        written(1).await;
        for name in names("exports", "").await {
            let of_csv = name.ends_with(".csv") && gone == "on";
            if name.ends_with(".manifest.json") || of_csv {
                std::fs::remove_file(raw.db.blobs().join(&name)).expect("removed");
            }
        }
        raw.db.tgt(died).await;
        raw.project.ok(&["recover", "grants"]);
        assert_eq!(names("exports", "").await, Vec::<String>::new());
    }
    // Set aside: with its CSV.
    written(1).await;
    let newest = || raw.project.json(&["runs", "--table", "grants", "--limit", "1"])["runs"][0]["run_id"].to_string();
    raw.project.ok(&["recover", "--set-aside", &newest()]);
    assert_eq!(names("exports", "").await, Vec::<String>::new());
    assert_eq!(names("set_aside", "").await.len(), 3);
    // What no run was writing is named, and stays.
    let strange = "test/exports/grants/20260101_0000_UTC_900.rejected.jsonl";
    blobs.write(strange, b"{}".to_vec()).await;
    let found = raw.project.dwh(&["recover", "grants", "--dry-run", "--output", "json"]).json();
    assert_eq!(
        (
            &found["found"][0]["csv_path"].as_str().is_some_and(|path| path.ends_with(strange)),
            &found["found"][0]["action"]
        ),
        (&true, &"person".into()),
        "{found:#}"
    );
    raw.project.ok(&["run", "grants"]);
    assert_eq!(names("exports", "").await, [strange]);
    std::fs::remove_file(raw.db.blobs().join(strange)).expect("removed");
    // The version before comes back with what was rejected of it.
    written(2).await;
    raw.project.ok(&["recover", "grants"]);
    let second = newest();
    raw.project.ok(&["files", "restore", "--run", &second]);
    assert_eq!(names("processed", ".rejected.jsonl").await.len(), 3);
}

fn told_with(raw: &Raw, text: &str) -> (String, String) {
    raw.write("a/dumps/bad/data.json", text);
    let failure = raw.project.fails(4, &["run", "grants"]).failure("grants");
    (failure.message, failure.hint)
}
