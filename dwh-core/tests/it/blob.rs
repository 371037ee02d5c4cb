//! The blob stores: the contract on each of them, servers that misbehave, and the move that may die at any step.

mod archive;
mod parts;
mod s3;
mod silence;

use bytes::Bytes;
use dwh_core::blob::{Body, ByteStream};
use dwh_core::testing::blob_contract;
use dwh_core::{BlobKey, BlobStore, ErrorKind, LocalBlobs, MemoryBlobs};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::os::unix::fs::symlink;

pub fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).expect("key")
}

pub async fn keys(store: &dyn BlobStore, prefix: &str) -> Vec<String> {
    let metas: Vec<_> = store.list(prefix).try_collect().await.expect("list");
    metas.into_iter().map(|meta| meta.key.to_string()).collect()
}

/// A body of so many MiB, in the middle of which another writer takes the key.
struct Slow<S>(S, BlobKey, usize);

impl<S: BlobStore + Clone + 'static> Body for Slow<S> {
    fn open(&self) -> ByteStream {
        let (store, key) = (self.0.clone(), self.1.clone());
        let other = stream::once(async move {
            store.put(&key, &Bytes::from_static(b"first")).await?;
            Ok(Bytes::from_static(b"second"))
        });
        stream::iter((0..self.2).map(|_| Ok(Bytes::from(vec![1; 1 << 20])))).chain(other).boxed()
    }
}

/// Who comes second must not replace what is there, even if nothing was when it began.
pub async fn taken_meanwhile<S: BlobStore + Clone + 'static>(store: S, name: &str, mebibytes: usize) {
    let key = key(name);
    let error = store.put(&key, &Slow(store.clone(), key.clone(), mebibytes)).await.expect_err("the key is taken");
    assert_eq!(error.kind(), ErrorKind::Exists, "{store:?} {name}: {error:?}");
    let kept: Vec<Bytes> = store.get(&key).await.expect("get").body.try_collect().await.expect("body");
    assert_eq!(kept.concat(), b"first", "{store:?} {name}");
}

#[tokio::test]
async fn a_key_that_is_taken_meanwhile_is_kept() {
    taken_meanwhile(MemoryBlobs::new(), "a.csv", 1).await;
    let (_folder, store) = local();
    taken_meanwhile(store, "a.csv", 1).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    blob_contract(&MemoryBlobs::new()).await;
}

fn local() -> (tempfile::TempDir, LocalBlobs) {
    let folder = tempfile::tempdir().expect("folder");
    let store = LocalBlobs::open(&format!("file://{}/made/on/demand/", folder.path().display())).expect("store");
    (folder, store)
}

#[tokio::test]
async fn local_keeps_the_contract() {
    let (folder, store) = local();
    blob_contract(&store).await;
    let left = walk(folder.path()).into_iter().filter(|path| path.contains('~')).collect::<Vec<_>>();
    assert!(left.is_empty(), "unfinished files are left: {left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] }).collect()
}

#[tokio::test]
async fn local_lists_no_unfinished_file() {
    let (folder, store) = local();
    let csv = key("fleet/exports/trips/1.csv");
    store.put(&csv, &Bytes::from_static(b"id\n")).await.expect("put");
    let table = folder.path().join("made/on/demand/fleet/exports/trips");
    std::fs::write(table.join("~abc.part"), b"half").expect("write");
    assert_eq!(keys(&store, "").await, [csv.as_str()]);
    let folder = store.get(&key("fleet/exports/trips")).await.expect_err("a folder is no object");
    assert_eq!(folder.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn local_follows_no_symbolic_link() {
    let (folder, store) = local();
    store.put(&key("fleet/exports/trips/1.csv"), &Bytes::from_static(b"id\n")).await.expect("put");
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).expect("folder");
    std::fs::write(outside.join("secret.csv"), b"x").expect("write");
    symlink(&outside, folder.path().join("made/on/demand/fleet/exports/evil")).expect("link");
    let through = key("fleet/exports/evil/secret.csv");
    assert_eq!(store.get(&through).await.expect_err("get").kind(), ErrorKind::Permission);
    assert_eq!(store.put(&through, &Bytes::new()).await.expect_err("put").kind(), ErrorKind::Permission);
    assert_eq!(store.delete(&through).await.expect_err("delete").kind(), ErrorKind::Permission);
    assert_eq!(keys(&store, "").await, ["fleet/exports/trips/1.csv"]);
    assert!(outside.join("secret.csv").exists());
}

#[test]
fn local_takes_absolute_paths_only() {
    for url in ["file://relative", "file:/x", "/x", "s3://x", "file://host/x"] {
        assert_eq!(LocalBlobs::open(url).expect_err(url).kind(), ErrorKind::Config);
    }
    assert_eq!(LocalBlobs::open("file:///var/lib/dwh/").expect("url").url(), "file:///var/lib/dwh");
}

#[tokio::test]
async fn local_names_the_path_that_fails() {
    let (folder, _) = local();
    std::fs::write(folder.path().join("file"), b"").expect("write");
    let store = LocalBlobs::open(&format!("file://{}/file", folder.path().display())).expect("store");
    let error = store.put(&key("a/b.csv"), &Bytes::from_static(b"x")).await.expect_err("a file is no folder");
    assert!(error.to_string().contains("/file"), "{error}");
}
