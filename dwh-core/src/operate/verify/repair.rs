//! `verify --repair`: what differs is read again by the pipeline, in the place of what bronze has, and compared once more.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{TableVerify, VerifyReport, VerifyRequest};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::operate::shell::quoted;
use crate::pipeline::describe::finite;
use crate::pipeline::failure::{interrupted, named};
use crate::pipeline::{Pipeline, TableRun, WindowReport};
use crate::plan::{Cut, NO_BUCKET, Plan, bucket_span};
use crate::watermark::{Micros, Timestamp, Window};

/// What `repair` is asked for.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RepairRequest {
    /// What is compared; only what differs there is repaired.
    pub verify: VerifyRequest,
    /// Wait where another run holds a table, instead of failing with `Locked`.
    pub wait: bool,
    /// Let a window that is empty at the source remove the rows that bronze has there, or a snapshot of no rows replace
    /// rows.
    pub allow_empty: bool,
    /// Only tell what would be read.
    pub dry_run: bool,
}

impl RepairRequest {
    /// What differs in this comparison is repaired.
    #[must_use]
    pub fn new(verify: VerifyRequest) -> Self {
        Self { verify, ..Self::default() }
    }
}

/// What was repaired in a table, or would be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableRepair {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Rows that were missing before.
    pub missing: u64,
    /// Rows that bronze alone had before.
    pub extra: u64,
    /// Rows that had other values before.
    pub different: u64,
    /// The windows that differed, `from` exclusive and `to` inclusive; empty for a table that is read whole.
    pub windows: Vec<WindowReport>,
    /// The runs that read them again, after what earlier runs had left; the last one failed if anything did.
    pub runs: Vec<TableRun>,
}

impl Pipeline {
    /// Compares as [`Pipeline::verify`] does, reads the windows that differ again in the place of what bronze has there, and
    /// compares once more: the report is that of the second comparison. A table that is read whole is run.
    ///
    /// Each window is a run of its own with CSV and manifest; a call that was cut off has repaired some of them.
    ///
    /// # Errors
    /// As [`Pipeline::verify`]; `Config` with a sample. What went wrong with a single table stands in its report.
    pub async fn repair(&self, request: &RepairRequest, cancel: &CancellationToken) -> Result<VerifyReport> {
        if request.verify.sample_percent != 100 {
            return Err(Error::new(ErrorKind::Config, "a sample tells of a part of the differences only")
                .with_hint("leave `--sample` out to repair"));
        }
        let mut report = VerifyReport::default();
        for table in &self.tables(&request.verify.tables).await? {
            let started = Instant::now();
            let mut found = TableVerify::new(table);
            let done = async {
                self.repair_one(table, request, &mut found, cancel).await?;
                self.look_at_files(table, &request.verify, &mut found).await
            };
            if let Err(error) = done.await {
                found.error = Some((&named(error, &table.name)).into());
            }
            found.seconds = started.elapsed().as_secs_f64();
            report.tables.push(found);
        }
        Ok(report)
    }

    async fn repair_one(
        &self,
        table: &TableConfig,
        request: &RepairRequest,
        found: &mut TableVerify,
        cancel: &CancellationToken,
    ) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(interrupted());
        }
        let mut windows = self.compare(table, &request.verify, found).await?;
        if !found.columns_waiting.is_empty() && !request.dry_run {
            self.add_columns_first(table, request.wait, cancel).await?;
            *found = TableVerify::new(table);
            windows = self.compare(table, &request.verify, found).await?;
        }
        if found.differences() == 0 {
            return Ok(());
        }
        let told = |window: &Window| WindowReport { from: finite(window.low), to: window.high };
        let mut repair = TableRepair {
            dry_run: request.dry_run,
            missing: found.missing,
            extra: found.extra,
            different: found.different,
            windows: windows.iter().map(told).collect(),
            runs: Vec::new(),
        };
        if !request.dry_run {
            repair.runs = self.repair_table(table, &windows, request.wait, request.allow_empty, cancel).await;
            let failed = repair.runs.iter().rev().find_map(|run| run.error.clone());
            *found = TableVerify::new(table);
            if failed.is_none() {
                self.compare(table, &request.verify, found).await?;
                if found.differences() > 0 && table.mode == Mode::Incremental {
                    found.remedy = Some(format!("dwh reseed --replace {}", quoted(&table.name)));
                }
            }
            found.error = failed;
        }
        found.repair = Some(repair);
        Ok(())
    }
}

/// The windows that hold the rows of these buckets, up to the watermark.
pub(super) fn windows_of(plan: &Plan, cut: Cut, buckets: &BTreeSet<i64>) -> Vec<Window> {
    let window = |bucket: &i64| {
        if *bucket == NO_BUCKET {
            let ever = Timestamp::NEG_INFINITY;
            return Window { low: ever, high: Some(ever), watermark: ever };
        }
        let (from, to) = bucket_span(plan, *bucket);
        let before = |at: Timestamp| at.minus(Micros(1));
        let low = before(moment(plan, from, true)).max(cut.low);
        let high = before(moment(plan, to, false)).min(cut.high);
        Window { low, high: Some(high), watermark: high }
    };
    let within = |window: &Window| window.high.is_some_and(|high| window.low < high || !high.is_finite());
    buckets.iter().map(window).filter(within).collect()
}

/// The moment at which the clock of the watermark column shows this; of two or none, the first or the last that may be
/// meant, so that the window holds all of its bucket.
fn moment(plan: &Plan, local: Timestamp, first: bool) -> Timestamp {
    let zone = plan.watermark.as_ref().and_then(|kind| kind.zone());
    let civil = zone.zip(local.in_zone(&jiff::tz::TimeZone::UTC));
    let Some((zone, civil)) = civil else { return local };
    let shown = zone.to_ambiguous_timestamp(civil.datetime());
    let at = if first { shown.earlier() } else { shown.later() };
    at.map_or(local, |at| Timestamp::from_micros(at.as_microsecond()))
}
