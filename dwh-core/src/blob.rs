//! The trait [`BlobStore`]: where CSV files and their manifests are kept, and the names they have there.

mod archive;
mod aside;
mod key;
mod local;
mod manifest;
mod memory;
mod probe;
mod s3;
pub(crate) mod scratch;
pub mod transform;
pub(crate) mod verify;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::watermark::Timestamp;

pub(crate) use aside::copy_as_it_is;

pub use archive::{
    Archived, ReadBack, archive, archive_read, read_back, read_manifest, read_manifest_at, write_manifest,
};
pub use key::{BlobKey, Folder, Layout};
pub use local::LocalBlobs;
pub use manifest::{Manifest, StoredForm};
pub use memory::MemoryBlobs;
pub use probe::{Ability, Feature, probe};
pub(crate) use probe::{any_probe, probe_prefix};
pub use s3::{S3Blobs, S3Options};

/// Bytes on their way. The end of the stream means that all were sent; anything else is an `Err`.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Bytes that can be sent more than once, so that a failed transfer is repeated without asking the source again.
pub trait Body: Send + Sync {
    /// A stream of the bytes from the beginning.
    fn open(&self) -> ByteStream;

    /// At most `most` bytes from `at` on, once that many are there or the body has ended; none at its end. `None` for a
    /// body of which no part can be sent again without the bytes before it.
    fn part(&self, _at: u64, _most: u64) -> Option<BoxFuture<'static, Result<BodyPart>>> {
        None
    }

    /// Hears that its first `until` bytes stand at the beginning of this file too, where nobody changes them: a body that
    /// keeps its bytes on a disk need not keep those a second time. May be called as the file grows.
    fn kept(&self, _file: &Arc<File>, _until: u64) {}
}

/// A part of a body, whose size is known before it is sent.
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct BodyPart {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its bytes.
    pub body: Box<dyn Body>,
}

impl BodyPart {
    /// A part of `bytes` bytes.
    #[must_use]
    pub fn new(bytes: u64, body: impl Body + 'static) -> Self {
        Self { bytes, body: Box::new(body) }
    }
}

impl fmt::Debug for BodyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyPart").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Body for Bytes {
    fn open(&self) -> ByteStream {
        let bytes = self.clone();
        Box::pin(futures_util::stream::once(async move { Ok(bytes) }))
    }

    fn part(&self, at: u64, most: u64) -> Option<BoxFuture<'static, Result<BodyPart>>> {
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(self.len());
        let part = self.slice(at..self.len().min(at.saturating_add(usize::try_from(most).unwrap_or(usize::MAX))));
        Some(Box::pin(std::future::ready(Ok(BodyPart::new(part.len() as u64, part)))))
    }
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobMeta {
    /// Its key.
    pub key: BlobKey,
    /// Its size in bytes, as stored.
    pub bytes: u64,
    /// When it was last written, by the store's clock.
    pub modified: Timestamp,
}

/// An object on its way out of the store.
pub struct Blob {
    /// Its size in bytes as the store announces it; a body of another length ends in an `Err`.
    pub bytes: u64,
    /// Its bytes.
    pub body: ByteStream,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Where CSV files and manifests are kept.
///
/// # Contract
/// Keys are made by [`Layout`] and unique to a run, so two writers never meet on one key by design. The pipeline puts
/// the CSV first and its manifest last; an object without a manifest does not exist for it. Calls for different keys
/// run in parallel. Stores are not trusted: whatever is read back is hashed and compared with the manifest before it
/// counts, whatever checksums the store offers. Transient failures are retried inside the store, with backoff; an error
/// that comes out has outlived that.
///
/// # The least
/// `url`, `put`, `get`, `list`, `copy` and `delete`. With `folder`, free space is told; `list_after` and `abilities` save time,
/// and `sweep_uploads` is for stores that keep parts of uploads. `testing::blob_contract` checks the promises, [`MemoryBlobs`]
/// keeps them in a hundred lines.
///
/// # Wrappers
/// A method that is not forwarded falls back to what the trait does by itself: put `#[deny(clippy::missing_trait_methods)]` on
/// the `impl`.
#[async_trait]
pub trait BlobStore: fmt::Debug + Send + Sync {
    /// The store's address without a trailing slash, such as `s3://bucket/prefix` or `file:///var/lib/dwh`; no secrets.
    fn url(&self) -> &str;

    /// The folder that holds the objects, if they lie on a disk of this machine, so that its free space can be told.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Does what the first request would have to wait for, such as looking keys up. Asked for while others are waited for,
    /// so what goes wrong is told by the first request.
    async fn make_ready(&self) {}

    /// Creates the object from the body and returns its size in bytes.
    ///
    /// All or nothing: it is visible once this returns, or not at all, also after a crash or when the future is
    /// dropped; durable when this returns. An object that is there already with the same bytes counts as written.
    ///
    /// # Errors
    /// The body's own error, unchanged, if it ended in one; `Exists` if the key holds other bytes; `Unreachable`,
    /// `Auth`, `Permission`, `Busy`, `Disk`.
    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64>;

    /// Opens the object.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    async fn get(&self, key: &BlobKey) -> Result<Blob>;

    /// All objects whose key begins with `prefix`, in byte order of the keys, page by page.
    /// Objects whose names are not keys of this library are passed over.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>>;

    /// Those of [`list`](Self::list) whose keys come after `after` in byte order; a store that can skip the others should.
    fn list_after(&self, prefix: &str, after: &str) -> BoxStream<'_, Result<BlobMeta>> {
        let after = after.to_owned();
        let newer = move |meta: &BlobMeta| futures_util::future::ready(meta.key.as_str() > after.as_str());
        Box::pin(self.list(prefix).try_filter(newer))
    }

    /// Makes `to` hold the bytes of `from`, inside the store where it can. An existing `to` is replaced.
    ///
    /// # Errors
    /// `NotFound` if there is no `from`.
    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()>;

    /// Whether both are one file under two names, as a [copy](Self::copy) may make it: their bytes cannot differ then.
    ///
    /// # Errors
    /// `NotFound` if one of them is not there; `Permission`, `Disk`.
    async fn is_one_file(&self, _one: &BlobKey, _other: &BlobKey) -> Result<bool> {
        Ok(false)
    }

    /// Removes the object; one that is not there counts as removed.
    ///
    /// # Errors
    /// `Permission`, `Unreachable`.
    async fn delete(&self, key: &BlobKey) -> Result<()>;

    /// Removes what uploads of keys under `prefix` left that were last written to before this moment, by the store's own
    /// stamps, and never came to their end, and names it; with `dry_run` it only names it. The caller says the moment,
    /// because no clock of this machine is asked. A store that never keeps such parts has nothing to do.
    ///
    /// # Errors
    /// If the store cannot tell; nothing depends on it.
    async fn sweep_uploads(&self, _prefix: &str, _before: Timestamp, _dry_run: bool) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What the store can do beyond this contract, tried out on tiny objects whose keys begin with `prefix`, and which are
    /// removed again. A store about which there is nothing to say has none.
    ///
    /// # Errors
    /// What kept it from being tried.
    async fn abilities(&self, _prefix: &str) -> Result<Vec<Ability>> {
        Ok(Vec::new())
    }
}

/// The store of a configuration. Connects to nothing yet.
///
/// # Errors
/// `Config` if the address cannot be used.
pub fn open(
    config: &crate::config::BlobConfig,
    environment: &crate::config::Environment,
) -> Result<Arc<dyn BlobStore>> {
    if config.url.starts_with("s3://") {
        Ok(Arc::new(S3Blobs::new(config, environment)?))
    } else {
        Ok(Arc::new(LocalBlobs::open(&config.url)?))
    }
}
