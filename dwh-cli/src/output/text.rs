//! The reports as people read them.

mod backfill;
mod check;
mod init;
mod plan;
mod prune;
mod rebuild;
mod recover;
mod replay;
mod schedule;
mod verify;

use dwh_core::pipeline::{MigrateReport, RunReport, StatusReport, TableRun, TableStatus};
use dwh_core::sink::RunRecord;
use dwh_core::{RunKind, RunState, Timestamp};
use serde::Serialize;

use super::table::{Table, Tone, plain};
use super::{Paint, Show, human};

pub use plan::Plans;
pub use prune::freed;

/// Rows of the run log.
#[derive(Debug, Serialize)]
pub struct Runs {
    /// The newest first.
    pub runs: Vec<RunRecord>,
}

impl Show for RunReport {
    fn text(&self, paint: Paint) -> String {
        if self.runs.is_empty() { "nothing to do\n".to_owned() } else { runs_table(&self.runs, paint) }
    }
}

impl Show for TableRun {
    fn text(&self, paint: Paint) -> String {
        runs_table(std::slice::from_ref(self), paint)
    }
}

fn runs_table(runs: &[TableRun], paint: Paint) -> String {
    let columns = [
        "table",
        ">run",
        "mode",
        ">extracted",
        ">loaded",
        ">identical",
        ">different",
        ">size",
        ">time",
        "watermark",
        "status",
    ];
    let mut table = Table::new(&columns, paint);
    for run in runs {
        let different = if run.rows_different > 0 { Tone::Warn } else { Tone::Plain };
        table.row([
            plain(&run.table),
            plain(run.run_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            plain(run.mode.as_str()),
            plain(human::count(run.rows_extracted)),
            plain(human::count(run.rows_loaded)),
            plain(human::count(run.rows_identical)),
            (human::count(run.rows_different), different),
            plain(human::bytes(run.bytes)),
            plain(human::seconds(run.seconds.total)),
            plain(human::moment(run.watermark)),
            state(run.status, run.error.is_some()),
        ]);
    }
    table.text()
}

/// A run that ended with an error failed, wherever it stood then.
fn state(state: RunState, failed: bool) -> (String, Tone) {
    match state {
        _ if failed => ("FAILED".to_owned(), Tone::Bad),
        RunState::Failed => ("FAILED".to_owned(), Tone::Bad),
        RunState::Loaded => (state.to_string(), Tone::Good),
        _ => plain(state.as_str()),
    }
}

impl Show for StatusReport {
    fn text(&self, paint: Paint) -> String {
        let columns = ["table", "mode", "freshness", ">lag", "watermark", ">loads 24h", ">failures 24h", "last run"];
        let mut table = Table::new(&columns, paint);
        for status in &self.tables {
            let failures = if status.failures_last_24h > 0 { Tone::Bad } else { Tone::Plain };
            table.row([
                plain(&status.table),
                plain(status.mode.as_str()),
                freshness(status),
                plain(status.lag_seconds.map_or_else(|| "-".to_owned(), human::seconds)),
                plain(human::moment(status.watermark)),
                plain(human::count(status.loads_last_24h)),
                (human::count(status.failures_last_24h), failures),
                last_run(status),
            ]);
        }
        format!(
            "project {}, {}, fresh means younger than {}\n\n{}",
            self.project,
            human::moment(Some(self.now)),
            human::seconds(2.0 * self.cadence_seconds),
            table.text()
        )
    }
}

fn freshness(status: &TableStatus) -> (String, Tone) {
    match (status.last_loaded_at, status.fresh) {
        (None, _) => ("never".to_owned(), Tone::Warn),
        (Some(_), true) => ("fresh".to_owned(), Tone::Good),
        (Some(_), false) => ("STALE".to_owned(), Tone::Bad),
    }
}

fn last_run(status: &TableStatus) -> (String, Tone) {
    let Some(run) = &status.last_run else { return plain("-") };
    let (word, tone) = state(run.status, false);
    (format!("{} {word}", run.run_id), tone)
}

impl Show for Runs {
    fn text(&self, paint: Paint) -> String {
        if self.runs.is_empty() {
            return "no runs\n".to_owned();
        }
        let columns = [
            ">run",
            "table",
            "mode",
            "started",
            ">took",
            "status",
            ">extracted",
            ">loaded",
            ">different",
            "watermark",
            "error",
        ];
        let mut table = Table::new(&columns, paint);
        for run in &self.runs {
            table.row([
                plain(run.run_id.to_string()),
                plain(&run.table_name),
                plain(what(run)),
                plain(human::moment(Some(run.run_started_at))),
                plain(took(run.run_started_at, run.run_finished_at)),
                state(run.status, false),
                rows(run.rows_extracted),
                rows(run.rows_loaded),
                rows(run.rows_different),
                plain(human::moment(run.watermark)),
                plain(run.error_message.clone().unwrap_or_default()),
            ]);
        }
        table.text()
    }
}

/// How the table is moved, or what else the run was made for.
fn what(run: &RunRecord) -> &'static str {
    match run.kind {
        RunKind::Run => run.mode.map_or("-", |mode| mode.as_str()),
        other => other.as_str(),
    }
}

fn took(from: Timestamp, to: Option<Timestamp>) -> String {
    to.map_or_else(|| "-".to_owned(), |to| human::seconds(to.since(from).as_seconds()))
}

fn rows(count: Option<i64>) -> (String, Tone) {
    plain(count.and_then(|count| u64::try_from(count).ok()).map_or_else(|| "-".to_owned(), human::count))
}

impl Show for MigrateReport {
    fn text(&self, _: Paint) -> String {
        let mut text = String::new();
        let parts = [
            ("applied", &self.applied),
            ("there already", &self.present),
            ("created", &self.tables_created),
            ("there already", &self.tables_present),
        ];
        for (word, names) in parts {
            names.iter().for_each(|name| text.push_str(&format!("{word:<13}  {name}\n")));
        }
        let (applied, created) = (self.applied.len(), self.tables_created.len());
        text + &format!("\n{} applied, {} created\n", human::many(applied, "migration"), human::many(created, "table"))
    }
}
