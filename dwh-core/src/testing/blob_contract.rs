//! What every [`BlobStore`] must do, as a suite that panics where one does not.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use futures_util::{TryStreamExt, future};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

use crate::blob::{BlobKey, BlobStore, Body, ByteStream, probe};
use crate::error::{Error, ErrorKind};

/// Runs the suite. The store must be empty below `contract/`; the suite leaves objects there.
///
/// # Panics
/// Where the store breaks the contract, saying how.
pub async fn blob_contract(store: &dyn BlobStore) {
    blob_contract_with(store, 1_050).await;
}

/// The same, with `many` objects in the test of listings. Above 1,000, an S3 listing has several pages.
///
/// # Panics
/// Where the store breaks the contract, saying how.
pub async fn blob_contract_with(store: &dyn BlobStore, many: usize) {
    created_once(store).await;
    sizes(store).await;
    broken_bodies(store).await;
    dropped_puts(store).await;
    concurrent_puts(store).await;
    copies(store).await;
    missing(store).await;
    odd_keys(store).await;
    listing(store, many).await;
    probe(store, "contract/probe").await.expect("probe");
}

fn key(text: &str) -> BlobKey {
    BlobKey::parse(&format!("contract/{text}")).expect("key")
}

async fn read(store: &dyn BlobStore, key: &BlobKey) -> Vec<u8> {
    let blob = store.get(key).await.expect("get");
    let pieces: Vec<Bytes> = blob.body.try_collect().await.expect("body");
    let whole = pieces.concat();
    assert_eq!(whole.len() as u64, blob.bytes, "the announced length of `{key}`");
    whole
}

async fn listed(store: &dyn BlobStore, prefix: &str) -> Vec<String> {
    let metas: Vec<_> = store.list(prefix).try_collect().await.expect("list");
    metas.into_iter().map(|meta| meta.key.as_str().to_owned()).collect()
}

async fn absent(store: &dyn BlobStore, key: &BlobKey) {
    assert_eq!(store.get(key).await.expect_err("it must not be there").kind(), ErrorKind::NotFound);
    assert!(listed(store, key.as_str()).await.is_empty(), "`{key}` is listed");
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, Error>) -> ErrorKind {
    outcome.expect_err("it must fail").kind()
}

async fn created_once(store: &dyn BlobStore) {
    let key = key("once.csv");
    let (body, other) = (Bytes::from("id\n1\n"), Bytes::from("id\n2\n"));
    assert_eq!(store.put(&key, &body).await.expect("put"), 5);
    assert_eq!(read(store, &key).await, body);
    assert_eq!(store.put(&key, &body).await.expect("the same bytes again"), 5);
    assert_eq!(kind(store.put(&key, &other).await), ErrorKind::Exists);
    assert_eq!(kind(store.put(&key, &Bytes::new()).await), ErrorKind::Exists);
    assert_eq!(read(store, &key).await, body, "a refused put must not change the object");
}

/// Bytes in which a lost, doubled or swapped piece shows.
fn pattern(bytes: usize) -> Bytes {
    (0..bytes.div_ceil(8) as u64)
        .flat_map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes())
        .take(bytes)
        .collect()
}

async fn sizes(store: &dyn BlobStore) {
    // Around 8 MiB, where S3 begins to send parts; 20 MiB takes three.
    for bytes in [0, 1, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20 << 20] {
        let (key, body) = (key(&format!("sizes/{bytes}.csv")), pattern(bytes));
        assert_eq!(store.put(&key, &body).await.expect("put"), bytes as u64);
        assert!(read(store, &key).await == body, "{bytes} bytes came back changed");
    }
    let key = key(&format!("sizes/{}.csv", 20 << 20));
    store.put(&key, &pattern(20 << 20)).await.expect("the same large object again");
    assert_eq!(kind(store.put(&key, &pattern((20 << 20) - 1)).await), ErrorKind::Exists);
}

/// Pieces of 1 MiB, then what `end` says.
struct Pieces<F>(usize, F);

impl<F: Fn() -> ByteStream + Send + Sync> Body for Pieces<F> {
    fn open(&self) -> ByteStream {
        let pieces = stream::iter((0..self.0).map(|_| Ok(Bytes::from_static(&[7; 1 << 20]))));
        Box::pin(pieces.chain((self.1)()))
    }
}

async fn broken_bodies(store: &dyn BlobStore) {
    for pieces in [0, 1, 20] {
        let key = key(&format!("broken/{pieces}.csv"));
        let broken = || -> ByteStream {
            Box::pin(stream::once(async { Err(Error::new(ErrorKind::Drift, "the source's own")) }))
        };
        let error = store.put(&key, &Pieces(pieces, broken)).await.expect_err("a broken body");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Drift, "the source's own"));
        absent(store, &key).await;
        store.put(&key, &Bytes::from_static(b"whole")).await.expect("the key is free");
    }
}

async fn dropped_puts(store: &dyn BlobStore) {
    for pieces in [1, 20] {
        let key = key(&format!("dropped/{pieces}.csv"));
        let reached = Arc::new(Notify::new());
        let body = Pieces(pieces, {
            let reached = Arc::clone(&reached);
            move || -> ByteStream {
                let reached = Arc::clone(&reached);
                Box::pin(stream::once(async move {
                    reached.notify_one();
                    future::pending().await
                }))
            }
        });
        tokio::select! {
            _ = store.put(&key, &body) => panic!("the body never ends"),
            () = reached.notified() => {}
        }
        absent(store, &key).await;
        store.put(&key, &Bytes::from_static(b"whole")).await.expect("the key is free");
    }
}

async fn concurrent_puts(store: &dyn BlobStore) {
    let stored = AtomicUsize::new(0);
    let keys: Vec<BlobKey> = (0..16).map(|n| key(&format!("concurrent/{n}.csv"))).collect();
    let puts = keys.iter().enumerate().map(|(n, key)| {
        let stored = &stored;
        async move {
            store.put(key, &pattern(100_000 + n)).await.expect("put");
            stored.fetch_add(1, Ordering::SeqCst);
        }
    });
    future::join_all(puts).await;
    assert_eq!(stored.into_inner(), 16);
    for (n, key) in keys.iter().enumerate() {
        assert!(read(store, key).await == pattern(100_000 + n), "`{key}` holds the bytes of another");
    }
}

async fn copies(store: &dyn BlobStore) {
    let (from, to) = (key("copies/from%25.csv"), key("copies/deeper/to.csv"));
    store.put(&from, &Bytes::from_static(b"one")).await.expect("put");
    store.copy(&from, &to).await.expect("copy");
    assert_eq!(read(store, &to).await, b"one");
    store.copy(&from, &to).await.expect("copy again");
    let other = key("copies/other.csv");
    store.put(&other, &Bytes::from_static(b"another")).await.expect("put");
    store.copy(&other, &to).await.expect("copy over");
    assert_eq!(read(store, &to).await, b"another", "a copy replaces what is there");
    assert_eq!(read(store, &from).await, b"one");
    store.delete(&other).await.expect("delete");
    assert_eq!(read(store, &to).await, b"another", "a copy outlives its source");
    assert_eq!(listed(store, "contract/copies/").await, [to.as_str(), from.as_str()]);
}

async fn missing(store: &dyn BlobStore) {
    let (key, to) = (key("missing/none.csv"), key("missing/to.csv"));
    absent(store, &key).await;
    assert_eq!(kind(store.copy(&key, &to).await), ErrorKind::NotFound);
    store.delete(&key).await.expect("nothing to delete");
    store.put(&key, &Bytes::from_static(b"x")).await.expect("put");
    store.delete(&key).await.expect("delete");
    absent(store, &key).await;
    absent(store, &to).await;
}

async fn odd_keys(store: &dyn BlobStore) {
    let names = ["%2F", "%C3%84rger%20%F0%9F%90%98", "a%22b", "%2E%2E", "-", "_", "a..b", "...", "%", "%zz", "A", "a"];
    for name in names {
        let key = key(&format!("odd/{name}/20260424_1400_EAT_7.csv.gz"));
        let body = Bytes::from(name);
        store.put(&key, &body).await.expect(name);
        assert_eq!(read(store, &key).await, body);
    }
    let mut all: Vec<String> =
        names.iter().map(|name| key(&format!("odd/{name}/20260424_1400_EAT_7.csv.gz")).to_string()).collect();
    all.sort();
    assert_eq!(listed(store, "contract/odd/").await, all, "every odd key is listed, as it was written, in byte order");
}

async fn listing(store: &dyn BlobStore, many: usize) {
    let mut all: Vec<BlobKey> = (0..many).map(|n| key(&format!("many/{n}.csv"))).collect();
    // Beside and below, so that the order of folders and of keys differ.
    all.extend(["many-/x.csv", "many.csv", "many/1/x.csv"].map(key));
    let put = |key: BlobKey| async move { store.put(&key, &Bytes::from_static(b"12")).await.map(|_| ()) };
    stream::iter(all.clone()).map(Ok).try_for_each_concurrent(8, put).await.expect("put");
    all.sort();
    let metas: Vec<_> = store.list("contract/many").try_collect().await.expect("list");
    assert!(metas.iter().all(|meta| meta.bytes == 2 && meta.modified.is_finite()));
    let keys: Vec<BlobKey> = metas.into_iter().map(|meta| meta.key).collect();
    assert!(keys == all, "{} keys in order were expected, {} came", all.len(), keys.len());
    let after = all[all.len() / 2].clone();
    let newer: Vec<_> = store.list_after("contract/many", after.as_str()).try_collect().await.expect("list after");
    let newer: Vec<BlobKey> = newer.into_iter().map(|meta| meta.key).collect();
    assert!(newer == all[all.len() / 2 + 1..], "what comes after {after}, and not it");
    let within: Vec<&BlobKey> = all.iter().filter(|key| key.as_str().starts_with("contract/many/1")).collect();
    assert_eq!(listed(store, "contract/many/1").await.len(), within.len(), "a prefix need not end at a slash");
    assert!(listed(store, "contract/nothing/").await.is_empty());
}
