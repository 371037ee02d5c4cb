//! Where files are written: copies of accepted ones, backups, and the archive. Never a raw file.

use futures_util::StreamExt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::decode::Raw;
use super::place::{Place, blocking, unread};
use crate::blob::{Body, ByteStream};
use crate::error::{Error, ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::watermark::Timestamp;

/// Read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A file without a name as a body.
pub(crate) struct FileBody(Arc<File>);

impl FileBody {
    pub(crate) fn new(file: File) -> Self {
        Self(Arc::new(file))
    }
}

impl Body for FileBody {
    fn open(&self) -> ByteStream {
        let file = Arc::clone(&self.0);
        futures_util::stream::try_unfold(0_u64, move |at| {
            let file = Arc::clone(&file);
            async move {
                let mut piece = vec![0; CHUNK_BYTES];
                let read = file
                    .read_at(&mut piece, at)
                    .map_err(|error| Error::new(ErrorKind::Disk, "a file cannot be read again").with_source(error))?;
                piece.truncate(read);
                Ok((read > 0).then(|| (bytes::Bytes::from(piece), at + read as u64)))
            }
        })
        .boxed()
    }
}

impl Place {
    /// Makes `path` hold the bytes of `from`, or replaces it, in one step; the copy is read back and hashed before it gets
    /// its name. Durable when it returns.
    ///
    /// # Errors
    /// `Data` if the bytes are not those of the hash: nothing has changed then.
    pub(super) async fn write(&self, path: &str, mut from: Raw, sha256: &str) -> Result<()> {
        let (path, sha256) = (path.to_owned(), sha256.to_owned());
        match self {
            Self::Folder(root) => {
                let full = root.join(&path);
                blocking(move || {
                    let folder = full.parent().unwrap_or(&full);
                    fs::create_dir_all(folder).map_err(|error| unwritten(&full, error))?;
                    let mut builder = tempfile::Builder::new();
                    builder.prefix("~").suffix(".part").permissions(fs::Permissions::from_mode(0o644));
                    let mut copy = builder.tempfile_in(folder).map_err(|error| unwritten(&full, error))?;
                    io::copy(&mut from, &mut copy)
                        .map_err(|error| from.fault().unwrap_or_else(|| unread(&path, error)))?;
                    copy.as_file().sync_all().map_err(|error| unwritten(&full, error))?;
                    let again = File::open(copy.path()).map_err(|error| unwritten(&full, error))?;
                    same(&path, &from.sha256(), &sha256)?;
                    same(&path, &hash(&path, again)?, &sha256)?;
                    copy.persist(&full).map_err(|error| unwritten(&full, error.error))?;
                    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unwritten(&full, error))
                })
                .await
            }
            Self::Bucket(blobs) => {
                let (name, want) = (path.clone(), sha256.clone());
                let spooled = blocking(move || {
                    let mut spooled = tempfile::tempfile().map_err(|error| unread(&path, error))?;
                    io::copy(&mut from, &mut spooled)
                        .map_err(|error| from.fault().unwrap_or_else(|| unread(&path, error)))?;
                    same(&path, &from.sha256(), &sha256)?;
                    Ok(spooled)
                })
                .await?;
                blobs.put_raw(&name, &FileBody::new(spooled)).await?;
                let there = self.stat(&name).await?.ok_or_else(|| differs(&name))?;
                same(&name, &self.sha256(&there).await?, &want)
            }
        }
    }

    /// Gives a file the time of another one, in a folder. Where that is refused, nothing is lost: a listing shows less.
    pub(super) async fn stamp(&self, path: &str, modified: Timestamp) {
        let Self::Folder(root) = self else { return };
        let full = root.join(path);
        let micros = u64::try_from(modified.since(Timestamp::from_micros(0)).0).unwrap_or_default();
        let stamped = blocking(move || {
            let set = |file: File| file.set_modified(UNIX_EPOCH + Duration::from_micros(micros));
            File::open(&full).and_then(set).map_err(|error| unwritten(&full, error))
        });
        if let Err(error) = stamped.await {
            tracing::debug!(error = %error.chain(), "a copy keeps a time of its own, and is hashed again by the next run");
        }
    }

    /// Moves a file within the place, never over another one.
    ///
    /// # Errors
    /// `Exists` if there is one of that name.
    pub(super) async fn rename(&self, file: &RawFile, to: &str) -> Result<()> {
        if self.stat(to).await?.is_some() {
            return Err(Error::new(ErrorKind::Exists, format!("`{to}` is there already"))
                .with_hint("move it away, or rename the file; nothing was moved"));
        }
        match self {
            Self::Folder(root) => {
                let (from, to) = (root.join(&file.path), root.join(to));
                blocking(move || {
                    let folder = to.parent().unwrap_or(&to);
                    fs::create_dir_all(folder).map_err(|error| unwritten(&to, error))?;
                    fs::rename(&from, &to).map_err(|error| unwritten(&to, error))?;
                    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unwritten(&to, error))
                })
                .await
            }
            Self::Bucket(blobs) => {
                let before = self.sha256(file).await?;
                blobs.copy_raw(&file.path, to).await?;
                let there = self.stat(to).await?.ok_or_else(|| differs(to))?;
                same(to, &self.sha256(&there).await?, &before)?;
                blobs.delete_raw(&file.path).await
            }
        }
    }

    /// Adds a line to a text.
    pub(super) async fn append(&self, path: &str, line: &str) -> Result<()> {
        let line = format!("{line}\n");
        match self {
            Self::Folder(root) => {
                let full = root.join(path);
                blocking(move || {
                    fs::create_dir_all(full.parent().unwrap_or(&full)).map_err(|error| unwritten(&full, error))?;
                    let file = File::options().create(true).append(true).open(&full);
                    let mut file = file.map_err(|error| unwritten(&full, error))?;
                    file.write_all(line.as_bytes()).map_err(|error| unwritten(&full, error))?;
                    file.sync_all().map_err(|error| unwritten(&full, error))
                })
                .await
            }
            Self::Bucket(blobs) => {
                use futures_util::TryStreamExt;
                let mut text = Vec::new();
                if let Some(mut blob) = blobs.open_raw(path).await? {
                    while let Some(piece) = blob.body.try_next().await? {
                        text.extend_from_slice(&piece);
                    }
                }
                text.extend_from_slice(line.as_bytes());
                blobs.put_raw(path, &bytes::Bytes::from(text)).await
            }
        }
    }
}

fn hash(path: &str, file: File) -> Result<String> {
    let mut raw = Raw::new(Box::new(file));
    io::copy(&mut raw, &mut io::sink()).map_err(|error| unread(path, error))?;
    Ok(raw.sha256())
}

fn same(path: &str, there: &str, wanted: &str) -> Result<()> {
    if there == wanted { Ok(()) } else { Err(differs(path)) }
}

fn differs(path: &str) -> Error {
    Error::new(ErrorKind::Data, format!("the copy of file `{path}` is not what was read: its checksum differs")).with_hint(
        "nothing was overwritten, and the next `dwh run` copies it again; if it stays, look at the health of the disks, and \
         whether the raw file changed",
    )
}

fn unwritten(path: &Path, error: io::Error) -> Error {
    let name = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::new(ErrorKind::Permission, format!("`{name}` may not be written"))
            .with_hint("let the user who runs dwh write there: chmod u+rwx on the folder"),
        _ => Error::new(ErrorKind::Disk, format!("`{name}` cannot be written"))
            .with_hint("check free space and health of the disk under it"),
    }
    .with_source(error)
}
