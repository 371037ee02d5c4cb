//! How long a request may take, and what is done when nothing comes.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use reqwest::{Body, Method, Response};
use s3::Bucket;
use s3::command::Command;
use s3::error::S3Error;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::Client;
use super::errors::{sorted, unreachable, was_given_up};
use crate::blob::{Body as _, ByteStream};
use crate::error::{Error, Result};

/// For requests that let the server work on a whole object, as long as it answers others meanwhile.
const LONGEST: Duration = Duration::from_secs(600);
/// A body is handed over in pieces of this size, so that it can be seen to move.
const PIECE_BYTES: usize = 64 << 10;

/// What a request waits for.
#[derive(Clone, Copy)]
pub(super) enum Wait<'a> {
    /// The beginning of an answer that costs the server nothing.
    Answer,
    /// The server's work on a whole object.
    Work,
    /// The server's taking of a body.
    Sending(&'a Progress),
}

/// When a body last moved, and whether it broke off.
pub(super) struct Progress {
    moved: Mutex<Instant>,
    broken: Mutex<Option<Error>>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { moved: Mutex::new(Instant::now()), broken: Mutex::default() })
    }

    pub(super) fn moved(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaks(&self, error: Error) {
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// What the body ended in, if it was an error.
    pub(super) fn broken(&self) -> Option<Error> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Client {
    /// The request's outcome, sorted; `Unreachable` if the server is silent for too long.
    ///
    /// A server that is silent for the idle timeout is asked for something small: if it does not answer that either, it
    /// counts as silent, and for a while nobody asks it again. If it does, its work gets more time, and a body that may
    /// still be on its way half as much again; anything else is over.
    pub(super) async fn within<T>(
        &self,
        wait: Wait<'_>,
        object: &str,
        request: impl Future<Output = Result<T, S3Error>>,
    ) -> Result<T> {
        self.peer.ask()?;
        let began = Instant::now();
        let moved = || match wait {
            Wait::Sending(progress) => progress.at().max(began),
            Wait::Answer | Wait::Work => began,
        };
        let mut request = pin!(request);
        let mut patience = self.patience();
        loop {
            if let Ok(outcome) = timeout_at(moved() + patience, &mut request).await {
                return self.came_of(outcome, object, moved()).await;
            }
            if moved().elapsed() < patience {
                continue;
            }
            let silent = format!("sent nothing for {} s", moved().elapsed().as_secs());
            let answers = tokio::select! {
                outcome = &mut request => return self.came_of(outcome, object, moved()).await,
                answers = self.answers(object) => answers,
            };
            if !answers {
                let error = unreachable(&self.options, &format!("{silent}, and answers nothing else"));
                return Err(self.peer.silent(error));
            }
            let idle = self.peer.idle();
            let most = match wait {
                Wait::Answer => Duration::ZERO,
                Wait::Work => LONGEST,
                Wait::Sending(_) => idle + idle / 2,
            };
            if patience >= most {
                return Err(self.gave_up(wait, unreachable(&self.options, &silent)));
            }
            tracing::info!(object, "S3 server {silent}; it is there, waiting on");
            patience = (patience + idle).min(most);
        }
    }

    /// The outcome of a request that came to its end.
    async fn came_of<T>(&self, outcome: Result<T, S3Error>, object: &str, moved: Instant) -> Result<T> {
        match outcome {
            // reqwest has the system end a connection whose other end has taken nothing for 30 s.
            Err(S3Error::Reqwest(error)) if was_given_up(&error) => {
                let silent = format!("sent nothing for {} s", moved.elapsed().as_secs());
                if self.answers(object).await {
                    self.doubt();
                    return Err(unreachable(&self.options, &silent));
                }
                let silent = format!("{silent}, and answers nothing else");
                Err(self.peer.silent(unreachable(&self.options, &silent)))
            }
            Err(error @ S3Error::Reqwest(_)) => Err(sorted(&self.options, object, error)),
            answered => {
                self.heard();
                answered.map_err(|error| sorted(&self.options, object, error))
            }
        }
    }

    /// A request without answer is tried once more, in a hurry; a body that does not pass would not pass again.
    fn gave_up(&self, wait: Wait<'_>, error: Error) -> Error {
        match wait {
            Wait::Answer => {
                self.doubt();
                error
            }
            Wait::Work | Wait::Sending(_) => self.peer.silent(error),
        }
    }

    /// Whether the server answers anything at all.
    async fn answers(&self, object: &str) -> bool {
        let asked = async {
            let bucket = self.bucket().await.ok()?;
            let head = ReqwestRequest::new(&bucket, object, Command::HeadObject).await.ok()?.response().await;
            (!matches!(head, Err(S3Error::Reqwest(_)))).then_some(())
        };
        timeout(self.peer.probe(), asked).await.is_ok_and(|answer| answer.is_some())
    }
}

/// Sends a request with this body as rust-s3 would, but piece by piece; `progress` tells that it moves.
pub(super) async fn send(
    bucket: &Bucket,
    object: &str,
    command: Command<'_>,
    content: Bytes,
    progress: &Arc<Progress>,
) -> Result<Response, S3Error> {
    let request = ReqwestRequest::new(bucket, object, command).await?;
    // Its length is among the headers.
    let headers = request.headers().await?;
    let sent = bucket.http_client().request(Method::PUT, request.url()?.as_str()).headers(headers);
    answered(sent.body(Body::wrap_stream(pieces(content.open(), progress))).send().await?).await
}

/// The body in small pieces; `progress` tells that it moves, and what it broke off with.
pub(super) fn pieces(
    body: ByteStream,
    progress: &Arc<Progress>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let start = (body, Bytes::new(), Arc::clone(progress));
    stream::try_unfold(start, |(mut body, mut rest, progress)| async move {
        progress.moved();
        while rest.is_empty() {
            match body.try_next().await {
                Ok(Some(piece)) => rest = piece,
                Ok(None) => return Ok(None),
                Err(error) => {
                    progress.breaks(error);
                    return Err(io::Error::other("the body broke off"));
                }
            }
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Ok(Some((piece, (body, rest, progress))))
    })
}

/// The answer, unless it says no.
pub(super) async fn answered(response: Response) -> Result<Response, S3Error> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    Err(S3Error::HttpFailWithBody(status, response.text().await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use futures_util::StreamExt;

    #[tokio::test]
    async fn a_body_moves_in_small_pieces_and_tells_what_it_broke_off_with() {
        let broken = stream::once(async { Err(Error::new(ErrorKind::Disk, "the disk's own")) });
        let body = Bytes::from(vec![1; 1 << 20]).open().chain(broken).boxed();
        let progress = Progress::new();
        let sent: Vec<_> = pieces(body, &progress).collect().await;
        let (last, sent) = sent.split_last().expect("pieces");
        // A line that takes a few KiB a second is slow, and not silent.
        assert!(sent.iter().all(|piece| piece.as_ref().is_ok_and(|piece| piece.len() == PIECE_BYTES)));
        assert_eq!((sent.len() * PIECE_BYTES, last.is_err()), (1 << 20, true));
        assert_eq!(progress.broken().expect("its error").kind(), ErrorKind::Disk);
    }
}
