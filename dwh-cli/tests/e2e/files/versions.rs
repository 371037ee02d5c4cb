//! A file that comes again with other bytes, under another name, or with keys that are known.

use super::{Raw, TABLES, runs};
use crate::support::number;
use std::fs::{self, FileTimes};
use std::time::{Duration, SystemTime};

fn grant(id: &str, amount: &str) -> String {
    format!(r#"{{"grant_id": "{id}", "amount": {amount}, "date": "2024-03-15", "source": "Fund A"}}"#)
}

fn grants(all: &[(&str, &str)]) -> String {
    format!("[{}]", all.iter().map(|(id, amount)| grant(id, amount)).collect::<Vec<_>>().join(",\n"))
}

#[tokio::test]
async fn another_version_of_a_file_takes_the_place_of_the_old_one() {
    let raw = Raw::new("files_version", TABLES).await;
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("b", "2"), ("c", "3")]));
    raw.project.ok(&["run", "grants"]);
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("b", "20"), ("d", "4")]));
    let report = raw.project.json(&["run", "grants"]);
    let run = runs(&report, "grants")[0];
    let counts = ["rows_inserted", "rows_updated", "rows_identical", "rows_removed"].map(|name| run[name].as_u64());
    assert_eq!(counts, [Some(1); 4], "{report:#}");
}

#[tokio::test]
async fn a_stamp_alone_is_no_other_version() {
    let raw = Raw::new("files_touched", TABLES).await;
    let path = raw.folder.join("a/dumps/1/data.json");
    raw.write("a/dumps/1/data.json", grants(&[("a", "1")]));
    let old = SystemTime::now() - Duration::from_secs(3600);
    let stamp =
        |at| fs::File::options().write(true).open(&path).expect("file").set_times(FileTimes::new().set_modified(at));
    stamp(old).expect("stamped");
    raw.project.ok(&["run", "grants"]);
    stamp(old + Duration::from_secs(60)).expect("stamped");
    let report = raw.project.json(&["run", "grants"]);
    assert!(runs(&report, "grants")[0]["file"].is_null(), "{report:#}");
    // Other bytes of the same length are.
    raw.write("a/dumps/1/data.json", grants(&[("a", "2")]));
    let report = raw.project.json(&["run", "grants"]);
    assert_eq!(runs(&report, "grants")[0]["rows_updated"], 1, "{report:#}");
}

/// The server then stores the rows in other files of its own, which are no reason to read anything again.
#[tokio::test]
async fn a_table_that_was_rewritten_remembers_its_files() {
    let raw = Raw::new("files_rewritten", TABLES).await;
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("b", "1")]));
    raw.write("a/dumps/2/data.json", grants(&[("a", "2"), ("c", "2")]));
    raw.project.ok(&["run", "grants"]);
    raw.write("a/dumps/1/data.json", grants(&[("a", "99"), ("b", "1")]));
    raw.project.ok(&["run", "grants"]);
    for sql in ["vacuum full bronze.grants", "alter table bronze.grants alter amount type numeric using amount"] {
        raw.db.tgt(sql).await;
        for _ in 0..2 {
            let report = raw.project.json(&["run", "grants"]);
            assert!(runs(&report, "grants").iter().all(|run| run["rows_extracted"] == 0), "{report:#}");
            raw.project.ok(&["verify", "grants"]);
        }
    }
    assert_eq!(
        raw.rows("select concat_ws('|', grant_id, amount) from bronze.grants order by 1").await,
        ["a|99", "b|1", "c|2"]
    );
}

#[tokio::test]
async fn a_key_belongs_to_the_file_that_brought_it_last() {
    let raw = Raw::new("files_keys", TABLES).await;
    raw.write("a/dumps/1/data.json", grants(&[("a", "1"), ("b", "1")]));
    raw.write("a/dumps/2/data.json", grants(&[("b", "2"), ("c", "2")]));
    raw.project.ok(&["run", "grants"]);
    let sql = "select concat_ws('|', grant_id, amount, _file) from bronze.grants order by 1";
    assert_eq!(raw.rows(sql).await, ["a|1|a/dumps/1/data.json", "b|2|a/dumps/2/data.json", "c|2|a/dumps/2/data.json"]);
    let report = raw.project.json(&["verify", "grants"]);
    assert_eq!(report["tables"][0]["rows_source"], 3, "`b` stands in two files, and is one row: {report:#}");
    // The same bytes under another name are another file: they bring the same keys.
    fs::rename(raw.folder.join("a/dumps/2"), raw.folder.join("a/dumps/3")).expect("renamed");
    let report = raw.project.json(&["run", "grants"]);
    assert_eq!(runs(&report, "grants")[0]["rows_updated"], 2, "{report:#}");
    assert_eq!(number(&raw.db, "select count(*) from bronze.grants where _file like '%/3/%'").await, 2);
}

/// The target as it was after its first run: rows, watermark and run log go back together, and so do the numbers.
async fn restore_the_first(raw: &Raw) {
    raw.db
        .tgt(
            "delete from dwh_control.extract_runs where run_id > 1; delete from dwh_control.extract_watermarks;
             insert into dwh_control.extract_watermarks table kept.watermarks;
             select setval(pg_get_serial_sequence('dwh_control.extract_runs', 'run_id'), 1);
             delete from bronze.grants; insert into bronze.grants table kept.grants",
        )
        .await;
}

#[tokio::test]
async fn files_that_were_archived_before_the_target_was_restored_are_named() {
    let raw = Raw::new("files_restored", TABLES).await;
    raw.write("a/dumps/2023-01-01/data.json", grants(&[("a", "1"), ("b", "1")]));
    raw.project.ok(&["run", "grants"]);
    raw.db
        .tgt(
            "create schema kept; create table kept.watermarks as table dwh_control.extract_watermarks;
             create table kept.grants as table bronze.grants",
        )
        .await;
    raw.write("a/dumps/2023-01-01/data.json", grants(&[("a", "2")]));
    raw.write("a/dumps/2023-02-02/data.json", grants(&[("c", "1")]));
    raw.write("a/dumps/2025-02-02/data.json", grants(&[("d", "1")]));
    raw.project.ok(&["run", "grants"]);
    let all = "select concat(grant_id, amount) from bronze.grants order by 1";
    assert_eq!(raw.rows(all).await, ["a2", "c1", "d1"]);
    raw.project.ok(&["files", "archive", "--before", "2024-01-01"]);
    restore_the_first(&raw).await;
    // What is still there is read again.
    raw.project.ok(&["run", "grants"]);
    assert_eq!(raw.rows(all).await, ["a1", "b1", "d1"]);
    let named = || -> Vec<String> {
        let report = raw.project.dwh(&["recover", "grants", "--dry-run", "--output", "json"]).json();
        let found = report["found"].as_array().expect("found").iter();
        let lost = found.filter(|found| found["state"] == "copy_not_loaded" && found["action"] == "person");
        lost.map(|found| found["message"].as_str().expect("a message").split('`').nth(1).expect("a path").to_owned())
            .collect()
    };
    assert_eq!(named(), ["a/dumps/2023-01-01/data.json", "a/dumps/2023-02-02/data.json"]);
    raw.project.ok(&["rebuild", "grants", "--reset"]);
    assert_eq!(raw.rows(all).await, ["a2", "c1", "d1"]);
    assert_eq!(named(), Vec::<String>::new());
}
