//! [`S3Blobs`]: objects in a bucket of any server that speaks S3. The only place that knows rust-s3.

mod abilities;
mod client;
mod credentials;
mod download;
mod errors;
mod exists;
mod options;
mod orphans;
mod part;
mod piecewise;
mod raw;
mod upload;
mod wait;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::blob::verify::same_or_exists;
use crate::blob::{Ability, Blob, BlobKey, BlobMeta, BlobStore, Body, ByteStream};
use crate::config::{BlobConfig, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::retry;
use crate::watermark::Timestamp;
use client::Client;
use errors::refusal;
use wait::Wait;

pub use options::S3Options;

/// Objects in a bucket.
///
/// Nothing is sent before the first call; keys are looked up then and renewed before they expire. Every request is
/// tried up to five times if the server is busy or does not answer. Objects of 8 MiB and more are sent in parts, two at a
/// time, each piece by piece from where it lies; parts of a stream that cannot be read from its middle, as of a compressed
/// one, are gathered in nameless files in the temporary folder. What has to lie in memory is 16 MiB at most of all uploads
/// of a process together. An upload that fails or is dropped is aborted; a killed process leaves invisible parts behind, for
/// which the bucket should have a lifecycle rule `AbortIncompleteMultipartUpload`.
///
/// An object that is there is never replaced by [`BlobStore::put`]: it is looked for first, since some servers ignore
/// `If-None-Match`, and that header closes the gap on those that know it.
#[derive(Clone)]
pub struct S3Blobs {
    client: Arc<Client>,
}

impl S3Blobs {
    /// The bucket that `config` names, with what the environment adds: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`,
    /// `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_PROFILE` and the access key.
    ///
    /// # Errors
    /// `Config` for an address that is not `s3://bucket[/prefix]`, or an endpoint without `http://` or `https://`.
    pub fn new(config: &BlobConfig, environment: &Environment) -> Result<Self> {
        // One setting for the whole process: rust-s3's own retries, of reads only, would multiply with ours.
        s3::set_retries(0);
        let options = S3Options::resolve(config, environment)?;
        Ok(Self { client: Arc::new(Client::new(options, environment.clone(), config.idle_timeout)) })
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> &S3Options {
        &self.client.options
    }

    fn object(&self, key: &BlobKey) -> String {
        format!("{}{key}", self.client.options.prefix)
    }

    /// The existing object as a stream, if there is one.
    async fn existing(&self, object: &str) -> Result<Option<ByteStream>> {
        match download::open(&self.client, object).await {
            Ok(blob) => Ok(Some(blob.body)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        token: Option<String>,
    ) -> Result<(Vec<BlobMeta>, Option<String>)> {
        let (client, from) = (&self.client, format!("{}{prefix}", self.client.options.prefix));
        let after = after.map(|after| format!("{}{after}", self.client.options.prefix));
        let (page, _) = retry("list objects", || async {
            let bucket = client.bucket().await?;
            let page = bucket.list_page(from.clone(), None, token.clone(), after.clone(), Some(1000));
            client.within(Wait::Answer, &from, page).await
        })
        .await?;
        if page.is_truncated && page.next_continuation_token.is_none() {
            return Err(Error::new(ErrorKind::Data, format!("list of `{}` ends half-way", self.url()))
                .with_hint("the server does not say how to go on; dwh needs ListObjectsV2"));
        }
        let metas = page.contents.into_iter().filter_map(|object| {
            let key = BlobKey::parse(object.key.strip_prefix(&self.client.options.prefix)?).ok()?;
            Some((key, object.size, object.last_modified))
        });
        let metas = metas.map(|(key, bytes, modified)| Ok(BlobMeta { key, bytes, modified: modified.parse()? }));
        Ok((metas.collect::<Result<_>>()?, page.next_continuation_token.filter(|_| page.is_truncated)))
    }

    /// All pages of a listing.
    fn gathered(&self, prefix: String, after: Option<String>) -> BoxStream<'_, Result<BlobMeta>> {
        let gathered = async move {
            let (mut all, mut token) = (Vec::new(), None);
            loop {
                let (page, next) = self.page(&prefix, after.as_deref(), token).await?;
                all.extend(page);
                if next.is_none() {
                    break;
                }
                token = next;
            }
            all.sort_by(|a: &BlobMeta, b| a.key.cmp(&b.key));
            // A server that does not know `start-after` sends all of them.
            all.retain(|meta| after.as_deref().is_none_or(|after| meta.key.as_str() > after));
            Ok(stream::iter(all.into_iter().map(Ok)))
        };
        Box::pin(stream::once(gathered).try_flatten())
    }

    /// Begins an upload in parts and leaves it, as a process does that is killed.
    #[cfg(feature = "testing")]
    pub(crate) async fn leave_upload(&self, key: &BlobKey) -> Result<()> {
        upload::leave(&self.client, &self.object(key)).await
    }

    /// For objects above the 5 GB that a server copies by itself: through this machine, part by part.
    async fn copy_through(&self, from: &str, to: &str) -> Result<()> {
        let source = Once::new(download::open(&self.client, from).await?.body);
        upload::put(&self.client, to, &source, false).await.map(|_| ()).map_err(|failed| failed.error)
    }
}

/// A stream that is sent once.
struct Once(Mutex<Option<ByteStream>>);

impl Once {
    fn new(stream: ByteStream) -> Self {
        Self(Mutex::new(Some(stream)))
    }
}

impl Body for Once {
    fn open(&self) -> ByteStream {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| {
            let error = Error::new(ErrorKind::Internal, "a stream that can be sent once was asked for twice");
            Box::pin(stream::once(std::future::ready(Err(error))))
        })
    }
}

impl fmt::Debug for S3Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Blobs({})", self.url())
    }
}

/// Whether an object is not there; a missing bucket is another matter.
fn is_missing(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound && refusal(error).is_none_or(|refusal| refusal.code != "NoSuchBucket")
}

#[async_trait]
impl BlobStore for S3Blobs {
    fn url(&self) -> &str {
        &self.client.options.url
    }

    /// The certificates of the system are read for it, also where the server has none; a listing takes less time.
    async fn make_ready(&self) {
        if let Err(error) = self.client.bucket().await {
            tracing::debug!(error = %error.chain(), "the first request tells what is wrong");
        }
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        let object = self.object(key);
        let address = self.client.options.address(&object);
        if self.client.exists(&object).await?
            && let Some(existing) = self.existing(&object).await?
        {
            return same_or_exists(&address, existing, body).await;
        }
        let failed = match upload::put(&self.client, &object, body, true).await {
            Ok(bytes) => return Ok(bytes),
            Err(failed) if !failed.maybe_stored => return Err(failed.error),
            Err(failed) => failed.error,
        };
        // The answer was lost, or it said that the object is there: what the bucket holds decides.
        match self.existing(&object).await {
            Ok(Some(existing)) => same_or_exists(&address, existing, body).await,
            Ok(None) | Err(_) => Err(failed),
        }
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        download::open(&self.client, &self.object(key)).await
    }

    /// Gathers all pages before the first object comes out (about 150 bytes of memory each): SeaweedFS lists folder by
    /// folder, which is not the order of the keys.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        self.gathered(prefix.to_owned(), None)
    }

    fn list_after(&self, prefix: &str, after: &str) -> BoxStream<'_, Result<BlobMeta>> {
        self.gathered(prefix.to_owned(), Some(after.to_owned()))
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        let (source, target) = (self.object(from), self.object(to));
        let client = &self.client;
        // rust-s3 puts the source into a header as it is.
        let encoded = s3::signing::uri_encode(&source, false);
        let copied = retry("copy object", || async {
            let bucket = client.bucket().await?;
            // It answers 200 as soon as it begins and tells an error in the body: rust-s3 looks for that.
            client.within(Wait::Work, &source, bucket.copy_object_internal(&encoded, &target)).await
        })
        .await;
        match copied {
            Err(error) if refusal(&error).is_some_and(|r| r.code == "InvalidRequest" || r.status == 501) => {
                self.copy_through(&source, &target).await
            }
            other => other.map(|_| ()),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let (client, object) = (&self.client, self.object(key));
        let deleted = retry("delete object", || async {
            let bucket = client.bucket().await?;
            client.within(Wait::Answer, &object, bucket.delete_object(&object)).await
        });
        match deleted.await {
            Err(error) if is_missing(&error) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn sweep_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<Vec<String>> {
        let (client, from) = (&self.client, format!("{}{prefix}", self.client.options.prefix));
        let mut left = Vec::new();
        for (object, id) in orphans::find(client, &from, before).await? {
            if !dry_run {
                upload::abort(client, &object, &id).await?;
            }
            left.push(client.options.address(&object));
        }
        Ok(left)
    }

    async fn abilities(&self, prefix: &str) -> Result<Vec<Ability>> {
        abilities::abilities(self, prefix).await
    }
}
