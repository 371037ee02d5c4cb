//! The move from `exports/` to `processed/`, which may die at any step.

use bytes::Bytes;
use dwh_core::blob::{Folder, Layout, archive, archive_read, read_back, read_manifest, write_manifest};
use dwh_core::testing::{Fault, Faulty, S3Server};
use dwh_core::{BlobKey, BlobStore, ErrorKind, LocalBlobs, Manifest, MemoryBlobs};
use futures_util::TryStreamExt;
use std::time::Duration;

use super::{key, keys};

const CSV: &[u8] = b"id,name\n1,one\n2,two\n";
/// Of `CSV`, by sha256sum.
const SHA256: &str = "7c1329fc542fa4a0ced6231bfce0f56763b53905a22ba04142fa0724171b0301";
const FROM: &str = "fleet/exports/trips/20260424_1400_EAT_7.csv";
const TO: &str = "fleet/processed/trips/20260424_1400_EAT_7.csv";

fn layout() -> Layout {
    Layout { project: "fleet".into(), zone: jiff::tz::TimeZone::UTC }
}

fn manifest() -> Manifest {
    let document = serde_json::json!({
        "format": 1, "project": "fleet", "table": "trips", "run_id": 7, "run_started_at": "2026-04-24T11:00:00Z",
        "mode": "incremental", "target": { "schema": "bronze", "name": "trips" }, "csv": FROM,
        "columns": [{ "name": "id", "type": "integer", "not_null": true }],
        "key": ["id"], "on_conflict": "nothing", "watermark_column": null, "query": "select 1", "window": null,
        "sweep": { "sweep": "off" }, "late_rows": 0, "bound": null, "previous_run_id": null, "snapshot": null, "rows": 2,
        "bytes": CSV.len(), "sha256": SHA256, "stored": null, "engine_version": "0.1.0"
    });
    serde_json::from_value(document).expect("manifest")
}

/// CSV and manifest as an extract leaves them.
async fn extracted(store: &dyn BlobStore) {
    store.put(&key(FROM), &Bytes::from_static(CSV)).await.expect("csv");
    write_manifest(store, &manifest()).await.expect("manifest");
}

async fn bytes(store: &dyn BlobStore, key: &BlobKey) -> Vec<u8> {
    let pieces: Vec<Bytes> = store.get(key).await.expect("get").body.try_collect().await.expect("body");
    pieces.concat()
}

/// Exactly one verified pair in `processed/`, and nothing else.
async fn archived(store: &dyn BlobStore) {
    assert_eq!(keys(store, "").await, [TO.to_owned(), key(TO).manifest().to_string()]);
    assert_eq!(bytes(store, &key(TO)).await, CSV);
    assert_eq!(read_manifest(store, &key(TO)).await.expect("manifest"), Some(manifest()));
}

/// What a reader may rely on at every moment: a whole CSV with a manifest beside it in one of the folders.
async fn never_lost(store: &dyn BlobStore) {
    let left = keys(store, "").await;
    for csv in [FROM, TO].map(key) {
        let alone = left.contains(&csv.to_string()) && !left.contains(&csv.manifest().to_string());
        assert!(!alone || csv == key(TO), "a CSV without its manifest is nobody's: {left:?}");
    }
    for csv in [FROM, TO].map(key) {
        if read_manifest(store, &csv).await.expect("manifest").is_some() && store.get(&csv).await.is_ok() {
            assert_eq!(bytes(store, &csv).await, CSV);
            return;
        }
    }
    panic!("neither folder holds the pair: {:?}", keys(store, "").await);
}

/// Fails or kills the k-th call for every k until none is hit, and lets the next call repair it.
async fn survives<S: BlobStore>(fault: Fault, new_store: impl AsyncFn() -> S) {
    for at in 1..100 {
        let store = Faulty::new(new_store().await, at, fault);
        extracted(store.inner()).await;
        let first = tokio::time::timeout(Duration::from_secs(1), archive(&store, &layout(), &manifest())).await;
        if !store.was_hit() {
            let done = first.expect("in time").expect("unharmed");
            assert_eq!(done.csv, key(TO));
            assert!(at > 1 || matches!(fault, Fault::Truncate | Fault::Flip), "the fault must have been met");
            // Calls of another sort are passed over by some faults: only the end of the calls ends the loop.
            if at > 12 {
                return;
            }
        } else if !matches!(first, Ok(Ok(_))) {
            never_lost(store.inner()).await;
        }
        let again = archive(store.inner(), &layout(), &manifest()).await;
        assert_eq!(again.expect("repaired").csv, key(TO), "{fault:?} at call {at}");
        archived(store.inner()).await;
    }
    panic!("a hundred calls were not enough");
}

#[tokio::test]
async fn dies_at_any_call_and_is_repaired_by_the_next() {
    for fault in [Fault::Before, Fault::After, Fault::Hang, Fault::Truncate, Fault::Flip] {
        survives(fault, async || MemoryBlobs::new()).await;
    }
}

#[tokio::test]
async fn dies_at_any_call_on_disk() {
    for fault in [Fault::Before, Fault::After] {
        survives(fault, async || on_disk()).await;
    }
}

#[tokio::test]
async fn works_on_s3_and_may_be_repeated() {
    let server = S3Server::start_in_process().await;
    let store = server.store("wip");
    extracted(&store).await;
    for _ in 0..2 {
        archive(&store, &layout(), &manifest()).await.expect("archive");
        archived(&store).await;
    }
}

fn on_disk() -> LocalBlobs {
    let folder = tempfile::tempdir().expect("folder").keep();
    LocalBlobs::open(&format!("file://{}", folder.display())).expect("store")
}

#[tokio::test]
async fn what_was_read_is_not_read_again_under_its_second_name() {
    // Looks for a copy, makes it, and looks whether it is the file that was read: a further look would find other bytes.
    let store = Faulty::new(on_disk(), 3, Fault::Flip);
    extracted(store.inner()).await;
    assert_eq!(archive(&store, &layout(), &manifest()).await.expect_err("read").kind(), ErrorKind::Data);
    let store = Faulty::new(on_disk(), 3, Fault::Flip);
    extracted(store.inner()).await;
    let read = read_back(store.inner(), &manifest()).await.expect("as it was written");
    archive_read(&store, &layout(), &manifest(), Some(read)).await.expect("archived");
    archived(store.inner()).await;
}

#[tokio::test]
async fn a_copy_of_its_own_is_read_whatever_was_read_before() {
    let store = on_disk();
    extracted(&store).await;
    assert!(!store.is_one_file(&key(FROM), &key(FROM).manifest()).await.expect("two files"));
    assert_eq!(store.is_one_file(&key(FROM), &key(TO)).await.expect_err("there is none").kind(), ErrorKind::NotFound);
    let read = read_back(&store, &manifest()).await.expect("as it was written");
    let mut tampered = CSV.to_vec();
    tampered[9] ^= 1;
    store.put(&key(TO), &Bytes::from(tampered)).await.expect("put");
    let error = archive_read(&store, &layout(), &manifest(), Some(read)).await.expect_err("tampered");
    assert_eq!(error.kind(), ErrorKind::Data);
    store.delete(&key(TO)).await.expect("deleted");
    store.copy(&key(FROM), &key(TO)).await.expect("copied");
    assert!(store.is_one_file(&key(FROM), &key(TO)).await.expect("one file"));
}

#[tokio::test]
async fn reading_back_finds_other_bytes() {
    let store = MemoryBlobs::new();
    extracted(&store).await;
    let bent = Faulty::new(store, 1, Fault::Flip);
    assert_eq!(read_back(&bent, &manifest()).await.expect_err("bent").kind(), ErrorKind::Data);
}

#[tokio::test]
async fn a_copy_that_differs_in_one_byte_keeps_both() {
    let store = MemoryBlobs::new();
    extracted(&store).await;
    let mut tampered = CSV.to_vec();
    tampered[9] ^= 1;
    store.put(&key(TO), &Bytes::from(tampered.clone())).await.expect("put");
    for _ in 0..2 {
        let error = archive(&store, &layout(), &manifest()).await.expect_err("tampered");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(FROM) && error.to_string().contains(TO), "{error}");
    }
    assert_eq!(bytes(&store, &key(FROM)).await, CSV);
    assert_eq!(bytes(&store, &key(TO)).await, tampered);
    assert!(read_manifest(&store, &key(FROM)).await.expect("manifest").is_some());
}

#[tokio::test]
async fn a_csv_that_is_nowhere_is_an_error() {
    let store = MemoryBlobs::new();
    write_manifest(&store, &manifest()).await.expect("manifest");
    let error = archive(&store, &layout(), &manifest()).await.expect_err("no csv");
    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    assert_eq!(keys(&store, "").await.len(), 1, "the manifest stays");
}

#[tokio::test]
async fn manifests_are_checked() {
    let store = MemoryBlobs::new();
    assert_eq!(read_manifest(&store, &key(FROM)).await.expect("none"), None);
    extracted(&store).await;
    write_manifest(&store, &manifest()).await.expect("the same again");
    let mut other = manifest();
    other.rows = 3;
    assert_eq!(write_manifest(&store, &other).await.expect_err("another").kind(), ErrorKind::Exists);

    let stranger = key("fleet/exports/trips/20260424_1400_EAT_8.csv");
    store.copy(&key(FROM).manifest(), &stranger.manifest()).await.expect("copy");
    assert_eq!(read_manifest(&store, &stranger).await.expect_err("of another CSV").kind(), ErrorKind::Data);
    let moved = layout().moved(&stranger, Folder::Processed).expect("key");
    store.put(&moved.manifest(), &Bytes::from_static(b"{\"format\": 1")).await.expect("put");
    assert_eq!(read_manifest(&store, &moved).await.expect_err("cut").kind(), ErrorKind::Data);
}
