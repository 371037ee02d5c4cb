//! Manifests in and out, and the move from `exports/` to `processed/`.

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::blob::verify::Fingerprint;
use crate::blob::{BlobKey, BlobStore, Folder, Layout, Manifest};
use crate::error::{Error, ErrorKind, Result};

/// Above this a manifest is refused unread: a table of 1,600 columns needs a tenth of it.
const MANIFEST_MAX_BYTES: u64 = 4 << 20;

/// A CSV that was moved to `processed/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Where it is now.
    pub csv: BlobKey,
}

/// A CSV in `exports/` was read in full, and has the bytes of its manifest.
#[derive(Debug)]
pub struct ReadBack(());

/// Reads a CSV in `exports/`, which may be done while its rows are still on their way into bronze. Where `processed/` gets a
/// second name for the same file, [`archive`] would read no other bytes.
///
/// # Errors
/// `Data` if they are not those of the manifest; whatever the store answers.
pub async fn read_back(store: &dyn BlobStore, manifest: &Manifest) -> Result<ReadBack> {
    let there = Fingerprint::of_blob(store, &manifest.csv).await?;
    if is_csv_of(manifest, &there) {
        return Ok(ReadBack(()));
    }
    Err(Error::new(ErrorKind::Data, format!("blob `{}` holds other bytes than were written", manifest.csv)))
}

/// Moves the CSV and its manifest from `exports/` to `processed/`; to be called only once the run is `loaded`.
///
/// May be called again at any time: whatever a crash left behind, the next call finishes. The steps, and what is there
/// when the process dies after each:
///
/// | step                                                  | in `exports/`   | in `processed/` | the next call             |
/// |-------------------------------------------------------|-----------------|-----------------|---------------------------|
/// | 1. copy the CSV                                       | CSV, manifest   | CSV             | does not copy, goes on    |
/// | 2. read the copy in full: length and SHA-256          | CSV, manifest   | CSV             | reads it again            |
/// | 3. copy the manifest, read it back                    | CSV, manifest   | CSV, manifest   | reads both, goes on       |
/// | 4. delete the CSV                                     | manifest        | CSV, manifest   | reads both, deletes       |
/// | 5. delete the manifest                                | nothing         | CSV, manifest   | reads both, nothing to do |
///
/// The manifest in `exports/` goes last because it is the note that says what is left to do. The other way round, a
/// crash would leave a CSV without one, which does not exist for anybody and would lie there for ever. In `processed/`
/// it comes last, so that a copy which was not verified is no archive yet. At each moment one verified pair exists.
///
/// # Errors
/// `Data` if `processed/` holds other bytes, or the CSV is in neither folder: nothing is deleted then, the message
/// names both. Whatever the store answers.
pub async fn archive(store: &dyn BlobStore, layout: &Layout, manifest: &Manifest) -> Result<Archived> {
    archive_read(store, layout, manifest, None).await
}

/// [`archive`] of a CSV that may have been [read](read_back) a moment ago: the second step is left out where the copy is the very
/// file that was read.
///
/// # Errors
/// As [`archive`].
pub async fn archive_read(
    store: &dyn BlobStore,
    layout: &Layout,
    manifest: &Manifest,
    read: Option<ReadBack>,
) -> Result<Archived> {
    let from = layout.moved(&manifest.csv, Folder::Exports)?;
    let to = layout.moved(&manifest.csv, Folder::Processed)?;
    place_csv(store, manifest, &from, &to, read).await?;
    place_rejected(store, manifest, &from, &to).await?;
    place_manifest(store, manifest, &from, &to).await?;
    store.delete(&from).await?;
    store.delete(&from.manifest()).await?;
    Ok(Archived { csv: to })
}

/// Steps 1 and 2.
async fn place_csv(
    store: &dyn BlobStore,
    manifest: &Manifest,
    from: &BlobKey,
    to: &BlobKey,
    read: Option<ReadBack>,
) -> Result<()> {
    let there = match Fingerprint::of_blob(store, to).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            store.copy(from, to).await.map_err(|error| lost(error, from, to))?;
            if read.is_some() && store.is_one_file(from, to).await? {
                return Ok(());
            }
            Fingerprint::of_blob(store, to).await?
        }
        other => other?,
    };
    if is_csv_of(manifest, &there) {
        return Ok(());
    }
    let (bytes, _) = manifest.stored_form();
    Err(refused(from, to, &format!("holds {} bytes that are not those of the manifest ({bytes})", there.bytes)))
}

fn is_csv_of(manifest: &Manifest, there: &Fingerprint) -> bool {
    (there.bytes, there.sha256.as_str()) == manifest.stored_form()
}

/// Rejected records go with their CSV. Nothing is ever loaded from them, so their bytes are compared with each other.
async fn place_rejected(store: &dyn BlobStore, manifest: &Manifest, from: &BlobKey, to: &BlobKey) -> Result<()> {
    if manifest.file.as_ref().is_none_or(|file| file.rejected == 0) {
        return Ok(());
    }
    let (from, to) = (from.rejected(), to.rejected());
    let before = match Fingerprint::of_blob(store, &from).await {
        // Moved already.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    store.copy(&from, &to).await?;
    let after = Fingerprint::of_blob(store, &to).await?;
    if (before.bytes, &before.sha256) != (after.bytes, &after.sha256) {
        return Err(refused(&from, &to, "holds other bytes"));
    }
    store.delete(&from).await
}

/// Step 3. The document is copied as it is, so that fields of a newer version are kept.
async fn place_manifest(store: &dyn BlobStore, manifest: &Manifest, from: &BlobKey, to: &BlobKey) -> Result<()> {
    if read_manifest(store, to).await?.is_none() {
        match store.copy(&from.manifest(), &to.manifest()).await {
            // A CSV that was loaded without one gets the manifest under which it was loaded.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                store.put(&to.manifest(), &Bytes::from(manifest.to_json()?)).await?;
            }
            other => other?,
        }
    }
    if read_manifest(store, to).await?.as_ref() == Some(manifest) {
        return Ok(());
    }
    Err(refused(&from.manifest(), &to.manifest(), "is not the manifest of this CSV"))
}

fn lost(error: Error, from: &BlobKey, to: &BlobKey) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::new(ErrorKind::Data, format!("blob `{from}` is gone, and there is no `{to}`"))
        .with_hint("the rows are loaded; restore the CSV from a backup of the store, or `dwh replay` cannot use it")
        .with_source(error)
}

fn refused(from: &BlobKey, to: &BlobKey, what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("blob `{to}` {what}; `{from}` was not deleted"))
        .with_hint(format!("the rows are loaded; compare the two, move `{to}` away, then run it again"))
}

/// Reads the manifest beside a CSV, in either folder; `None` if there is none.
///
/// # Errors
/// `Data` if it is no manifest, or one of another CSV; whatever the store answers.
pub async fn read_manifest(store: &dyn BlobStore, csv: &BlobKey) -> Result<Option<Manifest>> {
    let key = csv.manifest();
    match read_document(store, &key).await? {
        Some(manifest) if same_file(&manifest.csv, csv) => Ok(Some(manifest)),
        Some(manifest) => Err(of_another(&key, &manifest)),
        None => Ok(None),
    }
}

/// Reads a manifest by its own key, whether its CSV is there or not; `None` if there is none.
///
/// # Errors
/// As [`read_manifest`].
pub async fn read_manifest_at(store: &dyn BlobStore, key: &BlobKey) -> Result<Option<Manifest>> {
    match read_document(store, key).await? {
        Some(manifest) if same_file(&manifest.csv.manifest(), key) => Ok(Some(manifest)),
        Some(manifest) => Err(of_another(key, &manifest)),
        None => Ok(None),
    }
}

async fn read_document(store: &dyn BlobStore, key: &BlobKey) -> Result<Option<Manifest>> {
    let mut blob = match store.get(key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if blob.bytes > MANIFEST_MAX_BYTES {
        return Err(Error::new(ErrorKind::Data, format!("manifest `{key}` has {} bytes, too many", blob.bytes)));
    }
    let mut json = Vec::new();
    while let Some(piece) = blob.body.try_next().await? {
        json.extend_from_slice(&piece);
    }
    Manifest::from_json(key, &json).map(Some)
}

fn of_another(key: &BlobKey, manifest: &Manifest) -> Error {
    Error::new(ErrorKind::Data, format!("manifest `{key}` is that of `{}`", manifest.csv))
}

/// Whether both name one file, but for the folder: a manifest keeps the name that the CSV had in `exports/`.
fn same_file(a: &BlobKey, b: &BlobKey) -> bool {
    let folder = |segment: &str| Folder::ALL.iter().any(|folder| folder.as_str() == segment);
    let (a, b): (Vec<&str>, Vec<&str>) = (a.as_str().split('/').collect(), b.as_str().split('/').collect());
    // <project>/<folder>/<table>/<file>: only the second segment may differ.
    let differs = |(at, (a, b)): (usize, (&&str, &&str))| a != b && !(at == 1 && folder(a) && folder(b));
    a.len() == b.len() && !a.iter().zip(&b).enumerate().any(differs)
}

/// Writes the manifest beside its CSV. From then on the CSV exists.
///
/// Durable when it returns; may be called again with the same manifest.
///
/// # Errors
/// `Exists` if there is another one; whatever the store answers.
pub async fn write_manifest(store: &dyn BlobStore, manifest: &Manifest) -> Result<()> {
    store.put(&manifest.csv.manifest(), &Bytes::from(manifest.to_json()?)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folder_may_differ() {
        let key = |text| BlobKey::parse(text).expect("key");
        let csv = key("fleet/exports/trips/1.csv");
        assert!(same_file(&csv, &csv));
        assert!(same_file(&csv, &key("fleet/processed/trips/1.csv")));
        assert!(same_file(&csv, &key("fleet/set_aside/trips/1.csv")));
        for other in
            ["fleet/other/trips/1.csv", "fleet/exports/trips/2.csv", "exports/fleet/trips/1.csv", "fleet/exports"]
        {
            assert!(!same_file(&csv, &key(other)), "{other}");
        }
    }
}
