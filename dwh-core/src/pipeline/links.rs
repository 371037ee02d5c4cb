//! Manifests, rows of the run log and watermark rows, as the chain sees them.

use std::collections::BTreeSet;

use crate::blob::{BlobKey, Manifest};
use crate::chain::{Compression, CsvName, Link, Place, Reads, RunIdentity, Standing};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::pipeline::Pipeline;
use crate::pipeline::belongs::origin_of;
use crate::run::RunKind;
use crate::schema::Column;
use crate::sink::{RunRecord, TableState, Upload};
use crate::source::appeared;
use crate::watermark::{BoundRule, Sweep, Timestamp, Window};

impl From<&Manifest> for RunIdentity {
    fn from(manifest: &Manifest) -> Self {
        let (run_id, run_started_at) = (manifest.run_id, manifest.run_started_at);
        Self { run_id, run_started_at, sha256: Some(manifest.sha256.clone()) }
    }
}

impl From<&Manifest> for Link {
    fn from(manifest: &Manifest) -> Self {
        Self {
            run: manifest.into(),
            kind: manifest.kind,
            reads: reads(
                manifest.kind,
                Some(manifest.mode),
                manifest.window.filter(|_| manifest.kind != RunKind::Chunk),
            ),
            late: manifest.late_rows > 0,
            sweeps_from: match manifest.sweep {
                Sweep::Xmin { since, .. } => Some(since),
                Sweep::Off | Sweep::LookBack { .. } => None,
            },
            csv: true,
            before: manifest.before.clone(),
            traced: manifest.before.is_some(),
        }
    }
}

impl From<&RunRecord> for Link {
    fn from(record: &RunRecord) -> Self {
        let low = record.window_low.unwrap_or(Timestamp::NEG_INFINITY);
        // No window tells what a chunk has of it.
        let watermark = record.watermark.filter(|_| record.kind != RunKind::Chunk);
        let window = watermark.map(|watermark| Window { low, high: record.window_high, watermark });
        Self {
            run: identity(record),
            kind: record.kind,
            reads: reads(record.kind, record.mode, window),
            late: record.rows_late.is_some_and(|rows| rows > 0),
            sweeps_from: None,
            csv: record.csv_path.is_some() && record.kind != RunKind::Replay,
            before: None,
            traced: true,
        }
    }
}

impl From<&TableState> for Standing {
    fn from(state: &TableState) -> Self {
        Self {
            watermark: state.low(),
            read_high: state.read_high,
            snapshot_xmin: state.snapshot_xmin,
            last: state.last_run_id,
            newest: state.newest_run_id,
        }
    }
}

fn reads(kind: RunKind, mode: Option<Mode>, window: Option<Window>) -> Reads {
    match (mode, window) {
        _ if kind == RunKind::Keys => Reads::Keys,
        (Some(Mode::Snapshot), _) => Reads::Whole,
        // A version of a file is history, as a dated copy is: only all of them in their order make up the table.
        (Some(Mode::Scd | Mode::Files), _) => Reads::Copy,
        (_, Some(window)) => Reads::Window(window),
        (_, None) => Reads::Unknown,
    }
}

/// How the table is read today; the window means nothing.
pub(crate) fn reads_today(table: &TableConfig) -> Reads {
    let low = Timestamp::NEG_INFINITY;
    reads(RunKind::Run, Some(table.mode), Some(Window { low, high: None, watermark: low }))
}

/// Which run a row of the log is. The hash of an empty run is that of a header, which no file has.
pub(crate) fn identity(record: &RunRecord) -> RunIdentity {
    let sha256 = record.sha256.clone().filter(|hash| !hash.is_empty());
    RunIdentity { run_id: record.run_id, run_started_at: record.run_started_at, sha256 }
}

/// Whether the run wrote its CSV under the name that it gives; one that a person made bears any, and has no manifest.
pub(crate) fn named_by_us(record: &RunRecord) -> bool {
    let name = record.csv_path.as_deref().and_then(|path| path.rsplit('/').next()).and_then(CsvName::parse);
    record.kind != RunKind::Replay && name.is_some_and(|name| name.run_id == record.run_id)
}

/// The watermark row once this CSV is loaded in this place; `None` if it stays as it is. Columns that bronze has `kept`
/// are lost at the source for as long as bronze has them.
pub(super) fn after(state: &TableState, manifest: &Manifest, place: Place, kept: &[Column]) -> Option<TableState> {
    let Place::Continues { watermark, .. } = place else { return None };
    let snapshot = manifest.snapshot.as_ref();
    let undrained = match manifest.bound.as_ref().map(|bound| &bound.rule) {
        Some(BoundRule::NotDrained(open)) => Some(open.clone()),
        _ => None,
    };
    let mut becomes = TableState {
        origin: origin_of(manifest).or_else(|| state.origin.clone()),
        last_extracted_at: if watermark.is_finite() { Some(watermark) } else { state.last_extracted_at },
        snapshot_xmin: snapshot.map(|snapshot| snapshot.xmin),
        read_high: manifest.window.and_then(|window| window.high),
        system_identifier: snapshot.map(|snapshot| snapshot.identity.system_identifier.clone()),
        timeline: snapshot.map(|snapshot| snapshot.identity.timeline),
        source_clock: state.source_clock.max(manifest.bound.as_ref().map(|bound| bound.source_clock)),
        undrained,
        relations: snapshot.and_then(|snapshot| snapshot.relations.clone()).or_else(|| state.relations.clone()),
        ..state.clone()
    };
    becomes.note_columns(manifest.columns.iter().chain(kept));
    Some(becomes)
}

/// Of the tables that were read last, those that a repair, or a look at the keys, has read too: rows of others were removed
/// with it, and must come again should their table come back.
pub(super) fn still_known(state: &TableState, manifest: &Manifest) -> Option<Vec<Member>> {
    let may_remove = matches!(manifest.kind, RunKind::Repair | RunKind::Keys);
    let now = manifest.snapshot.as_ref()?.relations.as_ref().filter(|_| may_remove)?;
    let known = state.relations.as_ref()?;
    let gone = appeared(now, known);
    Some(known.iter().filter(|member| !gone.contains(member)).cloned().collect())
}

impl Pipeline {
    /// Whether a file has the name of the CSV that this run wrote, in whatever folder.
    pub(crate) fn is_file_of(&self, record: &RunRecord, key: &BlobKey) -> bool {
        self.has_file(record, &BTreeSet::from([key.file_name()]))
    }

    /// The same for one of these names.
    pub(crate) fn has_file(&self, record: &RunRecord, names: &BTreeSet<&str>) -> bool {
        let logged = record.csv_path.as_deref().and_then(|path| path.rsplit('/').next());
        logged.is_some_and(|name| names.contains(name))
            || self.names_of(record).iter().any(|name| names.contains(name.file_name()))
    }

    /// The names in `exports/` that the CSV of a run may have: the compression may have been another one then.
    pub(super) fn names_of(&self, record: &RunRecord) -> [BlobKey; 3] {
        let name = |how| self.layout.csv(&record.table_name, record.run_id, record.run_started_at, how);
        Compression::ALL.map(name)
    }

    /// What the run log learns of a complete CSV.
    pub(super) fn upload_of(&self, csv: &BlobKey, manifest: &Manifest) -> Upload {
        Upload {
            run_id: manifest.run_id,
            csv_path: Some(self.address(csv)),
            rows: manifest.rows,
            late_rows: manifest.late_rows,
            bytes: manifest.bytes,
            sha256: manifest.sha256.clone(),
            window: manifest.window,
            bound: manifest.bound.clone(),
            plan_sha256: manifest.plan_sha256.clone(),
            file: manifest.file.clone(),
        }
    }
}

/// Refuses a CSV that was read in a way which cannot serve the table as it is configured now.
pub(super) fn must_serve(table: &TableConfig, manifest: &Manifest) -> Result<()> {
    if crate::chain::serves(reads_today(table), Link::from(manifest).reads) {
        return Ok(());
    }
    let (was, is) = (manifest.mode.as_str(), table.mode.as_str());
    Err(Error::new(
        ErrorKind::Contract,
        format!("`{}` was read in mode `{was}`, and the table has mode `{is}` now", manifest.csv),
    )
    .with_hint(format!(
        "nothing was loaded; set `mode = \"{was}\"` again to load it, or take it out of the way with `dwh recover --set-aside {}`: \
         the next `dwh run` reads the table as it is configured now",
        manifest.run_id
    )))
}
