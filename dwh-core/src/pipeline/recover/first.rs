//! Before the first load of a table: whether its files say that it was loaded before.

use crate::blob::{BlobKey, Folder};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::run::{RunKind, RunState};
use crate::sink::{RunFilter, TableState};

impl Pipeline {
    /// Refuses to begin a table anew beside the files of an earlier life, and gives new runs numbers that no file of the
    /// project bears. Costs a listing, and that only until the table's first load.
    pub(crate) async fn may_begin(&self, table: &TableConfig, state: &TableState) -> Result<()> {
        if self.is_first(table, state).await? {
            self.sink.number_above(self.highest_run().await?, false).await?;
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
        let complete = |key: &&BlobKey| key.is_csv() && keys.contains(&key.manifest());
        match keys.iter().filter(complete).count() {
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
