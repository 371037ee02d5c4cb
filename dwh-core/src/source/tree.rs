//! The trait [`FileTree`]: what a source of files can do beyond reading them.

use async_trait::async_trait;

use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::run::RunId;

/// A source of files.
///
/// # Contract
/// Nothing but `put_away` changes a raw file. The pipeline calls `keep` once a file is loaded, and again for those that
/// `lacking` names: a crash in between leaves a file without its copy. A listing shows files as they are at that moment; the same file may be another one
/// when it is read, and then the read ends in an error.
#[async_trait]
pub trait FileTree: Send + Sync {
    /// The files of a table, in byte order of their paths.
    ///
    /// # Errors
    /// `NotFound` if the folder is not there; `Permission`; `Unreachable`, `Auth`.
    async fn list(&self, table: &TableConfig) -> Result<Vec<RawFile>>;

    /// SHA-256 of a file, lower-case hex.
    ///
    /// # Errors
    /// `NotFound`, `Permission`; `Data` if it changes meanwhile.
    async fn sha256(&self, file: &RawFile) -> Result<String>;

    /// Every file of the source, of whatever table.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    async fn all(&self) -> Result<Vec<RawFile>>;

    /// Those of the files, which are all loaded, of which no copy is kept yet.
    ///
    /// # Errors
    /// If that cannot be told.
    async fn lacking(&self, _files: &[RawFile]) -> Result<Vec<RawFile>> {
        Ok(Vec::new())
    }

    /// Keeps a copy of a file that was loaded by this run, where copies are kept; what it overwrites is backed up first.
    ///
    /// # Errors
    /// `Data` if the file is not what was loaded any more; nothing was overwritten then.
    async fn keep(&self, _file: &RawFile, _run: RunId) -> Result<()> {
        Ok(())
    }

    /// Puts back what the copy of a run overwrote; says whether there was anything.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    async fn put_back(&self, _path: &str, _run: RunId) -> Result<bool> {
        Ok(false)
    }

    /// Where the archive has, or would have, a file of this path that belongs to this year; `None` without an archive.
    fn archive_path(&self, _path: &str, _year: i16) -> Option<String> {
        None
    }

    /// Whether the archive has this version of a file, where [`archive_path`](Self::archive_path) says.
    ///
    /// # Errors
    /// If that cannot be told.
    async fn is_put_away(&self, _file: &RawFile, _year: i16) -> Result<bool> {
        Ok(false)
    }

    /// Moves a raw file into the archive, and returns where it is now.
    ///
    /// # Errors
    /// `Exists` if there is one of its name; `Contract` if the source has no archive.
    async fn put_away(&self, _file: &RawFile, _year: i16) -> Result<String> {
        Err(Error::new(ErrorKind::Contract, "this source of files has no archive")
            .with_hint("implement `put_away` of `FileTree`"))
    }
}
