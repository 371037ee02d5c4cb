//! Columns that bronze has and the source lost: what a load does about them, and how a plan is fitted to the bronze table
//! that is there.

use serde::Serialize;

use crate::config::{Mode, OnMissingColumn, TableConfig};
use crate::plan::{LoadPlan, Plan};
use crate::schema::{Column, Delivered, Drift, TableSchema, drift, lost, quote_ident};

/// Columns of bronze that a load does not bring, although earlier ones did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The load is refused because of these.
    pub refused: Vec<Column>,
    /// These keep the values that bronze has.
    pub kept: Vec<Column>,
    /// These lose their values, or get none any more, and the configuration says so.
    pub emptied: Vec<Column>,
    /// Those that are refused and seem to have another name at the source now: the old name and the new one.
    #[serde(skip)]
    pub renamed: Vec<(String, String)>,
}

impl Missing {
    /// What the configuration says about the columns that `delivered` lacks, `before` being what loads brought so far.
    pub(crate) fn of(table: &TableConfig, delivered: &[Column], bronze: &TableSchema, before: Delivered<'_>) -> Self {
        let mut found = Self::default();
        for column in lost(delivered, &bronze.columns, before) {
            // What bronze alone has was never the source's.
            if table.of_bronze().contains(&column.name.as_str()) {
                continue;
            }
            // Left out on request. A snapshot replaces all rows, and their old values go with them.
            if table.exclude.contains(&column.name) {
                if table.mode == Mode::Snapshot {
                    found.emptied.push(column);
                }
                continue;
            }
            match table.on_missing_column {
                OnMissingColumn::Stop => found.refused.push(column),
                OnMissingColumn::Keep => found.kept.push(column),
                OnMissingColumn::Null => found.emptied.push(column),
            }
        }
        found
    }

    /// What a person should know before the rows are loaded; `None` if no value is lost.
    pub(crate) fn warning(&self, table: &TableConfig) -> Option<String> {
        if self.emptied.is_empty() {
            return None;
        }
        let names: Vec<String> = self.emptied.iter().map(|column| format!("`{}`", column.name)).collect();
        let (which, rows) = match table.mode {
            Mode::Snapshot => ("lose their values", "every row"),
            Mode::Incremental | Mode::Scd | Mode::Files => ("get no values any more", "each new row"),
        };
        let names = names.join(", ");
        Some(format!("columns of bronze that the source does not deliver {which}: {names} is NULL in {rows}"))
    }
}

impl Plan {
    /// The plan as it can be carried out on this bronze table, `before` being what loads brought into it so far.
    ///
    /// A generated column of the source that bronze computes itself is left out. What the source has lost is noted, and what
    /// a run adds to bronze first.
    #[must_use]
    pub fn fitted(mut self, bronze: Option<&TableSchema>, before: Delivered<'_>) -> Self {
        let Some(bronze) = bronze else { return self };
        let computed = |schema: &TableSchema, name: &str| schema.column(name).is_some_and(|column| column.generated);
        let by_both = |name: &str| computed(&self.source, name) && computed(bronze, name);
        self.columns.retain(|own| !by_both(&own.column.name));
        let delivered = self.delivered();
        self.missing = Missing::of(&self.table, &delivered, bronze, before);
        self.missing.renamed = renamed(&delivered, &self.source, bronze, &self.missing.refused);
        self.waiting = self.waiting_for(bronze);
        self
    }
}

/// Which of the lost columns have another name at the source now, the old name and the new one.
///
/// A column that is added gets a higher number than any column before it, and one that is dropped leaves its number free.
/// So a new one that has the number of an old one's place, and its type, is that one under another name.
fn renamed(delivered: &[Column], source: &TableSchema, bronze: &TableSchema, lost: &[Column]) -> Vec<(String, String)> {
    let numbers = source.columns.iter().filter_map(|column| column.number);
    let whole = (1..).zip(numbers).all(|(at, number)| at == number);
    let number = |name: &str| delivered.iter().find(|column| column.name == name).and_then(|column| column.number);
    let new = |column: &&Column| column.number.is_some() && bronze.column(&column.name).is_none();
    let mut found = Vec::new();
    for (at, old) in bronze.columns.iter().enumerate().filter(|(_, column)| lost.contains(column)) {
        let before = bronze.columns[..at].iter().rev().find_map(|column| number(&column.name)).unwrap_or(0);
        let behind = bronze.columns[at..].iter().find_map(|column| number(&column.name));
        // Without a column behind it, only a table that never lost one tells a new name from a new column.
        if behind.is_none() && !whole {
            continue;
        }
        let there =
            |column: &&Column| column.number > Some(before) && behind.is_none_or(|behind| column.number < Some(behind));
        let fits: Vec<&Column> =
            delivered.iter().filter(new).filter(there).filter(|column| column.bare_type() == old.bare_type()).collect();
        if let [only] = fits[..] {
            found.push((old.name.clone(), only.name.clone()));
        }
    }
    let twice = |name: &String, found: &[(String, String)]| found.iter().filter(|(_, new)| new == name).count() > 1;
    let all = found.clone();
    found.retain(|(_, new)| !twice(new, &all));
    found
}

impl LoadPlan {
    /// Every difference between what it brings and what bronze has.
    pub(crate) fn drift(&self, bronze: &TableSchema) -> Vec<Drift> {
        let mut found = drift(&self.named_in(bronze), &bronze.columns);
        for column in &self.missing.refused {
            if found.iter().all(|drift| drift.column() != column.name) {
                found.push(Drift::MissingInSource { column: column.name.clone(), required: false });
            }
        }
        found
    }

    /// Whether old values of a snapshot are put beside its new rows.
    #[must_use]
    pub fn carries_over(&self) -> bool {
        self.mode == Mode::Snapshot && !self.missing.kept.is_empty()
    }

    /// Sets the old values aside, by key, before bronze is emptied.
    #[must_use]
    pub fn set_values_aside(&self) -> String {
        let kept = self.kept_names("");
        format!(
            "create temporary table dwh_kept on commit drop as select {}, {kept} from {}",
            self.key_names(""),
            self.target.sql()
        )
    }

    /// Counts the keys that bronze holds more than once: their old values belong to no row.
    #[must_use]
    pub fn count_kept_twice(&self) -> String {
        let key = self.key_names("");
        format!("select count(*) from (select from pg_temp.dwh_kept group by {key} having count(*) > 1) d")
    }

    /// The new rows of a snapshot, with the old values of their keys.
    pub(super) fn insert_with_kept(&self, stage: &str) -> String {
        // As records, which compare every type that has an order, and NULLs too.
        let key = |prefix: &str| format!("row({})::pg_catalog.record", self.key_names(prefix));
        format!(
            "insert into {} as t ({}, {}) overriding system value select {}, {} from {stage} s \
             left join pg_temp.dwh_kept b on {} = {}",
            self.target.sql(),
            self.names(""),
            self.kept_names(""),
            self.names("s."),
            self.kept_names("b."),
            key("s."),
            key("b.")
        )
    }

    fn kept_names(&self, prefix: &str) -> String {
        let names: Vec<String> =
            self.missing.kept.iter().map(|column| format!("{prefix}{}", quote_ident(&column.name))).collect();
        names.join(", ")
    }
}
