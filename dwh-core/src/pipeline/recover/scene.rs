//! What is known of a table, and what is not as it should be.

use std::collections::{BTreeMap, BTreeSet};

use crate::blob::{BlobKey, Manifest};
use crate::chain::{Lost, RunIdentity};
use crate::config::Mode;
use crate::pipeline::links::identity;
use crate::pipeline::recover::Trouble;
use crate::run::RunId;
use crate::sink::{RunRecord, TableState};

/// Everything that is known of a table, read under its lease: whoever worked on an unfinished run is dead.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// Complete CSV files in `exports/`, in the order of their runs.
    pub complete: Vec<Manifest>,
    /// Those of them whose CSV is gone while the manifest is still there.
    pub manifest_only: BTreeSet<BlobKey>,
    /// Manifests without a CSV that are none of this table's.
    pub foreign: Vec<Foreign>,
    /// CSV files in `exports/` without a manifest, and rejected records without either.
    pub bare: Vec<Bare>,
    /// Those of the complete ones that are in `processed/` too, and whether the two are the same.
    pub copies: BTreeMap<BlobKey, bool>,
    /// Those that a person set aside, which was cut off: the copy is there, and the run log says so.
    pub aside: BTreeSet<BlobKey>,
    /// Rows of the run log: the unfinished ones and those of the CSV files, or all of the table.
    pub records: BTreeMap<RunId, RunRecord>,
    /// Numbers of complete CSV files that the log gave to runs of other tables.
    pub taken: BTreeSet<RunId>,
    /// Complete CSV files that the log has lost and that may be loaded all the same: the target was restored.
    pub lost: BTreeSet<BlobKey>,
    /// What only a full look knows.
    pub whole: Option<Whole>,
}

impl Scene {
    /// The row of the run that wrote this CSV; a row that has only its number is another run's.
    pub fn record_of(&self, manifest: &Manifest) -> Option<&RunRecord> {
        let wrote = RunIdentity::from(manifest);
        self.records.get(&manifest.run_id).filter(|record| identity(record).differs(&wrote).is_none())
    }

    /// Whether a complete CSV of this run is in `exports/`.
    pub fn has_csv_of(&self, record: &RunRecord) -> bool {
        let wrote = identity(record);
        self.complete.iter().any(|manifest| wrote.differs(&manifest.into()).is_none())
    }
}

/// What only `recover` looks at; a run has no need of it.
#[derive(Debug)]
pub(super) struct Whole {
    /// Runs of the log whose CSV is in `processed/`.
    pub there: BTreeSet<RunId>,
    /// The highest run in `processed/`, if the next run that begins would get a number at or below it.
    pub ahead: Option<RunId>,
    /// Dated copies in `processed/` that the log does not call loaded: bronze was restored to before them.
    pub copies: Vec<(BlobKey, Manifest)>,
    /// Newest versions of raw files in `processed/` that the log does not call loaded, and that no run reads again: the raw
    /// file is gone.
    pub versions: Vec<(BlobKey, Manifest)>,
    /// Runs whose manifest is in `processed/` without its CSV, that the log does not call loaded, and whose rows no loaded
    /// run has read again; what retention may have taken is not among them. With that manifest.
    pub lost: Vec<(Lost, BlobKey)>,
    /// The watermark row.
    pub state: TableState,
    /// How the table is moved.
    pub mode: Mode,
}

/// A CSV without a manifest.
#[derive(Debug, Clone)]
pub(super) struct Bare {
    pub key: BlobKey,
    /// The run that gives it exactly this name; a name alone may be anybody's.
    pub run_id: Option<RunId>,
}

/// A manifest that cannot be read, or tells of another file.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    pub key: BlobKey,
    /// What is wrong with it.
    pub why: String,
}

/// What mends something, with all that this needs.
#[derive(Debug, Clone)]
pub(super) enum Mend {
    Load(Box<Manifest>, Box<RunRecord>),
    /// The run gets its row in the log again, and the CSV, wherever it lies, is loaded.
    Restore(Box<Manifest>, BlobKey),
    Move(Box<Manifest>),
    Fail(RunId, &'static str),
    Delete(BlobKey),
    /// The run is failed if it is not yet, and the manifest, whose CSV is gone, deleted.
    Drop(RunId, BlobKey),
    /// What a person began: the copy is verified, the original deleted.
    SetAside(BlobKey),
    /// New runs get numbers above this one.
    Number(RunId),
    Person(String),
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub trouble: Trouble,
    pub run_id: Option<RunId>,
    pub csv: Option<BlobKey>,
    pub message: String,
    pub mend: Mend,
}
