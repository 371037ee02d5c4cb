//! S3: two servers that behave, and one that does not.

use bytes::Bytes;
use dwh_core::blob::{Body, ByteStream, probe};
use dwh_core::testing::{S3Effect, S3Fault, S3Server, blob_contract};
use dwh_core::{BlobStore, ErrorKind, S3Blobs};
use futures_util::{StreamExt, TryStreamExt, stream};
use s3::command::Command;
use s3::creds::Credentials;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;
use s3::{Bucket, Region};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

use super::{key, keys, taken_meanwhile};

/// One SeaweedFS for all tests; each has a prefix of its own.
pub(super) async fn seaweedfs() -> &'static S3Server {
    static SERVER: OnceCell<S3Server> = OnceCell::const_new();
    SERVER.get_or_init(S3Server::start_seaweedfs).await
}

pub(super) async fn read(store: &S3Blobs, name: &str) -> dwh_core::Result<Vec<u8>> {
    let pieces: Vec<Bytes> = store.get(&key(name)).await?.body.try_collect().await?;
    Ok(pieces.concat())
}

pub(super) fn large() -> Bytes {
    (0..5_u32 << 20).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s3s_fs_keeps_the_contract() {
    let server = S3Server::start_in_process().await;
    blob_contract(&server.store("deep/er")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_keeps_the_contract() {
    blob_contract(&seaweedfs().await.store("deep/er")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_meanwhile_is_kept() {
    let server = S3Server::start_in_process().await;
    for store in [server.store("taken"), seaweedfs().await.store("taken")] {
        taken_meanwhile(store.clone(), "small.csv", 1).await;
        taken_meanwhile(store, "large.csv", 20).await;
    }
}

#[tokio::test]
async fn a_prefix_hides_everything_else() {
    let server = S3Server::start_in_process().await;
    server.store("other").put(&key("a/x.csv"), &Bytes::from_static(b"1")).await.expect("put");
    server.store("").put(&key("a/x.csv"), &Bytes::from_static(b"2")).await.expect("put");
    let store = server.store("mine");
    assert!(keys(&store, "").await.is_empty());
    assert_eq!(keys(&server.store(""), "").await, ["a/x.csv", "other/a/x.csv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_auth_and_never_printed() {
    let server = seaweedfs().await;
    for (access, secret) in [("dwh-test", "canary-secret"), ("canary-key", "dwh-secret")] {
        let environment = [("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)].into_iter().collect();
        let store = S3Blobs::new(&server.config("auth"), &environment).expect("store");
        let put = store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect_err("put");
        let list = store.list("").try_next().await.expect_err("list");
        let get = store.get(&key("a.csv")).await.expect_err("get");
        for error in [put, list, get] {
            assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
            assert!(!format!("{error:?} {store:?}").contains("canary"), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_bucket_is_not_found_with_a_hint() {
    let mut config = seaweedfs().await.config("");
    config.url = "s3://nowhere".into();
    let environment = seaweedfs().await.environment();
    let store = S3Blobs::new(&config, &environment).expect("store");
    let list = store.list("").try_next().await.expect_err("list");
    let get = store.get(&key("a.csv")).await.expect_err("get");
    let delete = store.delete(&key("a.csv")).await.expect_err("delete");
    let put = store.put(&key("a.csv"), &Bytes::from_static(b"1")).await;
    // This SeaweedFS makes a bucket when an administrator writes into it.
    assert!(put.is_ok_and(|bytes| bytes == 1));
    for error in [list, get, delete] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.hint().contains("create the bucket"), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let server = S3Server::start_in_process().await;
    let mut config = server.config("");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("port").port();
    config.endpoint = Some(format!("http://127.0.0.1:{port}"));
    let store = S3Blobs::new(&config, &server.environment()).expect("store");
    let error = store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect_err("put");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert_eq!(error.to_string(), format!("S3 server `http://127.0.0.1:{port}` cannot be reached"));
}

#[tokio::test]
async fn a_server_without_tls_behind_https_is_auth() {
    let server = S3Server::start_in_process().await;
    let mut config = server.config("");
    config.endpoint = Some(server.endpoint.replace("http://", "https://"));
    let store = S3Blobs::new(&config, &server.environment()).expect("store");
    let error = store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect_err("put");
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
}

#[tokio::test]
async fn a_conflict_is_tried_again() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "", 1, S3Effect::Answer(409, "ConditionalRequestConflict")));
    store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect("put");
    assert_eq!(server.pending(), 0);
}

pub(super) fn fault(method: &'static str, matching: &'static str, times: usize, effect: S3Effect) -> S3Fault {
    S3Fault { method, matching, times, effect }
}

#[tokio::test]
async fn three_times_503_is_lived_through() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    for method in ["HEAD", "PUT", "GET"] {
        server.inject(fault(method, "", 3, S3Effect::Answer(503, "SlowDown")));
    }
    store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect("put");
    assert_eq!(read(&store, "a.csv").await.expect("get"), b"1");
    assert_eq!(server.pending(), 0);
}

#[tokio::test]
async fn busy_for_ever_ends_and_leaves_nothing() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "", 1000, S3Effect::Answer(503, "SlowDown")));
    let begun = Instant::now();
    let error = store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect_err("put");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.chain().contains("HTTP 503 SlowDown"), "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(keys(&store, "").await.is_empty());
}

#[tokio::test]
async fn a_lost_answer_to_a_put_is_no_failure() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "", 1, S3Effect::LoseAnswer));
    assert_eq!(store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect("small"), 1);
    server.inject(fault("POST", "uploadId", 1, S3Effect::LoseAnswer));
    store.put(&key("b.csv"), &large()).await.expect("large");
    assert_eq!(server.pending(), 0);
    assert!(read(&store, "b.csv").await.expect("get") == large());
}

#[tokio::test]
async fn a_server_without_conditions_keeps_objects_all_the_same() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "", 1, S3Effect::Answer(501, "NotImplemented")));
    store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect("put");
    let error = store.put(&key("a.csv"), &Bytes::from_static(b"2")).await.expect_err("other bytes");
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(read(&store, "a.csv").await.expect("get"), b"1");
}

#[tokio::test]
async fn a_good_status_with_an_error_inside_is_an_error() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect("put");
    server.inject(fault("PUT", "copy", 100, S3Effect::Answer(200, "InternalError")));
    let error = store.copy(&key("a.csv"), &key("b.csv")).await.expect_err("copy");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    server.inject(fault("POST", "uploadId", 100, S3Effect::Answer(200, "InternalError")));
    let error = store.put(&key("c.csv"), &large()).await.expect_err("complete");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    assert_eq!(keys(&store, "").await, ["a.csv"]);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    store.put(&key("a.csv"), &large()).await.expect("put");
    server.inject(fault("GET", "a.csv", 3, S3Effect::CutBody(5_000_000)));
    assert!(read(&store, "a.csv").await.expect("resumed") == large());
    assert_eq!(server.pending(), 0);
    server.inject(fault("GET", "a.csv", 100, S3Effect::CutBody(1000)));
    let error = read(&store, "a.csv").await.expect_err("cut each time");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_copy_that_is_too_large_for_the_server_goes_through_here() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    store.put(&key("a.csv"), &large()).await.expect("put");
    server.inject(fault("PUT", "copy", 1, S3Effect::Answer(400, "InvalidRequest")));
    store.copy(&key("a.csv"), &key("b.csv")).await.expect("copy");
    assert!(read(&store, "b.csv").await.expect("get") == large());
}

#[tokio::test]
async fn denied_and_skewed_are_told_apart() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    for (code, kind) in [("AccessDenied", ErrorKind::Permission), ("RequestTimeTooSkewed", ErrorKind::Auth)] {
        server.inject(fault("PUT", "", 1, S3Effect::Answer(403, code)));
        let error = store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect_err(code);
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(server.pending(), 0, "neither is worth a retry");
    }
}

#[tokio::test]
async fn a_failed_probe_names_its_step() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    probe(&store, "fleet").await.expect("probe");
    server.inject(fault("PUT", "copy", 1, S3Effect::Answer(403, "AccessDenied")));
    let error = probe(&store, "fleet").await.expect_err("copy");
    assert!(error.to_string().contains("step `copy`"), "{error}");
    server.inject(fault("DELETE", "", 1, S3Effect::Answer(403, "AccessDenied")));
    let error = probe(&store, "fleet").await.expect_err("delete");
    assert!(error.to_string().contains("step `delete`"), "{error}");
}

/// A body that counts how far it was read.
struct Counted(Arc<AtomicUsize>, usize);

impl Body for Counted {
    fn open(&self) -> ByteStream {
        let read = Arc::clone(&self.0);
        let pieces = stream::iter(0..self.1).map(move |_| {
            read.fetch_add(1 << 20, Ordering::SeqCst);
            Ok(Bytes::from(vec![1; 1 << 20]))
        });
        pieces.boxed()
    }
}

#[tokio::test]
async fn an_upload_holds_three_parts_at_most() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "partNumber", 100, S3Effect::Hang));
    let read = Arc::new(AtomicUsize::new(0));
    let body = Counted(Arc::clone(&read), 200);
    let csv = key("a.csv");
    let put = tokio::time::timeout(Duration::from_secs(3), store.put(&csv, &body));
    put.await.expect_err("no part is ever taken");
    let read = read.load(Ordering::SeqCst);
    assert!((16 << 20..=24 << 20).contains(&read), "{read} bytes were read ahead");
}

/// Whether SeaweedFS holds an unfinished upload of the object. (rust-s3 cannot read its list.)
pub(super) async fn is_uploading(server: &S3Server, object: &str) -> bool {
    let keys = Credentials::new(Some(&server.access_key), Some(&server.secret_key), None, None, None).expect("keys");
    let region = Region::Custom { region: "us-east-1".into(), endpoint: server.endpoint.clone() };
    let bucket = Bucket::new(&server.bucket, region, keys).expect("bucket").with_path_style();
    let prefix = Some(object);
    let list = Command::ListMultipartUploads {
        prefix,
        delimiter: None,
        key_marker: None,
        upload_id_marker: None,
        max_uploads: None,
    };
    let answer =
        ReqwestRequest::new(&bucket, "/", list).await.expect("request").response_data(false).await.expect("list");
    answer.as_str().expect("text").contains("<Upload>")
}

async fn until_no_upload(server: &S3Server, object: &str) {
    let begun = Instant::now();
    while is_uploading(server, object).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "the upload was never aborted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_or_dropped_upload_is_aborted() {
    let server = seaweedfs().await;
    let store = server.store("aborted");
    let reached = Arc::new(tokio::sync::Notify::new());
    let body = Stuck(Arc::clone(&reached));
    let csv = key("a.csv");
    let mut put = store.put(&csv, &body);
    tokio::select! {
        _ = &mut put => panic!("the body never ends"),
        () = reached.notified() => {}
    }
    assert!(is_uploading(server, "aborted/a.csv").await, "this test must see uploads");
    drop(put);
    until_no_upload(server, "aborted/a.csv").await;
    let error = store.put(&csv, &Broken).await.expect_err("broken");
    assert_eq!(error.kind(), ErrorKind::Drift);
    assert!(!is_uploading(server, "aborted/a.csv").await, "aborted before the error comes back");
    assert!(keys(&store, "").await.is_empty());
}

/// 20 MiB, then nothing, saying so.
struct Stuck(Arc<tokio::sync::Notify>);

impl Body for Stuck {
    fn open(&self) -> ByteStream {
        let reached = Arc::clone(&self.0);
        let stuck = stream::once(async move {
            reached.notify_one();
            std::future::pending().await
        });
        large().open().chain(stuck).boxed()
    }
}

/// 20 MiB, then an error.
struct Broken;

impl Body for Broken {
    fn open(&self) -> ByteStream {
        let broken = stream::once(async { Err(dwh_core::Error::new(ErrorKind::Drift, "the source's own")) });
        large().open().chain(broken).boxed()
    }
}

#[tokio::test]
async fn a_refused_part_aborts_the_upload() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "partNumber=2", 100, S3Effect::Answer(403, "AccessDenied")));
    server.inject(fault("DELETE", "uploadId", 1, S3Effect::Answer(204, "")));
    let error = store.put(&key("a.csv"), &large()).await.expect_err("a part is refused");
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert_eq!(
        server.pending(),
        98,
        "it is tried once with a hash, the refusal is not worth a retry, and the abort came"
    );
    assert!(keys(&store, "").await.is_empty());
}
