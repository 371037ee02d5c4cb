//! The manifest: everything that is known of a CSV, written beside it last. A CSV without one does not exist.

mod check;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::blob::BlobKey;
use crate::chain::{Before, Part, Replaced};
use crate::config::{Compression, Deletes, Mode, OnConflict, RUN_ID, Replace, TASK_INSTANCE, UPLOADED_AT};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, Missing};
use crate::raw_file::RawFile;
use crate::run::{RunId, RunKind};
use crate::schema::{Column, RowKey, TableRef, TableSchema, TypeDef};
use crate::source::{Snapshot, Sweep};
use crate::watermark::{SafeBound, Timestamp, Window};

/// How the CSV is stored, where that differs from the CSV itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredForm {
    /// The compression.
    pub compression: Compression,
    /// Bytes as stored.
    pub bytes: u64,
    /// SHA-256 of the bytes as stored, lower-case hex.
    pub sha256: String,
}

/// Everything that is known of a CSV: enough to check it, to load it again and to rebuild its table from nothing.
///
/// New fields may be added; a reader refuses a `format` that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document; 1.
    pub format: u32,
    /// The project.
    pub project: String,
    /// The table's name in the configuration.
    pub table: String,
    /// The run that wrote it.
    pub run_id: RunId,
    /// `now()` of the target when that run began.
    pub run_started_at: Timestamp,
    /// What the run was made for: only an ordinary one continues the chain of windows.
    #[serde(default)]
    pub kind: RunKind,
    /// How the table is moved.
    pub mode: Mode,
    /// The bronze table.
    pub target: TableRef,
    /// The CSV beside it.
    pub csv: BlobKey,
    /// The columns of the CSV, in order, with the exact types of the source.
    pub columns: Vec<Column>,
    /// The types of those columns that PostgreSQL itself does not bring, so that they can be made without the source; each
    /// behind those that it is made of. None in manifests of release 0.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<TypeDef>,
    /// The conflict key.
    pub key: Vec<String>,
    /// What happens to a row whose key is there already.
    pub on_conflict: OnConflict,
    /// The relation that it was read from, or the text of its query; `None` in a manifest of release 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// The watermark column of the source.
    pub watermark_column: Option<String>,
    /// The statement that was copied out.
    pub query: String,
    /// The window, its `high` filled in; `None` for tables that are read whole.
    pub window: Option<Window>,
    /// The late-row sweep.
    pub sweep: Sweep,
    /// Rows below the window that the sweep delivered.
    pub late_rows: u64,
    /// The bound and what held it; `None` for tables that are read whole.
    pub bound: Option<SafeBound>,
    /// The run whose watermark this one continues.
    pub previous_run_id: Option<RunId>,
    /// What was loaded before it was read; `None` in manifests of release 0.1, and where the run log could not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// Of a repair, keys of rows that bronze had in the window and that the source had elsewhere then: they stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spares: Vec<RowKey>,
    /// Which part of its table a run of a resync reads; `None` for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// SHA-256 of the select list that was read; `None` in manifests of release 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_sha256: Option<String>,
    /// The snapshot, with the source's identity; `None` for a CSV that did not come from a database.
    pub snapshot: Option<Snapshot>,
    /// The file that was read; `None` for a CSV that came from a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<RawFile>,
    /// Rows, without the header.
    pub rows: u64,
    /// Bytes of the CSV, uncompressed, with the header.
    pub bytes: u64,
    /// SHA-256 of the CSV, uncompressed, lower-case hex.
    pub sha256: String,
    /// How it is stored, if not as it is.
    pub stored: Option<StoredForm>,
    /// Version of the engine that wrote it.
    pub engine_version: String,
}

/// Looked at before anything else: fields of another format may mean something else.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// A document, or the field that is wrong.
fn read<T: DeserializeOwned>(key: &BlobKey, json: &[u8]) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let document = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        // Without a path the document as a whole is none; the place is in the text then.
        let field = if path == "." { String::new() } else { format!(", field `{path}`") };
        check::refused(key, &format!("cannot be read{field}")).with_source(error.into_inner())
    })?;
    reader.end().map_err(|error| check::refused(key, "cannot be read").with_source(error))?;
    Ok(document)
}

impl Manifest {
    /// The version of the document that this library writes.
    pub const FORMAT: u32 = 1;

    /// The document as indented JSON with a line end.
    ///
    /// # Errors
    /// `Internal` if it cannot be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self).map_err(|error| {
            Error::new(ErrorKind::Internal, "manifest cannot be written as JSON").with_source(error)
        })?;
        json.push(b'\n');
        Ok(json)
    }

    /// A manifest from JSON that may have been tampered with; `key` is where it lies.
    ///
    /// Whatever it holds is checked before anything is decided by it: types are names of types, the names of project and
    /// table are those of the folder, numbers are in their ranges. Its `query` is for people, and is never executed.
    ///
    /// # Errors
    /// `Data`, with file and field, if it is no manifest, or of a format this version does not know.
    pub fn from_json(key: &BlobKey, json: &[u8]) -> Result<Self> {
        let Version { format } = read(key, json)?;
        if format != Self::FORMAT {
            return Err(Error::new(
                ErrorKind::Data,
                format!("manifest `{key}` has format {format}, this version knows {}", Self::FORMAT),
            )
            .with_hint("load it with the version of dwh that wrote it, or a newer one"));
        }
        let manifest: Self = read(key, json)?;
        manifest.check(key).map(|()| manifest)
    }

    /// How its CSV is loaded. `older`: bronze may hold rows of a newer snapshot.
    #[must_use]
    pub fn load_plan(&self, older: bool) -> LoadPlan {
        LoadPlan {
            table: self.table.clone(),
            target: self.target.clone(),
            mode: self.mode,
            columns: self.columns.clone(),
            types: self.types.clone(),
            key: self.key.clone(),
            on_conflict: self.on_conflict,
            allow_empty: false,
            replace: Replace::default(),
            deletes: Deletes::Keep,
            keys: None,
            missing: Missing::default(),
            file: self.file.as_ref().map(|file| file.path.clone()),
            older,
            replaced: self.replaced(),
            waiting: Vec::new(),
            filled: Vec::new(),
            overruled: Vec::new(),
            former_keys: Vec::new(),
            // A column without a zone is read in that of the configuration.
            stamp: None,
            added: self.added(),
            stamped: false,
            apart: false,
        }
    }

    /// The load of its CSV if that holds keys, which are compared with `bronze`; any other load as it is.
    ///
    /// # Errors
    /// `Config` if bronze does not get the watermark column.
    pub(crate) fn compared(&self, load: LoadPlan, bronze: &TableSchema) -> Result<LoadPlan> {
        match self.window.and_then(|window| window.high).filter(|_| self.kind == RunKind::Keys) {
            Some(high) => load.comparing(high, self.run_started_at, bronze),
            None => Ok(load),
        }
    }

    /// The columns that are none of the source's: a table whose rows are dated has them.
    fn added(&self) -> Vec<String> {
        let dated = self.mode == Mode::Scd || self.on_conflict == OnConflict::Append;
        let of_ours = |name: &&str| dated && self.columns.iter().any(|column| column.name == *name);
        [UPLOADED_AT, TASK_INSTANCE, RUN_ID].into_iter().filter(of_ours).map(str::to_owned).collect()
    }

    /// The window that its CSV stands for alone; `None` for one that only adds rows.
    #[must_use]
    pub fn replaced(&self) -> Option<Replaced> {
        // Versions of rows stay.
        let alone = self.kind.replaces() && self.on_conflict != OnConflict::Append;
        let window = self.window.filter(|_| alone)?;
        let (key, spares) = (self.key.clone(), self.spares.clone());
        Some(Replaced { low: window.low, high: window.high?, key, spares, at: self.run_started_at })
    }

    /// Bytes and SHA-256 as they must come out of the store.
    #[must_use]
    pub fn stored_form(&self) -> (u64, &str) {
        self.stored.as_ref().map_or((self.bytes, self.sha256.as_str()), |form| (form.bytes, form.sha256.as_str()))
    }
}
