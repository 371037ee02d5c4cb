//! `reseed`: all history of some tables, read again.

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use std::sync::Arc;

use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::backfill::{Work, whole};
use crate::pipeline::failure::{failed, interrupted, named};
use crate::pipeline::report::one_code;
use crate::pipeline::{BackfillReport, CauseReport, Pipeline, TableRun};
use crate::run::RunKind;
use crate::watermark::Timestamp;

/// What `reseed` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ReseedRequest {
    /// Globs over table names; empty: all tables.
    pub tables: Vec<String>,
    /// Put what is read in the place of what bronze has: rows that differ are overwritten, and rows that the source has no
    /// more are removed.
    pub replace: bool,
    /// Let a window that is empty at the source remove the rows that bronze has there, or a snapshot of no rows replace
    /// rows.
    pub allow_empty: bool,
    /// Wait where another run holds the table, instead of failing with `Locked`.
    pub wait: bool,
    /// Read everything, though an earlier call that was cut off got part of the way.
    pub restart: bool,
    /// Only tell what would be read.
    pub dry_run: bool,
}

impl ReseedRequest {
    /// All history of the tables that match, read again.
    #[must_use]
    pub fn new(tables: Vec<String>) -> Self {
        Self { tables, ..Self::default() }
    }
}

/// What `reseed` did, or would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct ReseedReport {
    /// One entry a table.
    pub tables: Vec<BackfillReport>,
    /// Why tables failed: each cause once, with the tables that it touched.
    #[serde(default)]
    pub causes: Vec<CauseReport>,
}

impl ReseedReport {
    /// 0 if every run went well; the one code of all that did not; 1 if they differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        one_code(self.tables.iter().map(BackfillReport::exit_code).filter(|code| *code > 0))
    }
}

impl Pipeline {
    /// Reads all history up to the watermark again, as [`Pipeline::backfill`] does; a snapshot table is run.
    ///
    /// With [`ReseedRequest::replace`] bronze ends with the rows of the source, and no other, up to the watermark.
    ///
    /// A table whose watermark was read for something else, or whose bronze table lost what was loaded, begins anew: the
    /// watermark goes back to the seed, and ordinary runs follow.
    ///
    /// Of several tables none is begun unless each of them can be; one that fails afterwards stops no other.
    ///
    /// # Errors
    /// As [`Pipeline::backfill`]; `Config` for an scd table, whose history is not at the source. Nothing was done then.
    pub async fn reseed(&self, request: &ReseedRequest, cancel: &CancellationToken) -> Result<ReseedReport> {
        let chosen = self.tables(&request.tables).await?;
        let tables: Vec<&TableConfig> = chosen.iter().collect();
        let mut report = ReseedReport::default();
        if let [table] = tables[..] {
            let done = self.reseed_table(table, request, cancel).await?;
            report.causes = CauseReport::among(done.runs.iter().map(|run| (&run.table, &run.error)));
            report.tables.push(done);
            return Ok(report);
        }
        self.may_reseed(&tables, request, cancel).await?;
        for table in tables {
            let done = match cancel.is_cancelled() {
                true => Err(interrupted()),
                false => self.reseed_table(table, request, cancel).await,
            };
            report.tables.push(done.unwrap_or_else(|error| {
                let mut told = BackfillReport::empty(table, RunKind::Reseed, request.dry_run);
                told.runs.push(failed(TableRun::new(&table.name, table.mode), &named(error, &table.name)));
                told
            }));
        }
        let runs = report.tables.iter().flat_map(|table| &table.runs);
        report.causes = CauseReport::among(runs.map(|run| (&run.table, &run.error)));
        Ok(report)
    }

    /// Tries each of the tables without doing anything.
    ///
    /// # Errors
    /// Those of the first table that cannot be read again, with the words about all that cannot.
    async fn may_reseed(
        &self,
        tables: &[&TableConfig],
        request: &ReseedRequest,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let dry = ReseedRequest { dry_run: true, ..request.clone() };
        let quiet = self.clone().with_observer(Arc::new(|_| {}));
        let mut errors: Vec<Error> = Vec::new();
        for table in tables {
            if let Err(error) = quiet.reseed_table(table, &dry, cancel).await {
                errors.push(named(error, &table.name));
            }
        }
        let Some(first) = errors.first() else { return Ok(()) };
        let (messages, hints): (Vec<String>, Vec<&str>) =
            errors.iter().map(|error| (error.to_string(), error.hint())).unzip();
        let hint = format!("nothing was read; {}", hints.join("\n"));
        Err(Error::new(first.kind(), messages.join("; ")).with_hint(hint))
    }

    async fn reseed_table(
        &self,
        table: &TableConfig,
        request: &ReseedRequest,
        cancel: &CancellationToken,
    ) -> Result<BackfillReport> {
        if table.mode == Mode::Scd {
            return Err(whole(table));
        }
        if request.replace && table.is_appended() {
            return Err(versions_stay(table));
        }
        let anew = self
            .reseed_anew(table, request.wait, request.dry_run, cancel)
            .await
            .map_err(|error| named(error, &table.name))?;
        // Rows that bronze has stay in what begins anew, and a CSV that waits may bring more.
        let begun = match anew {
            Some(report) if !request.replace || request.dry_run || report.exit_code() != 0 => return Ok(report),
            Some(report) => report.runs,
            None => Vec::new(),
        };
        let this = Self { allow_empty: self.allow_empty || request.allow_empty, ..self.clone() };
        match table.mode {
            Mode::Incremental => {
                let low = Timestamp::NEG_INFINITY;
                let kind = if request.replace { RunKind::Repair } else { RunKind::Reseed };
                let work = Work { table, kind, low, to: None, wait: request.wait, since_run: None };
                let report = this.read_again(work, request.restart, request.dry_run, cancel).await?;
                Ok(BackfillReport { runs: [begun, report.runs].concat(), ..report })
            }
            Mode::Snapshot | Mode::Files => {
                let this = Self { reprocess: vec![crate::files::is_path_glob("**")?], ..this };
                let mut report = BackfillReport::empty(table, RunKind::Run, request.dry_run);
                if !request.dry_run {
                    let numbered = self.number_above_files().await;
                    report.runs = this.run_table(table, numbered.as_ref().map(|&()| &()), request.wait, cancel).await;
                }
                Ok(report)
            }
            Mode::Scd => Err(whole(table)),
        }
    }
}

fn versions_stay(table: &TableConfig) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("table `{}`: `on_conflict = \"append\"` keeps each version of a row, so none is replaced", table.name),
    )
    .with_hint(format!("`dwh reseed {}` without `--replace` adds the versions that bronze lacks", table.name))
}
