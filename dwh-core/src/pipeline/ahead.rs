//! Files that are newer than the run log: the target was restored from a backup. Looked for before a number is taken,
//! because two runs with one number can never both be rebuilt.

use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};

use crate::blob::{BlobKey, Folder};
use crate::chain::CsvName;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::pipeline::round::Exports;
use crate::run::{RunId, RunState};
use crate::sink::RunFilter;

/// A store answers after a while, and there may be hundreds of tables.
const LISTINGS_AT_ONCE: usize = 16;

impl Pipeline {
    /// Gives new runs numbers above those of all files of the project's tables, `exports/` and `processed/`, and says so
    /// if that was needed. Once a call, before its first run begins; costs a listing of `exports/`, and a short one of
    /// `processed/` a table, of names that are newer than the log's newest run.
    pub(super) async fn number_above_files(&self) -> Result<()> {
        let whole = self.expanded().await?;
        let newest = RunFilter { limit: Some(1), ..RunFilter::default() };
        let at_work = RunFilter { states: RunState::OPEN.to_vec(), ..RunFilter::default() };
        // One after the other, on one connection: another one costs more than the second answer.
        let (newest, at_work) = (self.sink.runs(&newest).await?, self.sink.runs(&at_work).await?);
        let newest = newest.first();
        let after = newest.map_or_else(String::new, |run| CsvName::not_before(run.run_started_at));
        let newest = newest.map_or(RunId(0), |run| run.run_id);
        let keys = self.listed_exports().await?;
        let mut highest = whole.highest_after(&after).await?;
        for table in &whole.config.tables {
            let waiting = keys.get(&self.layout.prefix(Folder::Exports, &table.name)).into_iter().flatten();
            if let Some(found) = waiting.filter_map(number).max() {
                highest.entry(&table.name).and_modify(|known| *known = found.max(*known)).or_insert(found);
            }
        }
        highest.retain(|_, highest| *highest > newest);
        self.tell_ahead(&highest, newest).await?;
        if let Some(round) = &self.round {
            let at_work = at_work.into_iter().map(|run| run.table_name).collect();
            // Looked at twice, the first look is as good.
            drop(round.exports.set(Exports { newest, at_work, keys }));
        }
        Ok(())
    }

    async fn tell_ahead(&self, ahead: &BTreeMap<&str, RunId>, newest: RunId) -> Result<()> {
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

    /// What lies in `exports/` of the project, by the prefix of its table.
    pub(crate) async fn listed_exports(&self) -> Result<BTreeMap<String, BTreeSet<BlobKey>>> {
        let folder = self.layout.folder(Folder::Exports);
        let mut names = self.blobs.list(&folder);
        let mut keys: BTreeMap<String, BTreeSet<BlobKey>> = BTreeMap::new();
        while let Some(meta) = names.try_next().await? {
            let rest = meta.key.as_str().strip_prefix(&folder).unwrap_or_default();
            let Some((table, _)) = rest.split_once('/') else { continue };
            keys.entry(format!("{folder}{table}/")).or_default().insert(meta.key);
        }
        Ok(keys)
    }

    /// The highest number of a complete CSV of each table in `processed/`, among names that come after `stamp`.
    async fn highest_after(&self, stamp: &str) -> Result<BTreeMap<&str, RunId>> {
        let mut looks = Vec::new();
        for table in &self.config.tables {
            looks.push(self.highest_in(&table.name, self.layout.prefix(Folder::Processed, &table.name), stamp));
        }
        let found: Vec<Option<(&str, RunId)>> =
            stream::iter(looks).buffer_unordered(LISTINGS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn highest_in<'a>(&self, table: &'a str, prefix: String, stamp: &str) -> Result<Option<(&'a str, RunId)>> {
        let mut names = self.blobs.list_after(&prefix, &format!("{prefix}{stamp}"));
        let mut highest = None;
        while let Some(meta) = names.try_next().await? {
            highest = highest.max(number(&meta.key));
        }
        Ok(highest.map(|highest| (table, highest)))
    }
}

/// The number of the run whose manifest it is: that is what makes a CSV one of ours.
fn number(key: &BlobKey) -> Option<RunId> {
    key.csv_name().filter(|_| key.is_manifest()).map(|name| name.run_id)
}
