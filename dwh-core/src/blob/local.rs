//! [`LocalBlobs`]: objects as files under one folder.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream};
use std::fs::{self, File};
use std::io::{self, ErrorKind as Io};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use tempfile::{Builder, NamedTempFile, TempPath};
use tokio_util::io::ReaderStream;

use crate::blob::verify::{of_length, same_or_exists};
use crate::blob::{Blob, BlobKey, BlobMeta, BlobStore, Body};
use crate::error::{Error, ErrorKind, Result};
use crate::watermark::Timestamp;

/// Begins the name of an unfinished file. No key may hold this letter, so none of them is ever listed or opened.
const UNFINISHED: &str = "~";
/// Read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Objects as files under one folder, which is made when the first is written.
///
/// A file is written under another name in its folder, synced, and given its name in one step that never replaces
/// another. It is not changed afterwards. A killed process may leave a file `~….part` behind; such files are never
/// listed and may be deleted at any time when nothing runs. Symbolic links below the folder are not followed.
///
/// ```
/// use bytes::Bytes;
/// use dwh_core::{BlobKey, BlobStore, LocalBlobs};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let folder = tempfile::tempdir().unwrap();
/// let store = LocalBlobs::open(&format!("file://{}", folder.path().display()))?;
/// let key = BlobKey::parse("fleet/exports/trips/1.csv")?;
/// assert_eq!(store.put(&key, &Bytes::from("id\n1\n")).await?, 5);
/// assert_eq!(std::fs::read(folder.path().join(key.as_str())).unwrap(), b"id\n1\n");
/// # Ok::<(), dwh_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct LocalBlobs {
    url: String,
    root: PathBuf,
}

impl LocalBlobs {
    /// The folder at `file:///an/absolute/path`. Touches nothing yet.
    ///
    /// # Errors
    /// `Config` for another kind of address.
    pub fn open(url: &str) -> Result<Self> {
        let path = url.strip_prefix("file://").filter(|path| path.starts_with('/'));
        let decoded = path.and_then(|path| percent_encoding::percent_decode_str(path).decode_utf8().ok());
        let Some(path) = decoded else {
            return Err(Error::new(
                ErrorKind::Config,
                format!("blob store `{url}` is not `file:///` and an absolute path"),
            )
            .with_hint("write `file:///var/lib/dwh`, with three slashes"));
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), root: PathBuf::from(path.as_ref()) })
    }

    /// The file of a key.
    fn path(&self, key: &BlobKey) -> Result<PathBuf> {
        let mut path = self.root.clone();
        for segment in key.as_str().split('/') {
            path.push(segment);
            // A link could lead out of the folder; nobody who uses dwh makes one.
            if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) {
                return Err(Error::new(ErrorKind::Permission, format!("`{}` is a symbolic link", path.display()))
                    .with_hint("dwh follows none below the blob folder; put the folder itself elsewhere instead"));
            }
        }
        Ok(path)
    }

    /// An unfinished file in the folder of `path`, which is made if it is not there.
    fn unfinished(&self, path: &Path) -> Result<NamedTempFile> {
        let folder = path.parent().unwrap_or(&self.root);
        make_folder(folder)?;
        Builder::new()
            .prefix(UNFINISHED)
            .suffix(".part")
            .permissions(fs::Permissions::from_mode(0o640))
            .tempfile_in(folder)
            .map_err(|error| sorted(folder, error))
    }

    async fn open_file(&self, key: &BlobKey) -> Result<(u64, tokio::fs::File)> {
        let path = self.path(key)?;
        let file = tokio::fs::File::open(&path).await.map_err(|error| sorted(&path, error))?;
        let meta = file.metadata().await.map_err(|error| sorted(&path, error))?;
        if meta.is_file() { Ok((meta.len(), file)) } else { Err(sorted(&path, Io::NotFound.into())) }
    }

    async fn write(&self, file: &NamedTempFile, body: &dyn Body) -> Result<u64> {
        let path = file.path().to_owned();
        let file = Arc::new(file.as_file().try_clone().map_err(|error| sorted(&path, error))?);
        let (mut stream, mut bytes) = (body.open(), 0);
        while let Some(piece) = stream.try_next().await? {
            let (at, length) = (bytes, piece.len() as u64);
            on_file(&file, &path, move |file| file.write_all_at(&piece, at)).await?;
            bytes += length;
            body.kept(&file, bytes);
        }
        on_file(&file, &path, File::sync_all).await?;
        Ok(bytes)
    }
}

#[async_trait]
impl BlobStore for LocalBlobs {
    fn url(&self) -> &str {
        &self.url
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.root)
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        let path = self.path(key)?;
        let address = path.display().to_string();
        if let Ok((_, existing)) = self.open_file(key).await {
            return same_or_exists(&address, chunks(&path, existing), body).await;
        }
        let file = self.unfinished(&path)?;
        let bytes = self.write(&file, body).await?;
        let named = blocking(move || match file.persist_noclobber(&path) {
            Ok(_) => sync_folder_of(&path).map(|()| true),
            Err(error) if error.error.kind() == Io::AlreadyExists => Ok(false),
            Err(error) => Err(sorted(&path, error.error)),
        });
        if named.await? {
            return Ok(bytes);
        }
        let (_, existing) = self.open_file(key).await?;
        same_or_exists(&address, chunks(&self.path(key)?, existing), body).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        let (bytes, file) = self.open_file(key).await?;
        let path = self.path(key)?;
        Ok(Blob { bytes, body: of_length(path.display().to_string(), bytes, chunks(&path, file)) })
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        self.list_after(prefix, "")
    }

    /// Names that are not wanted cost no look at their file.
    fn list_after(&self, prefix: &str, after: &str) -> BoxStream<'_, Result<BlobMeta>> {
        let (root, prefix, after) = (self.root.clone(), prefix.to_owned(), after.to_owned());
        let walk = async move {
            let found = blocking(move || {
                let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
                let mut found = Vec::new();
                if folder.is_empty() || BlobKey::parse(folder).is_ok() {
                    walk(&root, folder, &after, &mut found)?;
                }
                found.retain(|meta| meta.key.as_str().starts_with(&prefix) && meta.key.as_str() > after.as_str());
                found.sort_by(|a, b| a.key.cmp(&b.key));
                Ok(found)
            });
            Ok(stream::iter(found.await?.into_iter().map(Ok)))
        };
        Box::pin(stream::once(walk).try_flatten())
    }

    /// By a second name for the same file where the disk can. That is a faithful copy, because no file is ever changed
    /// once it has its name: `put` refuses to, `copy` renames over, and `delete` takes away one name only.
    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        let (source, target) = (self.path(from)?, self.path(to)?);
        if from == to {
            return self.open_file(from).await.map(|_| ());
        }
        let file = self.unfinished(&target)?;
        blocking(move || {
            let name = duplicate(&source, file)?;
            fs::rename(&name, &target).map_err(|error| sorted(&target, error))?;
            // Two names of one file: rename() then does nothing. Dropping `name` unlinks it, or finds it gone.
            drop(name);
            sync_folder_of(&target)
        })
        .await
    }

    async fn is_one_file(&self, one: &BlobKey, other: &BlobKey) -> Result<bool> {
        let paths = [self.path(one)?, self.path(other)?];
        blocking(move || {
            let [one, other] = paths.map(|path| fs::metadata(&path).map_err(|error| sorted(&path, error)));
            let (one, other) = (one?, other?);
            Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
        })
        .await
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let path = self.path(key)?;
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => sync_folder_of(&path),
            Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => Ok(()),
            Err(error) => Err(sorted(&path, error)),
        })
        .await
    }

    async fn sweep_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<Vec<String>> {
        let (root, folder) = (self.root.clone(), prefix.trim_end_matches('/').to_owned());
        blocking(move || {
            let mut left = Vec::new();
            if BlobKey::parse(&folder).is_ok() {
                unfinished_below(&root.join(&folder), before, &mut left)?;
            }
            left.sort();
            for path in left.iter().filter(|_| !dry_run) {
                match fs::remove_file(path) {
                    // Somebody else was faster.
                    Err(error) if error.kind() == Io::NotFound => {}
                    other => other.map_err(|error| sorted(path, error))?,
                }
            }
            Ok(left.iter().map(|path| path.display().to_string()).collect())
        })
        .await
    }
}

/// Unfinished files below a folder that nobody has written to since `before`.
fn unfinished_below(folder: &Path, before: Timestamp, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => return Ok(()),
        other => other.map_err(|error| sorted(folder, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| sorted(folder, error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => unfinished_below(&entry.path(), before, found)?,
            Ok(meta)
                if name.starts_with(UNFINISHED)
                    && (name.ends_with(".part") || name.ends_with(".link"))
                    && modified(&meta) < before =>
            {
                found.push(entry.path());
            }
            // A file with a name of its own, or one that was just finished.
            _ => {}
        }
    }
    Ok(())
}

/// Gives the unfinished name the bytes of `source`, linked if possible.
fn duplicate(source: &Path, file: NamedTempFile) -> Result<TempPath> {
    let fail = |error| sorted(source, error);
    if !fs::symlink_metadata(source).map_err(fail)?.is_file() {
        return Err(sorted(source, Io::NotFound.into()));
    }
    let (mut target, name) = file.into_parts();
    let spare = name.with_extension("link");
    match fs::hard_link(source, &spare) {
        Ok(()) => {
            drop(name);
            TempPath::try_from_path(spare).map_err(fail)
        }
        Err(error) if error.kind() == Io::NotFound => Err(fail(error)),
        // Another disk, a file system without links, or too many of them.
        Err(_) => {
            io::copy(&mut File::open(source).map_err(fail)?, &mut target).map_err(|error| sorted(&name, error))?;
            target.sync_all().map_err(|error| sorted(&name, error))?;
            Ok(name)
        }
    }
}

/// All objects below `folder`, a key's beginning without its last slash, whose keys may come after `after`.
fn walk(root: &Path, folder: &str, after: &str, found: &mut Vec<BlobMeta>) -> Result<()> {
    let path = root.join(folder);
    let entries = match fs::read_dir(&path) {
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => return Ok(()),
        other => other.map_err(|error| sorted(&path, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| sorted(&path, error))?;
        let name = entry.file_name();
        let slash = if folder.is_empty() { "" } else { "/" };
        let Some(key) = name.to_str().and_then(|name| BlobKey::parse(&format!("{folder}{slash}{name}")).ok()) else {
            continue;
        };
        if key.as_str() <= after && !after.starts_with(key.as_str()) {
            continue;
        }
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => walk(root, key.as_str(), after, found)?,
            Ok(meta) if meta.is_file() => {
                let modified = modified(&meta);
                found.push(BlobMeta { key, bytes: meta.len(), modified });
            }
            // A link, a socket, or a file that was just deleted.
            _ => {}
        }
    }
    Ok(())
}

fn modified(meta: &fs::Metadata) -> Timestamp {
    let since = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX - 1))
}

fn chunks(path: &Path, file: tokio::fs::File) -> crate::blob::ByteStream {
    let path = path.to_owned();
    Box::pin(ReaderStream::with_capacity(file, CHUNK_BYTES).map_ok(Bytes::from).map_err(move |e| sorted(&path, e)))
}

/// Makes the folder with those above it, each durable before the next.
fn make_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != Io::AlreadyExists => Err(sorted(folder, error)),
        _ => sync_folder_of(folder),
    }
}

/// Makes a name in a folder durable, or its absence.
fn sync_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| sorted(folder, error))
}

fn sorted(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match error.kind() {
        // The system says it in the same words, or as "entity not found".
        Io::NotFound | Io::NotADirectory => {
            return Error::new(ErrorKind::NotFound, format!("blob `{path}` does not exist"));
        }
        Io::PermissionDenied => Error::new(ErrorKind::Permission, format!("`{path}` is not open to this user"))
            .with_hint("give the user who runs dwh read and write rights on the blob folder"),
        _ => Error::new(ErrorKind::Disk, format!("`{path}` cannot be read or written"))
            .with_hint("check free space and health of the disk under the blob folder"),
    }
    .with_source(error)
}

async fn on_file(
    file: &Arc<File>,
    path: &Path,
    work: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let (file, path) = (Arc::clone(file), path.to_owned());
    blocking(move || work(&file).map_err(|error| sorted(&path, error))).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let stopped = |error| Error::new(ErrorKind::Interrupted, "work on the blob folder was stopped").with_source(error);
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}
