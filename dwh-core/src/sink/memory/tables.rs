//! What is done to whole tables in memory: for a rebuild, and by the hand of a test.

use std::collections::BTreeMap;

use super::{MemorySink, Table, World};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use crate::sink::{Moved, RunRecord, TableState};
use crate::watermark::Timestamp;

/// Everything that a [`MemorySink`] held at one moment.
#[derive(Debug, Clone)]
pub struct MemoryBackup {
    tables: BTreeMap<TableRef, Table>,
    states: BTreeMap<String, TableState>,
    runs: Vec<RunRecord>,
    above: i64,
}

impl MemorySink {
    /// Sets the clock by hand; it stands still from then on, but for a microsecond with each run that begins.
    pub fn set_clock(&self, clock: Timestamp) {
        self.world().clock = Some(clock);
    }

    /// Adds a key to a bronze table, as a person would, unless it has one over these columns.
    pub fn add_key(&self, table: &TableRef, key: UniqueKey) {
        if let Some(table) = self.world().tables.get_mut(table)
            && table.schema.keys.iter().all(|known| known.columns != key.columns)
        {
            table.schema.keys.push(key);
        }
    }

    /// Removes a bronze table with its rows, as a person would; its watermark stays.
    pub fn drop_table(&self, table: &TableRef) {
        self.world().tables.remove(table);
    }

    /// Takes all rows out of a bronze table, as a person would who knows nothing of watermarks.
    pub fn truncate(&self, table: &TableRef) {
        let mut world = self.world();
        let file = world.next_oid();
        if let Some(table) = world.tables.get_mut(table) {
            (table.rows, table.file) = (Vec::new(), file);
        }
    }

    /// A copy of everything: rows, watermarks, run log and the numbers of runs.
    #[must_use]
    pub fn backup(&self) -> MemoryBackup {
        let world = self.world();
        MemoryBackup {
            tables: world.tables.clone(),
            states: world.states.clone(),
            runs: world.runs.clone(),
            above: world.above,
        }
    }

    /// Makes everything as it was then; leases are not touched, nor is the clock.
    pub fn restore(&self, backup: &MemoryBackup) {
        let backup = backup.clone();
        let mut world = self.world();
        world.tables = backup.tables;
        world.states = backup.states;
        world.runs = backup.runs;
        world.above = backup.above;
    }
}

impl Table {
    /// Adds those of the columns that it lacks; its rows get the value that the source gave to rows of that age.
    pub(super) fn add_columns(&mut self, columns: &[Column]) {
        for column in columns {
            if self.schema.column(&column.name).is_none() {
                self.schema.columns.push(Column { not_null: false, ..column.clone() });
                self.rows.iter_mut().for_each(|row| row.push(column.old_value.clone()));
            }
        }
    }
}

impl World {
    /// A watermark row that stands at the seed, if there is none.
    pub(super) fn seed(&mut self, table: &str) {
        let seeded = TableState { last_extracted_at: Some(Timestamp::SEED), ..TableState::default() };
        self.states.entry(table.to_owned()).or_insert(seeded);
    }

    /// An empty table, in place of the one that is there if there is.
    pub(super) fn add(&mut self, schema: TableSchema) {
        let (oid, file) = (self.next_oid(), self.next_oid());
        self.tables.insert(schema.table.clone(), Table { schema, rows: Vec::new(), oid, file });
    }

    pub(super) fn occupied(&self, tables: &[LoadPlan]) -> Vec<String> {
        let mut found = Vec::new();
        for load in tables {
            if self.tables.get(&load.target).is_some_and(|table| !table.rows.is_empty()) {
                found.push(format!("{} holds rows", load.target));
            }
            let runs = self.runs.iter().filter(|run| run.table_name == load.table).count();
            if runs > 0 {
                found.push(format!("the run log has {runs} runs of `{}`", load.table));
            }
        }
        found
    }

    /// Tables that are moved are kept under another schema, so that nothing is dropped here either.
    pub(super) fn move_away(&mut self, tables: &[LoadPlan]) -> Result<Moved> {
        for load in tables {
            if self.leases.get(&load.table).is_some_and(|gate| gate.try_lock().is_err()) {
                return Err(Error::new(ErrorKind::Locked, format!("table `{}`: a run holds it", load.table)));
            }
        }
        let schema = format!("dwh_backup_{}", self.above);
        let mut moved = Moved { schema: schema.clone(), ..Moved::default() };
        for load in tables {
            if let Some(table) = self.tables.remove(&load.target) {
                let copy = TableRef::new(&schema, &load.target.name);
                moved.tables.push(copy.to_string());
                self.tables.insert(copy, table);
            }
            self.states.remove(&load.table);
            self.runs.retain(|run| run.table_name != load.table);
        }
        Ok(moved)
    }

    pub(super) fn add_columns(&mut self, load: &LoadPlan) {
        if let Some(table) = self.tables.get_mut(&load.target) {
            table.add_columns(&load.columns);
        }
    }

    pub(super) fn make_tables(&mut self, tables: &[LoadPlan]) {
        for load in tables {
            self.seed(&load.table);
            if !self.tables.contains_key(&load.target) {
                self.add(schema_of(load));
            }
        }
    }
}

/// The bronze table that a load needs: its columns, with a primary key where rows are found again by one.
fn schema_of(load: &LoadPlan) -> TableSchema {
    let key = UniqueKey {
        name: format!("{}_pkey", load.target.name),
        columns: load.key.clone(),
        primary: true,
        unusable: None,
    };
    TableSchema {
        table: load.target.clone(),
        kind: RelationKind::Table,
        columns: load.columns.clone(),
        keys: if load.mode.is_keyed() { vec![key] } else { Vec::new() },
        indexed: Vec::new(),
        row_estimate: -1,
        types: Vec::new(),
    }
}
