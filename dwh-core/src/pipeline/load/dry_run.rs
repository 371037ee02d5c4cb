//! What `load` would do: its decisions by its own code, and the CSV read to its end; nothing is written.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::blob::{BlobKey, Folder, Manifest, read_manifest};
use crate::config::{Mode, TableConfig};
use crate::dialect::{HeaderGate, Tally};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::describe::{describe_manifest, describe_record};
use crate::pipeline::failure::{named, with_way_out};
use crate::pipeline::{LoadParams, Pipeline, TableRun, WindowReport};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunState};
use crate::sink::TableState;
use crate::watermark::Timestamp;

/// What is left to do for a CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadStep {
    /// All of it: the load, and then the move to `processed/`.
    Load,
    /// The move: it is loaded.
    Move,
    /// Nothing: it is loaded and moved.
    Nothing,
}

/// What a load would do: printed by `load --dry-run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct LoadPlanReport {
    /// The table's name in the configuration.
    pub table: String,
    /// What would be done.
    pub would: LoadStep,
    /// How the table is moved.
    pub mode: Mode,
    /// The bronze table.
    pub target: String,
    /// Address of the CSV.
    pub csv_path: String,
    /// Whether a manifest lies beside it.
    pub manifest: bool,
    /// Its run; `null` for a CSV made by hand, which would get a new one.
    pub run_id: Option<RunId>,
    /// Where that run stands in the log.
    pub status: Option<RunState>,
    /// Rows in the CSV.
    pub rows: u64,
    /// Bytes of the CSV, uncompressed.
    pub bytes: u64,
    /// SHA-256 of the CSV, uncompressed.
    pub sha256: Option<String>,
    /// Its window; `null` for tables that are read whole, and for a CSV made by hand.
    pub window: Option<WindowReport>,
    /// Where the watermark would move; `null` if it stays.
    pub watermark: Option<Timestamp>,
    /// The statements of the load transaction, in order; none if nothing would be loaded.
    pub load_sql: Vec<String>,
}

impl Pipeline {
    /// What [`Pipeline::load`] would do with a CSV, which is read to its end for it; nothing is written.
    ///
    /// What only bronze can tell, that each value fits its column and no constraint refuses a row, is not looked at.
    ///
    /// # Errors
    /// Those of the load.
    pub async fn plan_load(&self, params: &LoadParams, accept_unverified: bool) -> Result<LoadPlanReport> {
        let table = &self.table(&params.table).await?;
        let csv = self.layout.resolve(self.blobs.url(), &table.name, &params.csv_path)?;
        let lease = self.sink.lease(&table.name, false).await?;
        let state = lease.state().clone();
        // A large CSV takes its time, and there is nothing to hold the table for.
        lease.release().await?;
        let mut run = TableRun::new(&table.name, table.mode);
        let looked = self.look_at_csv(table, params, &csv, &state, accept_unverified, &mut run).await;
        looked.map_err(|error| with_way_out(named(error, &table.name), &run))
    }

    async fn look_at_csv(
        &self,
        table: &TableConfig,
        params: &LoadParams,
        csv: &BlobKey,
        state: &TableState,
        accept_unverified: bool,
        run: &mut TableRun,
    ) -> Result<LoadPlanReport> {
        match self.find_csv(table, params, csv, accept_unverified).await? {
            Found::Loaded(record) => {
                describe_record(run, &record);
                // It has moved already.
                run.watermark = None;
                let manifest = read_manifest(self.blobs.as_ref(), csv).await?;
                let would = self.left_to_do(table, manifest.as_ref()).await?;
                Ok(self.load_report(table, csv, run, would, manifest.is_some(), Some(record.status)))
            }
            Found::Complete(manifest, record) => {
                self.must_be_next(table, state, &manifest).await?;
                self.judge_csv(table, state, &manifest).await?;
                run.run_id = Some(record.run_id);
                run.status = RunState::Loading;
                describe_manifest(run, &manifest, Some(self.address(&manifest.csv)));
                let (load, _, becomes) = self.plan_manifest(table, state, &manifest).await?;
                self.read_through(&load, &manifest).await?;
                run.watermark = becomes.and_then(|becomes| becomes.last_extracted_at);
                let report = self.load_report(table, csv, run, LoadStep::Load, true, Some(record.status));
                Ok(LoadPlanReport { load_sql: load.statements(), ..report })
            }
            Found::ByHand(record) => {
                let (load, totals) = self.look_by_hand(table, csv).await?;
                run.run_id = record.as_ref().map(|record| record.run_id);
                (run.rows_extracted, run.bytes, run.sha256) = (totals.rows, totals.bytes, Some(totals.sha256));
                let status = record.map(|record| record.status);
                let report = self.load_report(table, csv, run, LoadStep::Load, false, status);
                Ok(LoadPlanReport { load_sql: load.statements(), ..report })
            }
        }
    }

    /// What is left to do for a CSV that is loaded; one without a manifest stays where it is.
    async fn left_to_do(&self, table: &TableConfig, manifest: Option<&Manifest>) -> Result<LoadStep> {
        let Some(manifest) = manifest else { return Ok(LoadStep::Nothing) };
        let exports = self.keys(table, Folder::Exports).await?;
        let waits = exports.contains(&manifest.csv) || exports.contains(&manifest.csv.manifest());
        Ok(if waits { LoadStep::Move } else { LoadStep::Nothing })
    }

    fn load_report(
        &self,
        table: &TableConfig,
        csv: &BlobKey,
        run: &TableRun,
        would: LoadStep,
        manifest: bool,
        status: Option<RunState>,
    ) -> LoadPlanReport {
        LoadPlanReport {
            table: table.name.clone(),
            would,
            mode: table.mode,
            target: table.target.to_string(),
            csv_path: self.address(csv),
            manifest,
            run_id: run.run_id,
            status,
            rows: run.rows_extracted,
            bytes: run.bytes,
            sha256: run.sha256.clone(),
            window: run.window,
            watermark: run.watermark,
            load_sql: Vec::new(),
        }
    }

    /// Reads a complete CSV as its load would: bytes, header and rows.
    async fn read_through(&self, load: &LoadPlan, manifest: &Manifest) -> Result<()> {
        let mut csv = self.stored_csv(&manifest.csv, manifest).open();
        let mut gate = HeaderGate::new(load.columns.iter().map(|column| column.name.as_str()));
        let mut tally = Tally::default();
        while let Some(piece) = csv.try_next().await? {
            gate.push(&piece)?;
            tally.push(&piece);
        }
        gate.finish()?;
        if tally.rows() != manifest.rows {
            let (promised, rows) = (manifest.rows, tally.rows());
            let table = &load.table;
            return Err(Error::new(
                ErrorKind::Data,
                format!("table `{table}`: the manifest promises {promised} rows, the CSV has {rows}"),
            ));
        }
        Ok(())
    }
}
