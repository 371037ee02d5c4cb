//! What was left in the store by a process that died: parts of uploads in a bucket, `~….part` files in a folder, and objects
//! of try-outs.

use futures_util::TryStreamExt;

use super::{Outcome, RecoverFinding, RecoverReport, Remedy, Trouble};
use crate::blob::{BlobMeta, any_probe};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::watermark::{Micros, Timestamp};

/// How old it is before it counts as left behind.
const LEFT_BEHIND: Micros = Micros::seconds(24 * 3600);

impl Pipeline {
    /// Removes what dead processes left, and tells of what may still be under way.
    pub(super) async fn sweep_uploads(&self, older_than: Option<Micros>, report: &mut RecoverReport) {
        if let Err(error) = self.remove_unfinished(older_than.unwrap_or(LEFT_BEHIND), report).await {
            report.notes.push(format!(
                "unfinished uploads cannot be listed or removed ({}); hint: {}",
                error.chain(),
                error.hint()
            ));
        }
    }

    async fn remove_unfinished(&self, older_than: Micros, report: &mut RecoverReport) -> Result<()> {
        let prefix = self.layout.project_prefix();
        let unfinished = self.blobs.sweep_uploads(&prefix, Timestamp::INFINITY, true).await?;
        let tried: Vec<BlobMeta> = self.blobs.list(&any_probe(&self.layout)).try_collect().await?;
        if unfinished.is_empty() && tried.is_empty() {
            return Ok(());
        }
        let before = match older_than {
            Micros::ZERO => Timestamp::INFINITY,
            age => self.clock().await?.minus(age),
        };
        let left = self.blobs.sweep_uploads(&prefix, before, report.dry_run).await?;
        let (old, young): (Vec<BlobMeta>, Vec<BlobMeta>) = tried.into_iter().partition(|meta| meta.modified < before);
        let young = young.len() + unfinished.iter().filter(|name| !left.contains(name)).count();
        if young > 0 {
            report.notes.push(format!(
                "uploads that are not finished and younger than {older_than}: {young}; they are under way, or their process \
                 died: when nothing runs, `dwh recover --uploads-older-than 0` removes them"
            ));
        }
        let orphan = |name: String, message: String, action: Remedy, dry_run: bool| RecoverFinding {
            table: None,
            state: Trouble::OrphanUpload,
            run_id: None,
            message,
            csv_path: Some(name),
            action,
            outcome: if dry_run { Outcome::Planned } else { Outcome::Mended },
            hint: None,
            error: None,
        };
        for name in left {
            let message = format!("an upload of `{name}` was begun and never came to its end");
            report.found.push(orphan(name, message, Remedy::Abort, report.dry_run));
        }
        for meta in old {
            if !report.dry_run {
                self.blobs.delete(&meta.key).await?;
            }
            let message = format!("`dwh check` or a test of rows wrote `{}` and never came to its end", meta.key);
            report.found.push(orphan(self.address(&meta.key), message, Remedy::Delete, report.dry_run));
        }
        Ok(())
    }
}
