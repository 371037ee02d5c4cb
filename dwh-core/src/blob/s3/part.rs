//! A body, cut into the parts of an upload, and the memory that all uploads of this process may use for them.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Fuse};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::blob::scratch::Scratch;
use crate::blob::verify::of_length;
use crate::blob::{Body, BodyPart, ByteStream};
use crate::error::{Error, ErrorKind, Result};

/// Size of the first parts, and the largest object that goes without any.
pub(super) const PART_BYTES: u64 = 8 << 20;

/// What uploads of this process hold in memory together, in MiB, whatever their number. Who has some of it never waits
/// for more.
static MEMORY: Semaphore = Semaphore::const_new(MEMORY_MIB as usize);
const MEMORY_MIB: u32 = 16;
/// What a part needs that is sent piece by piece from where it lies.
const PIECEWISE_BYTES: u64 = 1 << 20;
/// What is gathered of a part before it goes into a file, and read of it at once.
const GATHERED_BYTES: usize = 256 << 10;

/// What a part is, by its number from 1: 8 MiB for the first 40 GB, then twice as much every thousand parts, so that
/// 10,000 parts hold more than 500 GB. Some servers want equal parts; nobody notices before 40 GB.
pub(super) const fn part_bytes(number: u32) -> u64 {
    let doublings = if number > 5_000 { (number - 5_001) / 1_000 + 1 } else { 0 };
    PART_BYTES << doublings
}

/// Waits until there is memory for as many bytes; it is free again when the permit is dropped.
async fn memory(bytes: u64) -> Result<SemaphorePermit<'static>> {
    let wanted = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(MEMORY_MIB).clamp(1, MEMORY_MIB);
    let closed = |error| Error::new(ErrorKind::Internal, "memory for uploads was closed").with_source(error);
    MEMORY.acquire_many(wanted).await.map_err(closed)
}

/// The part from where it lies, and memory for sending it piece by piece. It has as many bytes as it says, or ends in an
/// error.
pub(super) async fn piecewise(object: &str, part: &BodyPart) -> Result<(ByteStream, SemaphorePermit<'static>)> {
    let permit = memory(part.bytes.min(PIECEWISE_BYTES)).await?;
    Ok((of_length(object.to_owned(), part.bytes, part.body.open()), permit))
}

/// All of the part at once, and memory for that.
pub(super) async fn whole(object: &str, part: &BodyPart) -> Result<(Bytes, SemaphorePermit<'static>)> {
    let permit = memory(part.bytes).await?;
    let mut pieces = of_length(object.to_owned(), part.bytes, part.body.open());
    let mut whole = BytesMut::with_capacity(usize::try_from(part.bytes).unwrap_or(0));
    while let Some(piece) = pieces.try_next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok((whole.freeze(), permit))
}

/// The body, cut into parts: where it can, each is sent from where it lies, else it is gathered first.
pub(super) struct Parts<'a> {
    body: &'a dyn Body,
    stream: Option<Fuse<ByteStream>>,
    rest: Bytes,
    pub(super) bytes: u64,
}

impl<'a> Parts<'a> {
    pub(super) fn new(body: &'a dyn Body) -> Self {
        Self { body, stream: None, rest: Bytes::new(), bytes: 0 }
    }

    /// The next `size` bytes; fewer only at the end of the body.
    pub(super) async fn next(&mut self, size: u64) -> Result<BodyPart> {
        let part = match self.body.part(self.bytes, size) {
            Some(part) => part.await?,
            None => self.gathered(size).await?,
        };
        self.bytes += part.bytes;
        Ok(part)
    }

    /// Gathers a part: in a file, so that it takes no memory while it waits for its turn, unless it is small.
    async fn gathered(&mut self, size: u64) -> Result<BodyPart> {
        let mut chunk = self.chunk(size).await?;
        if chunk.len() < GATHERED_BYTES {
            return Ok(BodyPart::new(chunk.len() as u64, chunk));
        }
        let (file, mut bytes) = (Scratch::new(&std::env::temp_dir())?, 0);
        while !chunk.is_empty() {
            let at = bytes;
            bytes += chunk.len() as u64;
            file.write(at, chunk).await?;
            chunk = self.chunk(size - bytes).await?;
        }
        Ok(BodyPart::new(bytes, Gathered { file, bytes }))
    }

    /// The next bytes, at most so many, and no more than are gathered at once; fewer only at the end of the body.
    async fn chunk(&mut self, most: u64) -> Result<Bytes> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(GATHERED_BYTES);
        let stream = self.stream.get_or_insert_with(|| self.body.open().fuse());
        let mut chunk = BytesMut::new();
        while chunk.len() < most {
            if self.rest.is_empty() {
                match stream.try_next().await? {
                    Some(piece) => self.rest = piece,
                    None => break,
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(most - chunk.len()));
            chunk.extend_from_slice(&taken);
        }
        Ok(chunk.freeze())
    }
}

/// A part that was gathered in a file.
struct Gathered {
    file: Scratch,
    bytes: u64,
}

impl Body for Gathered {
    fn open(&self) -> ByteStream {
        let (file, end) = (self.file.clone(), self.bytes);
        Box::pin(stream::try_unfold((file, 0), move |(file, at)| async move {
            let bytes = usize::try_from(end - at).unwrap_or(usize::MAX).min(GATHERED_BYTES);
            if bytes == 0 {
                return Ok(None);
            }
            let piece = file.read(at, bytes).await?;
            Ok(Some((piece, (file, at + bytes as u64))))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_and_stay_within_what_s3_allows() {
        let first = PART_BYTES;
        assert_eq!((part_bytes(1), part_bytes(5_000)), (first, first));
        assert_eq!((part_bytes(5_001), part_bytes(6_000), part_bytes(6_001)), (16 << 20, 16 << 20, 32 << 20));
        let all: u64 = (1..=super::super::upload::MAX_PARTS).map(part_bytes).sum();
        assert!(all > 500_000_000_000, "{all}");
        assert!(part_bytes(super::super::upload::MAX_PARTS) < 5 << 30);
    }

    /// Bytes that can only be sent from the first one on, in pieces of this size.
    struct Stream(Bytes, usize);

    impl Body for Stream {
        fn open(&self) -> ByteStream {
            let pieces: Vec<Bytes> = self.0.chunks(self.1).map(Bytes::copy_from_slice).collect();
            stream::iter(pieces.into_iter().map(Ok)).boxed()
        }
    }

    /// The sizes of the parts; each is read twice, as one is that has to be sent again.
    async fn sizes(body: &dyn Body, all: &[u8], size: u64) -> Vec<u64> {
        let (mut parts, mut sizes, mut read) = (Parts::new(body), Vec::new(), Vec::new());
        loop {
            let part = parts.next(size).await.expect("part");
            if part.bytes == 0 {
                assert_eq!((parts.bytes, read.len()), (all.len() as u64, all.len()));
                assert!(read == all);
                return sizes;
            }
            let (first, permit) = whole("a.csv", &part).await.expect("whole");
            drop(permit);
            assert!(whole("a.csv", &part).await.expect("again").0 == first);
            read.extend(first);
            sizes.push(part.bytes);
        }
    }

    #[tokio::test]
    async fn parts_are_cut_to_size_whatever_the_pieces() {
        for (bytes, size, expected) in
            [(3_000, 1024, [1024, 1024, 952]), (5 << 20, 2 << 20, [2 << 20, 2 << 20, 1 << 20])]
        {
            let all: Bytes = (0..bytes).map(|at: u32| (at / 100) as u8).collect();
            assert_eq!(sizes(&all, &all, size).await, expected);
            for piece in [300, 1 << 20] {
                assert_eq!(sizes(&Stream(all.clone(), piece), &all, size).await, expected, "pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_part_that_is_not_as_long_as_it_says_is_an_error() {
        for bytes in [2, 4] {
            let part = BodyPart::new(bytes, Bytes::from_static(b"abc"));
            assert_eq!(whole("a.csv", &part).await.expect_err("whole").kind(), ErrorKind::Data);
            let (stream, _permit) = piecewise("a.csv", &part).await.expect("piecewise");
            assert_eq!(stream.try_collect::<Vec<_>>().await.expect_err("piecewise").kind(), ErrorKind::Data);
        }
    }
}
