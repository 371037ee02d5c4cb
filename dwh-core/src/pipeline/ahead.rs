//! Files that are newer than the run log: the target was restored from a backup. Looked for before a number is taken,
//! because two runs with one number can never both be rebuilt.

use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;

use crate::blob::Folder;
use crate::chain::CsvName;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::run::RunId;
use crate::sink::RunFilter;

/// A store answers after a while, and there may be hundreds of tables.
const LISTINGS_AT_ONCE: usize = 16;

impl Pipeline {
    /// Gives new runs numbers above those of all files of the project's tables, `exports/` and `processed/`, and says so
    /// if that was needed. Once a call, before its first run begins; costs two short listings a table, of names that are
    /// newer than the log's newest run.
    pub(super) async fn number_above_files(&self) -> Result<()> {
        let newest = RunFilter { limit: Some(1), ..RunFilter::default() };
        let newest = self.sink.runs(&newest).await?.pop();
        let after = newest.as_ref().map_or_else(String::new, |run| CsvName::not_before(run.run_started_at));
        let newest = newest.map_or(RunId(0), |run| run.run_id);
        let ahead: BTreeMap<&str, RunId> =
            self.highest_after(&after).await?.into_iter().filter(|(_, highest)| *highest > newest).collect();
        let Some(highest) = ahead.values().max() else { return Ok(()) };
        let behind = self.sink.number_above(*highest, false).await?;
        // A log without any run is a new one, and each of its tables says so.
        if behind && newest > RunId(0) {
            for (table, highest) in ahead {
                self.warn(
                    table,
                    &format!(
                        "there are files up to run {highest}, and the run log ends at run {newest}: the target was restored \
                         from a backup. New runs get numbers above the files; `dwh recover` tells what else there is to do"
                    ),
                );
            }
        }
        Ok(())
    }

    /// The highest number of a complete CSV of each table, among names that come after `stamp`.
    async fn highest_after(&self, stamp: &str) -> Result<Vec<(&str, RunId)>> {
        let mut looks = Vec::new();
        for table in &self.config.tables {
            for folder in [Folder::Exports, Folder::Processed] {
                looks.push(self.highest_in(&table.name, self.layout.prefix(folder, &table.name), stamp));
            }
        }
        let mut listings = stream::iter(looks).buffer_unordered(LISTINGS_AT_ONCE);
        let mut found: BTreeMap<&str, RunId> = BTreeMap::new();
        while let Some(listed) = listings.try_next().await? {
            if let Some((table, highest)) = listed {
                let known = found.entry(table).or_insert(highest);
                *known = highest.max(*known);
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn highest_in<'a>(&self, table: &'a str, prefix: String, stamp: &str) -> Result<Option<(&'a str, RunId)>> {
        let mut names = self.blobs.list_after(&prefix, &format!("{prefix}{stamp}"));
        let mut highest = None;
        while let Some(meta) = names.try_next().await? {
            // The manifest is what makes a CSV one of ours.
            if meta.key.is_manifest() {
                highest = highest.max(meta.key.csv_name().map(|name| name.run_id));
            }
        }
        Ok(highest.map(|highest| (table, highest)))
    }
}
