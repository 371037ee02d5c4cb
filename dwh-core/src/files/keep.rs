//! Copies of accepted files, the backups of what they overwrite, and the archive.

use super::FileSource;
use super::decode::Raw;
use super::place::Place;
use crate::error::{ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::run::RunId;
use crate::watermark::{Micros, Timestamp};

/// The folder of the archive below the source, and the text in it that tells of every move.
const ARCHIVE: &str = "_archive";
const ARCHIVE_LOG: &str = "_archive/ARCHIVE_LOG.txt";

/// How far the times of a file and of its copy may lie apart where a disk rounds them.
const CLOSE: Micros = Micros::seconds(2);

/// Whether a listing shows a copy of this version. In a folder it was given the time of its file; a bucket dates it itself, to
/// the second.
fn is_copy(copy: &RawFile, file: &RawFile) -> bool {
    let (copied, written) = (copy.modified, file.modified);
    let of_this = match copy.etag {
        None => copied.since(written) <= CLOSE && written.since(copied) <= CLOSE,
        Some(_) => written.since(copied) < Micros::seconds(1),
    };
    copy.bytes == file.bytes && of_this
}

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
                validated.stamp(&file.path, file.modified).await;
                return Ok(());
            }
            if let Some(backups) = &self.backups {
                let old = validated.sha256(&there).await?;
                backups.write(&backup_of(run, &file.path), bytes_of(validated, &there).await?, &old).await?;
            }
        }
        validated.write(&file.path, bytes_of(&self.place, file).await?, sha256).await?;
        validated.stamp(&file.path, file.modified).await;
        Ok(())
    }

    /// Those of the files of which a listing shows no copy: there is none, or one of another size or time.
    pub(super) async fn without_copy(&self, files: &[RawFile]) -> Result<Vec<RawFile>> {
        let Some(validated) = &self.validated else { return Ok(Vec::new()) };
        let there = match validated.list(|_| true).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let copies: std::collections::BTreeMap<&str, &RawFile> =
            there.iter().map(|copy| (copy.path.as_str(), copy)).collect();
        let is_kept = |file: &&RawFile| copies.get(file.path.as_str()).is_some_and(|copy| is_copy(copy, file));
        Ok(files.iter().filter(|file| !is_kept(file)).cloned().collect())
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
