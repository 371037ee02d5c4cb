//! The SQL that finds rows of bronze which the source has deleted: the keys of one snapshot of the source are compared with
//! rows that were read before it.
//!
//! Judged are rows at or below the bound of that snapshot: what lies above may have become visible after it.

use serde::Serialize;

use super::extract::instant;
use super::load::STAGE;
use super::replace::{Stamp, span};
use crate::config::{DELETED_AT, Deletes};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Equality, LoadPlan, Plan};
use crate::schema::{TableSchema, TypeName, quote_ident};
use crate::watermark::Timestamp;

/// The keys of a newer snapshot, beside the staged rows of an older one.
const KEYS: &str = "pg_temp.dwh_keys";

/// Staged rows that bronze lacks and that the newer snapshot lacks too.
const GONE: &str = "pg_temp.dwh_gone";

/// Keys of several CSV files that bronze lacks.
const LOST: &str = "pg_temp.dwh_lost";

/// What a CSV of keys stands for: rows of bronze up to `high` whose keys it lacks are gone at the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeysOf {
    /// The bound of the snapshot, inclusive: rows above are not judged.
    pub high: Timestamp,
    /// When the run began that read them: the mark of a row that is gone.
    pub at: Timestamp,
    /// The type of the watermark column, by which bronze is cut.
    pub stamp_type: TypeName,
}

impl Plan {
    /// The same table, of which the key alone is read: every row, in any order.
    #[must_use]
    pub(crate) fn keys_only(&self) -> Self {
        let mut plan = self.clone();
        plan.columns.retain(|column| plan.table.key.contains(&column.column.name));
        (plan.watermark, plan.watermark_indexed) = (None, false);
        (plan.waiting, plan.missing) = (Vec::new(), super::Missing::default());
        plan
    }
}

impl LoadPlan {
    /// The load of a CSV of keys; `rows` has the watermark column, at either end.
    ///
    /// # Errors
    /// `Config` if it has not.
    pub(crate) fn comparing(mut self, high: Timestamp, at: Timestamp, rows: &TableSchema) -> Result<Self> {
        let column = self.stamp.as_ref().and_then(|stamp| rows.column(&stamp.column));
        let stamp_type = column.map(|column| column.type_name.clone()).ok_or_else(|| self.no_stamp())?;
        // The key may have been another one then.
        self.key = self.columns.iter().map(|column| column.name.clone()).collect();
        self.keys = Some(KeysOf { high, at, stamp_type });
        Ok(self)
    }

    /// Whether rows that are gone at the source are marked.
    #[must_use]
    pub fn marks(&self) -> bool {
        self.deletes == Deletes::Mark
    }

    /// Whether anything becomes of rows that are gone at the source.
    #[must_use]
    pub fn looks_for_deletes(&self) -> bool {
        self.deletes != Deletes::Keep
    }

    /// Refuses a bronze table that cannot take the mark.
    pub(super) fn check_mark(&self, bronze: &TableSchema) -> Result<()> {
        let there = bronze.column(DELETED_AT).map(|column| &column.type_name);
        if !self.marks() || there == Some(&TypeName::timestamptz()) {
            return Ok(());
        }
        let (what, hint) = match there {
            None => (format!("has no column `{DELETED_AT}`"), "run `dwh migrate`; it adds the column".to_owned()),
            Some(other) => (
                format!("has a column `{DELETED_AT}` of type {other}, not timestamp with time zone"),
                format!(
                    "in the target: alter table {} rename column {} to another_name; then run `dwh migrate`, or say \
                     `deletes = \"keep\"`",
                    self.target.sql(),
                    quote_ident(DELETED_AT)
                ),
            ),
        };
        Err(Error::new(ErrorKind::Contract, format!("table `{}`: {} {what}", self.table, self.target)).with_hint(hint))
    }

    fn is_marked(alias: &str) -> String {
        format!("{alias}.{} is not null", quote_ident(DELETED_AT))
    }

    /// The condition of rows that are not marked, behind others; empty where none is.
    pub(super) fn and_unmarked(&self, alias: &str) -> String {
        if self.marks() { format!(" and {alias}.{} is null", quote_ident(DELETED_AT)) } else { String::new() }
    }

    /// The condition of the rows that are judged, under the alias `b`.
    fn judged(&self, keys: &KeysOf) -> String {
        let stamp = self.stamp.clone().unwrap_or_else(|| Stamp { column: String::new(), zone: None });
        let within = span("b", &stamp, keys.stamp_type.bare(), Timestamp::NEG_INFINITY, keys.high);
        within + &self.and_unmarked("b")
    }

    /// Counts the rows that are judged.
    pub(crate) fn count_judged(&self, keys: &KeysOf) -> String {
        format!("select count(*) from {} as b where {}", self.target.sql(), self.judged(keys))
    }

    fn gone(&self, keys: &KeysOf, key: &[Equality]) -> String {
        format!("{} and not exists (select from {STAGE} s where {})", self.judged(keys), self.same_key(key))
    }

    /// Counts those whose keys are not among the staged ones.
    pub(crate) fn count_gone(&self, keys: &KeysOf, key: &[Equality]) -> String {
        format!("select count(*) from {} as b where {}", self.target.sql(), self.gone(keys, key))
    }

    /// The first keys of those, as text.
    pub(crate) fn first_gone(&self, keys: &KeysOf, key: &[Equality], limit: usize) -> String {
        let texts: Vec<String> = self.key.iter().map(|name| format!("b.{}::text", quote_ident(name))).collect();
        format!(
            "select array[{0}]::text[] from {1} as b where {2} order by {0} limit {limit}",
            texts.join(", "),
            self.target.sql(),
            self.gone(keys, key)
        )
    }

    /// Marks or removes them, as the configuration says.
    pub(crate) fn take_gone(&self, keys: &KeysOf, key: &[Equality]) -> String {
        self.take(keys.at, &self.gone(keys, key))
    }

    /// Marks or removes rows of bronze, `b`.
    pub(super) fn take(&self, at: Timestamp, gone: &str) -> String {
        let table = self.target.sql();
        if self.marks() {
            return format!("update {table} as b set {} where {gone}", self.mark(at));
        }
        format!("delete from {table} as b where {gone}")
    }

    fn mark(&self, at: Timestamp) -> String {
        format!("{} = {}{}", quote_ident(DELETED_AT), instant(at), self.and_loaded_at())
    }

    fn came_back(&self, key: &[Equality]) -> String {
        format!("{} and exists (select from {STAGE} s where {})", Self::is_marked("b"), self.same_key(key))
    }

    /// Counts the marked rows whose keys are staged.
    pub(crate) fn count_back(&self, key: &[Equality]) -> String {
        format!("select count(*) from {} as b where {}", self.target.sql(), self.came_back(key))
    }

    /// Takes their marks.
    pub(crate) fn unmark(&self, key: &[Equality]) -> String {
        let name = quote_ident(DELETED_AT);
        let (table, more) = (self.target.sql(), self.and_loaded_at());
        format!("update {table} as b set {name} = null{more} where {}", self.came_back(key))
    }

    /// Whether a staged row is proof that its key is at the source: it was read in the newest snapshot.
    pub(crate) fn unmarks(&self) -> bool {
        self.marks() && !self.older
    }

    /// Whether any staged row is new in bronze.
    pub(crate) fn any_new(&self, key: &[Equality]) -> String {
        format!("select exists (select from {STAGE} s where {})", self.is_new(key))
    }

    /// Where each version stays, bronze may have a key and lack an older version of it: those that were removed stay so,
    /// and those of a key that came back since are not marked.
    fn is_new(&self, key: &[Equality]) -> String {
        if self.is_appended() && !self.marks() {
            return "true".to_owned();
        }
        let unmarked = if self.is_appended() { self.and_unmarked("b") } else { String::new() };
        format!("not exists (select from {} b where {}{unmarked})", self.target.sql(), self.same_key(key))
    }

    /// Makes a place for the keys of a newer snapshot, with bronze's own types.
    pub(crate) fn create_keys(&self) -> String {
        let names = self.names("");
        format!(
            "create temporary table dwh_keys on commit drop as select {names} from {} with no data",
            self.target.sql()
        )
    }

    /// `COPY` into it.
    pub(crate) fn copy_keys(&self) -> String {
        format!("copy {KEYS} ({}) from stdin (format csv, header)", self.names(""))
    }

    /// Takes staged rows away that bronze lacks and that a newer snapshot of the source lacks too; `newer` tells its keys
    /// apart.
    pub(crate) fn drop_gone(&self, key: &[Equality], newer: &[Equality]) -> String {
        format!("delete from {STAGE} as s where {}", self.is_gone(key, newer))
    }

    /// Notes the keys of these rows instead, which get a mark once they are in bronze.
    pub(crate) fn note_gone(&self, key: &[Equality], newer: &[Equality]) -> String {
        format!(
            "create temporary table dwh_gone on commit drop as select {} from {STAGE} s where {}",
            self.key_names("s."),
            self.is_gone(key, newer)
        )
    }

    fn is_gone(&self, key: &[Equality], newer: &[Equality]) -> String {
        let same: Vec<String> = newer.iter().map(|part| self.key_equals_of(part, "k")).collect();
        format!("{} and not exists (select from {KEYS} k where {})", self.is_new(key), same.join(" and "))
    }

    /// Marks the rows that were noted.
    pub(crate) fn mark_noted(&self, at: Timestamp, key: &[Equality]) -> String {
        format!(
            "update {} as b set {} where exists (select from {GONE} s where {}){}",
            self.target.sql(),
            self.mark(at),
            self.same_key(key),
            self.and_unmarked("b")
        )
    }

    /// Makes a place for keys that bronze lacks.
    pub(crate) fn create_lost(&self) -> String {
        let names = self.key_names("");
        format!(
            "create temporary table dwh_lost on commit drop as select {names} from {} with no data",
            self.target.sql()
        )
    }

    /// Notes the keys of the staged rows that bronze lacks, and takes the staged rows away.
    pub(crate) fn note_lost(&self, key: &[Equality]) -> String {
        let (names, lost) = (self.key_names("s."), self.is_new(key));
        format!("insert into {LOST} select {names} from {STAGE} s where {lost}; drop table {STAGE}")
    }

    /// Counts those keys, each once: what the unique index calls equal is one.
    pub(crate) fn count_lost(&self, key: &[Equality]) -> String {
        let same: Vec<String> = key.iter().map(|part| part.collated(&quote_ident(&part.column))).collect();
        format!("select count(*) from (select from {LOST} group by {}) q", same.join(", "))
    }
}
