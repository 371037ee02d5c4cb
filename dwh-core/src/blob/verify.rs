//! Checking bytes against what was announced: their number and their SHA-256.

use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use crate::blob::{BlobKey, BlobStore, Body, ByteStream};
use crate::dialect::hex;
use crate::error::{Error, ErrorKind, Result};

/// Length and SHA-256 of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Lower-case hex.
    pub(crate) sha256: String,
}

impl Fingerprint {
    /// Reads the stream to its end.
    pub(crate) async fn of(mut stream: ByteStream) -> Result<Self> {
        let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
        while let Some(piece) = stream.try_next().await? {
            hash.update(&piece);
            bytes += piece.len() as u64;
        }
        Ok(Self { bytes, sha256: hex(&hash.finalize()) })
    }

    /// Reads the object to its end.
    pub(crate) async fn of_blob(store: &dyn BlobStore, key: &BlobKey) -> Result<Self> {
        Self::of(store.get(key).await?.body).await
    }
}

/// What [`BlobStore::put`] answers when the key is taken: the size if it holds the very bytes of the body.
///
/// The body is read a second time for this, which is rare and spares every upload another hash.
pub(crate) async fn same_or_exists(address: &str, existing: ByteStream, body: &dyn Body) -> Result<u64> {
    let wanted = Fingerprint::of(body.open()).await?;
    if Fingerprint::of(existing).await? == wanted {
        return Ok(wanted.bytes);
    }
    Err(Error::new(ErrorKind::Exists, format!("blob `{address}` exists already, with other bytes")))
}

/// The stream, ending in an `Err` unless it has exactly `announced` bytes.
pub(crate) fn of_length(address: String, announced: u64, body: ByteStream) -> ByteStream {
    let wrong = move |got: u64| {
        Error::new(ErrorKind::Data, format!("blob `{address}` gave {got} bytes, announced were {announced}"))
    };
    Box::pin(stream::try_unfold((body, 0_u64, wrong), move |(mut body, got, wrong)| async move {
        match body.next().await {
            Some(piece) => {
                let piece = piece?;
                let got = got + piece.len() as u64;
                if got > announced { Err(wrong(got)) } else { Ok(Some((piece, (body, got, wrong)))) }
            }
            None if got == announced => Ok(None),
            None => Err(wrong(got)),
        }
    }))
}
