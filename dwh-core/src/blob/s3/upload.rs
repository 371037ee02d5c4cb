//! Writing an object: in one request if it is small, in parts if it is not; visible whole or not at all.

#[cfg(feature = "testing")]
use bytes::Bytes;
use http::header::ETAG;
use reqwest::Response;
use s3::command::{Command, Multipart};
use s3::serde_types::Part as Sent;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::task::JoinSet;

use super::client::Client;
use super::errors::refusal;
use super::part::{PART_BYTES, Parts, part_bytes, piecewise, whole};
use super::piecewise::send_piecewise;
use super::wait::{Progress, Wait, send};
use crate::blob::{Body, BodyPart};
use crate::error::{Error, ErrorKind, Result};
use crate::retry::retry;

/// Parts of an object on their way at once.
const IN_FLIGHT: usize = 2;
/// How often a part is sent without its hash.
const UNHASHED_TRIES: u32 = 2;
/// What S3 allows.
pub(super) const MAX_PARTS: u32 = 10_000;

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

/// Writes the body. With `create`, servers that can are told to refuse if the object exists.
pub(super) async fn put(client: &Arc<Client>, object: &str, body: &dyn Body, create: bool) -> Result<u64, Failed> {
    let mut parts = Parts::new(body);
    let first = parts.next(PART_BYTES).await?;
    if first.bytes < PART_BYTES {
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

fn content_type(object: &str) -> &'static str {
    match object.rsplit_once('.') {
        Some((_, "csv")) => "text/csv",
        Some((_, "json")) => "application/json",
        _ => "application/octet-stream",
    }
}

async fn put_whole(client: &Client, object: &str, all: &BodyPart, create: bool) -> Result<u64, Failed> {
    let (content, _memory) = whole(object, all).await?;
    let put = retry("put object", || async {
        let bucket = client.bucket().await?;
        let custom_headers = Some(client.condition(create));
        let command = Command::PutObject {
            content: &content,
            content_type: content_type(object),
            custom_headers,
            multipart: None,
        };
        let progress = Progress::new();
        let put = send(&bucket, object, command, content.clone(), &progress);
        client.within(Wait::Sending(&progress), object, put).await.map_err(|error| client.noted(error))
    });
    match put.await {
        Ok(_) => Ok(all.bytes),
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
    async fn send(&self, first: BodyPart, parts: &mut Parts<'_>) -> Result<Vec<Sent>> {
        let (mut flying, mut sent) = (JoinSet::new(), Vec::new());
        let (mut number, mut part) = (1, first);
        while part.bytes > 0 {
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
        sent.sort_by_key(|part: &Sent| part.part_number);
        Ok(sent)
    }

    async fn complete(&mut self, parts: Vec<Sent>, create: bool) -> Result<()> {
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
    let x = Bytes::from_static(b"x");
    let part = Parts::new(&x).next(PART_BYTES).await?;
    send_part(Arc::clone(client), object.to_owned(), upload.id.clone(), 1, part).await.map(drop)
}

async fn landed(flying: &mut JoinSet<Result<Sent>>) -> Result<Option<Sent>> {
    let stopped = |error| Error::new(ErrorKind::Interrupted, "upload was stopped").with_source(error);
    flying.join_next().await.map(|landed| landed.map_err(stopped)?).transpose()
}

async fn send_part(client: Arc<Client>, object: String, id: String, part_number: u32, part: BodyPart) -> Result<Sent> {
    let tries = AtomicU32::new(0);
    let answer = retry("send part", || async {
        let part_of = Multipart::new(part_number, &id);
        // Who refuses a body while it still comes may end the connection before the refusal is read.
        if client.hashes() || tries.fetch_add(1, Ordering::Relaxed) >= UNHASHED_TRIES {
            return send_hashed(&client, &object, part_of, &part).await;
        }
        match send_unhashed(&client, &object, part_of.clone(), &part).await {
            Err(error) if may_want_a_hash(&error) => {
                let answer = send_hashed(&client, &object, part_of, &part).await?;
                client.hash_from_now_on();
                Ok(answer)
            }
            other => other,
        }
    })
    .await?;
    let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Sent { part_number, etag })
}

/// Whether the server might have taken the same part with its hash: a policy of the bucket may deny others, and some
/// servers do not know them.
fn may_want_a_hash(error: &Error) -> bool {
    refusal(error).is_some_and(|refusal| matches!(refusal.status, 400 | 403 | 501)) && !error.is_retryable()
}

/// Sends a part once, from where it lies.
async fn send_unhashed(client: &Client, object: &str, part_of: Multipart<'_>, part: &BodyPart) -> Result<Response> {
    let bucket = client.bucket().await?;
    let (body, _memory) = piecewise(object, part).await?;
    let progress = Progress::new();
    let put = send_piecewise(&bucket, object, put_part(&[], object, part_of), (part.bytes, body), &progress);
    let sent = client.within(Wait::Sending(&progress), object, put).await;
    // What the body itself says is the cause of what the connection says.
    progress.broken().map_or(sent, Err)
}

/// Sends a part once, with its hash, which rust-s3 computes of the whole of it.
async fn send_hashed(client: &Client, object: &str, part_of: Multipart<'_>, part: &BodyPart) -> Result<Response> {
    let bucket = client.bucket().await?;
    let (content, _memory) = whole(object, part).await?;
    let progress = Progress::new();
    let put = send(&bucket, object, put_part(&content, object, part_of), content.clone(), &progress);
    client.within(Wait::Sending(&progress), object, put).await
}

fn put_part<'a>(content: &'a [u8], object: &str, part_of: Multipart<'a>) -> Command<'a> {
    Command::PutObject { content, content_type: content_type(object), custom_headers: None, multipart: Some(part_of) }
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
