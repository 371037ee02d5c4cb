//! Manifests in and out, and the move from `exports/` to `processed/`.

use crate::blob::{BlobKey, BlobStore, Layout, Manifest};
use crate::error::Result;

/// A CSV that was moved to `processed/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Where it is now.
    pub csv: BlobKey,
}

/// Moves CSV and manifest.
///
/// # Errors
/// `Data`.
pub async fn archive(store: &dyn BlobStore, layout: &Layout, manifest: &Manifest) -> Result<Archived> {
    let _ = (store, layout, manifest);
    panic!("later")
}

/// Reads the manifest beside a CSV; `None` if there is none.
///
/// # Errors
/// `Data`.
pub async fn read_manifest(store: &dyn BlobStore, csv: &BlobKey) -> Result<Option<Manifest>> {
    let _ = (store, csv);
    panic!("later")
}

/// Writes the manifest.
///
/// # Errors
/// `Exists`.
pub async fn write_manifest(store: &dyn BlobStore, manifest: &Manifest) -> Result<()> {
    let _ = (store, manifest);
    panic!("later")
}
