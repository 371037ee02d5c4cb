//! What a manifest must be before it is believed: it lies in a bucket that others may write to. Pure.

use std::collections::BTreeSet;

use super::Manifest;
use crate::blob::{BlobKey, Folder, Layout};
use crate::chain::Part;
use crate::config::{Compression, Mode, OnConflict};
use crate::error::{Error, ErrorKind, Result};
use crate::raw_file::RawFile;
use crate::run::RunKind;
use crate::schema::{Column, ObjectName, RowKey, TypeDef, TypeKind};
use crate::watermark::Timestamp;

/// Columns that a table of PostgreSQL can have.
const COLUMNS_MAX: usize = 1_600;
/// Types that the columns of a table may be made of.
const TYPES_MAX: usize = 10_000;
/// Bytes of a name or a label; a server may be built for more than the usual 63.
const NAME_MAX: usize = 1_023;
/// Counts go into the run log as `bigint`.
const COUNT_MAX: u64 = i64::MAX as u64;

impl Manifest {
    /// # Errors
    /// `Data`, with the field, if a value is not one that an extract writes.
    pub(super) fn check(&self, key: &BlobKey) -> Result<()> {
        let judged = self
            .place(key)
            .or_else(|| self.content())
            .or_else(|| self.shape())
            .or_else(|| self.defined())
            .or_else(|| self.moments());
        match judged {
            None => Ok(()),
            Some(Wrong { field, why }) => Err(refused(key, &format!("cannot be used, field `{field}`: {why}"))),
        }
    }

    /// Project, table and CSV are those of the folder.
    fn place(&self, key: &BlobKey) -> Option<Wrong> {
        let layout = Layout { project: self.project.clone(), zone: jiff::tz::TimeZone::UTC };
        let in_table = |key: &BlobKey| {
            let prefixes = Folder::ALL.map(|folder| layout.prefix(folder, &self.table));
            let file = prefixes.iter().find_map(|prefix| key.as_str().strip_prefix(prefix.as_str()));
            file.is_some_and(|file| !file.contains('/'))
        };
        let in_project = key.as_str().starts_with(&layout.project_prefix());
        first_wrong([
            ("project", in_project, "it is not the project of this folder"),
            ("table", in_table(key), "it is not the table of this folder"),
            ("csv", in_table(&self.csv) && self.csv.is_csv(), "it is no CSV of this table"),
        ])
    }

    /// Numbers and hashes.
    fn content(&self) -> Option<Wrong> {
        let stored = self.stored.as_ref();
        let how = stored.map_or(Compression::None, |form| form.compression);
        let suffix_fits = self.csv.as_str().ends_with(&format!(".csv{}", how.suffix()));
        let printable = |text: &str| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic());
        first_wrong([
            ("run_id", self.run_id.0 > 0, "runs are counted from 1"),
            ("rows", self.rows <= COUNT_MAX, "it is too large"),
            ("late_rows", self.late_rows <= COUNT_MAX, "it is too large"),
            ("bytes", self.bytes <= COUNT_MAX && self.bytes >= self.rows, "it does not fit `rows`"),
            ("sha256", is_sha256(&self.sha256), "it is not 64 digits of lower-case hex"),
            ("plan_sha256", self.plan_sha256.as_deref().is_none_or(is_sha256), "it is not 64 digits of lower-case hex"),
            ("stored.bytes", stored.is_none_or(|form| form.bytes <= COUNT_MAX), "it is too large"),
            (
                "stored.sha256",
                stored.is_none_or(|form| is_sha256(&form.sha256)),
                "it is not 64 digits of lower-case hex",
            ),
            (
                "stored",
                suffix_fits && stored.is_none_or(|_| how != Compression::None),
                "it does not fit the name of the CSV",
            ),
            ("engine_version", printable(&self.engine_version), "it is not a version"),
        ])
    }

    /// Columns and key.
    fn shape(&self) -> Option<Wrong> {
        let names: BTreeSet<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let old_value = |column: &Column| column.old_value.as_deref().is_none_or(|value| !value.contains('\0'));
        let keys: BTreeSet<&str> = self.key.iter().map(String::as_str).collect();
        let named = |name: &str| !name.is_empty() && !name.contains('\0');
        let keyed = !self.mode.is_keyed() || (!keys.is_empty() && keys.is_subset(&names));
        let target = [&self.target.schema, &self.target.name];
        let stamped = self.watermark_column.as_deref().is_some_and(|name| names.contains(name));
        let cut = self.mode == Mode::Incremental && stamped && self.window.is_some_and(|window| window.high.is_some());
        let alone = self.kind.replaces() && self.on_conflict != OnConflict::Append;
        let bound = self.window.and_then(|window| window.high);
        let compared = self.mode == Mode::Incremental && bound.is_some() && keys == names;
        first_wrong([
            ("columns", (1..=COLUMNS_MAX).contains(&self.columns.len()), "a table has 1 to 1,600 columns"),
            ("columns", names.iter().all(|name| named(name)), "a column has no name"),
            ("columns", names.len() == self.columns.len(), "a column is there twice"),
            ("columns", self.columns.iter().all(old_value), "a value that no row can have"),
            ("key", keys.len() == self.key.len(), "a column is there twice"),
            ("key", keyed && keys.iter().all(|name| named(name)), "it is not over columns of the CSV"),
            ("kind", self.kind != RunKind::Keys || compared, "keys alone are compared with rows up to a bound"),
            ("kind", self.kind != RunKind::Model, "a model has no CSV"),
            ("kind", !alone || cut, "a repair needs a window of rows that bear their stamps"),
            ("part", self.is_part(), "it does not fit `kind` or `key`"),
            ("spares", self.kind.replaces() || self.spares.is_empty(), "only a repair spares rows"),
            ("spares", self.spares.iter().all(|key| key.len() == self.key.len()), "it is not over the key"),
            ("file", self.file.as_ref().is_none_or(is_read), "it is not a file that was read to its end"),
            ("watermark_column", self.watermark_column.as_deref().is_none_or(named), "it is not a name"),
            ("target", target.into_iter().all(|name| named(name)), "it is not a table's name"),
        ])
    }

    /// Whether a run of a resync, and no other, says which part of the table it reads.
    fn is_part(&self) -> bool {
        let over_key = |key: &RowKey| key.len() == self.key.len() && key.iter().all(Option::is_some);
        match (self.kind, &self.part) {
            (RunKind::Resync, Some(Part::Cuts(cuts))) => self.rows == 0 && cuts.iter().all(over_key),
            (RunKind::Chunk, Some(Part::Chunk(chunk))) => {
                [&chunk.keys.low, &chunk.keys.high].into_iter().flatten().all(over_key)
            }
            (kind, part) => part.is_none() && !matches!(kind, RunKind::Resync | RunKind::Chunk),
        }
    }

    /// Definitions of types.
    fn defined(&self) -> Option<Wrong> {
        let names: BTreeSet<&ObjectName> = self.types.iter().map(|def| &def.name).collect();
        let named = |name: &str| (1..=NAME_MAX).contains(&name.len()) && !name.contains('\0');
        let object = |name: &ObjectName| named(&name.schema) && named(&name.name);
        // The schemas of the server itself are no place for anybody's types.
        let own = |name: &ObjectName| !name.schema.starts_with("pg_") && name.schema != "information_schema";
        let is_extensions = |def: &TypeDef| matches!(def.kind, TypeKind::Extension { .. });
        let fine = |def: &TypeDef| match &def.kind {
            TypeKind::Extension { extension } => named(extension),
            TypeKind::Enum { labels } => {
                let once: BTreeSet<&String> = labels.iter().collect();
                once.len() == labels.len()
                    && labels.iter().all(|label| label.len() <= NAME_MAX && !label.contains('\0'))
            }
            TypeKind::Composite { attributes } => {
                let once: BTreeSet<&str> = attributes.iter().map(|one| one.name.as_str()).collect();
                once.len() == attributes.len() && attributes.len() <= COLUMNS_MAX && once.into_iter().all(named)
            }
            TypeKind::Range { multirange, collation, operator_class, .. } => {
                multirange.iter().all(|name| object(name) && own(name))
                    && [collation, operator_class].into_iter().flatten().all(object)
            }
            TypeKind::Domain { .. } | TypeKind::Base => true,
        };
        first_wrong([
            ("types", self.types.len() <= TYPES_MAX, "there are too many"),
            ("types", names.len() == self.types.len(), "a type is there twice"),
            (
                "types",
                self.types.iter().all(|def| object(&def.name) && (is_extensions(def) || own(&def.name))),
                "it is not a type's name",
            ),
            ("types", self.types.iter().all(fine), "it is not a definition that a catalog has"),
        ])
    }

    /// Where the rows lie in time, and where the watermark would go.
    fn moments(&self) -> Option<Wrong> {
        let ordered = |low: Timestamp, high: Option<Timestamp>| high.is_none_or(|high| low <= high);
        let window = self.window;
        let empty = self.before.as_ref().and_then(|before| before.empty.as_ref()).map(|run| run.window);
        first_wrong([
            ("run_started_at", self.run_started_at.is_finite(), "it is infinite"),
            ("window", window.is_none_or(|window| ordered(window.low, window.high)), "it ends before it begins"),
            ("before.empty", empty.is_none_or(|window| ordered(window.low, window.high)), "it ends before it begins"),
            ("window.low", window.is_none_or(|window| window.low != Timestamp::INFINITY), "nothing lies above it"),
            (
                "window.watermark",
                window.is_none_or(|window| window.watermark != Timestamp::INFINITY),
                "nothing lies above it",
            ),
        ])
    }
}

/// A value that no extract writes.
struct Wrong {
    field: &'static str,
    why: &'static str,
}

fn first_wrong<const N: usize>(judged: [(&'static str, bool, &'static str); N]) -> Option<Wrong> {
    judged.into_iter().find(|(_, fine, _)| !fine).map(|(field, _, why)| Wrong { field, why })
}

fn is_read(file: &RawFile) -> bool {
    let fine = |text: &str| !text.is_empty() && text.len() <= 4_096 && !text.contains('\0');
    fine(&file.path)
        && file.sha256.as_deref().is_some_and(is_sha256)
        && file.bytes <= COUNT_MAX
        && file.rejected <= COUNT_MAX
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The error of a manifest that is not believed.
pub(super) fn refused(key: &BlobKey, what: &str) -> Error {
    Error::new(ErrorKind::Data, format!("manifest `{key}` {what}")).with_hint(
        "nothing was done with it; put back the manifest that dwh wrote (the store's older version of the object, or a \
         backup), or move it with its CSV out of the project's folder",
    )
}

#[cfg(test)]
mod tests;
