//! Free space: of the spool, against the largest CSV that is to be expected, and of a store that is a folder.

use std::path::Path;

use super::about::About;
use super::words::Word;
use crate::disk::{Space, is_one_disk, space};
use crate::error::{Error, ErrorKind};
use crate::operate::CheckReport;
use crate::pipeline::Pipeline;

/// The file system is better not fuller than this.
const FULL_PERCENT: f64 = 80.0;

/// How large a CSV of a table may be.
pub(super) struct Size {
    pub(super) table: String,
    pub(super) bytes: u64,
    /// How many lie in the spool at a time: while one window is loaded, the next is read.
    pub(super) at_once: u64,
}

pub(super) async fn check(pipeline: &Pipeline, mut sizes: Vec<Size>, report: &mut CheckReport) {
    sizes.sort_by_key(|size| std::cmp::Reverse(size.bytes));
    let (spool, store) = (std::env::temp_dir(), pipeline.blobs.folder().map(Path::to_owned));
    // A file system far away may take its time.
    let asked = tokio::task::spawn_blocking({
        let (spool, store) = (spool.clone(), store.clone());
        move || {
            let shared = store.as_ref().is_some_and(|store| is_one_disk(&spool, store));
            (space(&spool), store.map(|store| space(&store)), shared)
        }
    });
    let (of_spool, of_store, shared) = match asked.await {
        Ok(told) => told,
        Err(stopped) => {
            let error = Error::new(ErrorKind::Internal, "free space was not looked at").with_source(stopped);
            return About::new("spool", report).error(Word::Space, &error);
        }
    };
    // Where both lie on one disk, each file is there twice for a while.
    let times = 1 + u64::from(shared);
    let needed = (pipeline.config().target.connections, times);
    let mut about = About::new("spool", report);
    let looked = of_spool.map(|space| {
        judge(&spool, space, &sizes, needed, "point TMPDIR at a larger disk", &mut about);
    });
    about.unless(Word::Space, looked);
    let (Some(folder), Some(space)) = (store, of_store) else { return };
    let mut about = About::new("blob", report);
    let remedy = "give the store a larger disk; `dwh prune` removes files past their `[retention]`";
    let looked = space.map(|space| judge(&folder, space, &sizes, needed, remedy, &mut about));
    about.unless(Word::Space, looked);
}

fn judge(
    folder: &Path,
    space: Space,
    sizes: &[Size],
    (at_once, times): (usize, u64),
    remedy: &str,
    about: &mut About<'_>,
) {
    let needed: u64 =
        sizes.iter().take(at_once).map(|size| size.bytes * size.at_once).sum::<u64>().saturating_mul(times);
    let free = format!("{} of {} free in `{}`", size(space.free_bytes), size(space.total_bytes), folder.display());
    let largest = sizes.first().map_or_else(String::new, |largest| {
        format!("; the largest CSV may take {} (`{}`)", size(largest.bytes), largest.table)
    });
    let remedy = format!("{remedy}; a shorter `window` makes smaller files");
    if needed > space.free_bytes {
        let together = format!("{free}{largest}, those that are written at once {}", size(needed));
        about.fail(Word::Space, ErrorKind::Disk, together, remedy);
    } else if space.used_percent() > FULL_PERCENT {
        about.warn(Word::Space, format!("{free}, less than 20 %{largest}"), remedy);
    } else {
        about.ok(Word::Space, format!("{free}{largest}"));
    }
}

/// Bytes as people say them.
fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut number = bytes as f64 / 1000.0;
    let mut unit = units[0];
    for next in &units[1..] {
        if number < 1000.0 {
            break;
        }
        number /= 1000.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::{Size, judge, size};
    use crate::disk::Space;
    use crate::operate::check::about::About;
    use crate::operate::{CheckReport, Finding, Severity};
    use std::path::Path;

    const GB: u64 = 1_000_000_000;

    fn told(free_bytes: u64, total_bytes: u64, at_once: usize) -> Finding {
        let sizes = [("trips", 40 * GB), ("pings", 30 * GB), ("devices", 1_000)].map(|(table, bytes)| Size {
            table: table.to_owned(),
            bytes,
            at_once: 1,
        });
        let mut report = CheckReport::default();
        let space = Space { free_bytes, total_bytes };
        judge(Path::new("/tmp"), space, &sizes, (at_once, 1), "more disk", &mut About::new("spool", &mut report));
        report.findings.pop().expect("finding")
    }

    #[test]
    fn free_space_is_judged_by_what_a_run_may_write_at_once() {
        let well = told(100 * GB, 200 * GB, 2);
        assert_eq!(well.severity, Severity::Ok, "{well:?}");
        assert!(well.message.contains("40.0 GB (`trips`)"), "{well:?}");
        assert_eq!(told(60 * GB, 100 * GB, 1).severity, Severity::Ok);
        let short = told(60 * GB, 100 * GB, 2);
        assert_eq!(short.severity, Severity::Failure, "{short:?}");
        assert!(short.message.contains("70.0 GB"), "{short:?}");
        let full = told(100 * GB, 900 * GB, 2);
        assert_eq!(full.severity, Severity::Warning, "{full:?}");
        assert_eq!(size(512), "0.5 kB");
    }
}
