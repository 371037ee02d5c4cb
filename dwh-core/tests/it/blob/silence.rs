//! S3 servers that go silent at each place of a request, and work that is no silence.

use bytes::Bytes;
use dwh_core::config::BlobConfig;
use dwh_core::testing::{Proxy, S3Server, Way, When, Whom};
use dwh_core::watermark::Micros;
use dwh_core::{BlobStore, Error, ErrorKind, S3Blobs};
use futures_util::TryStreamExt;
use std::time::{Duration, Instant};

use super::key;

/// A server behind a proxy, and a store that allows it two seconds of silence.
async fn behind() -> (S3Server, Proxy, S3Blobs) {
    let server = S3Server::start_in_process().await;
    let port = server.endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).expect("port");
    let proxy = Proxy::before(port);
    let endpoint = Some(format!("http://127.0.0.1:{}", proxy.port()));
    let config = BlobConfig { endpoint, idle_timeout: Micros::seconds(2), ..server.config("") };
    let store = S3Blobs::new(&config, &server.environment()).expect("store");
    (server, proxy, store)
}

fn assert_silent(error: &Error, began: Instant) {
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
    assert!(error.to_string().contains("S3 server `http://127.0.0.1:"), "{error:?}");
    assert!(error.to_string().contains("sent nothing for "), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "it took {:?}", began.elapsed());
}

/// 20 MiB: more than any buffer on the way holds.
fn large() -> Bytes {
    (0..5_u32 << 20).flat_map(u32::to_le_bytes).collect()
}

async fn read(store: &S3Blobs, name: &str) -> Result<Vec<u8>, Error> {
    let pieces: Vec<Bytes> = store.get(&key(name)).await?.body.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_answer_is_given_up_and_not_made_by_everyone() {
    let (_server, proxy, store) = behind().await;
    store.put(&key("a.csv"), &Bytes::from_static(b"1")).await.expect("put");
    proxy.silence();
    let began = Instant::now();
    assert_silent(&read(&store, "a.csv").await.expect_err("no answer"), began);
    let began = Instant::now();
    for _ in 0..3 {
        store.delete(&key("a.csv")).await.expect_err("known to be silent");
        store.put(&key("b.csv"), &Bytes::from_static(b"1")).await.expect_err("known to be silent");
    }
    assert!(began.elapsed() < Duration::from_millis(900), "it took {:?}", began.elapsed());
    proxy.resume();
    while read(&store, "a.csv").await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stops_is_taken_up_again_or_given_up() {
    let (_server, proxy, store) = behind().await;
    store.put(&key("a.csv"), &large()).await.expect("put");
    proxy.silence_when(Way::Down, When::Bytes(1_000_000), Whom::ThisOne);
    assert!(read(&store, "a.csv").await.expect("the rest comes by another connection") == large());
    assert!(proxy.has_been_silent());
    for whom in [Whom::Everyone, Whom::EachOne] {
        proxy.silence_when(Way::Down, When::Bytes(3_000), whom);
        let began = Instant::now();
        assert_silent(&read(&store, "a.csv").await.expect_err("3,000 bytes and no more"), began);
        proxy.resume();
        while read(&store, "a.csv").await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stops_is_given_up_and_leaves_nothing() {
    let (_server, proxy, store) = behind().await;
    let small = large().slice(..4 << 20);
    for (body, whom) in
        [(large(), Whom::Everyone), (large(), Whom::EachOne), (small.clone(), Whom::Everyone), (small, Whom::EachOne)]
    {
        proxy.silence_when(Way::Up, When::Bytes(100_000), whom);
        let began = Instant::now();
        assert_silent(&store.put(&key("a.csv"), &body).await.expect_err("100,000 bytes and no more"), began);
        proxy.resume();
        // The name is free: what was sent of it is no object.
        while let Err(error) = store.put(&key("a.csv"), &body).await {
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
            tokio::task::yield_now().await;
        }
        store.delete(&key("a.csv")).await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_copies_for_long_and_a_slow_reader_are_left_alone() {
    let (_server, proxy, store) = behind().await;
    store.put(&key("a.csv"), &large()).await.expect("put");
    proxy.silence_when(Way::Up, When::Before("x-amz-copy-source"), Whom::ThisOne);
    let (from, to) = (key("a.csv"), key("b.csv"));
    let copy = store.copy(&from, &to);
    let wait = async {
        proxy.is_silent().await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        proxy.resume();
    };
    let (copied, ()) = tokio::join!(copy, wait);
    copied.expect("others were answered meanwhile");
    let mut body = store.get(&key("b.csv")).await.expect("open").body;
    let mut bytes = body.try_next().await.expect("chunk").expect("some").len();
    tokio::time::sleep(Duration::from_secs(7)).await;
    while let Some(piece) = body.try_next().await.expect("the wait was ours") {
        bytes += piece.len();
    }
    assert_eq!(bytes, large().len());
}
