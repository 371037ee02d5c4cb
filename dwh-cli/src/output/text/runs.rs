//! The run log, and one run of it in words.

use dwh_core::config::Mode;
use dwh_core::operate::{CsvPlace, CsvReport, ManifestReport, NeighbourReport, RunDetails};
use dwh_core::sink::{Route, RunRecord};
use dwh_core::{RunKind, Timestamp};
use serde::Serialize;

use super::{Stayed, logged};
use crate::output::fold::fold;
use crate::output::table::{Table, Tone, plain};
use crate::output::{Paint, Show, human, printable};

/// Rows of the run log.
#[derive(Debug, Serialize)]
pub struct Runs {
    /// The newest first.
    pub runs: Vec<RunRecord>,
}

impl Show for Runs {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.runs.is_empty() {
            return "no runs\n".to_owned();
        }
        let count = |rows: Option<i64>| rows.and_then(|rows| u64::try_from(rows).ok());
        let zero = |rows| count(rows).unwrap_or(0);
        let stayed = Stayed::of(self.runs.iter().map(|run| rare(run).map(zero)));
        let mut columns = vec![">run", "~table", "mode/8", "started/1", ">took/5", "status"];
        columns.extend([">extracted", ">inserted/6", ">updated/6", ">identical/6"]);
        columns.extend(stayed.columns());
        columns.extend(["route/9", "watermark/7", "~error"]);
        let mut table = Table::new(&columns, paint);
        for run in &self.runs {
            let mut row = vec![
                plain(run.run_id.to_string()),
                plain(&run.table_name),
                plain(what(run)),
                plain(paint.ago(Some(run.run_started_at))),
                plain(took(run.run_started_at, run.run_finished_at)),
                logged(run),
            ];
            row.extend([run.rows_extracted, run.rows_inserted, run.rows_updated, run.rows_identical].map(rows));
            row.extend(stayed.cells(rare(run).map(count)));
            row.push(plain(run.route.map_or("-", Route::as_str)));
            row.extend([plain(paint.ago(run.watermark)), plain(run.error_message.clone().unwrap_or_default())]);
            table.row(row);
        }
        table.text()
    }
}

/// Counts that most runs do not have.
fn rare(run: &RunRecord) -> [Option<i64>; 6] {
    let (removed, marked, unmarked) = (run.rows_removed, run.rows_marked, run.rows_unmarked);
    [rejected(run), run.rows_different, run.rows_kept_newer, removed, marked, unmarked]
}

/// Records of its file that were left out.
fn rejected(run: &RunRecord) -> Option<i64> {
    run.file.as_ref().and_then(|file| i64::try_from(file.rejected).ok())
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
    plain(number(count))
}

fn number(count: Option<i64>) -> String {
    count.and_then(|count| u64::try_from(count).ok()).map_or_else(|| "-".to_owned(), human::count)
}

impl Show for RunDetails {
    fn text(&self, paint: Paint<'_>) -> String {
        let run = &self.run;
        let (word, tone) = logged(run);
        let word = match tone {
            Tone::Good => paint.good(&word),
            Tone::Bad => paint.bad(&word),
            Tone::Plain | Tone::Warn => word,
        };
        let mut text = format!("run {} of table `{}`: {word}\n\n", run.run_id, printable(&run.table_name));
        let mut line = |name: &str, value: &str| {
            let value = printable(value).replace(['\n', '\t'], " ");
            text.push_str(&format!("{}\n", fold(&format!("{name:<10} {value}"), paint.width(), 11)));
        };
        line("kind", &kind(run));
        line("began", &paint.moment(Some(run.run_started_at)));
        let ended = |seconds| format!("{}, after {}", paint.moment(run.run_finished_at), human::seconds(seconds));
        line("ended", &self.seconds.map_or_else(|| "-".to_owned(), ended));
        line("window", &window(run, paint));
        line("watermark", &paint.moment(run.watermark));
        line("bound", self.bound.as_deref().unwrap_or("-"));
        line("rows", &counts(run));
        line("route", &route(run));
        line(
            "bytes",
            &run.bytes.and_then(|bytes| u64::try_from(bytes).ok()).map_or_else(|| "-".to_owned(), human::bytes),
        );
        line("sha256", run.sha256.as_deref().unwrap_or("-"));
        line("attempt", &run.attempt.to_string());
        if let Some(task) = &run.task_instance {
            line("task", task);
        }
        if let Some(file) = &run.file {
            line("file", &file.path);
        }
        line("host", run.host.as_deref().unwrap_or("-"));
        line("engine", run.engine_version.as_deref().unwrap_or("-"));
        line("csv", &csv(&self.csv));
        let of_files = run.mode == Some(Mode::Files);
        line("manifest", &self.manifest.as_ref().map_or_else(|| "-".to_owned(), |it| manifest(it, of_files, paint)));
        line("previous", &self.previous.as_ref().map_or_else(|| "-".to_owned(), neighbour));
        line("next", &self.next.as_ref().map_or_else(|| "-".to_owned(), neighbour));
        line("error", run.error_message.as_deref().unwrap_or("-"));
        line("to do", self.advice.as_deref().unwrap_or("nothing"));
        text
    }
}

fn kind(run: &RunRecord) -> String {
    run.mode.map_or_else(|| run.kind.to_string(), |mode| format!("{}, {}", run.kind, mode.as_str()))
}

fn window(run: &RunRecord, paint: Paint<'_>) -> String {
    if run.mode == Some(Mode::Files) {
        return if run.file.is_some() { "the whole file" } else { "no new file" }.to_owned();
    }
    if run.mode.is_some_and(|mode| mode != Mode::Incremental) {
        return "the whole table".to_owned();
    }
    // Not known before the CSV is complete.
    if run.watermark.is_none() {
        return "-".to_owned();
    }
    let moment = |at| paint.moment(Some(at));
    let from = run.window_low.map_or_else(|| "from the first row on".to_owned(), |at| format!("after {}", moment(at)));
    format!("{from}, up to {}", run.window_high.map_or_else(|| "what was visible".to_owned(), moment))
}

fn counts(run: &RunRecord) -> String {
    let late = match run.rows_late {
        None | Some(0) => String::new(),
        late => format!(" ({} of them below the window, delivered late)", number(late)),
    };
    let left_out = match rejected(run) {
        None | Some(0) => String::new(),
        rows => format!("; {} of the file rejected, kept beside the CSV in `….rejected.jsonl`", number(rows)),
    };
    let of_bronze = [(run.rows_removed, "removed"), (run.rows_marked, "marked"), (run.rows_unmarked, "unmarked")];
    let told = |(rows, word): (Option<i64>, &str)| match rows {
        None | Some(0) => String::new(),
        rows => format!("; {} of bronze {word}", number(rows)),
    };
    let removed: String = of_bronze.into_iter().map(told).collect();
    if run.kind == RunKind::Model {
        return format!("{} built", number(run.rows_loaded));
    }
    if run.kind == RunKind::Keys {
        let nothing = if removed.is_empty() { "; none of bronze is gone" } else { "" };
        return format!("{} keys read{removed}{nothing}", number(run.rows_extracted));
    }
    format!(
        "{} extracted{late}: {} inserted, {} updated, {} identical, {} different, {} kept newer{removed}{left_out}",
        number(run.rows_extracted),
        number(run.rows_inserted),
        number(run.rows_updated),
        number(run.rows_identical),
        number(run.rows_different),
        number(run.rows_kept_newer)
    )
}

fn route(run: &RunRecord) -> String {
    match (run.route, &run.route_reason) {
        (Some(route), Some(reason)) => format!("{route}: {reason}"),
        (route, _) => route.map_or_else(|| "-".to_owned(), |route| route.to_string()),
    }
}

fn csv(csv: &CsvReport) -> String {
    let path = csv.path.as_deref().unwrap_or("-");
    let size = csv.stored_bytes.map(|bytes| format!(", {}", human::bytes(bytes))).unwrap_or_default();
    let complete = if csv.complete { "" } else { ", without a manifest" };
    let text = match csv.place {
        CsvPlace::None => "none was written".to_owned(),
        CsvPlace::Exports => format!("in exports/: {path}{size}{complete}"),
        CsvPlace::Processed => format!("in processed/: {path}{size}{complete}"),
        CsvPlace::Both => format!("in exports/ and in processed/: {path}{size}{complete}"),
        CsvPlace::SetAside => format!("in set_aside/, never loaded: {path}{size}{complete}"),
        CsvPlace::Gone => format!("gone, by `dwh prune` or otherwise; it was {path}"),
        CsvPlace::Unknown => format!("the blob store does not say; it was {path}"),
    };
    csv.error.as_ref().map_or_else(|| text.clone(), |error| format!("{text} ({})", error.message))
}

fn manifest(manifest: &ManifestReport, of_files: bool, paint: Paint<'_>) -> String {
    let mut text = human::many(manifest.columns, "column");
    if !manifest.key.is_empty() {
        text.push_str(&format!(", key ({})", manifest.key.join(", ")));
    }
    if let Some(snapshot) = &manifest.snapshot {
        let source = &snapshot.identity;
        if of_files {
            let at = paint.moment(Some(snapshot.taken_at));
            text.push_str(&format!("; read at {at} out of source `{}`, {}", source.database, source.system_identifier));
            return text;
        }
        text.push_str(&format!(
            "; snapshot {}:{} of {}, database {} of cluster {}, PostgreSQL {}{}",
            snapshot.xmin,
            snapshot.xmax,
            paint.moment(Some(snapshot.taken_at)),
            source.database,
            source.system_identifier,
            source.server_version,
            if source.in_recovery { ", a standby" } else { "" }
        ));
    }
    text
}

fn neighbour(other: &NeighbourReport) -> String {
    match other.joins {
        Some(true) => format!("run {}, the windows join", other.run_id),
        Some(false) => format!("run {}, TIME LIES BETWEEN THE WINDOWS: `dwh recover` says what to do", other.run_id),
        None => format!("run {}", other.run_id),
    }
}
