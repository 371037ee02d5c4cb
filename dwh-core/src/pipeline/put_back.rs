//! `files reprocess` and `files restore`: a file read again, and the version before put back.

use serde::{Deserialize, Serialize};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blob::{Manifest, write_manifest};
use crate::config::TableConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::files::is_path_glob;
use crate::pipeline::failure::{failed, named, with_way_out};
use crate::pipeline::{Pipeline, RunReport, RunRequest, TableRun};
use crate::raw_file::RawFile;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{RunFilter, RunRecord, TableState};

/// What `files restore` did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RestoreReport {
    /// The table's name in the configuration.
    pub table: String,
    /// The file's path below the source.
    pub path: String,
    /// The run that was undone.
    pub undone: RunId,
    /// The run whose version is in bronze again.
    pub restored: RunId,
    /// Whether its copy is in the validated tree again.
    pub copy_restored: bool,
    /// The load; `null` for a dry run.
    pub run: Option<TableRun>,
    /// What a person should know.
    pub note: String,
}

impl RestoreReport {
    /// 0 if the load went well.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        RunReport { runs: self.run.iter().cloned().collect(), ..RunReport::default() }.exit_code()
    }
}

impl Pipeline {
    /// Reads the files that match again, though they are loaded, and all that a run would read. The run log keeps every
    /// earlier run, so each can be put back.
    ///
    /// # Errors
    /// `NotFound` if no file of a table matches; those of [`Pipeline::run`].
    pub async fn reprocess_files(
        &self,
        paths: &[String],
        request: &RunRequest,
        cancel: &CancellationToken,
    ) -> Result<RunReport> {
        let globs = paths.iter().map(|path| is_path_glob(path)).collect::<Result<Vec<_>>>()?;
        let mut tables = Vec::new();
        for table in self.file_tables(&request.tables)? {
            let listed = self.tree(table)?.list(table).await.map_err(|error| named(error, &table.name))?;
            if listed.iter().any(|file| globs.iter().any(|glob| glob.is_match(&file.path))) {
                tables.push(table.name.clone());
            }
        }
        if tables.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("no file of a table matches `{}`", paths.join(" ")))
                .with_hint("`dwh files list` shows every file; a pattern is over the path below the source"));
        }
        let this = Self { reprocess: globs, ..self.clone() };
        this.run(&RunRequest { tables, ..request.clone() }, cancel).await
    }

    /// Undoes the newest run of a file: bronze gets the rows of the version before, out of its CSV, and the validated tree
    /// the copy that was backed up. The raw file stays as it is.
    ///
    /// # Errors
    /// `NotFound` for a run that is not there; `Contract` for one that is not the newest of its file, or the first.
    pub async fn restore_file(&self, run: RunId, dry_run: bool, cancel: &CancellationToken) -> Result<RestoreReport> {
        let undone = self.run_of(run).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the run log has no run {run}"))
                .with_hint("`dwh runs` lists the runs")
        })?;
        let table = &self.table(&undone.table_name).await?;
        if !dry_run {
            self.number_above_files().await?;
        }
        let lease = self.lease(table, false, cancel).await?;
        let mut state = lease.state().clone();
        let restored = self.restore_leased(table, &mut state, &undone, dry_run, cancel).await;
        let report = restored.map_err(|error| named(error, &table.name))?;
        lease.release().await.map(|()| report)
    }

    async fn restore_leased(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        undone: &RunRecord,
        dry_run: bool,
        cancel: &CancellationToken,
    ) -> Result<RestoreReport> {
        let (path, before) = self.version_before(table, undone).await?;
        let mut report = RestoreReport {
            table: table.name.clone(),
            path: path.clone(),
            undone: undone.run_id,
            restored: before.run_id,
            copy_restored: false,
            run: None,
            note: format!(
                "the raw file `{path}` still is the version of run {}: put the old one back or add it to `ignore`, or the next \
                 `dwh run` loads it again",
                undone.run_id
            ),
        };
        if !dry_run {
            report.run = self.load_what_waits(table, state, &before, cancel).await?;
            match &report.run {
                Some(run) if run.error.is_some() => return Ok(report),
                Some(_) => {}
                // A newer version of the file may have waited.
                None => drop(self.version_before(table, undone).await?),
            }
        }
        let archived = self.archived(table).await?.complete;
        let (_, manifest) = archived.get(&before.run_id).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("the CSV of run {}, the version before, is not in `processed/`", before.run_id),
            )
            .with_hint("bring it back from a backup of the store; or put the file itself back, and `dwh run` loads it")
        })?;
        if dry_run {
            return Ok(report);
        }
        // The copy first: once the rows are loaded, the run is undone, and no further call would come this far.
        report.copy_restored = self.tree(table)?.put_back(&path, undone.run_id).await?;
        if report.run.is_none() {
            report.run = Some(self.load_version(table, state, manifest, cancel).await);
        }
        Ok(report)
    }

    /// Loads what earlier runs left, which would be older than bronze otherwise. Returns the run that loaded the version
    /// `before` again, as a call that was cut off leaves it, or one that failed.
    async fn load_what_waits(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        before: &RunRecord,
        cancel: &CancellationToken,
    ) -> Result<Option<TableRun>> {
        let mut runs = Vec::new();
        if let Err(error) = self.recover_table(table, state, &mut runs, cancel).await {
            return runs.pop().filter(|run| run.error.is_some()).map(Some).ok_or(error);
        }
        let version = |file: &Option<RawFile>| file.as_ref().map(|file| (file.path.clone(), file.sha256.clone()));
        for run in runs.into_iter().rev() {
            let Some(run_id) = run.run_id.filter(|_| run.status == RunState::Loaded) else { continue };
            let record = self.run_of(run_id).await?;
            if record.is_some_and(|record| version(&record.file) == version(&before.file)) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The path of a run's file, and the run that loaded the version before.
    async fn version_before(&self, table: &TableConfig, undone: &RunRecord) -> Result<(String, RunRecord)> {
        let refuse = |text: String, hint: &str| Err(Error::new(ErrorKind::Contract, text).with_hint(hint));
        let run_id = undone.run_id;
        let Some(RawFile { path, .. }) = undone.file.as_ref().filter(|_| undone.status == RunState::Loaded) else {
            return refuse(format!("run {run_id} loaded no file"), "`dwh files list` shows the run of each file");
        };
        let filter = RunFilter {
            table: Some(table.name.clone()),
            kind: Some(RunKind::File),
            states: vec![RunState::Loaded],
            ..RunFilter::default()
        };
        let of_path = |run: &RunRecord| run.file.as_ref().is_some_and(|file| file.path == *path);
        let runs: Vec<RunRecord> = self.sink.runs(&filter).await?.into_iter().filter(of_path).collect();
        let bytes = |run: &RunRecord| run.file.as_ref().and_then(|file| file.sha256.clone());
        if let Some(newest) = runs.first().filter(|newest| newest.run_id != run_id) {
            let is_newest = |run: &&RunRecord| run.run_id < run_id && bytes(run) == bytes(newest);
            return match runs.iter().find(is_newest).filter(|_| bytes(newest) != bytes(undone)) {
                Some(RunRecord { run_id: before, .. }) => refuse(
                    format!("run {run_id} is undone: run {} loaded the version of run {before} again", newest.run_id),
                    "nothing is to be done; `dwh files list` shows the run of each file",
                ),
                None => refuse(
                    format!("run {} loaded a newer version of `{path}` than run {run_id}", newest.run_id),
                    "put the newest run back first",
                ),
            };
        }
        match runs.into_iter().find(|run| run.run_id < run_id) {
            Some(before) => Ok((path.clone(), before)),
            None => refuse(
                format!("run {run_id} loaded the first version of `{path}`: there is none before it"),
                "to take its rows out, delete them by `_file`, and add the file to `ignore`",
            ),
        }
    }

    /// Loads the CSV of an earlier version once more, as a run of its own with a CSV of its own: what bronze holds stands in
    /// the archive in the order of the runs.
    async fn load_version(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        before: &Manifest,
        cancel: &CancellationToken,
    ) -> TableRun {
        let started = Instant::now();
        let mut run = TableRun::new(&table.name, table.mode);
        if let Err(error) = self.load_version_steps(table, state, before, &mut run, cancel).await {
            let error = with_way_out(named(error, &table.name), &run);
            self.log_failure(&mut run, &error).await;
            run = failed(run, &error);
        }
        run.seconds.total = started.elapsed().as_secs_f64();
        self.ended(run)
    }

    async fn load_version_steps(
        &self,
        table: &TableConfig,
        state: &mut TableState,
        before: &Manifest,
        run: &mut TableRun,
        cancel: &CancellationToken,
    ) -> Result<()> {
        use crate::blob::Folder;
        use crate::chain::Compression;
        let begin = self.begins(table, table.mode, RunKind::File);
        let record = self.sink.log(begin).await?;
        run.run_id = Some(record.run_id);
        let how = before.stored.as_ref().map_or(Compression::None, |form| form.compression);
        let csv = self.layout.csv(&table.name, record.run_id, record.run_started_at, how);
        let manifest = Manifest {
            run_id: record.run_id,
            run_started_at: record.run_started_at,
            csv: csv.clone(),
            previous_run_id: state.last_run_id,
            before: self.before(table, state, RunKind::File).await,
            ..before.clone()
        };
        let from = self.layout.moved(&before.csv, Folder::Processed)?;
        self.blobs.copy(&from, &csv).await?;
        if before.file.as_ref().is_some_and(|file| file.rejected > 0) {
            match self.blobs.copy(&from.rejected(), &csv.rejected()).await {
                // They are for people, and rows do not depend on them.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
        }
        write_manifest(self.blobs.as_ref(), &manifest).await?;
        self.record_upload(&manifest, true, run).await?;
        let record = self.run_of(record.run_id).await?.unwrap_or(record);
        self.load_manifest(table, state, &manifest, &record, run, cancel).await
    }
}
