//! What happens to bytes on their way in and out of a store: compressed, hashed, and compared with the manifest.

use async_compression::Level;
use async_compression::tokio::bufread::{GzipDecoder, GzipEncoder, ZstdDecoder, ZstdEncoder};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::blob::{Body, BodyPart, ByteStream};
use crate::config::Compression;
use crate::dialect::hex;
use crate::error::{Error, ErrorKind, Result};

/// Bytes handed on at once by a compressor.
const CHUNK_BYTES: usize = 256 << 10;

/// The level of zstd: a load waits for the compressor where cores are few, and the next levels take nearly twice the time for
/// CSV files that are a few percent smaller.
const ZSTD: Level = Level::Precise(1);

/// The bytes of a stream as a compressed or unpacked stream; `Compression::None` hands it on as it is.
#[must_use]
pub fn encode(plain: ByteStream, how: Compression) -> ByteStream {
    match how {
        Compression::None => plain,
        Compression::Gzip => stream_of(GzipEncoder::new(reader(plain)), String::new()),
        Compression::Zstd => stream_of(ZstdEncoder::with_quality(reader(plain), ZSTD), String::new()),
    }
}

/// The reverse of [`encode`]. A file may hold several members, as `cat a.gz b.gz` makes it: all of them are read, and
/// what stands behind the last one is an error; `what` names it in the error.
#[must_use]
pub fn decode(stored: ByteStream, how: Compression, what: String) -> ByteStream {
    match how {
        Compression::None => stored,
        Compression::Gzip => {
            let mut reader = GzipDecoder::new(reader(stored));
            reader.multiple_members(true);
            stream_of(reader, what)
        }
        Compression::Zstd => {
            let mut reader = ZstdDecoder::new(reader(stored));
            reader.multiple_members(true);
            stream_of(reader, what)
        }
    }
}

fn reader(bytes: ByteStream) -> impl tokio::io::AsyncBufRead + Send + 'static {
    StreamReader::new(bytes.map_err(io::Error::other))
}

fn stream_of(reader: impl AsyncRead + Send + 'static, what: String) -> ByteStream {
    ReaderStream::with_capacity(reader, CHUNK_BYTES).map_err(move |error| unwrap_error(error, &what)).boxed()
}

/// Our own error back out of the `io::Error` that carried it through a reader. A compressor has none of its own.
fn unwrap_error(error: io::Error, what: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(other) => Error::new(ErrorKind::Data, format!("`{what}` cannot be unpacked")).with_source(other).with_hint(
            "the file was damaged where it lies: nothing of it was loaded; put it back from a backup of the store",
        ),
    }
}

/// A body that is compressed as it is sent, and remembers size and hash of what went out last.
pub struct Encoded<B> {
    body: B,
    how: Compression,
    sent: Arc<Mutex<Option<(u64, String)>>>,
}

impl<B: Body> Encoded<B> {
    /// The body `body`, to be sent as `how` says.
    #[must_use]
    pub fn new(body: B, how: Compression) -> Self {
        Self { body, how, sent: Arc::default() }
    }

    /// Bytes and SHA-256 of the last complete sending.
    #[must_use]
    pub fn sent(&self) -> Option<(u64, String)> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<B: Body> Body for Encoded<B> {
    fn open(&self) -> ByteStream {
        if self.how == Compression::None {
            return self.body.open();
        }
        let sent = Arc::clone(&self.sent);
        observed(encode(self.body.open(), self.how), move |bytes, sha256| {
            *sent.lock().unwrap_or_else(PoisonError::into_inner) = Some((bytes, sha256));
            Ok(())
        })
    }

    fn part(&self, at: u64, most: u64) -> Option<BoxFuture<'static, Result<BodyPart>>> {
        if self.how == Compression::None { self.body.part(at, most) } else { None }
    }

    fn kept(&self, file: &Arc<File>, until: u64) {
        if self.how == Compression::None {
            self.body.kept(file, until);
        }
    }
}

/// The stream, ending in an error unless it had exactly these bytes; `what` names it in the error.
#[must_use]
pub fn verified(stored: ByteStream, what: String, bytes: u64, sha256: String) -> ByteStream {
    observed(stored, move |got_bytes, got_sha256| {
        if got_bytes == bytes && got_sha256 == sha256 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Data,
            format!("`{what}` is not the file that was written: {got_bytes} bytes with sha256 {got_sha256}, the manifest says {bytes} bytes with {sha256}"),
        )
        .with_hint("nothing was loaded or deleted; put the right file back, or remove it with its manifest and run again: its rows are read anew"))
    })
}

/// The stream, with `judge` called on its size and hash before it ends.
fn observed(bytes: ByteStream, judge: impl FnOnce(u64, String) -> Result<()> + Send + 'static) -> ByteStream {
    let state = Some((bytes, 0_u64, Sha256::new(), judge));
    stream::try_unfold(state, |state| async move {
        let Some((mut bytes, mut count, mut hash, judge)) = state else { return Ok(None) };
        match bytes.try_next().await? {
            Some(piece) => {
                count += piece.len() as u64;
                hash.update(&piece);
                Ok(Some((piece, Some((bytes, count, hash, judge)))))
            }
            None => {
                judge(count, hex(&hash.finalize()))?;
                Ok::<_, Error>(None::<(Bytes, _)>)
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(bytes: ByteStream) -> Result<Vec<u8>> {
        Ok(bytes.try_collect::<Vec<Bytes>>().await?.concat())
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_and_is_remembered() {
        let plain = Bytes::from("a,b\n1,\"x\ny\"\n".repeat(50_000));
        for how in [Compression::Gzip, Compression::Zstd] {
            let body = Encoded::new(plain.clone(), how);
            let stored = collect(body.open()).await.expect("encode");
            assert!(stored.len() < plain.len() / 10);
            assert_eq!(body.sent(), Some((stored.len() as u64, hex(&Sha256::digest(&stored)))));
            let back = collect(decode(Bytes::from(stored).open(), how, "a".into())).await.expect("decode");
            assert_eq!(back, plain);
        }
    }

    #[tokio::test]
    async fn every_member_is_read_and_nothing_else_is_passed_over() {
        for how in [Compression::Gzip, Compression::Zstd] {
            let member = |text: &'static [u8]| collect(encode(Bytes::from_static(text).open(), how));
            let (one, two) = (member(b"id\n1\n").await.expect("one"), member(b"2\n3\n").await.expect("two"));
            let unpack = |parts: &[&[u8]]| collect(decode(Bytes::from(parts.concat()).open(), how, "a".into()));
            assert_eq!(unpack(&[&one, &two]).await.expect("both"), b"id\n1\n2\n3\n");
            // One after another as they come from a slow store, cut in the middle of the second one's beginning.
            let pieces = [one.clone(), two[..1].to_vec(), two[1..].to_vec()];
            let slow: ByteStream = stream::iter(pieces.map(|piece| Ok(Bytes::from(piece)))).boxed();
            assert_eq!(collect(decode(slow, how, "a".into())).await.expect("both"), b"id\n1\n2\n3\n");
            let cut = &two[..two.len() - 1];
            for parts in
                [[&one[..], b"2\n3\n"], [&one, b"\0"], [&one, &two[..1]], [&one, cut], [cut, b""], [b"id\n", b""]]
            {
                let error = unpack(&parts).await.expect_err("not whole");
                assert_eq!(error.kind(), ErrorKind::Data, "{how:?} {parts:?}");
                assert_eq!(error.to_string(), "`a` cannot be unpacked");
            }
        }
    }

    #[tokio::test]
    async fn an_error_keeps_its_kind_through_a_compressor() {
        let broken: ByteStream = stream::iter([Err(Error::new(ErrorKind::Locked, "x"))]).boxed();
        let error = collect(encode(broken, Compression::Gzip)).await.expect_err("error");
        assert_eq!(error.kind(), ErrorKind::Locked);
    }

    #[tokio::test]
    async fn other_bytes_are_an_error_at_the_end() {
        let plain = Bytes::from_static(b"abc");
        let sha = hex(&Sha256::digest(&plain));
        assert!(collect(verified(plain.open(), "f".into(), 3, sha.clone())).await.is_ok());
        for (bytes, sha256) in [(4, sha.clone()), (3, sha.replace(&sha[..1], "x"))] {
            let error = collect(verified(plain.open(), "f".into(), bytes, sha256)).await.expect_err("differs");
            assert_eq!(error.kind(), ErrorKind::Data);
        }
    }
}
