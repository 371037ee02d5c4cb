//! How much room a file system has left.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The room of one file system, as `df` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// What we may still write: blocks reserved for the superuser are not in it.
    pub(crate) free_bytes: u64,
    /// What is used, and what we may still write.
    pub(crate) total_bytes: u64,
}

impl Space {
    /// How full it is, 0 to 100.
    pub(crate) fn used_percent(self) -> f64 {
        if self.total_bytes == 0 {
            return 0.0;
        }
        (self.total_bytes - self.free_bytes) as f64 * 100.0 / self.total_bytes as f64
    }
}

/// The file system that holds `path`, or will hold it: a folder that is not there yet is made in the nearest one that
/// is. May block for as long as a network file system does.
///
/// # Errors
/// `Disk` if the file system does not say.
pub(crate) fn space(path: &Path) -> Result<Space> {
    let there = nearest(path);
    let found = rustix::fs::statvfs(there).map_err(|error| {
        Error::new(ErrorKind::Disk, format!("folder `{}`: its free space cannot be told", there.display()))
            .with_source(std::io::Error::from(error))
    })?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let free_bytes = bytes(found.f_bavail);
    let used_bytes = bytes(found.f_blocks.saturating_sub(found.f_bfree));
    Ok(Space { free_bytes, total_bytes: used_bytes.saturating_add(free_bytes) })
}

/// Whether both folders lie on one file system.
pub(crate) fn is_one_disk(one: &Path, other: &Path) -> bool {
    let device = |path| nearest(path).metadata().ok().map(|meta| meta.dev());
    device(one).is_some_and(|device_of_one| device(other) == Some(device_of_one))
}

/// Whether this process may write into a folder, or make it. May block as [`space`] does.
pub(crate) fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(nearest(folder), rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::{Space, is_one_disk, space};

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_its_parent() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_owned(), folder.path().join("not/yet")] {
            let room = space(&path).expect("room");
            assert!(room.total_bytes > 0 && room.free_bytes <= room.total_bytes, "{room:?}");
        }
    }

    #[test]
    fn one_disk_is_told_from_another() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(is_one_disk(folder.path(), &folder.path().join("not/yet")));
        #[cfg(target_os = "linux")]
        assert!(!is_one_disk(folder.path(), "/proc".as_ref()));
    }

    #[test]
    fn percent() {
        let used = |free_bytes, total_bytes| Space { free_bytes, total_bytes }.used_percent();
        assert_eq!((used(100, 100), used(15, 100), used(0, 100), used(0, 0)), (0.0, 85.0, 100.0, 0.0));
    }
}
