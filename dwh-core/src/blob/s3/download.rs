//! Reading an object: the announced length or an error, and on again where a connection broke.

use futures_util::stream;
use http::HeaderMap;
use http::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_MATCH};
use reqwest::{Response, StatusCode};
use s3::command::Command;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

use super::client::Client;
use super::errors::{refusal, unreachable};
use super::wait::Wait;
use crate::blob::Blob;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::retry;
use bytes::Bytes;

/// How often one body is taken up again.
const RESUMES: u32 = 3;

struct Download {
    client: Arc<Client>,
    object: String,
    etag: Option<HeaderValue>,
    total: u64,
    at: u64,
    resumes: u32,
    /// Whether the server was silent in the middle of this body. It is taken up again once, with less patience.
    was_silent: bool,
    response: Response,
}

/// Opens an object.
pub(super) async fn open(client: &Arc<Client>, object: &str) -> Result<Blob> {
    let response = retry("get object", || async {
        let bucket = client.bucket().await?;
        let get = async { ReqwestRequest::new(&bucket, object, Command::GetObject).await?.response().await };
        client.within(Wait::Answer, object, get).await
    })
    .await?;
    let Some(total) = response.content_length() else {
        return Err(Error::new(
            ErrorKind::Data,
            format!("blob `{}` came without a length", client.options.address(object)),
        )
        .with_hint("something between here and the server strips the header Content-Length"));
    };
    let etag = response.headers().get(ETAG).cloned();
    let (client, object) = (Arc::clone(client), object.to_owned());
    let download = Download { client, object, etag, total, at: 0, resumes: 0, was_silent: false, response };
    let body = stream::try_unfold(download, |mut download| async move {
        Ok(download.next().await?.map(|chunk| (chunk, download)))
    });
    Ok(Blob { bytes: total, body: Box::pin(body) })
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.at < self.total {
            // The reader may take as long as it likes: the clock runs only here.
            let patience = if self.was_silent { self.client.peer.probe() } else { self.client.patience() };
            match timeout(patience, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) if chunk.is_empty() => {}
                Ok(Ok(Some(chunk))) if self.at + chunk.len() as u64 <= self.total => {
                    self.at += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(Ok(Some(_))) => return Err(self.changed("is longer than announced")),
                Ok(Ok(None) | Err(_)) => self.resume().await?,
                Err(_) if self.was_silent => return Err(self.silent(patience)),
                Err(_) => {
                    self.was_silent = true;
                    self.client.doubt();
                    self.resume().await?;
                }
            }
        }
        Ok(None)
    }

    /// Asks for the rest, of the very same object.
    async fn resume(&mut self) -> Result<()> {
        let (at, total) = (self.at, self.total);
        if self.resumes == RESUMES {
            return Err(unreachable(
                &self.client.options,
                &format!("broke off after {at} of {total} bytes, each time"),
            ));
        }
        self.resumes += 1;
        tracing::warn!(object = self.object, at, total, "download broke off, taking it up again");
        let response = retry("get the rest of an object", || self.rest()).await.map_err(|error| {
            let gone = refusal(&error).is_some_and(|refusal| matches!(refusal.status, 404 | 412));
            if gone { self.changed("was replaced while it was read") } else { error }
        })?;
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let same = response.headers().get(ETAG) == self.etag.as_ref();
        if response.status() != StatusCode::PARTIAL_CONTENT || range != format!("bytes {at}-{}/{total}", total - 1) {
            return Err(unreachable(
                &self.client.options,
                &format!("broke off after {at} of {total} bytes, and cannot go on"),
            ));
        }
        if !same {
            return Err(self.changed("was replaced while it was read"));
        }
        self.response = response;
        Ok(())
    }

    async fn rest(&self) -> Result<Response> {
        let headers: HeaderMap = self.etag.iter().map(|etag| (IF_MATCH, etag.clone())).collect();
        let bucket = self.client.bucket().await?;
        let rest = async {
            let bucket = bucket.with_extra_headers(headers)?;
            let command = Command::GetObjectRange { start: self.at, end: None };
            ReqwestRequest::new(&bucket, &self.object, command).await?.response().await
        };
        self.client.within(Wait::Answer, &self.object, rest).await
    }

    /// It may answer small requests all the same; what does not pass here would not pass for others.
    fn silent(&self, patience: Duration) -> Error {
        let (at, total, seconds) = (self.at, self.total, patience.as_secs());
        let what = format!("sent nothing for {seconds} s, once more, after {at} of {total} bytes");
        self.client.peer.silent(unreachable(&self.client.options, &what))
    }

    fn changed(&self, what: &str) -> Error {
        Error::new(ErrorKind::Data, format!("blob `{}` {what}", self.client.options.address(&self.object)))
    }
}
