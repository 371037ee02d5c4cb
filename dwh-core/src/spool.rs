//! The spool: one nameless file between the extract and its readers.
//!
//! The writer appends what the source sends; readers follow behind it from the beginning, each at its own pace, and may
//! start again. The source never waits for them, and memory stays constant. The file has no name (it is unlinked while
//! open), so nothing is left of it, however the process ends.

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

use crate::blob::{Body, ByteStream};
use crate::error::{Error, ErrorKind, Result};

/// Bytes that are gathered before a write, and at most handed to a reader at once.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Written(u64),
    Finished(u64),
    Broken,
}

/// The writing end. Dropping it unfinished breaks the stream: readers then end in an `Err`, never in a short success.
#[derive(Debug)]
pub struct SpoolWriter {
    file: Arc<File>,
    buffer: BytesMut,
    written: u64,
    progress: watch::Sender<Progress>,
}

/// The reading end; every [`Body::open`] starts from the beginning.
#[derive(Debug, Clone)]
pub struct Spool {
    file: Arc<File>,
    progress: watch::Receiver<Progress>,
}

/// A new spool in `folder`.
///
/// # Errors
/// `Disk` if no file can be made there.
pub fn spool(folder: &Path) -> Result<(SpoolWriter, Spool)> {
    let file = tempfile::tempfile_in(folder).map_err(|error| disk(folder, error))?;
    let file = Arc::new(file);
    let (progress, follow) = watch::channel(Progress::Written(0));
    let writer =
        SpoolWriter { file: Arc::clone(&file), buffer: BytesMut::with_capacity(CHUNK_BYTES), written: 0, progress };
    Ok((writer, Spool { file, progress: follow }))
}

fn disk(folder: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Disk, format!("spool in `{}` cannot be written", folder.display())).with_source(error)
}

impl SpoolWriter {
    /// Appends a piece of any size.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<()> {
        if piece.len() >= CHUNK_BYTES {
            self.flush().await?;
            // In slices, not by way of the buffer: a row may have hundreds of megabytes.
            while !piece.is_empty() {
                self.append(piece.split_to(piece.len().min(CHUNK_BYTES))).await?;
            }
            return Ok(());
        }
        self.buffer.extend_from_slice(&piece);
        if self.buffer.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let chunk = self.buffer.split().freeze();
        self.buffer.reserve(CHUNK_BYTES);
        self.append(chunk).await
    }

    async fn append(&mut self, chunk: Bytes) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        let (file, at, bytes) = (Arc::clone(&self.file), self.written, chunk.len() as u64);
        blocking(move || file.write_all_at(&chunk, at)).await?;
        self.written += bytes;
        self.progress.send_replace(Progress::Written(self.written));
        Ok(())
    }

    /// Says that everything was written, and how much it was.
    ///
    /// # Errors
    /// `Disk`.
    pub async fn finish(mut self) -> Result<u64> {
        self.flush().await?;
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
        let start = (self.clone(), 0_u64);
        Box::pin(stream::try_unfold(start, |(mut spool, at)| async move {
            let piece = spool.next(at).await?;
            let end = at + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((piece, (spool, end))))
        }))
    }
}

impl Spool {
    /// The bytes from `at` on, at most one chunk; empty at the end of a finished spool.
    async fn next(&mut self, at: u64) -> Result<Bytes> {
        let news = self
            .progress
            .wait_for(|progress| match progress {
                Progress::Written(end) => *end > at,
                Progress::Finished(_) | Progress::Broken => true,
            })
            .await
            .map(|progress| *progress)
            .unwrap_or(Progress::Broken);
        let end = match news {
            Progress::Written(end) | Progress::Finished(end) => end,
            Progress::Broken => return Err(broken()),
        };
        let size = usize::try_from(end - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        if size == 0 {
            return Ok(Bytes::new());
        }
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut chunk = vec![0; size];
            file.read_exact_at(&mut chunk, at)?;
            Ok(Bytes::from(chunk))
        })
        .await
    }
}

/// The echo that a reader hears when the writer gave up; the writer's own error is the one to report.
fn broken() -> Error {
    Error::new(ErrorKind::Interrupted, "the extract ended before it was complete")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| disk(Path::new("the temporary folder"), error)),
        Err(stopped) => Err(Error::new(ErrorKind::Interrupted, "spool was stopped").with_source(stopped)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

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
}
