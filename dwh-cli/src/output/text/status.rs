//! Whether all is well: one sentence, a line for each table and disk, then what needs attention with its remedy.

use dwh_core::operate::{Breach, BreachCause, BreachCheck, DiskStatus, StatusReport, TableStatus};
use dwh_core::sink::RunRecord;
use dwh_core::{RunKind, RunState};
use std::collections::BTreeSet;

use super::{FEW, Told, logged};
use crate::output::fold::{fold, remedy};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Paint, Show, human, printable};

impl Show for StatusReport {
    fn text(&self, paint: Paint<'_>) -> String {
        let mut text = format!("{}\n", sentence(self, paint));
        let now = paint.moment(Some(self.now));
        text.push_str(&format!("project {}, {now}\n\n", printable(&self.project)));
        text.push_str(&tables(self, paint));
        text.push('\n');
        self.disks.iter().for_each(|disk| text.push_str(&disk_line(disk)));
        if self.store.error.is_some() {
            text.push_str(&format!("store  {}  {}\n", printable(&self.store.url), paint.bad("DOES NOT ANSWER")));
        } else if !self.store.url.starts_with("file:") {
            text.push_str(&format!("store  {}  answers\n", printable(&self.store.url)));
        }
        for (at, cause) in self.causes().iter().enumerate() {
            text.push_str(if at == 0 { "\n" } else { "" });
            cause_lines(&mut text, cause, paint);
        }
        text
    }
}

fn sentence(report: &StatusReport, paint: Paint<'_>) -> String {
    match report.breaches.len() {
        0 => paint.good(&format!("healthy: {}, all fresh", human::many(report.tables.len(), "table"))),
        1 => paint.bad("1 thing needs attention"),
        many => paint.bad(&format!("{many} things need attention")),
    }
}

fn tables(report: &StatusReport, paint: Paint<'_>) -> String {
    let columns = [
        "~table",
        "state",
        ">lag",
        ">extract lag/4",
        ">rows 24h/3",
        ">loads/6",
        ">failed/2",
        ">7 days/5",
        "last run/1",
        ">waiting/7",
    ];
    let mut table = Table::new(&columns, paint);
    let causes = report.causes();
    let many = causes.iter().filter(|cause| cause.tables.len() > FEW);
    let shared: BTreeSet<&str> = many.flat_map(|cause| cause.tables.iter().map(String::as_str)).collect();
    let alike = |status: &TableStatus| {
        let told = report.breaches.iter().any(|breach| breach.table.as_ref() == Some(&status.table));
        match told {
            true => shared.contains(status.table.as_str()).then_some("with a cause that many share, told below"),
            false => {
                let is_well = status.fresh && status.running.is_none();
                is_well.then_some("well: `dwh status | less` shows them")
            }
        }
    };
    let told = Told::of(&report.tables, alike, paint);
    for status in &told.shown {
        // A cell is as bad as the threshold that it breaks.
        let tone = |checks: &[BreachCheck]| {
            let broken =
                |breach: &Breach| breach.table.as_ref() == Some(&status.table) && checks.contains(&breach.check);
            if report.breaches.iter().any(broken) { Tone::Bad } else { Tone::Plain }
        };
        let span = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), human::seconds);
        let rate = status.success_rate_7d.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1} %"));
        let waiting = status.waiting.map_or_else(|| "?".to_owned(), |waiting| human::count(waiting.files));
        table.row([
            plain(&status.table),
            freshness(status),
            (span(status.lag_seconds), tone(&[BreachCheck::Stale])),
            plain(span(status.extract_lag_seconds)),
            (human::count(status.rows_last_24h), tone(&[BreachCheck::TooFewRows, BreachCheck::TooManyRows])),
            plain(human::count(status.loads_last_24h)),
            (human::count(status.failures_last_24h), tone(&[BreachCheck::Failure])),
            (rate, tone(&[BreachCheck::SuccessRate])),
            last_run(status, tone(&[BreachCheck::Duration])),
            (waiting, tone(&[BreachCheck::Waiting])),
        ]);
    }
    table.text() + &told.rest()
}

fn freshness(status: &TableStatus) -> (String, Tone) {
    match (status.last_loaded_at, status.fresh) {
        (None, _) => ("never".to_owned(), Tone::Warn),
        (Some(_), true) => ("fresh".to_owned(), Tone::Good),
        (Some(_), false) => ("STALE".to_owned(), Tone::Bad),
    }
}

/// The run that goes on, else the newest one; `duration` is the tone of how long it takes.
fn last_run(status: &TableStatus, duration: Tone) -> (String, Tone) {
    if let Some(running) = &status.running {
        let id = running.run_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let word = running.status.map_or("held", |status| status.as_str());
        return (format!("{id} {word} for {}", human::seconds(running.seconds)), duration);
    }
    let Some(run) = &status.last_run else { return plain("-") };
    if is_cut_off(run) {
        return (format!("{} cut off", run.run_id), Tone::Warn);
    }
    let (word, tone) = logged(run);
    let took = run.run_finished_at.map(|at| at.since(run.run_started_at).as_seconds());
    match took.filter(|_| tone == Tone::Good) {
        Some(seconds) => (
            format!("{} {word} in {}", run.run_id, human::seconds(seconds)),
            if duration == Tone::Bad { duration } else { tone },
        ),
        None => (format!("{} {word}", run.run_id), tone),
    }
}

/// Whether a run that nobody goes on with stopped halfway. What `extract` left waits for its load.
fn is_cut_off(run: &RunRecord) -> bool {
    match run.status {
        RunState::Extracting | RunState::Loading => true,
        RunState::Uploaded => matches!(run.kind, RunKind::Resync | RunKind::Chunk),
        _ => false,
    }
}

fn disk_line(disk: &DiskStatus) -> String {
    let how = match (disk.used_percent, disk.free_bytes) {
        (Some(used), Some(free)) => format!("{used:.1} % used, {} free", human::bytes(free)),
        _ => "its free space cannot be told".to_owned(),
    };
    format!("{}  {}  {how}\n", disk.used_for.as_str(), printable(&disk.folder))
}

fn cause_lines(text: &mut String, cause: &BreachCause, paint: Paint<'_>) {
    let tables: Vec<&str> = cause.tables.iter().map(String::as_str).collect();
    let subject = match tables[..] {
        [] => String::new(),
        [table] => format!("table `{table}`: "),
        _ => format!("{}: ", human::tables(&tables)),
    };
    let told = fold(&format!("ATTENTION  {}{}", printable(&subject), printable(&cause.message)), paint.width(), 11);
    text.push_str(&format!("{}{}\n", paint.bad("ATTENTION"), &told["ATTENTION".len()..]));
    text.push_str(&remedy(&printable(&cause.remedy), paint, 11));
}
