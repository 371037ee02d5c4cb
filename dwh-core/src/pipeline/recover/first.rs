//! Before the first load of a table: whether its files say that it was loaded before.

use std::collections::BTreeMap;

use crate::blob::{BlobKey, Folder};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};

impl Pipeline {
    /// Refuses to begin a table anew beside the files of an earlier life, and gives new runs numbers that no file of the
    /// project bears. Costs a listing, once a call, and that only until the table's first load.
    pub(crate) async fn may_begin(&self, table: &TableConfig, state: &TableState) -> Result<()> {
        if !self.is_first(table, state).await? {
            return Ok(());
        }
        let number = async || self.sink.number_above(self.highest_run().await?, false).await.map(drop);
        match &self.round {
            Some(round) => round.numbered.get_or_try_init(number).await.copied()?,
            None => number().await?,
        }
        let bereft = self.archived(table).await?.bereft;
        if !bereft.is_empty() {
            let runs: Vec<String> = bereft.iter().map(|manifest| manifest.run_id.to_string()).collect();
            self.warn(
                &table.name,
                &format!(
                    "in `processed/` only the manifests of runs {} are left, and the run log does not know these runs: what \
                     their CSV files held is lost unless the source has it still; `dwh recover` tells of each",
                    runs.join(", ")
                ),
            );
        }
        Ok(())
    }

    /// Whether nothing of the table was ever loaded; refuses if its files say otherwise. Writes nothing.
    pub(crate) async fn is_first(&self, table: &TableConfig, state: &TableState) -> Result<bool> {
        if state.last_run_id.is_some() {
            return Ok(false);
        }
        let loaded = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(if table.mode == Mode::Files { RunKind::File } else { RunKind::Run }),
            states: vec![RunState::Loaded],
            limit: Some(1),
            ..RunFilter::default()
        };
        if !self.sink.runs(&loaded).await?.is_empty() {
            return Ok(false);
        }
        let keys = self.keys(table, Folder::Processed).await?;
        let known = RunFilter { kind: None, limit: None, with_csv: true, ..loaded };
        let known: BTreeMap<RunId, RunRecord> =
            self.sink.runs(&known).await?.into_iter().map(|record| (record.run_id, record)).collect();
        // A rebuild of backfills alone leaves a log that knows its files, and a watermark that never moved.
        let of_log = |key: &BlobKey| {
            let record = key.csv_name().and_then(|name| known.get(&name.run_id));
            record.is_some_and(|record| self.is_file_of(record, key))
        };
        let lost = |key: &&BlobKey| key.is_csv() && keys.contains(&key.manifest()) && !of_log(key);
        match keys.iter().filter(lost).count() {
            0 => Ok(true),
            count => Err(self.lost_log(table, count)),
        }
    }

    /// The refusal to work on a table whose run log is gone while its files are not.
    pub(crate) fn lost_log(&self, table: &TableConfig, files: usize) -> Error {
        let folder = self.layout.prefix(Folder::Processed, &table.name);
        let (url, name) = (self.blobs.url(), &table.name);
        Error::new(
            ErrorKind::Contract,
            format!("table `{name}`: `{url}/{folder}` holds {files} loaded CSV files, and the run log has no run of it"),
        )
        .with_hint(format!(
            "the control schema is new, or another one: `dwh rebuild {name}` brings rows, watermark and run log back from \
             these files; to begin anew instead, move the folder away"
        ))
    }
}
