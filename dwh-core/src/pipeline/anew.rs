//! `reseed` of a table whose watermark means nothing any more: bronze was made again or emptied since. Then history is no
//! range below the watermark; it is what `run` would read, so the row goes back to the seed and ordinary windows follow.

use tokio_util::sync::CancellationToken;

use crate::config::TableConfig;
use crate::error::Result;
use crate::pipeline::{Pipeline, TableRun};
use crate::sink::{BronzeState, TableState};

impl Pipeline {
    /// The runs of such a table; `None` if its watermark still stands. A call that is cut off is finished by `run`.
    pub(super) async fn reseed_anew(
        &self,
        table: &TableConfig,
        wait: bool,
        cancel: &CancellationToken,
    ) -> Result<Option<Vec<TableRun>>> {
        let lease = self.lease(table, wait, cancel).await?;
        let mut state = lease.state().clone();
        if !self.must_begin_anew(table, &state).await? {
            lease.release().await?;
            return Ok(None);
        }
        self.number_above_files().await?;
        state = self.sink.begin_anew(&table.name, &state).await?;
        self.warn(
            &table.name,
            "bronze holds none of the rows that the watermark stands for: it begins with the first row again",
        );
        let mut runs = Vec::new();
        if self.run_leased(table, &mut state, cancel, &mut runs).await.is_ok() {
            lease.release().await?;
        }
        Ok(Some(runs))
    }

    /// Whether the rows up to the watermark were loaded into a table that is not there any more.
    pub(super) async fn must_begin_anew(&self, table: &TableConfig, state: &TableState) -> Result<bool> {
        if state.last_run_id.is_none() {
            return Ok(false);
        }
        let bronze = self.sink.bronze_id(&table.target).await?;
        Ok(bronze.is_some_and(|bronze| is_another(state, &bronze)))
    }
}

/// An empty table holds nothing, whatever its name was; of a filled one only its oid tells, and that only in the database
/// that gave it.
fn is_another(state: &TableState, bronze: &BronzeState) -> bool {
    let Some(was) = &state.bronze else { return false };
    let of_this_database = was.warehouse == bronze.id.warehouse && was.control == bronze.id.control;
    bronze.empty || (of_this_database && was.oid != bronze.id.oid)
}
