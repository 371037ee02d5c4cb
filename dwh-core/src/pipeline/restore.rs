//! A run that the log has lost gets its row again, as its manifest tells it.

use crate::blob::{BlobKey, Folder, Manifest};
use crate::chain::EmptyRun;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::run::{RunId, RunKind};
use crate::sink::{LogEntry, Restore, RunRecord, Upload};

impl Pipeline {
    /// The row of the run that wrote a CSV. `loaded`: its rows are in bronze, or were replaced there since; otherwise it
    /// is `uploaded`. New runs get numbers above `above`.
    pub(super) async fn restore(
        &self,
        csv: &BlobKey,
        manifest: &Manifest,
        loaded: bool,
        above: RunId,
    ) -> Result<RunRecord> {
        // A row names its CSV as it was when it was written.
        let upload = self.upload_of(&self.layout.moved(csv, Folder::Exports)?, manifest);
        self.restore_as(manifest, upload, manifest.kind, loaded, above).await
    }

    /// The row of a run that found nothing, as the manifest of the next CSV tells it.
    pub(super) async fn restore_empty(&self, next: &Manifest, empty: &EmptyRun, above: RunId) -> Result<()> {
        let manifest =
            Manifest { run_id: empty.run_id, run_started_at: empty.run_started_at, bound: None, ..next.clone() };
        let upload = Upload {
            csv_path: None,
            rows: 0,
            late_rows: 0,
            bytes: 0,
            sha256: String::new(),
            window: Some(empty.window),
            plan_sha256: None,
            file: None,
            ..self.upload_of(&next.csv, &manifest)
        };
        self.restore_as(&manifest, upload, RunKind::Run, true, above).await.map(drop)
    }

    async fn restore_as(
        &self,
        manifest: &Manifest,
        upload: Upload,
        kind: RunKind,
        loaded: bool,
        above: RunId,
    ) -> Result<RunRecord> {
        // No range that is read in windows is gone on with in a log that was made anew: its last window may have found
        // nothing and left no CSV, so nobody knows that it came to its end.
        let upload = Upload { plan_sha256: Some(String::new()), ..upload };
        let entry = Restore {
            table: manifest.table.clone(),
            mode: manifest.mode,
            kind,
            run_started_at: manifest.run_started_at,
            engine_version: manifest.engine_version.clone(),
            upload,
            loaded,
            above,
        };
        self.sink.log(LogEntry::Restore(Box::new(entry))).await
    }
}
