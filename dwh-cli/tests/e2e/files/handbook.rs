//! The page for whoever comes from a pipeline of scripts: every command of it is run, symptom by symptom.

use super::{Raw, TABLES};
use crate::support::{is_said, number, shell};
use std::fs;
use std::os::unix::fs::symlink;

const PAGE: &str = include_str!("../../../../docs/from-file-pipeline.md");

/// A heading with its blocks: language and text.
struct Section {
    title: String,
    blocks: Vec<(String, String)>,
}

fn sections() -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    let mut fence: Option<(String, String)> = None;
    for line in PAGE.lines() {
        match (&mut fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some((language.to_owned(), String::new())),
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    found.push(Section { title: title.to_owned(), blocks: Vec::new() });
                }
            }
            (Some((_, text)), None) => text.push_str(&format!("{line}\n")),
            (Some(_), Some(_)) => found.last_mut().expect("a heading").blocks.push(fence.take().expect("open")),
        }
    }
    found
}

fn grants(id: &str, amount: &str) -> String {
    format!(r#"[{{"grant_id": "{id}", "amount": {amount}, "date": "2024-03-15", "source": "Fund A"}}]"#)
}

/// What must have happened before a section.
async fn prepare(raw: &Raw, title: &str) {
    match title {
        "Check pipeline status" => {
            raw.write("sff/dumps/2025-10-30/data.json", grants("a", "1"));
            raw.write("sff/dumps/2023-10-30/data.json", grants("old", "1"));
        }
        "Process a new data source" => raw.write("newfund/dumps/2025-11-01/data.json", grants("n", "3")),
        "A file fails with a validation error" => {
            raw.write(
                "bad/dumps/1/data.json",
                r#"[{"grant_id": "x", "amount": 1, "grant_date": "2024-03-15", "source": "sff"}]"#,
            );
        }
        "Files are not processed" => {
            fs::remove_dir_all(raw.folder.join("bad")).expect("removed");
            raw.write("readme.txt", "a note");
        }
        "Roll back a migration" => {
            raw.write("sff/dumps/2025-10-30/data.json", grants("a", "99"));
            raw.project.ok(&["run"]);
            assert_eq!(number(&raw.db, "select amount::bigint from bronze.grants where grant_id = 'a'").await, 99);
        }
        "Alerts" => raw.write("sff/dumps/2025-10-30/data.json", grants("a", "1")),
        _ => {}
    }
}

#[tokio::test]
async fn every_command_of_the_page_does_what_it_says() {
    let source = "validated = \"file://HOME/validated\"\nbackups = \"file://HOME/backups\"\n[retention]\nprocessed = \"365d\"\nruns = \"365d\"\n";
    let raw = Raw::with("files_handbook", TABLES, source).await;
    raw.write("events/one.json", r#"{"uk_2025": {"id": "uk_2025", "year": 2025, "tags": ["a"]}}"#);
    fs::create_dir_all(raw.project.folder().join("data")).expect("folder");
    for name in ["raw", "validated", "backups"] {
        symlink(raw.home().join(name), raw.project.folder().join("data").join(name)).expect("link");
    }
    for section in sections() {
        prepare(&raw, &section.title).await;
        let newest = "select max(run_id) from dwh_control.extract_runs where file->>'path' like 'sff/dumps/2025%' and status = 'loaded'";
        let newest = if section.title.starts_with("Roll back") { number(&raw.db, newest).await } else { 0 };
        let mut said = String::new();
        for (language, text) in &section.blocks {
            if language == "sh" {
                said = shell(raw.project.folder(), &text.replace("4711", &newest.to_string()), &[]);
            } else {
                for line in text.lines() {
                    assert!(is_said(&said, line), "{}: `{line}` is not in\n{said}", section.title);
                }
            }
        }
        if section.title.starts_with("Roll back") {
            assert_eq!(number(&raw.db, "select amount::bigint from bronze.grants where grant_id = 'a'").await, 1);
            let copy = fs::read_to_string(raw.home().join("validated/sff/dumps/2025-10-30/data.json")).expect("copy");
            assert_eq!(copy, grants("a", "1"));
        }
    }
}
