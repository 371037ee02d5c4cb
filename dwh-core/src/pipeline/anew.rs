//! A table whose watermark cannot be used any more begins anew: `reseed` sets its row back to the seed, and the windows of
//! a first load follow as ordinary runs.

use tokio_util::sync::CancellationToken;

use crate::config::TableConfig;
use crate::error::Result;
use crate::pipeline::{BackfillReport, Pipeline, WindowReport};
use crate::run::RunKind;

impl Pipeline {
    /// Reads everything again from the first row on if the watermark belongs to something else, or bronze lost what was
    /// loaded; `None` if the watermark is sound.
    ///
    /// A call that is cut off leaves a row from which the next ordinary run goes on.
    pub(super) async fn reseed_anew(
        &self,
        table: &TableConfig,
        wait: bool,
        dry_run: bool,
        cancel: &CancellationToken,
    ) -> Result<Option<BackfillReport>> {
        let lease = self.lease(table, wait, cancel).await?;
        let mut state = lease.state().clone();
        let identity = self.source(table)?.identity().await?;
        let Some(found) = self.conflict(table, &state, identity.as_ref()).await? else {
            lease.release().await?;
            return Ok(None);
        };
        if !found.reseed_heals() {
            return Err(found.error(table, &state));
        }
        let mut report = BackfillReport::empty(table, RunKind::Run, dry_run);
        report.range = Some(WindowReport { from: None, to: None });
        self.warn(&table.name, &format!("{}; it begins anew, from the first row on", found.message(table, &state)));
        if dry_run {
            return lease.release().await.map(|()| Some(report));
        }
        self.number_above_files().await?;
        state = self.sink.begin_anew(&table.name, &state).await?;
        if self.run_leased(table, (&mut state, None), cancel, &mut report.runs).await.is_ok() {
            lease.release().await?;
        }
        Ok(Some(report))
    }
}
