//! A nameless file for bytes on their way. It is unlinked while it is open, so that nothing is left of it, however the
//! process ends.

use bytes::Bytes;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// The file. Its clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Scratch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    file: Arc<File>,
}

impl Scratch {
    /// A new file in `folder`.
    ///
    /// # Errors
    /// `Disk` if none can be made there.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| disk(folder, error))?;
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), file: Arc::new(file) })))
    }

    /// The file, for a thread that writes it from its beginning on.
    #[cfg(feature = "export")]
    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    /// Puts all of `chunk` at this place.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) async fn write(&self, at: u64, chunk: Bytes) -> Result<()> {
        self.with(move |file| file.write_all_at(&chunk, at)).await
    }

    /// So many bytes from `at` on, which were written.
    ///
    /// # Errors
    /// `Disk`.
    pub(crate) async fn read(&self, at: u64, bytes: usize) -> Result<Bytes> {
        self.with(move |file| {
            let mut chunk = vec![0; bytes];
            file.read_exact_at(&mut chunk, at)?;
            Ok(Bytes::from(chunk))
        })
        .await
    }

    /// A file that somebody else writes and that only grows, read for the same purpose.
    pub(crate) fn beside(&self, file: &Arc<File>) -> Self {
        Self(Arc::new(Inner { folder: self.0.folder.clone(), file: Arc::clone(file) }))
    }

    /// Whether it is this file.
    pub(crate) fn is(&self, file: &Arc<File>) -> bool {
        Arc::ptr_eq(&self.0.file, file)
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner.file).map_err(|error| disk(&inner.folder, error)));
        let stopped = |error| Error::new(ErrorKind::Interrupted, "spool was stopped").with_source(error);
        done.await.map_err(stopped)?
    }

    /// How many bytes it has.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.0.file.metadata().expect("file").len()
    }
}

fn disk(folder: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Disk, format!("spool in `{}` cannot be written", folder.display())).with_source(error)
}
