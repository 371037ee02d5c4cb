//! Where an export goes: a folder, or a prefix of a bucket, with the guarantees of a blob store.

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::blob::scratch::Scratch;
use crate::blob::{BlobKey, BlobStore, Body, BodyPart, ByteStream, Folder, open};
use crate::config::{BlobConfig, Compression};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;

/// Bytes that are sent at once.
const CHUNK_BYTES: u64 = 256 << 10;
/// What a path may hold and an address of a folder may not.
const PATH: &AsciiSet = &CONTROLS.add(b'%').add(b' ').add(b'?').add(b'#');

/// The list of all files, written last.
pub(super) const INDEX: &str = "_export.json";

/// The folder of a table.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    store: Arc<dyn BlobStore>,
    /// Ends in a slash.
    prefix: String,
}

impl Destination {
    /// The folder of `table` below `to`, which is a path or an address. Connects to nothing yet.
    ///
    /// # Errors
    /// `Config` if it cannot be used, or is where the CSV files of the project are.
    pub(super) fn of(pipeline: &Pipeline, table: &str, to: &str) -> Result<Self> {
        let folder = pipeline.layout.folder(Folder::Processed);
        let prefix = pipeline.layout.prefix(Folder::Processed, table)[folder.len()..].to_owned();
        let url = address(to)?;
        let project = format!("{}/{}", pipeline.blobs.url(), pipeline.layout.project_prefix());
        let here = format!("{url}/{prefix}");
        if here.starts_with(&project) || project.starts_with(&here) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("`{to}` is where dwh keeps the CSV files of the project"),
            )
            .with_hint("give another folder with `--to`"));
        }
        let config = &pipeline.config;
        let store =
            open(&BlobConfig { url, compression: Compression::None, ..config.blob.clone() }, &config.environment)?;
        Ok(Self { store, prefix })
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("{}/{}", self.store.url(), self.prefix.trim_end_matches('/'))
    }

    /// The key of a file in it.
    ///
    /// # Errors
    /// `Config` for a name that no key may hold.
    pub(super) fn key(&self, name: &str) -> Result<BlobKey> {
        BlobKey::parse(&format!("{}{name}", self.prefix))
    }

    /// Refuses a folder with Parquet files other than these, which whoever reads it as a whole would read too, and one with
    /// the list of an export that lacks one of these.
    ///
    /// # Errors
    /// `Exists`, naming one.
    pub(super) async fn refuse_others(&self, names: &BTreeSet<String>) -> Result<()> {
        let (mut listed, mut found_index, mut there) = (self.store.list(&self.prefix), false, 0);
        while let Some(found) = listed.try_next().await? {
            let name = found.key.file_name();
            found_index |= name == INDEX;
            there += usize::from(names.contains(name));
            if name.ends_with(".parquet") && !names.contains(name) {
                return Err(occupied(&format!("`{}` holds `{name}` already, which is not of this export", self.url())));
            }
        }
        // The list is written last: what it names is there.
        if found_index && there < names.len() {
            return Err(occupied(&format!("`{}` holds an export of fewer CSV files", self.url())));
        }
        Ok(())
    }

    /// Writes a file under another name, and gives it its own once it is whole; one with the same bytes may be there.
    ///
    /// # Errors
    /// `Exists` if there is one with other bytes; as [`BlobStore::put`].
    pub(super) async fn put(&self, name: &str, body: &dyn Body) -> Result<u64> {
        self.store.put(&self.key(name)?, body).await.map_err(|error| match error.kind() {
            ErrorKind::Exists => occupied(&format!("`{}/{name}` is of another export", self.url())),
            _ => error,
        })
    }
}

fn occupied(what: &str) -> Error {
    Error::new(ErrorKind::Exists, what)
        .with_hint("give another folder with `--to`, or remove what is in this one first")
}

/// The address of a path; one that is an address already stays as it is.
fn address(to: &str) -> Result<String> {
    let to = if to.len() > 1 { to.trim_end_matches('/') } else { to };
    if to.starts_with("s3://") || to.starts_with("file://") {
        return Ok(to.to_owned());
    }
    let absolute = std::path::absolute(Path::new(to)).map_err(|error| {
        Error::new(ErrorKind::Config, format!("`{to}` is no path"))
            .with_hint("give a folder, or `s3://bucket/prefix`, with `--to`")
            .with_source(error)
    })?;
    let path = absolute.to_string_lossy();
    Ok(format!("file://{}", utf8_percent_encode(path.trim_end_matches('/'), PATH)))
}

/// A stretch of a file that was written.
pub(super) struct Stretch {
    pub(super) file: Scratch,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

impl Body for Stretch {
    fn open(&self) -> ByteStream {
        let begin = (self.file.clone(), self.at, self.at + self.bytes);
        stream::try_unfold(begin, |(file, at, end)| async move {
            let most = CHUNK_BYTES.min(end - at);
            if most == 0 {
                return Ok(None);
            }
            let piece = file.read(at, usize::try_from(most).unwrap_or(usize::MAX)).await?;
            Ok::<_, Error>(Some((piece, (file, at + most, end))))
        })
        .boxed()
    }

    fn part(&self, at: u64, most: u64) -> Option<BoxFuture<'static, Result<BodyPart>>> {
        let at = at.min(self.bytes);
        let bytes = most.min(self.bytes - at);
        let part = Self { file: self.file.clone(), at: self.at + at, bytes };
        Some(Box::pin(std::future::ready(Ok(BodyPart::new(bytes, part)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_an_address() {
        let here = std::env::current_dir().expect("a folder");
        let here = here.to_str().expect("text");
        for (to, url) in [
            ("/srv/lake/", "file:///srv/lake".to_owned()),
            ("/srv/a lake#1", "file:///srv/a%20lake%231".to_owned()),
            ("lake", format!("file://{here}/lake")),
            ("./lake", format!("file://{here}/lake")),
            ("s3://bucket/lake/", "s3://bucket/lake".to_owned()),
            ("file:///srv/lake", "file:///srv/lake".to_owned()),
        ] {
            assert_eq!(address(to).expect(to), url, "{to}");
        }
        assert!(address("").is_err());
    }
}
