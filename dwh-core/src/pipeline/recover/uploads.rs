//! What uploads left in the store whose process died: parts in a bucket, `~….part` files in a folder.

use super::{Outcome, RecoverFinding, RecoverReport, Remedy, Trouble};
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::watermark::{Micros, Timestamp};

/// How old an unfinished upload is before it counts as left behind.
const LEFT_BEHIND: Micros = Micros::seconds(24 * 3600);

impl Pipeline {
    /// Removes what dead uploads left, and tells of those that may still be under way.
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
        if unfinished.is_empty() {
            return Ok(());
        }
        let before = match older_than {
            Micros::ZERO => Timestamp::INFINITY,
            age => self.clock().await?.minus(age),
        };
        let left = self.blobs.sweep_uploads(&prefix, before, report.dry_run).await?;
        let young = unfinished.iter().filter(|name| !left.contains(name)).count();
        if young > 0 {
            report.notes.push(format!(
                "uploads that are not finished and younger than {older_than}: {young}; they are under way, or their process \
                 died: when nothing runs, `dwh recover --uploads-older-than 0` removes them"
            ));
        }
        report.found.extend(left.into_iter().map(|name| RecoverFinding {
            table: None,
            state: Trouble::OrphanUpload,
            run_id: None,
            message: format!("an upload of `{name}` was begun and never came to its end"),
            csv_path: Some(name),
            action: Remedy::Abort,
            outcome: if report.dry_run { Outcome::Planned } else { Outcome::Mended },
            hint: None,
            error: None,
        }));
        Ok(())
    }
}
