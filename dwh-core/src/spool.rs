//! The spool: one nameless file between the extract and its readers, and its newest bytes in memory.
//!
//! The writer appends what the source sends; readers follow behind it from the beginning, each at its own pace, and may
//! start again. The source never waits for them, and memory stays constant: a reader that keeps up takes the very bytes
//! that were written, and what is pushed out of memory by newer bytes goes into the file, so that a small table is never
//! written to disk; what a store on this machine has in a file of its own by then is read from there. The spool's file
//! has no name (it is unlinked while open), so nothing is left of it, however the process ends.

mod newest;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

use crate::blob::scratch::Scratch;
use crate::blob::{Body, BodyPart, ByteStream};
use crate::error::{Error, ErrorKind, Result};
use newest::{Newest, Place};

/// Bytes that are gathered before a write, and at most handed to a reader at once. Each reader of each table holds one.
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Written(u64),
    Finished(u64),
    Broken,
}

/// Where the bytes are: the newest in memory, the others in the file, or at the beginning of the file of a store.
#[derive(Debug)]
struct Store {
    newest: Newest,
    file: Scratch,
    kept: Mutex<Option<(Scratch, u64)>>,
}

/// The writing end. Dropping it unfinished breaks the stream: readers then end in an `Err`, never in a short success.
#[derive(Debug)]
pub struct SpoolWriter {
    store: Arc<Store>,
    buffer: BytesMut,
    written: u64,
    progress: watch::Sender<Progress>,
}

/// The reading end; every [`Body::open`] starts from the beginning.
#[derive(Debug, Clone)]
pub struct Spool {
    store: Arc<Store>,
    progress: watch::Receiver<Progress>,
}

/// A new spool in `folder`.
///
/// # Errors
/// `Disk` if no file can be made there: that is known before anything is read, also for a table that stays in memory.
pub fn spool(folder: &Path) -> Result<(SpoolWriter, Spool)> {
    let store = Arc::new(Store { newest: Newest::default(), file: Scratch::new(folder)?, kept: Mutex::default() });
    let (progress, follow) = watch::channel(Progress::Written(0));
    let writer = SpoolWriter { store: Arc::clone(&store), buffer: BytesMut::new(), written: 0, progress };
    Ok((writer, Spool { store, progress: follow }))
}

impl Store {
    /// Puts into the file what there is no room for in memory.
    async fn make_room(&self) -> Result<()> {
        while let Some((at, chunk)) = self.newest.to_leave() {
            if self.kept().is_none_or(|(_, until)| until < at + chunk.len() as u64) {
                self.file.write(at, chunk).await?;
            }
            // Not before it is in a file: a reader finds each byte somewhere.
            self.newest.leave();
        }
        Ok(())
    }

    /// The file of a store, and how much of it is there.
    fn kept(&self) -> Option<(Scratch, u64)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, file: &Arc<File>, until: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kept {
            Some((known, end)) if known.is(file) => *end = until,
            // Nothing may be taken back: what left the memory is in the first one.
            Some(_) => {}
            None => *kept = Some((self.file.beside(file), until)),
        }
    }

    /// At most `most` bytes from `at` on, which were written.
    async fn read(&self, at: u64, most: usize) -> Result<Bytes> {
        match self.newest.from(at, most) {
            Place::Memory(chunk) => Ok(chunk),
            Place::File { until } => match self.kept().filter(|(_, end)| at < *end) {
                Some((file, end)) => file.read(at, up_to(end.min(until) - at, most)).await,
                None => self.file.read(at, up_to(until - at, most)).await,
            },
        }
    }
}

fn up_to(there: u64, most: usize) -> usize {
    usize::try_from(there).unwrap_or(most).min(most)
}

impl SpoolWriter {
    /// Appends a piece of any size. It is copied: what stays in memory keeps no row of hundreds of megabytes alive.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<()> {
        while !piece.is_empty() {
            let room = CHUNK_BYTES - self.buffer.len();
            self.buffer.extend_from_slice(&piece.split_to(piece.len().min(room)));
            if self.buffer.len() == CHUNK_BYTES {
                let full = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK_BYTES));
                self.append(full.freeze()).await?;
            }
        }
        Ok(())
    }

    async fn append(&mut self, chunk: Bytes) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let at = self.written;
        self.written += chunk.len() as u64;
        self.store.newest.push(at, chunk);
        self.progress.send_replace(Progress::Written(self.written));
        self.store.make_room().await
    }

    /// Says that everything was written, and how much it was.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn finish(mut self) -> Result<u64> {
        let rest = std::mem::take(&mut self.buffer);
        self.append(rest.freeze()).await?;
        self.progress.send_replace(Progress::Finished(self.written));
        Ok(self.written)
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.progress.send_if_modified(|progress| {
            let unfinished = matches!(progress, Progress::Written(_));
            if unfinished {
                *progress = Progress::Broken;
            }
            unfinished
        });
    }
}

impl Body for Spool {
    fn open(&self) -> ByteStream {
        self.clone().stream(0, u64::MAX)
    }

    fn part(&self, at: u64, most: u64) -> Option<BoxFuture<'static, Result<BodyPart>>> {
        let mut spool = self.clone();
        Some(Box::pin(async move {
            let end = spool.reaches(at.saturating_add(most)).await?.min(at.saturating_add(most)).max(at);
            Ok(BodyPart::new(end - at, Stretch { spool, at, end }))
        }))
    }

    fn kept(&self, file: &Arc<File>, until: u64) {
        self.store.keep(file, until);
    }
}

/// Bytes in the middle of a spool, all of them written.
struct Stretch {
    spool: Spool,
    at: u64,
    end: u64,
}

impl Body for Stretch {
    fn open(&self) -> ByteStream {
        self.spool.clone().stream(self.at, self.end)
    }
}

impl Spool {
    /// The bytes from `at` to `end`, or to the end of the spool.
    fn stream(self, at: u64, end: u64) -> ByteStream {
        Box::pin(stream::try_unfold((self, at), move |(mut spool, at)| async move {
            let piece = spool.next(at, end).await?;
            let next = at + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((piece, (spool, next))))
        }))
    }

    /// Waits until there are as many bytes, or the spool is finished; says how many there are.
    async fn reaches(&mut self, wanted: u64) -> Result<u64> {
        let news = self.progress.wait_for(|progress| match progress {
            Progress::Written(end) => *end >= wanted,
            Progress::Finished(_) | Progress::Broken => true,
        });
        match news.await.map_or(Progress::Broken, |progress| *progress) {
            Progress::Written(end) | Progress::Finished(end) => Ok(end),
            Progress::Broken => Err(broken()),
        }
    }

    /// The bytes from `at` on, at most one chunk and not beyond `end`; empty at the end of a finished spool.
    async fn next(&mut self, at: u64, end: u64) -> Result<Bytes> {
        if at >= end {
            return Ok(Bytes::new());
        }
        let there = self.reaches(at + 1).await?.min(end);
        let most = usize::try_from(there - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        if most == 0 { Ok(Bytes::new()) } else { self.store.read(at, most).await }
    }
}

/// The echo that a reader hears when the writer gave up; the writer's own error is the one to report.
fn broken() -> Error {
    Error::new(ErrorKind::Interrupted, "the extract ended before it was complete")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;
    use std::os::unix::fs::FileExt;

    async fn read(spool: &Spool) -> Result<Vec<u8>> {
        let pieces: Vec<Bytes> = spool.open().try_collect().await?;
        Ok(pieces.concat())
    }

    #[tokio::test]
    async fn readers_follow_the_writer_and_may_start_again() {
        let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        let early = tokio::spawn({
            let spool = spool.clone();
            async move { read(&spool).await }
        });
        let mut all = Vec::new();
        for (byte, size) in [(1, 300_000), (2, 300_000), (3, 5_000_001), (4, 10), (5, CHUNK_BYTES), (6, 900_000)] {
            let piece = vec![byte; size];
            all.extend_from_slice(&piece);
            writer.write(piece.into()).await.expect("write");
        }
        assert_eq!(writer.finish().await.expect("finish"), all.len() as u64);
        assert!(early.await.expect("task").expect("read") == all);
        assert!(read(&spool).await.expect("again") == all);
    }

    #[tokio::test]
    async fn a_broken_writer_is_an_error_not_a_short_file() {
        let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        writer.write(vec![1_u8; CHUNK_BYTES].into()).await.expect("write");
        drop(writer);
        assert_eq!(read(&spool).await.expect_err("broken").kind(), ErrorKind::Interrupted);
    }

    #[tokio::test]
    async fn an_empty_spool_ends_at_once() {
        let (writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        writer.finish().await.expect("finish");
        assert!(read(&spool).await.expect("read").is_empty());
    }

    #[tokio::test]
    async fn a_small_spool_is_never_written_to_disk() {
        let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        writer.write(Bytes::from_static(b"id\n1\n")).await.expect("write");
        writer.finish().await.expect("finish");
        assert_eq!(read(&spool).await.expect("read"), b"id\n1\n");
        assert_eq!(spool.store.file.len(), 0);
    }

    #[tokio::test]
    async fn what_stays_in_memory_has_a_bound_and_keeps_no_large_row() {
        let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        let row = Bytes::from(vec![1; (10 << 20) + 1]);
        writer.write(row.clone()).await.expect("write");
        assert!(row.is_unique(), "the row is kept alive");
        writer.finish().await.expect("finish");
        assert!(spool.store.file.len() >= 6 << 20, "{} bytes are in the file", spool.store.file.len());
        assert!(read(&spool).await.expect("read") == row);
    }

    #[tokio::test]
    async fn what_a_store_has_in_a_file_is_not_written_twice() {
        let all: Vec<u8> = (0..9 << 20).map(|at| (at / 1000) as u8).collect();
        let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        let (file, other) = (tempfile::tempfile().expect("file"), tempfile::tempfile().expect("file"));
        let (file, other) = (Arc::new(file), Arc::new(other));
        // The store has all that left the memory, until it falls behind.
        let behind = 7_000_000;
        for (at, piece) in all.chunks(100_000).enumerate().map(|(n, piece)| (n * 100_000, piece)) {
            if at < behind {
                file.write_all_at(piece, at as u64).expect("write");
                spool.kept(&file, (at + piece.len()) as u64);
            }
            // Another file has nothing to say once there is one.
            spool.kept(&other, u64::MAX);
            writer.write(Bytes::copy_from_slice(piece)).await.expect("write");
            if at + piece.len() == behind {
                assert_eq!(spool.store.file.len(), 0);
            }
        }
        writer.finish().await.expect("finish");
        assert!(read(&spool).await.expect("read") == all);
    }

    #[tokio::test]
    async fn a_part_waits_until_it_is_written_and_is_read_as_often_as_wanted() {
        let all: Vec<u8> = (0..20 << 20).map(|at| (at / 1000) as u8).collect();
        let (mut writer, spool) = spool(&std::env::temp_dir()).expect("spool");
        let most = 8 << 20;
        let parts = tokio::spawn(async move {
            let (mut parts, mut at) = (Vec::new(), 0);
            loop {
                let part = spool.part(at, most).expect("of any place").await?;
                if part.bytes == 0 {
                    return Ok::<_, Error>(parts);
                }
                at += part.bytes;
                parts.push(part);
            }
        });
        for piece in all.chunks(700_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.expect("write");
        }
        writer.finish().await.expect("finish");
        let parts = parts.await.expect("task").expect("parts");
        assert_eq!(parts.iter().map(|part| part.bytes).collect::<Vec<_>>(), [most, most, most / 2]);
        for _ in 0..2 {
            let mut again = Vec::new();
            for part in &parts {
                let pieces: Vec<Bytes> = part.body.open().try_collect().await.expect("read");
                again.extend(pieces.concat());
            }
            assert!(again == all);
        }
    }
}
