//! [`MemoryBlobs`]: objects in memory, for examples and tests.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::verify::same_or_exists;
use crate::blob::{Blob, BlobKey, BlobMeta, BlobStore, Body};
use crate::error::{Error, ErrorKind, Result};
use crate::watermark::Timestamp;

/// Objects in memory. Clones share them.
///
/// ```
/// use bytes::Bytes;
/// use dwh_core::{BlobKey, BlobStore, ErrorKind, MemoryBlobs};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryBlobs::new();
/// let key = BlobKey::parse("fleet/exports/trips/1.csv")?;
/// assert_eq!(store.put(&key, &Bytes::from("id\n1\n")).await?, 5);
/// assert_eq!(store.put(&key, &Bytes::from("id\n1\n")).await?, 5);
/// assert_eq!(store.put(&key, &Bytes::from("id\n2\n")).await.unwrap_err().kind(), ErrorKind::Exists);
/// # Ok::<(), dwh_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryBlobs {
    objects: Arc<Mutex<Objects>>,
}

type Objects = BTreeMap<BlobKey, (Bytes, Timestamp)>;

impl MemoryBlobs {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        // No code panics while it holds the lock, so a poisoned map is whole.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &BlobKey) -> Result<Bytes> {
        let found = self.objects().get(key).map(|(bytes, _)| bytes.clone());
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("blob `memory:{key}` does not exist")))
    }
}

impl fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBlobs({} objects)", self.objects().len())
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    fn url(&self) -> &str {
        "memory:"
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        let mut stream = body.open();
        let mut whole = BytesMut::new();
        while let Some(piece) = stream.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        let whole = whole.freeze();
        let existing = {
            let mut objects = self.objects();
            let existing = objects.get(key).map(|(bytes, _)| bytes.clone());
            if existing.is_none() {
                objects.insert(key.clone(), (whole.clone(), now()));
            }
            existing
        };
        match existing {
            None => Ok(whole.len() as u64),
            Some(existing) => same_or_exists(&format!("memory:{key}"), existing.open(), &whole).await,
        }
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        let bytes = self.find(key)?;
        Ok(Blob { bytes: bytes.len() as u64, body: bytes.open() })
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        let objects = self.objects();
        let found: Vec<Result<BlobMeta>> = objects
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, (bytes, modified))| {
                Ok(BlobMeta { key: key.clone(), bytes: bytes.len() as u64, modified: *modified })
            })
            .collect();
        Box::pin(stream::iter(found))
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        let bytes = self.find(from)?;
        self.objects().insert(to.clone(), (bytes, now()));
        Ok(())
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }
}
