//! The SQL that puts a CSV straight into bronze, without a staging table: when that cannot be, and how indexes are dropped
//! for it and built again.

use crate::config::{Mode, Replace};
use crate::plan::{LoadPlan, UPLOADED_AT};
use crate::run::RunKind;
use crate::schema::{IndexDef, KeyDef, quote_ident, quote_literal};

/// The savepoint before rows are put straight into bronze.
pub(crate) const SAVEPOINT: &str = "savepoint dwh_straight";

/// Back to where staging begins: indexes, rows and locks are as they were.
pub(crate) const BACK: &str = "rollback to savepoint dwh_straight";

impl LoadPlan {
    /// What keeps the load from going straight into bronze, whatever bronze is, a few words.
    pub(crate) fn needs_staging(&self, kind: RunKind) -> Option<&'static str> {
        if self.keys.is_some() {
            return Some("its keys are compared with bronze");
        }
        if self.replaced.is_some() {
            return Some("the CSV stands for its window alone");
        }
        if self.mode == Mode::Files {
            return Some("a file takes the place of its older version");
        }
        if !self.overruled.is_empty() {
            return Some("newer CSV files may have removed some of its rows");
        }
        if !self.filled.is_empty() {
            return Some("its rows get values that columns which came later gave to old rows");
        }
        if !self.former_keys.is_empty() {
            return Some("bronze may have some of its rows by a former key");
        }
        if self.mode != Mode::Snapshot {
            return None;
        }
        if self.carries_over() {
            return Some("bronze keeps the values of columns that the source lost");
        }
        if self.older || kind == RunKind::Replay {
            return Some("bronze may hold this copy, or a newer one");
        }
        (self.replace == Replace::Delete).then_some("`replace = \"delete\"`")
    }

    /// Counts the rows that bronze has of the copy that was dated at this moment.
    pub(crate) fn count_copy_of(&self, moment: &str) -> String {
        format!("select count(*) from {} where {} = {moment}", self.target.sql(), quote_ident(UPLOADED_AT))
    }

    /// `COPY` straight into bronze. Frozen rows need no second visit; that is for a table that was emptied just now.
    pub(crate) fn copy_straight(&self, frozen: bool) -> String {
        let freeze = if frozen { ", freeze" } else { "" };
        format!("copy {} ({}) from stdin (format csv, header{freeze})", self.target.sql(), self.names(""))
    }

    /// Takes bronze for this load alone, if nobody uses it at this moment: a wait would keep all that come later waiting.
    pub(crate) fn lock_alone(&self) -> String {
        format!("lock table {} in access exclusive mode nowait", self.target.sql())
    }

    /// Drops an index.
    pub(crate) fn drop_index(&self, index: &IndexDef) -> String {
        match index.constraint {
            Some(_) => {
                format!("alter table {} drop constraint {}", self.target.sql(), quote_ident(&index.table.name))
            }
            None => format!("drop index {}", index.table.sql()),
        }
    }

    /// Builds an index again as it was.
    pub(crate) fn build_index(&self, index: &IndexDef) -> String {
        let (table, name) = (self.target.sql(), quote_ident(&index.table.name));
        let tablespace = quote_literal(index.tablespace.as_deref().unwrap_or_default());
        let mut sql = vec![format!("set local default_tablespace = {tablespace}"), index.definition.clone()];
        if let Some(key) = &index.constraint {
            sql.push(format!("alter table {table} add constraint {name} {}", clause(key, &name)));
            sql.extend(
                key.comment
                    .as_ref()
                    .map(|comment| format!("comment on constraint {name} on {table} is {}", quote_literal(comment))),
            );
        }
        if index.clustered {
            sql.push(format!("alter table {table} cluster on {name}"));
        }
        sql.extend(
            index
                .comment
                .as_ref()
                .map(|text| format!("comment on index {} is {}", index.table.sql(), quote_literal(text))),
        );
        sql.join("; ")
    }
}

fn clause(key: &KeyDef, index: &str) -> String {
    let kind = if key.primary { "primary key" } else { "unique" };
    let deferred = match (key.deferrable, key.deferred) {
        (false, _) => "",
        (true, false) => " deferrable initially immediate",
        (true, true) => " deferrable initially deferred",
    };
    format!("{kind} using index {index}{deferred}")
}
