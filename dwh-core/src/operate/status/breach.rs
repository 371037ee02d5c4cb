//! From the numbers to what needs attention. Pure: whoever delivers alerts asks here too.

use super::cause::count;
use super::judge;
use super::{Breach, BreachCheck, DiskStatus, DiskUse, StoreStatus, TableStatus};
use crate::config::Thresholds;
use crate::error::Error;
use crate::operate::shell::quoted;
use crate::run::RunKind;
use crate::watermark::Micros;

/// One failure is no rate, nor is one of few runs: it stands as a failure until the next load, and is over then.
const FAILURES_OF_A_RATE: u64 = 2;
/// See above.
const RUNS_OF_A_RATE: u64 = 5;

/// What is wrong with a table, the worst first.
pub(super) fn of_table(status: &TableStatus, thresholds: &Thresholds) -> Vec<Breach> {
    let name = quoted(&status.table);
    let mut found = Vec::new();
    let mut add = |check, message: String, remedy: String| {
        found.push(Breach { check, table: Some(status.table.clone()), message, remedy });
    };
    if let Some(conflict) = &status.conflict {
        let about = format!("table `{}`: ", status.table);
        let message = conflict.message.strip_prefix(&about).unwrap_or(&conflict.message);
        add(BreachCheck::Conflict, message.to_owned(), conflict.hint.clone());
    }
    if let Some(run) = status.last_run.as_ref().filter(|run| run.kind == RunKind::Resync && !run.status.is_final())
        && status.running.is_none()
    {
        let message = format!("run {}, a resync, was cut off, and nobody goes on with it", run.run_id);
        add(BreachCheck::CutOff, message, format!("dwh resync {name}"));
    }
    freshness(status, thresholds, &name, &mut add);
    if let Some(run) = &status.unresolved_failure {
        let why = run.error_message.as_deref().unwrap_or("nothing is known of it").replace(['\n', '\t'], " ");
        // The table is told already.
        let why = why.strip_prefix(&format!("table `{}`: ", status.table)).unwrap_or(&why);
        let whose = if run.file.is_some() { "its file was not" } else { "none was" };
        let message = format!("run {} failed, and {whose} loaded since: {why}", run.run_id);
        add(BreachCheck::Failure, message, format!("dwh runs show {}", run.run_id));
    }
    // What is mended is over, however many runs failed before: a load since then shows that it is.
    if status.unresolved_failure.is_some()
        && let Some(rate) = status.success_rate_7d
        && rate < thresholds.success_rate
        && status.runs_last_7d >= RUNS_OF_A_RATE
        && status.failures_last_7d >= FAILURES_OF_A_RATE
    {
        let message = format!(
            "{} of {} runs of the last 7 days failed: {rate:.1} % were loaded, at least {} % are expected",
            count(status.failures_last_7d),
            count(status.runs_last_7d),
            thresholds.success_rate
        );
        add(BreachCheck::SuccessRate, message, format!("dwh runs --table {name} --failed"));
    }
    if let Some(limit) = thresholds.max_duration {
        duration(status, limit, &name, &mut add);
    }
    rows(status, thresholds, &name, &mut add);
    if let Some(waiting) = status.waiting
        && let Some(oldest) = waiting.oldest_seconds.map(Micros::from_seconds)
        && oldest > thresholds.max_lag
    {
        let files = if waiting.files == 1 { "CSV file is" } else { "CSV files are" };
        let message = format!(
            "{} complete {files} not loaded, the oldest for {oldest}, at most {} are allowed",
            count(waiting.files),
            thresholds.max_lag
        );
        add(BreachCheck::Waiting, message, format!("dwh recover {name}"));
    }
    found
}

type Add<'a> = dyn FnMut(BreachCheck, String, String) + 'a;

fn freshness(status: &TableStatus, thresholds: &Thresholds, name: &str, add: &mut Add<'_>) {
    if status.fresh {
        return;
    }
    let (check, mut message) = match status.lag_seconds.map(Micros::from_seconds) {
        None => (BreachCheck::NeverLoaded, "never loaded".to_owned()),
        Some(_) if let Some(ahead) = judge::ahead(status) => (BreachCheck::Stale, stamped_ahead(ahead)),
        Some(lag) => {
            (BreachCheck::Stale, format!("last loaded {lag} ago, it is fresh for less than {}", thresholds.max_lag))
        }
    };
    match &status.running {
        Some(running) => {
            message.push_str(&format!(
                "; a run of {} has held it for {}",
                running.host,
                Micros::from_seconds(running.seconds)
            ));
            add(check, message, format!("dwh runs --table {name} --limit 5"));
        }
        None => add(check, message, format!("dwh run {name}")),
    }
}

/// Nobody can tell how old such a load is; the next one has a stamp that tells.
pub(in crate::operate) fn stamped_ahead(ahead: Micros) -> String {
    format!(
        "its last load is stamped {ahead} ahead of the clock of the target, which was set back: how old it is cannot be told"
    )
}

/// The run that goes on counts before the one that is over.
fn duration(status: &TableStatus, limit: Micros, name: &str, add: &mut Add<'_>) {
    let long = |seconds: &f64| Micros::from_seconds(*seconds) > limit;
    if let Some(seconds) = status.running.as_ref().map(|running| running.seconds).filter(|seconds| long(seconds)) {
        let message =
            format!("a run has been going on for {}, at most {limit} are allowed", Micros::from_seconds(seconds));
        add(BreachCheck::Duration, message, format!("dwh runs --table {name} --limit 5"));
    } else if let Some(seconds) = status.last_run_seconds.filter(|seconds| long(seconds)) {
        let message = format!("the last load took {}, at most {limit} are allowed", Micros::from_seconds(seconds));
        add(BreachCheck::Duration, message, format!("dwh runs --table {name} --limit 5"));
    }
}

fn rows(status: &TableStatus, thresholds: &Thresholds, name: &str, add: &mut Add<'_>) {
    let (rows, told) = (status.rows_last_24h, count(status.rows_last_24h));
    let remedy = format!("dwh runs --table {name}");
    // Before the first load there is nothing to count.
    if let Some(min) = thresholds.min_rows_per_day.filter(|min| rows < *min && status.last_loaded_at.is_some()) {
        let message = format!("{told} rows were loaded in the last 24 hours, at least {} are expected", count(min));
        add(BreachCheck::TooFewRows, message, remedy.clone());
    }
    if let Some(max) = thresholds.max_rows_per_day.filter(|max| rows > *max) {
        let message = format!("{told} rows were loaded in the last 24 hours, at most {} are expected", count(max));
        add(BreachCheck::TooManyRows, message, remedy);
    }
}

/// A source of which no table is known.
pub(super) fn of_source(told: &Error) -> Breach {
    let remedy = "dwh migrate".to_owned();
    Breach { check: BreachCheck::NeverLoaded, table: None, message: told.to_string(), remedy }
}

/// What is wrong with the disks and the blob store; `same`: both folders lie on one disk, which is told of once.
pub(super) fn of_project(disks: &[DiskStatus], same: bool, store: &StoreStatus, disk_used: f64) -> Vec<Breach> {
    let breach = |check, message, remedy: &str| Breach { check, table: None, message, remedy: remedy.to_owned() };
    let mut found = Vec::new();
    for disk in disks {
        let (word, folder) = (disk.used_for.as_str(), &disk.folder);
        if let Some(error) = &disk.error {
            found.push(breach(BreachCheck::Disk, format!("{word}: {}", error.message), &error.hint));
        }
        let full = disk.used_percent.filter(|used| *used > disk_used);
        if let Some(used) = full.filter(|_| !(same && disk.used_for == DiskUse::Store)) {
            let message =
                format!("the disk of the {word} `{folder}` is {used:.1} % full, at most {disk_used} % are allowed");
            let remedy = match disk.used_for {
                DiskUse::Spool => "free some space, or point TMPDIR at a larger disk",
                DiskUse::Store => "dwh prune --dry-run",
            };
            found.push(breach(BreachCheck::Disk, message, remedy));
        }
    }
    if let Some(error) = &store.error {
        found.push(breach(
            BreachCheck::Store,
            format!("the blob store cannot be listed: {}", error.message),
            &error.hint,
        ));
    }
    found
}
