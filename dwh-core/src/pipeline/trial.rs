//! A trial: some rows of a table on their whole way from the source into a table that nobody keeps.

use serde::{Deserialize, Serialize};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::transform::Encoded;
use crate::blob::{BlobKey, StoredForm, probe_prefix};
use crate::config::{Mode, OnConflict, TableConfig};
use crate::dialect::Tally;
use crate::error::{ErrorKind, Result};
use crate::pipeline::failure::{interrupted, named};
use crate::pipeline::{ErrorReport, Pipeline};
use crate::plan::Plan;
use crate::sink::{RefusedRow, Rehearsal};
use crate::source::{ReadRequest, Sweep};
use crate::spool::{Spool, spool};
use crate::watermark::Timestamp;

/// Rows that are read at most.
const ROWS: u64 = 1_000_000;

/// What a trial of a table found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableTrial {
    /// The table's name in the configuration.
    pub table: String,
    /// Rows that bronze would take.
    pub rows: u64,
    /// Rows that it would refuse, the first ones.
    pub refused: Vec<RefusedRow>,
    /// Whether there are more of these.
    pub more: bool,
    /// How long it took.
    pub seconds: f64,
    /// What kept it from being tried.
    pub error: Option<ErrorReport>,
}

impl TableTrial {
    /// 0 if every row would be taken.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match &self.error {
            Some(error) => error.exit_code,
            None if self.refused.is_empty() => 0,
            None => ErrorKind::Data.row().exit_code,
        }
    }
}

impl Pipeline {
    /// Reads a million rows at most, takes them through the blob store, and puts them into a table that is rolled back.
    /// Nothing stays: the CSV has a name that no run has and is removed, and the run log gets no row.
    pub(crate) async fn trial(&self, table: &TableConfig, cancel: &CancellationToken) -> TableTrial {
        let started = Instant::now();
        let tried = self.trial_at(table, cancel).await;
        let (found, error) = match tried {
            Ok(found) => (found, None),
            Err(error) => (Rehearsal::default(), Some((&named(error, &table.name)).into())),
        };
        let Rehearsal { rows, refused, more } = found;
        TableTrial { table: table.name.clone(), rows, refused, more, seconds: started.elapsed().as_secs_f64(), error }
    }

    async fn trial_at(&self, table: &TableConfig, cancel: &CancellationToken) -> Result<Rehearsal> {
        let csv = BlobKey::parse(&format!("{}trial.csv", probe_prefix(&self.config.project.name)))?;
        let tried = tokio::select! {
            tried = self.try_rows(table, &csv) => tried,
            () = cancel.cancelled() => Err(interrupted()),
        };
        let removed = self.blobs.delete(&csv).await;
        tried.and_then(|found| removed.map(|()| found))
    }

    async fn try_rows(&self, table: &TableConfig, csv: &BlobKey) -> Result<Rehearsal> {
        let source = self.source(table)?;
        let plan = Plan::new(table, source.describe(table).await?)?;
        // As a run begins: rows that no window would ever contain are refused.
        source.earliest(&plan, Timestamp::NEG_INFINITY).await?;
        // Nothing is kept of it, and the target may have no control schema yet.
        let now = Timestamp::now();
        let all = plan.select(Timestamp::NEG_INFINITY, Timestamp::INFINITY, Sweep::Off, now);
        let some = TableConfig { query: Some(format!("{all} limit {ROWS}")), ..as_query(table) };
        let some = Plan::new(&some, source.describe(&some).await?)?;
        let (mut writer, spool): (_, Spool) = spool(&std::env::temp_dir())?;
        let mut reading = source.read(ReadRequest::whole(&some, now)).await?;
        let mut tally = Tally::default();
        while let Some(piece) = reading.next().await? {
            tally.push(&piece);
            writer.write(piece).await?;
        }
        reading.finish().await?;
        writer.finish().await?;
        let compression = self.config.blob.compression;
        let sent = Encoded::new(spool, compression);
        self.blobs.put(csv, &sent).await?;
        let form = sent.sent().map(|(bytes, sha256)| StoredForm { compression, bytes, sha256 });
        let totals = tally.totals();
        let stored = self.stored(csv, (totals.bytes, totals.sha256), form);
        self.sink.rehearse(&plan.load(false), stored.as_ref()).await
    }
}

/// The table as a query that is read whole: its columns are all that is asked for.
fn as_query(table: &TableConfig) -> TableConfig {
    TableConfig {
        relation: None,
        mode: Mode::Snapshot,
        watermark: None,
        key: Vec::new(),
        on_conflict: OnConflict::Nothing,
        exclude: Vec::new(),
        columns: None,
        select: std::collections::BTreeMap::new(),
        filter: None,
        uploaded_at: false,
        loaded_at: false,
        run_id: false,
        task_instance: None,
        ..table.clone()
    }
}
