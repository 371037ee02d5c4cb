//! What lies in the store was perhaps put there by somebody else: it is checked before it is used, and nothing of it is
//! executed.

use bytes::Bytes;
use dwh_core::blob::Body;
use dwh_core::blob::transform::encode;
use dwh_core::config::Compression;
use dwh_core::testing::{TestDb, assert_equal_tables};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Project, events, files, number};

const EVIL: &str = "text); drop schema x cascade; --";

fn manifest_in(db: &TestDb, folder: &str) -> PathBuf {
    let mut found = files(&db.blobs().join("test").join(folder).join("events"));
    found.retain(|file| file.to_string_lossy().ends_with(".manifest.json"));
    found.remove(0)
}

/// Puts another value into a manifest and returns the document as it was.
fn tamper(manifest: &Path, place: &str, value: Value) -> String {
    let text = fs::read_to_string(manifest).expect("manifest");
    let mut document: Value = serde_json::from_str(&text).expect("json");
    *document.pointer_mut(place).expect(place) = value;
    fs::write(manifest, document.to_string()).expect("tampered");
    text
}

#[tokio::test]
async fn a_type_in_a_manifest_never_becomes_sql() {
    let (db, project) = events("untrusted_type").await;
    project.ok(&["run", "events"]);
    db.tgt(
        "create schema x; create table x.t (i int); grant all on schema x to public; alter schema x owner to dwh_owner",
    )
    .await;
    let manifest = manifest_in(&db, "processed");
    let before = number(&db, "select count(*) from pg_catalog.pg_class").await;
    let text = tamper(&manifest, "/columns/1/type", json!(EVIL));
    for args in [&["rebuild", "events", "--reset"][..], &["rebuild", "events", "--dry-run"], &["replay", "events"]] {
        let told = project.fails(4, args).all();
        for word in ["manifest.json", "columns[1].type", "is not the name of a type", "put back"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
    assert_eq!(
        number(&db, "select count(*) from pg_catalog.pg_class").await,
        before,
        "nothing was made, moved or dropped"
    );
    let told = project.fails(4, &["verify", "events", "--blobs"]).all();
    assert!(told.contains("columns[1].type"), "{told}");

    // A name of the attacker's in quotes is a name: the target has no such type.
    fs::write(&manifest, &text).expect("as it was");
    tamper(&manifest, "/columns/1/type", json!(format!("public.\"{EVIL}\"")));
    let told = project.fails(4, &["rebuild", "events", "--reset"]).all();
    assert!(told.contains("drop schema x cascade; --"), "{told}");
    assert_eq!(number(&db, "select count(*) from x.t").await, 0, "the schema is there");

    fs::write(&manifest, &text).expect("as it was");
    project.ok(&["rebuild", "events", "--reset"]);
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
}

#[tokio::test]
async fn a_manifest_that_waits_is_checked_before_its_csv_is_loaded() {
    let (db, project) = events("untrusted_waiting").await;
    project.ok(&["extract", "events"]);
    let manifest = manifest_in(&db, "exports");
    for (place, value, field) in [
        ("/columns/0/type", json!(EVIL), "columns[0].type"),
        ("/project", json!("another"), "project"),
        ("/table", json!("other"), "table"),
        ("/key/0", json!("nothing"), "key"),
        ("/sha256", json!("0"), "sha256"),
        ("/window/watermark", json!("infinity"), "window.watermark"),
        ("/csv", json!("test/exports/other/1.csv"), "csv"),
    ] {
        let text = tamper(&manifest, place, value);
        let told = project.fails(4, &["run", "events"]).all();
        assert!(told.contains("manifest.json") && told.contains(field), "{told}");
        assert_eq!(number(&db, "select count(*) from bronze.events").await, 0, "nothing was loaded");
        fs::write(&manifest, text).expect("as it was");
    }
    project.ok(&["run", "events"]);
    assert_equal_tables(&db, "select * from app.events", "select * from bronze.events").await;
}

/// What `cat one two` makes of two compressed files.
async fn members(how: Compression, parts: [String; 2]) -> Vec<u8> {
    let mut whole = Vec::new();
    for part in parts {
        let pieces: Vec<Bytes> = encode(Bytes::from(part).open(), how).try_collect().await.expect("compressed");
        whole.extend(pieces.concat());
    }
    whole
}

fn rows(from: i32, to: i32) -> String {
    (from..=to).map(|id| format!("{id},y,2026-10-01 00:00:00+00\n")).collect()
}

async fn load_by_hand(db: &TestDb, project: &Project, name: &str, bytes: &[u8]) -> crate::support::Output {
    let folder = db.blobs().join("test/exports/events");
    fs::create_dir_all(&folder).expect("folder");
    fs::write(folder.join(name), bytes).expect("by hand");
    let path = format!("test/exports/events/{name}");
    project.dwh(&["load", "--table", "events", "--csv-path", &path, "--accept-unverified", "--output", "json"])
}

#[tokio::test]
async fn a_compressed_file_made_by_hand_is_read_to_its_last_member() {
    let (db, project) = events("untrusted_members").await;
    for (how, first) in [(Compression::Gzip, 1_001), (Compression::Zstd, 2_001)] {
        let head = format!("id,note,recorded_at\n{}", rows(first, first + 99));
        let bytes = members(how, [head, rows(first + 100, first + 199)]).await;
        let garbage = [&bytes[..], b"and more"].concat();
        let refused = load_by_hand(&db, &project, &format!("garbage{first}.csv{}", how.suffix()), &garbage).await;
        assert_eq!(refused.code, 4, "{}", refused.all());
        let in_bronze = format!("select count(*) from bronze.events where id between {first} and {first} + 999");
        assert_eq!(number(&db, &in_bronze).await, 0, "nothing was loaded");
        let loaded = load_by_hand(&db, &project, &format!("two{first}.csv{}", how.suffix()), &bytes).await;
        assert_eq!(loaded.code, 0, "{}", loaded.all());
        assert_eq!(number(&db, &in_bronze).await, 200, "{}", loaded.all());
    }
}
