//! What `resync` is asked for, and what it did.

use serde::{Deserialize, Serialize};

use crate::config::TableConfig;
use crate::pipeline::report::one_code;
use crate::pipeline::{CauseReport, RunReport, TableRun};
use crate::run::{RunKind, RunState};

/// What `resync` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ResyncRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Chunks of a table at the same time; `None`: as many as `[target] connections`.
    pub jobs: Option<usize>,
    /// Wait where another run holds the table, instead of failing with `Locked`.
    pub wait: bool,
    /// Read all chunks, though an earlier call that was cut off has some of them.
    pub restart: bool,
    /// Let a table of no rows take the place of rows.
    pub allow_empty: bool,
    /// Only tell in how many chunks the tables would be read.
    pub dry_run: bool,
}

impl ResyncRequest {
    /// The tables that match, read anew.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// One table of `resync`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ResyncedTable {
    /// The table's name in the configuration.
    pub table: String,
    /// Chunks that were read now, or would be.
    pub chunks: u64,
    /// What was done, in order: what an earlier run had left, a run for each chunk, then the one that put them in.
    pub runs: Vec<TableRun>,
}

impl ResyncedTable {
    pub(super) fn of(table: &TableConfig) -> Self {
        Self { table: table.name.clone(), chunks: 0, runs: Vec::new() }
    }

    pub(super) fn count(&mut self) {
        let read = |run: &&TableRun| run.kind == RunKind::Chunk && run.status == RunState::Loaded;
        self.chunks = self.runs.iter().filter(read).count() as u64;
    }
}

/// What `resync` did, or would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ResyncReport {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// One entry a table.
    pub tables: Vec<ResyncedTable>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl ResyncReport {
    /// 0 if every run went well; the one code of all that did not; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let code = |table: &ResyncedTable| RunReport { runs: table.runs.clone(), ..RunReport::default() }.exit_code();
        one_code(self.tables.iter().map(code).filter(|code| *code > 0))
    }
}
