//! [`Faulty`]: a blob store whose k-th call goes wrong.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::blob::{Ability, Blob, BlobKey, BlobMeta, BlobStore, Body};
use crate::error::{Error, ErrorKind, Result};
use crate::watermark::Timestamp;

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing.
    Before,
    /// It does its work, then fails: the answer was lost.
    After,
    /// It does its work, then never returns: the process is about to be killed.
    Hang,
    /// A read ends after half its bytes, without an error. Other calls are not hit.
    Truncate,
    /// One bit of a read is wrong. Other calls are not hit.
    Flip,
}

/// A blob store whose k-th call goes wrong; for the loop "fail the k-th call, for every k, until a run is not hit".
///
/// Every method counts as one call. One fault is given, once.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
    hit: AtomicBool,
}

impl<S> Faulty<S> {
    /// `inner`, whose `at`-th call (from 1) goes wrong.
    pub fn new(inner: S, at: usize, fault: Fault) -> Self {
        Self { inner, fault, at, calls: AtomicUsize::new(0), hit: AtomicBool::new(false) }
    }

    /// The store within.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Whether the fault was met.
    pub fn was_hit(&self) -> bool {
        self.hit.load(Ordering::SeqCst)
    }

    /// Counts a call; the fault if it is this one's, and one that this call can have.
    fn next(&self, reads: bool) -> Option<Fault> {
        let this = self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
        let fits = reads || !matches!(self.fault, Fault::Truncate | Fault::Flip);
        (this && fits).then(|| {
            self.hit.store(true, Ordering::SeqCst);
            self.fault
        })
    }
}

fn injected() -> Error {
    Error::new(ErrorKind::Unreachable, "fault injected by the test")
}

/// Does the work as the fault wants it.
async fn with<T>(fault: Option<Fault>, work: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        Some(Fault::Before) => Err(injected()),
        Some(Fault::After) => work.await.and_then(|_| Err(injected())),
        Some(Fault::Hang) => {
            work.await?;
            std::future::pending().await
        }
        _ => work.await,
    }
}

/// The body, cut or bent.
async fn spoilt(blob: Blob, fault: Fault) -> Result<Blob> {
    let pieces: Vec<Bytes> = blob.body.try_collect().await?;
    let mut whole = pieces.concat();
    let middle = whole.len() / 2;
    match fault {
        Fault::Truncate => whole.truncate(middle),
        _ => whole.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 1),
    }
    Ok(Blob { bytes: blob.bytes, body: Bytes::from(whole).open() })
}

#[async_trait]
impl<S: BlobStore> BlobStore for Faulty<S> {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn folder(&self) -> Option<&std::path::Path> {
        self.inner.folder()
    }

    async fn make_ready(&self) {
        self.inner.make_ready().await;
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        with(self.next(false), self.inner.put(key, body)).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        let fault = self.next(true);
        let blob = with(fault, self.inner.get(key)).await?;
        match fault {
            Some(fault) => spoilt(blob, fault).await,
            None => Ok(blob),
        }
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        match self.next(false) {
            Some(Fault::Before) => stream::once(async { Err(injected()) }).boxed(),
            Some(Fault::Hang) => self.inner.list(prefix).chain(stream::pending()).boxed(),
            Some(_) => self.inner.list(prefix).chain(stream::once(async { Err(injected()) })).boxed(),
            None => self.inner.list(prefix),
        }
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        with(self.next(false), self.inner.copy(from, to)).await
    }

    async fn is_one_file(&self, one: &BlobKey, other: &BlobKey) -> Result<bool> {
        with(self.next(false), self.inner.is_one_file(one, other)).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        with(self.next(false), self.inner.delete(key)).await
    }

    async fn sweep_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<Vec<String>> {
        with(self.next(false), self.inner.sweep_uploads(prefix, before, dry_run)).await
    }

    async fn abilities(&self, prefix: &str) -> Result<Vec<Ability>> {
        with(self.next(false), self.inner.abilities(prefix)).await
    }
}
