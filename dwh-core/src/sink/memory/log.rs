//! The run log in memory, and the commit that writes it together with rows and watermark.

use super::{MemoryRow, World, host, rows};
use crate::config::Mode;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{Accounting, Commit, Committed, LogEntry, Restore, RunRecord, TableState, Upload};
use crate::watermark::Micros;

impl World {
    fn transition(&mut self, run_id: RunId, next: RunState) -> Result<&mut RunRecord> {
        let now = self.now();
        let run = self.runs.iter_mut().find(|run| run.run_id == run_id);
        let run = run.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("run {run_id} is not in the run log")))?;
        if !run.status.may_become(next) {
            let message =
                format!("run {run_id} of table `{}` is `{}`, it cannot become `{next}`", run.table_name, run.status);
            return Err(Error::new(ErrorKind::Contract, message));
        }
        if run.status == RunState::Failed {
            run.attempt += 1;
        }
        run.status = next;
        run.run_finished_at = next.is_final().then_some(now);
        run.error_message = None;
        run.error_code = None;
        Ok(run)
    }

    /// The newest run of a table, 0 if it has none, where all of its runs are final.
    pub(super) fn settled(&self, table: &str) -> Option<RunId> {
        let of_table = || self.runs.iter().filter(|run| run.table_name == table);
        let newest = of_table().map(|run| run.run_id).max().unwrap_or(RunId(0));
        of_table().all(|run| run.status.is_final()).then_some(newest)
    }

    fn begin(&mut self, table: &str, mode: Mode, kind: RunKind, task_instance: Option<&str>, dated: bool) -> RunRecord {
        self.above += 1;
        self.clock = self.clock.map(|clock| clock.plus(Micros(1)));
        let before = self.runs.iter().rfind(|run| dated && run.table_name == table);
        let began = before.map_or(self.now(), |run| self.now().max(run.run_started_at.plus(Micros(1))));
        let run = RunRecord {
            host: Some(host()),
            engine_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            task_instance: task_instance.map(str::to_owned),
            ..RunRecord::begun(RunId(self.above), table, mode, kind, began)
        };
        self.runs.push(run.clone());
        run
    }

    fn restore(&mut self, lost: &Restore) -> Result<RunRecord> {
        let run_id = lost.upload.run_id;
        if self.runs.iter().any(|run| run.run_id == run_id) {
            return Err(Error::new(ErrorKind::Contract, format!("run {run_id} is in the run log already")));
        }
        let mut run = RunRecord {
            host: Some(host()),
            engine_version: Some(lost.engine_version.clone()),
            status: if lost.loaded { RunState::Loaded } else { RunState::Uploaded },
            run_finished_at: lost.loaded.then_some(self.now()),
            ..RunRecord::begun(run_id, &lost.table, lost.mode, lost.kind, lost.run_started_at)
        };
        fill(&mut run, &lost.upload);
        if lost.loaded {
            let rows = lost.upload.rows;
            count(&mut run, &Accounting { staged: rows, inserted: rows, ..Accounting::default() });
        }
        self.above = self.above.max(lost.above.0).max(run_id.0);
        self.runs.push(run.clone());
        self.runs.sort_by_key(|run| run.run_id);
        Ok(run)
    }

    pub(super) fn write(&mut self, entry: &LogEntry) -> Result<RunRecord> {
        let run = match entry {
            LogEntry::Begin { table, mode, kind, task_instance, dated } => {
                return Ok(self.begin(table, *mode, *kind, task_instance.as_deref(), *dated));
            }
            LogEntry::Restore(lost) => return self.restore(lost),
            LogEntry::Reads { run_id, file } => {
                let runs = &mut self.runs;
                let run = runs.iter_mut().find(|run| run.run_id == *run_id && run.status == RunState::Extracting);
                let run =
                    run.ok_or_else(|| Error::new(ErrorKind::Contract, format!("run {run_id} is not `extracting`")))?;
                run.file = Some(file.as_ref().clone());
                run
            }
            LogEntry::SetAside { run_id, csv_path, message } => {
                let now = self.now();
                let runs = &mut self.runs;
                let run = runs.iter_mut().find(|run| run.run_id == *run_id && run.status != RunState::Loaded);
                let run = run.ok_or_else(|| {
                    Error::new(ErrorKind::Contract, format!("run {run_id} is loaded, or not in the run log"))
                })?;
                run.status = RunState::Failed;
                run.csv_path = Some(csv_path.clone());
                run.error_message = Some(message.clone());
                run.error_code = None;
                run.run_finished_at = run.run_finished_at.or(Some(now));
                run
            }
            LogEntry::Loading { run_id, upload } => {
                let run = self.transition(*run_id, RunState::Loading)?;
                if let Some(upload) = upload {
                    fill(run, upload);
                }
                run
            }
            LogEntry::Failed { run_id, message, kind } => {
                let run = self.transition(*run_id, RunState::Failed)?;
                run.error_message = Some(message.clone());
                run.error_code = kind.map(|kind| kind.row().code.to_owned());
                run
            }
            LogEntry::Uploaded(upload) => {
                let run = self.transition(upload.run_id, RunState::Uploaded)?;
                fill(run, upload);
                run
            }
        };
        Ok(run.clone())
    }

    /// Everything of a commit; what fails has changed nothing.
    pub(super) fn commit(&mut self, load: &LoadPlan, staged: &[MemoryRow], commit: &Commit) -> Result<Committed> {
        if let Some(promised) = commit.rows.filter(|promised| *promised != staged.len() as u64) {
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "table `{}`: the CSV was counted as {promised} rows, and the target took {}",
                    load.table,
                    staged.len()
                ),
            ));
        }
        let old = self.unmoved(&load.table, &commit.expected)?;
        let kind = self.runs.iter().find(|run| run.run_id == commit.run_id).map(|run| run.kind).unwrap_or_default();
        let takes_it = commit.becomes.is_some()
            || commit.whole
            || old.bronze.is_none()
            || old.bronze == self.bronze_id(&load.target);
        let mut table = self.table(&load.target)?.clone();
        let counts = rows::merge(load, &table.schema.columns, &mut table.rows, staged, kind)?;
        if load.mode == Mode::Snapshot && counts.inserted == counts.staged {
            table.file = self.next_oid();
        }
        let own = commit.of_run(&counts).ok_or_else(|| not_new(load))?;
        let others = commit.together.iter().map(|(run_id, rows)| (*run_id, Accounting::of_new(*rows)));
        let ended: Vec<(RunId, Accounting)> = others.chain([(commit.run_id, own)]).collect();
        let before = self.runs.clone();
        for (run_id, counts) in &ended {
            match self.transition(*run_id, RunState::Loaded) {
                Ok(run) => count(run, counts),
                Err(error) => {
                    self.runs = before;
                    return Err(error);
                }
            }
        }
        self.tables.insert(load.target.clone(), table);
        let bronze = self.bronze_id(&load.target);
        for run in self.runs.iter_mut().filter(|run| ended.iter().any(|(run_id, _)| run.run_id == *run_id)) {
            run.bronze.clone_from(&bronze);
        }
        let is_newest = !load.older && kind != RunKind::Replay && !old.is_newer_than(commit.run_id);
        let moves = commit.becomes.is_some();
        let new = commit.becomes.clone().unwrap_or_else(|| old.clone());
        let state = TableState {
            last_extracted_at: new.last_extracted_at.or(old.last_extracted_at),
            last_loaded_at: if moves { Some(self.now()) } else { old.last_loaded_at },
            last_run_id: if moves { Some(commit.run_id) } else { old.last_run_id },
            newest_run_id: if is_newest { Some(commit.run_id) } else { old.newest_run_id },
            bronze: match takes_it && (old.bronze.is_some() || counts.staged > 0) {
                true if counts.removed > 0 && self.table(&load.target)?.rows.is_empty() => None,
                true => self.bronze_id(&load.target),
                false => old.bronze,
            },
            relations: commit.relations.clone().or(new.relations),
            ..new
        };
        self.states.insert(load.table.clone(), state.clone());
        Ok(Committed { counts, routing: None, state })
    }
}

pub(super) fn not_new(load: &LoadPlan) -> Error {
    let message = format!("table `{}`: of runs that are loaded together bronze had rows already", load.table);
    Error::new(ErrorKind::Data, message)
}

/// Fills what is empty in the row by what the manifest says.
fn fill(run: &mut RunRecord, upload: &Upload) {
    let number = |known: Option<i64>, count: u64| known.or(Some(count.cast_signed()));
    run.csv_path = run.csv_path.take().or_else(|| upload.csv_path.clone());
    run.rows_extracted = number(run.rows_extracted, upload.rows);
    run.rows_late = number(run.rows_late, upload.late_rows);
    run.bytes = number(run.bytes, upload.bytes);
    run.sha256 = run.sha256.take().or_else(|| Some(upload.sha256.clone()));
    if let (None, Some(window)) = (run.watermark, upload.window) {
        run.window_low = Some(window.low).filter(|low| low.is_finite());
        run.window_high = window.high;
        run.watermark = Some(window.watermark);
    }
    run.bound = run.bound.take().or_else(|| upload.bound.clone());
    run.plan_sha256 = run.plan_sha256.take().or_else(|| upload.plan_sha256.clone());
    run.file = upload.file.clone().or_else(|| run.file.take());
}

/// Writes the counts of a load into its row.
fn count(run: &mut RunRecord, counts: &Accounting) {
    let number = |count: u64| Some(count.cast_signed());
    run.rows_extracted = number(counts.staged);
    run.rows_loaded = number(counts.inserted + counts.updated);
    run.rows_inserted = number(counts.inserted);
    run.rows_updated = number(counts.updated);
    run.rows_identical = number(counts.identical);
    run.rows_different = number(counts.different);
    run.rows_kept_newer = number(counts.kept_newer);
    run.rows_removed = number(counts.removed);
}
