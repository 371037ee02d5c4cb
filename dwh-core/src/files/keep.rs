//! Copies of accepted files, the backups of what they overwrite, and the archive.

use super::FileSource;
use super::decode::Raw;
use super::place::Place;
use crate::error::{ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::run::RunId;
use crate::watermark::Timestamp;

/// The folder of the archive below the source, and the text in it that tells of every move.
const ARCHIVE: &str = "_archive";
const ARCHIVE_LOG: &str = "_archive/ARCHIVE_LOG.txt";

/// Where what a run overwrote is kept.
fn backup_of(run: RunId, path: &str) -> String {
    format!("run-{run}/{path}")
}

/// Where the archive has a file.
pub(super) fn archive_path(path: &str, year: i16) -> String {
    format!("{ARCHIVE}/{year}/{path}")
}

impl FileSource {
    /// Copies a file that was loaded; what it overwrites is backed up first. The second call does nothing.
    pub(super) async fn copy_accepted(&self, file: &RawFile, run: RunId) -> Result<()> {
        let (Some(validated), Some(sha256)) = (&self.validated, &file.sha256) else { return Ok(()) };
        if let Some(there) = validated.stat(&file.path).await? {
            if there.bytes == file.bytes && validated.sha256(&there).await? == *sha256 {
                return Ok(());
            }
            if let Some(backups) = &self.backups {
                let old = validated.sha256(&there).await?;
                backups.write(&backup_of(run, &file.path), bytes_of(validated, &there).await?, &old).await?;
            }
        }
        validated.write(&file.path, bytes_of(&self.place, file).await?, sha256).await
    }

    /// Those of the files of which there is no copy, or one of another size.
    pub(super) async fn without_copy(&self, files: &[RawFile]) -> Result<Vec<RawFile>> {
        let Some(validated) = &self.validated else { return Ok(Vec::new()) };
        let there = match validated.list(|_| true).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let sizes: std::collections::BTreeMap<&str, u64> =
            there.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
        Ok(files.iter().filter(|file| sizes.get(file.path.as_str()) != Some(&file.bytes)).cloned().collect())
    }

    /// Puts back what the copy of a run overwrote; says whether there was anything.
    pub(super) async fn copy_back(&self, path: &str, run: RunId) -> Result<bool> {
        let (Some(validated), Some(backups)) = (&self.validated, &self.backups) else { return Ok(false) };
        let Some(kept) = backups.stat(&backup_of(run, path)).await? else { return Ok(false) };
        let sha256 = backups.sha256(&kept).await?;
        validated.write(path, bytes_of(backups, &kept).await?, &sha256).await.map(|()| true)
    }

    /// Moves a raw file into the archive, with a line in its log first.
    pub(super) async fn archive_away(&self, file: &RawFile, year: i16) -> Result<String> {
        let to = archive_path(&file.path, year);
        let sha256 = file.sha256.as_deref().unwrap_or("-");
        let line = format!("{} {} -> {to} ({} bytes, sha256 {sha256})", Timestamp::now(), file.path, file.bytes);
        // A name may hold what ends a line.
        self.place.append(ARCHIVE_LOG, &line.replace('\n', "\\n").replace('\r', "\\r")).await?;
        self.place.rename(file, &to).await?;
        Ok(to)
    }
}

async fn bytes_of(place: &Place, file: &RawFile) -> Result<Raw> {
    let opened = place.read(file).await?;
    Ok(Raw::new(opened.bytes))
}
