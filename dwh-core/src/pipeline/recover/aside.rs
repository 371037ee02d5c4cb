//! `recover --set-aside`: a CSV that cannot be loaded, out of the way of its table.

use crate::blob::{BlobKey, Folder, copy_as_it_is, read_manifest};
use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Pipeline;
use crate::pipeline::failure::named;
use crate::pipeline::links::identity;
use crate::pipeline::recover::{Outcome, RecoverFinding, RecoverReport, Remedy, Trouble};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{LogEntry, RunFilter, RunRecord};
use crate::watermark::{Micros, Timestamp};

impl Pipeline {
    /// Moves the CSV of a run that was never loaded, with its manifest, from `exports/` to `set_aside/`, and marks the
    /// run failed. The watermark never moved for it, so the next run reads these rows again from the source.
    ///
    /// `what` is the number of a run, or the name of a CSV in `exports/` that a person made. The bytes are copied as they
    /// are, read back, and only then deleted; a call that was cut off is finished by the next one, or by
    /// [`Pipeline::recover`].
    ///
    /// # Errors
    /// `NotFound` for a run or file that is not there; `Config` for a run that is loaded, or whose CSV is not its own;
    /// `Locked` while a run holds the table.
    pub async fn set_aside(&self, what: &str, dry_run: bool) -> Result<RecoverReport> {
        let (table, run_id) = &self.whose(what).await?;
        let run_id = *run_id;
        let lease = self.sink.lease(&table.name, false).await?;
        let finding =
            self.set_aside_of(table, run_id, what, dry_run).await.map_err(|error| named(error, &table.name))?;
        lease.release().await?;
        Ok(RecoverReport { dry_run, found: vec![finding], ..RecoverReport::default() })
    }

    /// The table and, unless `what` is the name of a file, the run.
    async fn whose(&self, what: &str) -> Result<(TableConfig, Option<RunId>)> {
        let Ok(number) = what.parse() else {
            let of = |table: &TableConfig| self.file_named(table, what).is_ok();
            let table = self.tables(&[]).await?.into_iter().find(of).ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("`{what}` is neither the number of a run nor a CSV of a table"))
                    .with_hint(
                        "`dwh runs --failed` lists the runs; a file is named as `<project>/exports/<table>/<file>.csv`",
                    )
            })?;
            return Ok((table, None));
        };
        let filter = RunFilter { run_id: Some(RunId(number)), ..RunFilter::default() };
        let record = self.sink.runs(&filter).await?.pop().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the run log has no run {number}"))
                .with_hint("`dwh runs --failed` lists the runs that failed")
        })?;
        Ok((self.table(&record.table_name).await?, Some(RunId(number))))
    }

    /// Under the lease: whoever worked on the run is dead.
    async fn set_aside_of(
        &self,
        table: &TableConfig,
        run_id: Option<RunId>,
        what: &str,
        dry_run: bool,
    ) -> Result<RecoverFinding> {
        let named = match run_id {
            Some(_) => None,
            None => Some(self.file_named(table, what)?),
        };
        if let Some(manifest) = named.as_ref().filter(|key| self.is_archived_manifest(key)) {
            return self.set_bereft_aside(table, manifest, dry_run).await;
        }
        let record = match run_id.or_else(|| named.as_ref()?.csv_name().map(|name| name.run_id)) {
            Some(run_id) => self.record_of(table, run_id).await?,
            None => None,
        };
        let record = match (&named, record) {
            (Some(csv), Some(record)) if !self.wrote(&record, csv).await? => None,
            (_, record) => record,
        };
        if let Some(record) = &record {
            may_be_set_aside(record)?;
        }
        let csv = self.csv_to_set_aside(table, record.as_ref(), named).await?;
        if !dry_run {
            self.place_aside(&csv, record.as_ref()).await?;
            self.clear_exports(&csv).await?;
        }
        self.told(table, &csv, record.as_ref(), dry_run)
    }

    /// The file of a table that a person named: a CSV, or the manifest that lies there without one.
    fn file_named(&self, table: &TableConfig, what: &str) -> Result<BlobKey> {
        let resolve = |what: &str| self.layout.resolve(self.blobs.url(), &table.name, what);
        match what.strip_suffix(MANIFEST) {
            Some(stem) => resolve(&format!("{stem}.csv")).and_then(|_| self.manifest_key(what)),
            None => resolve(what),
        }
    }

    fn manifest_key(&self, what: &str) -> Result<BlobKey> {
        BlobKey::parse(what.strip_prefix(self.blobs.url()).map_or(what, |rest| rest.trim_start_matches('/')))
    }

    /// Whether a run wrote the file that a person named: the number in a name alone means nothing, and a number may have
    /// been given twice.
    async fn wrote(&self, record: &RunRecord, csv: &BlobKey) -> Result<bool> {
        if !self.names_of(record).contains(csv) {
            return Ok(false);
        }
        match read_manifest(self.blobs.as_ref(), csv).await {
            Ok(Some(manifest)) => Ok(identity(record).differs(&(&manifest).into()).is_none()),
            Ok(None) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Data => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn is_archived_manifest(&self, key: &BlobKey) -> bool {
        key.is_manifest() && self.layout.moved(key, Folder::Processed).is_ok_and(|moved| moved == *key)
    }

    /// Moves a manifest out of `processed/` whose CSV is gone.
    async fn set_bereft_aside(&self, table: &TableConfig, manifest: &BlobKey, dry_run: bool) -> Result<RecoverFinding> {
        let keys = self.keys(table, Folder::Processed).await?;
        if keys.iter().any(|key| key.is_csv() && key.manifest() == *manifest) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("`{manifest}` has its CSV beside it: it is not set aside"),
            )
            .with_hint("nothing is wrong with the two; `dwh prune` removes old ones"));
        }
        let to = self.layout.moved(manifest, Folder::SetAside)?;
        if !keys.contains(manifest) {
            return Err(Error::new(ErrorKind::NotFound, format!("`{manifest}` is not there"))
                .with_hint("`dwh recover --dry-run` tells what is stuck"));
        }
        if !dry_run {
            copy_as_it_is(self.blobs.as_ref(), manifest, &to).await?;
            self.blobs.delete(manifest).await?;
        }
        let to = self.address(&to);
        Ok(RecoverFinding {
            table: Some(table.name.clone()),
            state: Trouble::RowsLost,
            run_id: manifest.csv_name().map(|name| name.run_id),
            message: format!("a manifest whose CSV is gone goes to `{to}`"),
            csv_path: Some(to),
            action: Remedy::SetAside,
            outcome: if dry_run { Outcome::Planned } else { Outcome::Mended },
            hint: None,
            error: None,
        })
    }

    /// The CSV, which must be in `exports/`, or its move was begun.
    async fn csv_to_set_aside(
        &self,
        table: &TableConfig,
        record: Option<&RunRecord>,
        named: Option<BlobKey>,
    ) -> Result<BlobKey> {
        let mut candidates = Vec::from_iter(named);
        if let Some(record) = record {
            candidates.extend(self.names_of(record));
            // Of a file that a person made, the log alone knows the name.
            let logged =
                record.csv_path.as_deref().map(|path| self.layout.resolve(self.blobs.url(), &table.name, path));
            candidates.extend(logged.and_then(Result::ok));
        }
        let (exports, aside) = (self.keys(table, Folder::Exports).await?, self.keys(table, Folder::SetAside).await?);
        for csv in candidates {
            let csv = self.layout.moved(&csv, Folder::Exports)?;
            // Where a manifest was named that has its CSV, both are meant.
            let csv = exports.iter().find(|key| key.is_csv() && key.manifest() == csv).cloned().unwrap_or(csv);
            let moved = aside.contains(&self.layout.moved(&csv, Folder::SetAside)?);
            if exports.contains(&csv) || (exports.contains(&csv.manifest()) && moved) {
                return Ok(csv);
            }
            if moved {
                return Err(Error::new(ErrorKind::NotFound, format!("`{csv}` is in `set_aside/` already"))
                    .with_hint("there is nothing left to do: `dwh run` reads its rows again from the source"));
            }
        }
        let whose = record.map_or_else(|| "it".to_owned(), |record| format!("run {}", record.run_id));
        Err(Error::new(ErrorKind::NotFound, format!("{whose} has no CSV in `exports/`"))
            .with_hint("there is nothing to set aside; `dwh recover --dry-run` tells what is stuck"))
    }

    /// The copies, and then the word in the run log.
    async fn place_aside(&self, csv: &BlobKey, record: Option<&RunRecord>) -> Result<()> {
        let to = self.layout.moved(csv, Folder::SetAside)?;
        copy_as_it_is(self.blobs.as_ref(), csv, &to).await?;
        copy_as_it_is(self.blobs.as_ref(), &csv.manifest(), &to.manifest()).await?;
        let Some(record) = record else { return Ok(()) };
        let why = record.error_message.as_deref().unwrap_or("it was never loaded");
        let why = why.strip_prefix(SET_ASIDE).unwrap_or(why);
        let message = format!("{SET_ASIDE}{why}");
        let entry = LogEntry::SetAside { run_id: record.run_id, csv_path: self.address(&to), message };
        self.sink.log(entry).await.map(drop)
    }

    /// Deletes from `exports/` what was copied to `set_aside/`; the manifest last, because it is the note that says what
    /// is left to do.
    pub(super) async fn clear_exports(&self, csv: &BlobKey) -> Result<()> {
        let to = self.layout.moved(csv, Folder::SetAside)?;
        let rejected = (csv.rejected(), to.rejected());
        for (from, to) in [rejected, (csv.clone(), to.clone()), (csv.manifest(), to.manifest())] {
            copy_as_it_is(self.blobs.as_ref(), &from, &to).await?;
            self.blobs.delete(&from).await?;
        }
        Ok(())
    }

    fn told(
        &self,
        table: &TableConfig,
        csv: &BlobKey,
        record: Option<&RunRecord>,
        dry_run: bool,
    ) -> Result<RecoverFinding> {
        let to = self.address(&self.layout.moved(csv, Folder::SetAside)?);
        let (state, message) = match record {
            Some(record) if record.status == RunState::Failed => {
                (Trouble::FailedWithCsv, format!("the CSV of run {}, which failed, goes to `{to}`", record.run_id))
            }
            Some(record) => (
                Trouble::UploadedNotLoaded,
                format!("the CSV of run {}, which was not loaded, goes to `{to}`", record.run_id),
            ),
            None => (Trouble::CsvWithoutManifest, format!("a CSV that no run of the log wrote goes to `{to}`")),
        };
        Ok(RecoverFinding {
            table: Some(table.name.clone()),
            state,
            run_id: record.map(|record| record.run_id),
            csv_path: Some(to),
            message,
            action: Remedy::SetAside,
            outcome: if dry_run { Outcome::Planned } else { Outcome::Mended },
            hint: record.map(|record| what_next(table, record)),
            error: None,
        })
    }
}

const MANIFEST: &str = ".manifest.json";
const SET_ASIDE: &str = "set aside by hand: ";

fn may_be_set_aside(record: &RunRecord) -> Result<()> {
    let run_id = record.run_id;
    if record.status == RunState::Loaded {
        return Err(Error::new(ErrorKind::Config, format!("run {run_id} is loaded: its CSV is not set aside"))
            .with_hint("`dwh recover` moves the CSV of a loaded run to `processed/`"));
    }
    if record.kind == RunKind::Replay {
        return Err(Error::new(
            ErrorKind::Config,
            format!("run {run_id} is a replay: its CSV is in `processed/`, and it stands in nobody's way"),
        )
        .with_hint("mend what it failed for, then call `dwh replay` again"));
    }
    Ok(())
}

/// What brings these rows, now that their CSV will not.
fn what_next(table: &TableConfig, record: &RunRecord) -> String {
    let name = &table.name;
    match (record.kind, record.window_low, record.window_high) {
        (RunKind::Run, ..) if table.mode == Mode::Incremental => {
            format!("the watermark did not move for it: `dwh run {name}` reads these rows again from the source")
        }
        (RunKind::Resync | RunKind::Chunk, ..) => format!("bronze is as it was; `dwh resync {name}` reads it again"),
        (RunKind::Keys, ..) => format!("`dwh deletes {name}` reads the keys again"),
        (RunKind::Run | RunKind::File, ..) => format!("`dwh run {name}` reads the table again"),
        (_, Some(low), Some(high)) => {
            let after = |at: Timestamp| at.plus(Micros(1));
            format!(
                "`dwh run` does not read this window again: `dwh backfill {name} --from {} --to {}`",
                after(low),
                after(high)
            )
        }
        _ => format!("`dwh run` does not read this window again: `dwh reseed {name}` goes on where it stood"),
    }
}
