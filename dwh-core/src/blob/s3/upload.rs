//! Writing an object: in one request if it is small, in parts if it is not; visible whole or not at all.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http::header::ETAG;
use s3::command::{Command, Multipart};
use s3::serde_types::Part;
use std::sync::Arc;
use tokio::task::JoinSet;

use super::client::Client;
use super::wait::{Progress, Wait, send};
use crate::blob::ByteStream;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::retry;

/// Size of the first parts, and the largest object that goes without any.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once. The library copies each, so two need about 40 MiB together with the one that is filled.
const IN_FLIGHT: usize = 2;
/// What S3 allows.
const MAX_PARTS: u32 = 10_000;

/// Why an upload failed, and whether the object may be there all the same.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) maybe_stored: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, maybe_stored: false }
    }
}

/// Writes the stream. With `create`, servers that can are told to refuse if the object exists.
pub(super) async fn put(client: &Arc<Client>, object: &str, body: ByteStream, create: bool) -> Result<u64, Failed> {
    let mut parts = Parts { body, rest: Bytes::new(), bytes: 0 };
    let first = parts.next(PART_BYTES).await?;
    if first.len() < PART_BYTES {
        return put_whole(client, object, &first, create).await;
    }
    let mut upload = Upload::begin(client, object).await?;
    let sent = match upload.send(first, &mut parts).await {
        Ok(sent) => sent,
        Err(error) => {
            upload.abort().await;
            return Err(error.into());
        }
    };
    match upload.complete(sent, create).await {
        Ok(()) => Ok(parts.bytes),
        Err(error) => {
            upload.abort().await;
            Err(Failed { error, maybe_stored: true })
        }
    }
}

/// What a part is, by its number from 1: 8 MiB for the first 40 GB, then twice as much every thousand parts, so that
/// 10,000 parts hold more than 500 GB. Some servers want equal parts; nobody notices before 40 GB.
const fn part_bytes(number: u32) -> usize {
    let doublings = if number > 5_000 { (number - 5_001) / 1_000 + 1 } else { 0 };
    PART_BYTES << doublings
}

/// The body, cut into parts.
struct Parts {
    body: ByteStream,
    rest: Bytes,
    bytes: u64,
}

impl Parts {
    /// The next `size` bytes; fewer only at the end of the body.
    async fn next(&mut self, size: usize) -> Result<Bytes> {
        let mut part = BytesMut::with_capacity(size.min(PART_BYTES));
        while part.len() < size {
            if self.rest.is_empty() {
                match self.body.try_next().await? {
                    Some(piece) => self.rest = piece,
                    None => break,
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(size - part.len()));
            part.extend_from_slice(&taken);
        }
        self.bytes += part.len() as u64;
        Ok(part.freeze())
    }
}

fn content_type(object: &str) -> &'static str {
    match object.rsplit_once('.') {
        Some((_, "csv")) => "text/csv",
        Some((_, "json")) => "application/json",
        _ => "application/octet-stream",
    }
}

async fn put_whole(client: &Client, object: &str, content: &Bytes, create: bool) -> Result<u64, Failed> {
    let put = retry("put object", || async {
        let bucket = client.bucket().await?;
        let custom_headers = Some(client.condition(create));
        let command =
            Command::PutObject { content, content_type: content_type(object), custom_headers, multipart: None };
        let progress = Progress::new();
        let put = send(&bucket, object, command, content.clone(), &progress);
        client.within(Wait::Sending(&progress), object, put).await.map_err(|error| client.noted(error))
    });
    match put.await {
        Ok(_) => Ok(content.len() as u64),
        Err(error) => Err(Failed { maybe_stored: is_doubtful(&error), error }),
    }
}

/// Whether the object may be there although the request failed: no clear answer, or one that says that it is.
fn is_doubtful(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Exists | ErrorKind::Unreachable | ErrorKind::Busy | ErrorKind::Internal)
}

/// A multipart upload; aborted when it is dropped unfinished.
struct Upload {
    client: Arc<Client>,
    object: String,
    id: String,
    open: bool,
}

impl Upload {
    async fn begin(client: &Arc<Client>, object: &str) -> Result<Self> {
        let begun = retry("begin upload", || async {
            let bucket = client.bucket().await?;
            let begin = bucket.initiate_multipart_upload(object, content_type(object));
            client.within(Wait::Answer, object, begin).await
        })
        .await?;
        Ok(Self { client: Arc::clone(client), object: object.to_owned(), id: begun.upload_id, open: true })
    }

    /// Sends all parts in order, two at a time. The tasks end with this future, since the set owns them.
    async fn send(&self, first: Bytes, parts: &mut Parts) -> Result<Vec<Part>> {
        let (mut flying, mut sent) = (JoinSet::new(), Vec::new());
        let (mut number, mut part) = (1, first);
        while !part.is_empty() {
            if number > MAX_PARTS {
                return Err(Error::new(ErrorKind::Config, format!("blob `{}` is too large for S3", self.object))
                    .with_hint("set `window` on the table, so that history comes in several files"));
            }
            if flying.len() == IN_FLIGHT {
                sent.extend(landed(&mut flying).await?);
            }
            flying.spawn(send_part(Arc::clone(&self.client), self.object.clone(), self.id.clone(), number, part));
            number += 1;
            part = parts.next(part_bytes(number)).await?;
        }
        while let Some(part) = landed(&mut flying).await? {
            sent.push(part);
        }
        sent.sort_by_key(|part: &Part| part.part_number);
        Ok(sent)
    }

    async fn complete(&mut self, parts: Vec<Part>, create: bool) -> Result<()> {
        let (client, object) = (&self.client, &self.object);
        retry("complete upload", || async {
            let bucket = client.bucket().await?;
            let complete = async {
                let bucket = bucket.with_extra_headers(client.condition(create))?;
                // It answers 200 as soon as it begins and tells an error in the body: rust-s3 looks for that.
                bucket.complete_multipart_upload(object, &self.id, parts.clone()).await
            };
            client.within(Wait::Work, object, complete).await.map_err(|error| client.noted(error))
        })
        .await?;
        self.open = false;
        Ok(())
    }

    async fn abort(mut self) {
        self.open = false;
        clean_up(&self.client, &self.object, &self.id).await;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.open {
            let (client, object, id) = (Arc::clone(&self.client), self.object.clone(), self.id.clone());
            runtime.spawn(async move { clean_up(&client, &object, &id).await });
        }
    }
}

/// Begins an upload, sends a part, and leaves it so.
#[cfg(feature = "testing")]
pub(super) async fn leave(client: &Arc<Client>, object: &str) -> Result<()> {
    let mut upload = Upload::begin(client, object).await?;
    upload.open = false;
    send_part(Arc::clone(client), object.to_owned(), upload.id.clone(), 1, Bytes::from_static(b"x")).await.map(drop)
}

async fn landed(flying: &mut JoinSet<Result<Part>>) -> Result<Option<Part>> {
    let stopped = |error| Error::new(ErrorKind::Interrupted, "upload was stopped").with_source(error);
    flying.join_next().await.map(|landed| landed.map_err(stopped)?).transpose()
}

async fn send_part(client: Arc<Client>, object: String, id: String, part_number: u32, content: Bytes) -> Result<Part> {
    let answer = retry("send part", || async {
        let bucket = client.bucket().await?;
        let multipart = Some(Multipart::new(part_number, &id));
        let content_type = content_type(&object);
        let command = Command::PutObject { content: &content, content_type, custom_headers: None, multipart };
        let progress = Progress::new();
        let put = send(&bucket, &object, command, content.clone(), &progress);
        client.within(Wait::Sending(&progress), &object, put).await
    })
    .await?;
    let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Part { part_number, etag })
}

/// Calls an upload off; one that is not there any more counts as called off.
pub(super) async fn abort(client: &Client, object: &str, id: &str) -> Result<()> {
    let aborted = retry("abort upload", || async {
        let bucket = client.bucket().await?;
        client.within(Wait::Answer, object, bucket.abort_upload(object, id)).await
    });
    match aborted.await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Best effort: what stays is invisible, and the bucket's lifecycle rule removes it.
async fn clean_up(client: &Client, object: &str, id: &str) {
    if let Err(error) = abort(client, object, id).await {
        tracing::warn!(object, %error, "unfinished upload could not be aborted");
    }
}

/// Ids of all uploads under a prefix that are not finished.
pub(super) async fn open_ids(client: &Client, prefix: &str) -> Result<Vec<String>> {
    let bucket = client.bucket().await?;
    let pages = client.within(Wait::Answer, prefix, bucket.list_multiparts_uploads(Some(prefix), None)).await?;
    Ok(pages.into_iter().flat_map(|page| page.uploads).map(|upload| upload.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};

    #[test]
    fn parts_grow_and_stay_within_what_s3_allows() {
        assert_eq!((part_bytes(1), part_bytes(5_000)), (PART_BYTES, PART_BYTES));
        assert_eq!((part_bytes(5_001), part_bytes(6_000), part_bytes(6_001)), (16 << 20, 16 << 20, 32 << 20));
        let all: u64 = (1..=MAX_PARTS).map(|number| part_bytes(number) as u64).sum();
        assert!(all > 500_000_000_000, "{all}");
        assert!((part_bytes(MAX_PARTS) as u64) < 5 << 30);
    }

    #[tokio::test]
    async fn parts_are_cut_to_size_whatever_the_pieces() {
        let body = stream::iter((0..10).map(|_| Ok(Bytes::from_static(&[7; 300])))).boxed();
        let mut parts = Parts { body, rest: Bytes::new(), bytes: 0 };
        let mut sizes = Vec::new();
        loop {
            let part = parts.next(1024).await.expect("part");
            if part.is_empty() {
                break;
            }
            sizes.push(part.len());
        }
        assert_eq!(sizes, [1024, 1024, 952]);
        assert_eq!(parts.bytes, 3000);
    }
}
