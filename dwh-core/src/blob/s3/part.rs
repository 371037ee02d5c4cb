//! A body, cut into the parts of an upload, and the memory that all uploads of this process may use for them.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::blob::{Body, ByteStream};
use crate::error::{Error, ErrorKind, Result};

/// Size of the first parts, and the largest object that goes without any.
pub(super) const PART_BYTES: u64 = 8 << 20;

/// What uploads of this process hold in memory together, in MiB, whatever their number.
static MEMORY: Semaphore = Semaphore::const_new(MEMORY_MIB as usize);
const MEMORY_MIB: u32 = 24;
/// What a part needs that is sent piece by piece from where it lies.
const PIECEWISE_BYTES: u64 = 1 << 20;

/// Waits until there is memory for as many bytes; it is free again when the permit is dropped.
pub(super) async fn memory(bytes: u64) -> Result<SemaphorePermit<'static>> {
    let wanted = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(MEMORY_MIB).clamp(1, MEMORY_MIB);
    let closed = |error| Error::new(ErrorKind::Internal, "memory for uploads was closed").with_source(error);
    MEMORY.acquire_many(wanted).await.map_err(closed)
}

/// What a part is, by its number from 1: 8 MiB for the first 40 GB, then twice as much every thousand parts, so that
/// 10,000 parts hold more than 500 GB. Some servers want equal parts; nobody notices before 40 GB.
pub(super) const fn part_bytes(number: u32) -> u64 {
    let doublings = if number > 5_000 { (number - 5_001) / 1_000 + 1 } else { 0 };
    PART_BYTES << doublings
}

/// A part on its way.
pub(super) struct Part {
    pub(super) bytes: u64,
    pub(super) body: Box<dyn Body>,
    /// Of a part that lies in memory.
    memory: Option<SemaphorePermit<'static>>,
}

impl Part {
    /// Memory for sending it piece by piece; a part that lies in memory has it.
    pub(super) async fn piecewise(&self) -> Result<Option<SemaphorePermit<'static>>> {
        if self.memory.is_some() {
            return Ok(None);
        }
        memory(self.bytes.min(PIECEWISE_BYTES)).await.map(Some)
    }

    /// All of it at once, and memory for that.
    pub(super) async fn whole(&self) -> Result<(Bytes, Option<SemaphorePermit<'static>>)> {
        let permit = if self.memory.is_some() { None } else { Some(memory(self.bytes).await?) };
        let mut pieces: Vec<Bytes> = self.body.open().try_collect().await?;
        let whole = if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() };
        if whole.len() as u64 == self.bytes {
            return Ok((whole, permit));
        }
        Err(Error::new(ErrorKind::Data, format!("part of a body gave {} bytes, not {}", whole.len(), self.bytes)))
    }
}

/// The body, cut into parts: where it can, each is sent from where it lies, else it is gathered in memory.
pub(super) struct Parts<'a> {
    body: &'a dyn Body,
    stream: Option<ByteStream>,
    rest: Bytes,
    pub(super) bytes: u64,
}

impl<'a> Parts<'a> {
    pub(super) fn new(body: &'a dyn Body) -> Self {
        Self { body, stream: None, rest: Bytes::new(), bytes: 0 }
    }

    /// The next `size` bytes; fewer only at the end of the body.
    pub(super) async fn next(&mut self, size: u64) -> Result<Part> {
        let part = match self.body.part(self.bytes, size) {
            Some(part) => {
                let part = part.await?;
                Part { bytes: part.bytes, body: part.body, memory: None }
            }
            None => self.gathered(size).await?,
        };
        self.bytes += part.bytes;
        Ok(part)
    }

    async fn gathered(&mut self, size: u64) -> Result<Part> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let stream = self.stream.get_or_insert_with(|| self.body.open());
        let mut part = BytesMut::with_capacity(size.min(PART_BYTES as usize));
        while part.len() < size {
            if self.rest.is_empty() {
                match stream.try_next().await? {
                    Some(piece) => self.rest = piece,
                    None => break,
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(size - part.len()));
            part.extend_from_slice(&taken);
        }
        // Not before it is full: the body may come slowly, and others must not wait for it.
        let memory = Some(memory(part.len() as u64).await?);
        Ok(Part { bytes: part.len() as u64, body: Box::new(part.freeze()), memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};

    #[test]
    fn parts_grow_and_stay_within_what_s3_allows() {
        let first = PART_BYTES;
        assert_eq!((part_bytes(1), part_bytes(5_000)), (first, first));
        assert_eq!((part_bytes(5_001), part_bytes(6_000), part_bytes(6_001)), (16 << 20, 16 << 20, 32 << 20));
        let all: u64 = (1..=super::super::upload::MAX_PARTS).map(part_bytes).sum();
        assert!(all > 500_000_000_000, "{all}");
        assert!(part_bytes(super::super::upload::MAX_PARTS) < 5 << 30);
    }

    /// 3,000 bytes that can only be sent whole.
    struct Stream;

    impl Body for Stream {
        fn open(&self) -> ByteStream {
            stream::iter((0..10).map(|_| Ok(Bytes::from_static(&[7; 300])))).boxed()
        }
    }

    async fn sizes(body: &dyn Body) -> Vec<u64> {
        let (mut parts, mut sizes) = (Parts::new(body), Vec::new());
        loop {
            let part = parts.next(1024).await.expect("part");
            if part.bytes == 0 {
                assert_eq!(parts.bytes, 3000);
                return sizes;
            }
            assert_eq!(part.whole().await.expect("whole").0.len() as u64, part.bytes);
            sizes.push(part.bytes);
        }
    }

    #[tokio::test]
    async fn parts_are_cut_to_size_whatever_the_pieces() {
        assert_eq!(sizes(&Stream).await, [1024, 1024, 952]);
        assert_eq!(sizes(&Bytes::from(vec![7; 3000])).await, [1024, 1024, 952]);
    }
}
