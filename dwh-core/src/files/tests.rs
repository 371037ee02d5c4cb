//! Files that change while they are read.

use std::fs;
use std::path::Path;

use super::FileSource;
use crate::config::{Config, Environment};
use crate::error::{ErrorKind, Result};
use crate::plan::Plan;
use crate::raw_file::RawFile;
use crate::source::{ReadRequest, Source};
use crate::watermark::Timestamp;

const TABLE: &str = "
    [project]
    name = \"p\"
    [source.raw]
    files = \"file://FOLDER\"
    [target]
    url = \"postgresql://localhost/x\"
    [blob]
    url = \"file:///nowhere\"
    [[table]]
    name = \"notes\"
    files = \"*.jsonl\"
    mode = \"files\"
    [table.columns]
    id = { type = \"bigint\" }
    note = { type = \"text\" }";

fn record(id: u32) -> String {
    format!("{{\"id\": {id}, \"note\": \"{}\"}}\n", "x".repeat(500))
}

/// Reads a file of many pieces, does something to it after the first, and says what becomes of the read.
async fn disturbed(what: impl FnOnce(&Path)) -> Result<Option<RawFile>> {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.jsonl");
    fs::write(&path, (0..20_000).map(record).collect::<String>()).expect("file");
    let text = TABLE.replace("FOLDER", &folder.path().display().to_string());
    let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default())?;
    let table = &config.tables[0];
    let files = config.sources["raw"].files.as_ref().expect("files");
    let source = FileSource::new("raw", files, &config)?;
    let plan = Plan::new(table, source.describe(table).await?)?;
    let tree = source.tree().expect("a tree");
    let file = tree.list(table).await?.remove(0);
    let request = ReadRequest { file: Some(&file), ..ReadRequest::whole(&plan, Timestamp::now()) };
    let mut reading = source.read(request).await?;
    assert!(reading.next().await?.is_some());
    what(&path);
    while reading.next().await?.is_some() {}
    Ok(reading.file())
}

#[tokio::test]
async fn a_file_that_is_left_alone_is_read_to_its_end() {
    let file = disturbed(|_| {}).await.expect("read").expect("a file");
    assert_eq!(file.sha256.map(|hash| hash.len()), Some(64));
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_not_loaded() {
    let append = |path: &Path| {
        let mut text = fs::read(path).expect("file");
        text.extend_from_slice(record(1).as_bytes());
        fs::write(path, text).expect("written");
    };
    let cut = |path: &Path| {
        let file = fs::File::options().write(true).open(path).expect("file");
        file.set_len(1_000_000).expect("cut");
    };
    let replace = |path: &Path| {
        fs::write(path.with_extension("new"), record(1)).expect("written");
        fs::rename(path.with_extension("new"), path).expect("renamed");
    };
    for error in [
        disturbed(append).await.expect_err("longer"),
        disturbed(cut).await.expect_err("cut off"),
        disturbed(replace).await.expect_err("another file"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
    let gone = disturbed(|path| fs::remove_file(path).expect("removed")).await.expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
}

/// The paths that a table takes of a folder with these files, and all that the source shows.
async fn listed(names: &[&str], blob: &str) -> Result<(Vec<String>, Vec<String>)> {
    let folder = tempfile::tempdir().expect("folder");
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        fs::write(path, record(1)).expect("file");
    }
    let text = TABLE.replace("\"*.jsonl\"", "\"**/*.jsonl\"").replace("file:///nowhere", blob);
    let text = text.replace("FOLDER", &folder.path().display().to_string());
    let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default())?;
    let source = FileSource::new("raw", config.sources["raw"].files.as_ref().expect("files"), &config)?;
    let tree = source.tree().expect("a tree");
    let paths = |files: Vec<RawFile>| files.into_iter().map(|file| file.path).collect::<Vec<_>>();
    let mut all = paths(tree.all().await?);
    all.sort();
    Ok((paths(tree.list(&config.tables[0]).await?), all))
}

#[tokio::test]
async fn what_begins_with_a_dot_is_no_file_of_a_table() {
    let names = ["a.jsonl", "b/c.jsonl", ".d.jsonl", "b/.e.jsonl", ".snapshot/a.jsonl", "b/.~tmp~/deep/c.jsonl"];
    let (of_table, all) = listed(&names, "file:///nowhere").await.expect("a list");
    assert_eq!(of_table, ["a.jsonl", "b/c.jsonl"]);
    assert_eq!(all, of_table);
}

#[tokio::test]
async fn what_the_blob_store_has_below_the_files_is_no_raw_file() {
    let names = ["a.jsonl", "lake/p/exports/notes/1.jsonl", "p/processed/notes/1.jsonl", "other/lake/b.jsonl"];
    let below = listed(&names, "file://FOLDER/lake").await.expect("a list").0;
    assert_eq!(below, ["a.jsonl", "other/lake/b.jsonl", "p/processed/notes/1.jsonl"]);
    let (beside, all) = listed(&names, "file://FOLDER").await.expect("a list");
    assert_eq!(beside, ["a.jsonl", "lake/p/exports/notes/1.jsonl", "other/lake/b.jsonl"]);
    assert_eq!(all, beside);
}

#[test]
fn the_blob_store_may_lie_below_the_files_in_a_bucket_too() {
    let below = |files: &str, blob: &str| {
        let text = TABLE.replace("file://FOLDER", files).replace("file:///nowhere", blob);
        let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect("a configuration");
        super::store_below(files, &config)
    };
    assert_eq!(below("s3://bucket", "s3://bucket/lake").as_deref(), Some("lake/"));
    assert_eq!(below("s3://bucket/raw", "s3://bucket/raw").as_deref(), Some("p/"));
    assert_eq!(below("s3://bucket/raw", "s3://bucket/rawer"), None);
    assert_eq!(below("s3://bucket/raw", "s3://bucket"), None);
    assert_eq!(below("file:///srv/raw", "s3://bucket"), None);
    assert_eq!(below("file:///srv/a%20b", "file:///srv/a%20b/lake%201").as_deref(), Some("lake 1/"));
}

#[tokio::test]
async fn each_line_is_compared_with_the_schema_whatever_is_said_of_documents() {
    for validate in ["record", "document"] {
        let folder = tempfile::tempdir().expect("folder");
        let schema = folder.path().join("schema.json");
        fs::write(&schema, r#"{"properties": {"id": {"maximum": 9}}}"#).expect("schema");
        fs::write(folder.path().join("a.jsonl"), record(5) + &record(10)).expect("file");
        let keys = format!("files = \"*.jsonl\"\njson_schema = \"{}\"\nvalidate = \"{validate}\"", schema.display());
        let text = TABLE.replace("files = \"*.jsonl\"", &keys).replace("FOLDER", &folder.path().display().to_string());
        let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect("a configuration");
        let table = &config.tables[0];
        let source = FileSource::new("raw", config.sources["raw"].files.as_ref().expect("files"), &config).expect("it");
        let plan = Plan::new(table, source.describe(table).await.expect("columns")).expect("a plan");
        let file = source.tree().expect("a tree").list(table).await.expect("files").remove(0);
        let request = ReadRequest { file: Some(&file), ..ReadRequest::whole(&plan, Timestamp::now()) };
        let mut reading = source.read(request).await.expect("open");
        let error = loop {
            match reading.next().await {
                Ok(piece) => assert!(piece.is_some(), "{validate}: nothing was compared"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("1 of 2 records are not valid: line 2 `/id` maximum 9"), "{error}");
    }
}
