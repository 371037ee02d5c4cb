//! The parts of an upload: sent without a hash where they lie, with one to those who want it, and again when one is lost.

use bytes::Bytes;
use dwh_core::testing::internals::spool;
use dwh_core::testing::{S3Effect, S3Server};
use dwh_core::{BlobStore, ErrorKind};
use std::time::Duration;

use super::s3::{fault, is_uploading, large, read, seaweedfs};
use super::{key, keys};

#[tokio::test]
async fn a_bucket_that_wants_a_hash_of_each_part_gets_it() {
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidRequest"), (501, "NotImplemented")] {
        let server = S3Server::start_in_process().await;
        let store = server.store("");
        server.inject(fault("PUT", "unsigned", 100, S3Effect::Answer(status, code)));
        store.put(&key("a.csv"), &large()).await.expect(code);
        assert!(read(&store, "a.csv").await.expect("get") == large());
        // Those that were on their way together; no other is sent in vain.
        let refused = 100 - server.pending();
        assert!((1..=2).contains(&refused), "{code}: {refused}");
        store.put(&key("b.csv"), &large()).await.expect(code);
        assert_eq!(100 - server.pending(), refused, "{code}");
    }
}

#[tokio::test]
async fn a_part_that_is_denied_in_either_form_is_denied() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "partNumber", 100, S3Effect::Answer(403, "AccessDenied")));
    let error = store.put(&key("a.csv"), &large()).await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Permission, "{error:?}");
    assert!(100 - server.pending() <= 4, "neither is worth a retry");
    assert!(keys(&store, "").await.is_empty());
}

#[tokio::test]
async fn a_busy_server_says_nothing_of_hashes() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    for name in ["a.csv", "b.csv"] {
        server.inject(fault("PUT", "unsigned", 3, S3Effect::Answer(503, "SlowDown")));
        store.put(&key(name), &large()).await.expect("put");
        assert_eq!(server.pending(), 0, "{name}: its parts go without a hash");
    }
}

#[tokio::test]
async fn a_server_that_hangs_up_on_parts_without_a_hash_gets_it() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    server.inject(fault("PUT", "unsigned", 100, S3Effect::LoseAnswer));
    store.put(&key("a.csv"), &large()).await.expect("put");
    assert_eq!(server.pending(), 100 - 2 * 3, "each of the three parts was sent twice without it");
    assert!(read(&store, "a.csv").await.expect("get") == large());
}

#[tokio::test]
async fn parts_of_a_spool_that_grows_are_sent_again_with_the_same_bytes() {
    let server = S3Server::start_in_process().await;
    let store = server.store("");
    for effect in [S3Effect::LoseAnswer, S3Effect::Answer(503, "SlowDown")] {
        server.inject(fault("PUT", "partNumber", 2, effect));
    }
    let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
    let write = async {
        for piece in large().chunks(700_001) {
            writer.write(Bytes::copy_from_slice(piece)).await.expect("write");
            tokio::task::yield_now().await;
        }
        writer.finish().await.expect("finish")
    };
    let csv = key("a.csv");
    let (put, written) = tokio::join!(store.put(&csv, &spool), write);
    assert_eq!(put.expect("put"), written);
    assert_eq!(server.pending(), 0);
    assert!(read(&store, "a.csv").await.expect("get") == large());
}

#[tokio::test]
async fn a_spool_that_breaks_off_leaves_no_upload() {
    let store = seaweedfs().await.store("spool");
    let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
    writer.write(large()).await.expect("write");
    let csv = key("a.csv");
    let mut put = std::pin::pin!(store.put(&csv, &spool));
    while !is_uploading(seaweedfs().await, "spool/a.csv").await {
        let step = tokio::time::timeout(Duration::from_millis(20), &mut put);
        step.await.expect_err("the spool has no end yet");
    }
    drop(writer);
    assert_eq!(put.await.expect_err("broken").kind(), ErrorKind::Interrupted);
    assert!(!is_uploading(seaweedfs().await, "spool/a.csv").await, "aborted before the error comes back");
    assert!(keys(&store, "").await.is_empty());
}
