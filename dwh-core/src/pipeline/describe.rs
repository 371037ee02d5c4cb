//! What a report says of a run, from its manifest or its row in the log.

use crate::blob::Manifest;
use crate::pipeline::{TableRun, WindowReport};
use crate::run::RunState;
use crate::sink::RunRecord;
use crate::watermark::{Timestamp, Window};

pub(crate) fn finite(at: Timestamp) -> Option<Timestamp> {
    at.is_finite().then_some(at)
}

pub(crate) fn window_report(window: Window) -> WindowReport {
    WindowReport { from: finite(window.low), to: window.high }
}

/// What a manifest says of its run.
pub(super) fn describe_manifest(run: &mut TableRun, manifest: &Manifest, csv_path: Option<String>) {
    run.kind = manifest.kind;
    run.rows_extracted = manifest.rows;
    run.bytes = manifest.bytes;
    run.sha256 = Some(manifest.sha256.clone());
    run.csv_path = csv_path;
    run.window = manifest.window.map(window_report);
    if let Some(file) = &manifest.file {
        run.file = Some(file.path.clone());
        run.rows_rejected = file.rejected;
    }
}

/// What the run log says of a run that is loaded.
pub(super) fn describe_record(run: &mut TableRun, record: &RunRecord) {
    let count = |number: Option<i64>| u64::try_from(number.unwrap_or(0)).unwrap_or(0);
    run.run_id = Some(record.run_id);
    run.status = RunState::Loaded;
    run.rows_extracted = count(record.rows_extracted);
    run.rows_loaded = count(record.rows_loaded);
    run.rows_inserted = count(record.rows_inserted);
    run.rows_updated = count(record.rows_updated);
    run.rows_identical = count(record.rows_identical);
    run.rows_different = count(record.rows_different);
    run.rows_kept_newer = count(record.rows_kept_newer);
    run.kind = record.kind;
    run.rows_removed = count(record.rows_removed);
    run.rows_marked = count(record.rows_marked);
    run.rows_unmarked = count(record.rows_unmarked);
    (run.route, run.route_reason) = (record.route, record.route_reason.clone());
    run.bytes = count(record.bytes);
    run.sha256.clone_from(&record.sha256);
    run.watermark = record.watermark;
    if let Some(file) = &record.file {
        run.file = Some(file.path.clone());
        run.rows_rejected = file.rejected;
    }
}
