//! Where the files lie: a folder, or a bucket. Read only.

use futures_util::TryStreamExt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind as Io, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::decode::Raw;
use crate::blob::S3Blobs;
use crate::config::{BlobConfig, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::watermark::Timestamp;

/// A folder or a bucket.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Folder(PathBuf),
    Bucket(S3Blobs),
}

/// The folder that an address names; `None` for a bucket.
pub(crate) fn folder_of(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'))?;
    percent_encoding::percent_decode_str(path).decode_utf8().ok().map(|path| PathBuf::from(path.as_ref()))
}

/// A file that is open.
pub(super) struct Opened {
    pub file: RawFile,
    pub bytes: Box<dyn Read + Send>,
}

impl Place {
    pub(super) fn open(config: &BlobConfig, environment: &Environment) -> Result<Self> {
        if config.url.starts_with("s3://") {
            return Ok(Self::Bucket(S3Blobs::new(config, environment)?));
        }
        match folder_of(&config.url) {
            Some(folder) => Ok(Self::Folder(folder)),
            None => {
                Err(Error::new(ErrorKind::Config, format!("`{}` is not `file:///` and an absolute path", config.url))
                    .with_hint("write `file:///srv/data/raw`, with three slashes"))
            }
        }
    }

    /// All files, but in a folder those whose names begin with a dot, or lie in a folder of such a name. Symbolic links are not followed. A name that is no UTF-8 stops it where `wants` takes what is readable of
    /// the path; any other such file is left out.
    pub(crate) async fn list(&self, wants: impl Fn(&str) -> bool + Send + 'static) -> Result<Vec<RawFile>> {
        match self {
            Self::Bucket(blobs) => blobs.raw_objects("").await,
            Self::Folder(root) => {
                let root = root.clone();
                blocking(move || {
                    let mut found = Vec::new();
                    if !root.is_dir() {
                        return Err(sorted(&root, Io::NotFound.into()));
                    }
                    walk(&root, "", &wants, &mut found)?;
                    Ok(found)
                })
                .await
            }
        }
    }

    /// One file as it is now; `None` if it is gone.
    pub(crate) async fn stat(&self, path: &str) -> Result<Option<RawFile>> {
        match self {
            Self::Bucket(blobs) => blobs.raw_object(path).await,
            Self::Folder(root) => {
                let (full, path) = (root.join(path), path.to_owned());
                blocking(move || match fs::symlink_metadata(&full) {
                    Ok(meta) if meta.is_file() => Ok(Some(listed(&path, &meta))),
                    Ok(_) => Ok(None),
                    Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => Ok(None),
                    Err(error) => Err(sorted(&full, error)),
                })
                .await
            }
        }
    }

    /// Opens a file as it was listed; an error if it is another one by now. To be read on a thread that may wait.
    pub(super) async fn read(&self, wanted: &RawFile) -> Result<Opened> {
        let opened = match self {
            Self::Bucket(blobs) => match (blobs.raw_object(&wanted.path).await?, blobs.open_raw(&wanted.path).await?) {
                (Some(file), Some(blob)) if blob.bytes == file.bytes => {
                    let body = StreamReader::new(blob.body.map_err(io::Error::other));
                    Opened { file, bytes: Box::new(SyncIoBridge::new(body)) }
                }
                (Some(_), Some(_)) => return Err(changed(wanted)),
                _ => return Err(gone(wanted)),
            },
            Self::Folder(root) => {
                let (full, path, missing) = (root.join(&wanted.path), wanted.path.clone(), gone(wanted));
                blocking(move || {
                    let file = match File::open(&full) {
                        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => return Err(missing),
                        other => other.map_err(|error| sorted(&full, error))?,
                    };
                    let meta = file.metadata().map_err(|error| sorted(&full, error))?;
                    Ok(Opened { file: listed(&path, &meta), bytes: Box::new(file) })
                })
                .await?
            }
        };
        if wanted.looks_like(&opened.file) { Ok(opened) } else { Err(changed(wanted)) }
    }

    /// Refuses a file that is not as it was when it was opened.
    pub(super) async fn unchanged(&self, file: &RawFile) -> Result<()> {
        match self.stat(&file.path).await? {
            Some(now) if file.looks_like(&now) => Ok(()),
            Some(_) => Err(changed(file)),
            None => Err(gone(file)),
        }
    }

    /// SHA-256 of a file, which must not change meanwhile.
    pub(super) async fn sha256(&self, wanted: &RawFile) -> Result<String> {
        let opened = self.read(wanted).await?;
        let path = wanted.path.clone();
        let mut raw = Raw::new(opened.bytes);
        let raw = blocking(move || {
            io::copy(&mut raw, &mut io::sink()).map_err(|error| raw.fault().unwrap_or_else(|| unread(&path, error)))?;
            Ok(raw)
        })
        .await?;
        if raw.size() != opened.file.bytes {
            return Err(changed(wanted));
        }
        self.unchanged(&opened.file).await?;
        Ok(raw.sha256())
    }
}

/// Files below `folder`, a path's beginning without its last slash.
fn walk(root: &Path, folder: &str, wants: &dyn Fn(&str) -> bool, found: &mut Vec<RawFile>) -> Result<()> {
    let path = root.join(folder);
    for entry in fs::read_dir(&path).map_err(|error| sorted(&path, error))? {
        let entry = entry.map_err(|error| sorted(&path, error))?;
        let name = entry.file_name();
        // Never a file of a table, and perhaps a copy of the whole tree.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let Some(below) = name.to_str().map(path) else {
            // What is in a folder of such a name, nobody can say.
            if entry
                .metadata()
                .is_ok_and(|meta| meta.is_dir() || meta.is_file() && wants(&path(&name.to_string_lossy())))
            {
                let name = entry.path().display().to_string();
                return Err(Error::new(ErrorKind::Data, format!("file `{name}`: its name is no UTF-8"))
                    .with_hint("rename it: a path stands in the run log and in bronze as text"));
            }
            continue;
        };
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => walk(root, &below, wants, found)?,
            Ok(meta) if meta.is_file() => found.push(listed(&below, &meta)),
            // A link, a socket, or a file that was just moved away.
            _ => {}
        }
    }
    Ok(())
}

fn listed(path: &str, meta: &Metadata) -> RawFile {
    let since = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let modified = Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX - 1));
    RawFile::listed(path, meta.len(), modified, None)
}

pub(super) fn changed(file: &RawFile) -> Error {
    Error::new(ErrorKind::Data, format!("file `{}` changed while it was read", file.path))
        .with_hint("nothing of it was loaded; the next `dwh run` reads it anew, once whoever writes it has finished")
}

fn gone(file: &RawFile) -> Error {
    Error::new(ErrorKind::NotFound, format!("file `{}` is gone", file.path))
        .with_hint("it was there when the files were listed; nothing of it was loaded")
}

pub(super) fn unread(path: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Disk, format!("file `{path}` cannot be read")).with_source(error)
}

fn sorted(path: &Path, error: io::Error) -> Error {
    let name = path.display();
    match error.kind() {
        // The system says it in the same words, or as "entity not found".
        Io::NotFound | Io::NotADirectory => {
            return Error::new(ErrorKind::NotFound, format!("`{name}` does not exist"))
                .with_hint("check `files` of the source, and that the disk is mounted");
        }
        Io::PermissionDenied => {
            Error::new(ErrorKind::Permission, format!("`{name}` may not be read")).with_hint(format!(
                "let the user who runs dwh read it: chmod u+r '{}'; folders need u+rx",
                name.to_string().replace('\'', r"'\''")
            ))
        }
        _ => Error::new(ErrorKind::Disk, format!("`{name}` cannot be read"))
            .with_hint("check the health of the disk under it"),
    }
    .with_source(error)
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = |error| Error::new(ErrorKind::Interrupted, "work on files was stopped").with_source(error);
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

#[cfg(test)]
mod tests {
    use super::{Io, sorted};
    use crate::error::ErrorKind;
    use std::path::Path;

    #[test]
    fn what_keeps_a_file_from_being_read_is_told_with_a_remedy() {
        for (why, kind, words) in [
            (Io::PermissionDenied, ErrorKind::Permission, "may not be read"),
            (Io::NotFound, ErrorKind::NotFound, "does not exist"),
            (Io::TimedOut, ErrorKind::Disk, "cannot be read"),
        ] {
            let error = sorted(Path::new("/srv/raw/a.json"), why.into());
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(&format!("`/srv/raw/a.json` {words}")), "{error}");
            assert!(!error.hint().is_empty(), "{error}");
        }
        let hint = sorted(Path::new("/srv/it's"), Io::PermissionDenied.into()).hint().to_owned();
        assert!(hint.contains("chmod u+r '/srv/it'\\''s'"), "{hint}");
    }
}
