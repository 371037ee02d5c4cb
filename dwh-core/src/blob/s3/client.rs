//! One bucket with its keys, and the time that each request may take.

use http::HeaderMap;
use http::header::{HeaderValue, IF_NONE_MATCH};
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::{Bucket, Region};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

use super::errors::{refusal, sorted};
use super::{S3Options, credentials};
use crate::config::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::peer::Peer;
use crate::watermark::Micros;

/// Keys are renewed this long before they expire.
const RENEW_BEFORE_SECONDS: i64 = 300;

pub(super) struct Client {
    pub(super) options: S3Options,
    pub(super) peer: Peer,
    /// Whether a request has met a silence, and no answer came since.
    in_doubt: AtomicBool,
    environment: Environment,
    bucket: Mutex<Option<Opened>>,
    conditional: AtomicBool,
    hashes: AtomicBool,
}

#[derive(Clone)]
struct Opened {
    bucket: Arc<Bucket>,
    expires: Option<i64>,
}

impl Opened {
    fn lasts(&self, seconds: i64) -> bool {
        self.expires.is_none_or(|at| jiff::Timestamp::now().as_second() + seconds < at)
    }
}

impl Client {
    pub(super) fn new(options: S3Options, environment: Environment, idle_timeout: Micros) -> Self {
        Self {
            options,
            peer: Peer::new(idle_timeout),
            in_doubt: AtomicBool::new(false),
            environment,
            bucket: Mutex::new(None),
            conditional: AtomicBool::new(true),
            hashes: AtomicBool::new(false),
        }
    }

    /// How long the server may be silent now: a quarter of the idle timeout after a request that was in vain.
    pub(super) fn patience(&self) -> Duration {
        if self.in_doubt.load(Ordering::Relaxed) { self.peer.probe() } else { self.peer.idle() }
    }

    /// A request met a silence.
    pub(super) fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }

    /// An answer came.
    pub(super) fn heard(&self) {
        self.in_doubt.store(false, Ordering::Relaxed);
        self.peer.heard();
    }

    /// The bucket with keys that are good for a while.
    pub(super) async fn bucket(&self) -> Result<Arc<Bucket>> {
        let mut current = self.bucket.lock().await;
        if let Some(opened) = current.as_ref().filter(|opened| opened.lasts(RENEW_BEFORE_SECONDS)) {
            return Ok(Arc::clone(&opened.bucket));
        }
        match (self.open(current.clone()).await, &*current) {
            (Ok(opened), _) => Ok(Arc::clone(&current.insert(opened).bucket)),
            (Err(error), Some(old)) if old.lasts(0) => {
                tracing::warn!(%error, "access key for S3 could not be renewed yet");
                Ok(Arc::clone(&old.bucket))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn open(&self, old: Option<Opened>) -> Result<Opened> {
        let (options, environment) = (self.options.clone(), self.environment.clone());
        let work = move || {
            let found = credentials::find(&environment, options.profile.as_deref())?;
            let expires = found.expiration.map(|at| at.unix_timestamp());
            let bucket = connect(&options, found, old).map_err(|error| sorted(&options, "", error))?;
            Ok(Opened { bucket: Arc::new(bucket), expires })
        };
        let stopped =
            |error| Error::new(ErrorKind::Interrupted, "search for an access key was stopped").with_source(error);
        tokio::task::spawn_blocking(work).await.map_err(stopped)?
    }

    /// With `create`: `If-None-Match: *`, unless the server is known to refuse that header. Those that ignore it
    /// cannot be told from those that obey.
    pub(super) fn condition(&self, create: bool) -> HeaderMap {
        let wanted = create && self.conditional.load(Ordering::Relaxed);
        wanted.then(|| (IF_NONE_MATCH, HeaderValue::from_static("*"))).into_iter().collect()
    }

    /// Whether parts are hashed before they are sent.
    pub(super) fn hashes(&self) -> bool {
        self.hashes.load(Ordering::Relaxed)
    }

    /// A part was refused without a hash and taken with one, as by a bucket whose policy wants it, or one with a default
    /// retention: from now on all parts have one.
    pub(super) fn hash_from_now_on(&self) {
        if !self.hashes.swap(true, Ordering::Relaxed) {
            tracing::info!(
                blob = self.options.url,
                "the bucket wants a hash of each part; from now on all parts have one"
            );
        }
    }

    /// The outcome of a request with a condition: if the server has no such thing, the next try goes without.
    pub(super) fn noted(&self, error: Error) -> Error {
        let unknown = refusal(&error).is_some_and(|refusal| refusal.status == 501);
        if unknown && self.conditional.swap(false, Ordering::Relaxed) {
            return Error::new(ErrorKind::Busy, "S3 server does not know `If-None-Match`").with_source(error);
        }
        error
    }
}

fn connect(options: &S3Options, found: Credentials, old: Option<Opened>) -> Result<Bucket, S3Error> {
    if let Some(old) = old {
        let mut bucket = Bucket::clone(&old.bucket);
        bucket.set_credentials(found);
        return Ok(bucket);
    }
    let region = Region::Custom { region: options.region.clone(), endpoint: options.endpoint.clone() };
    let mut bucket = *Bucket::new(&options.bucket, region, found)?;
    if options.path_style {
        bucket.set_path_style();
    }
    // The library's limit would cover the whole body, however slowly it is read on purpose.
    bucket.set_request_timeout(None);
    Ok(bucket)
}
