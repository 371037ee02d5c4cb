//! Tables of files: the raw files against what was loaded, and bronze against the CSV files of their newest versions.

use super::end::Session;
use super::{TableVerify, remedy};
use crate::config::{FILE, RECORD, TableConfig};
use crate::connect::Connector;
use crate::error::Result;
use crate::operate::shell::quoted;
use crate::pipeline::Pipeline;
use crate::pipeline::belongs::Conflict;
use crate::pipeline::files::ComparedFile;

impl Pipeline {
    /// Every row of bronze must be a row of the CSV of its file's newest version, and every such row must be there, unless
    /// another file brought its key later. Files that changed since are on their way.
    pub(super) async fn compare_files(&self, table: &TableConfig, found: &mut TableVerify) -> Result<()> {
        let lease = self.sink.lease(&table.name, false).await?;
        let state = lease.state().clone();
        let conflict = self.conflict(table, &state, None).await?;
        if let Some(found @ Conflict::Stranger(_)) = &conflict {
            return Err(found.error(table, &state));
        }
        found.loaded_at = state.last_loaded_at;
        if state.last_loaded_at.is_none() {
            found.not_compared = Some(format!("it was never loaded: `dwh run {}`", quoted(&table.name)));
            return lease.release().await;
        }
        let done = self.done_files(table, &state).await?;
        let tree = self.tree(table)?;
        for file in tree.list(table).await? {
            if let Some((read, ..)) = done.get(&file.path)
                && read.sha256.as_deref() != Some(tree.sha256(&file).await?.as_str())
            {
                self.warn(
                    &table.name,
                    &format!("file `{}` changed since it was loaded; the next run reads it", file.path),
                );
            }
        }
        let target = Connector::to_target(&self.config.target, &self.config.environment)?;
        let target = Session::open(&target, &table.name).await?;
        found.rows_bronze = target.count(&table.target).await?;
        let mut identical = 0;
        let own_key = table.key != [FILE, RECORD];
        let versions = self.compare_versions(table, &done).await?;
        let lacking = || versions.iter().filter(|version| version.counts.inserted > 0);
        // A key of several files is one row, which the file has that brought it last.
        found.missing = match own_key && lacking().count() > 1 {
            true => target.keys_lost(lacking().map(|version| (&version.load, version.csv.as_ref()))).await?,
            false => lacking().map(|version| version.counts.inserted).sum(),
        };
        found.rows_source += if own_key { found.missing } else { 0 };
        for ComparedFile { run_id, rows, counts, .. } in versions {
            found.windows += 1;
            found.rows_source += if own_key { counts.identical } else { rows };
            identical += counts.identical;
            if counts.inserted > 0 || (counts.updated > 0 && !own_key) {
                found.windows_differing += 1;
                tracing::info!(table = table.name, %run_id, "rows of this run differ");
            }
            found.different += if own_key { 0 } else { counts.updated };
        }
        // What is neither a row of a file nor another version of one.
        found.extra = found.rows_bronze.saturating_sub(identical + found.different);
        found.compared = true;
        if found.differences() > 0 {
            found.remedy = Some(remedy(table, conflict.is_some()));
        }
        lease.release().await
    }
}
