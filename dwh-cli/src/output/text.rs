//! The reports as people read them.

mod access;
mod alert;
mod backfill;
mod check;
mod deletes;
mod design;
mod export;
mod files;
mod init;
mod load;
mod maintain;
mod migrate;
mod models;
mod plan;
mod prune;
mod rebuild;
mod recover;
mod replay;
mod resync;
mod runs;
mod schedule;
mod status;
mod tap;
mod verify;
mod work;

use dwh_core::config::Mode;
use dwh_core::pipeline::{CauseReport, ErrorReport, RunReport, TableRun};
use dwh_core::sink::RunRecord;
use dwh_core::{ErrorKind, RunKind, RunState};
use std::collections::BTreeSet;

use super::fold::fold;
use super::table::{Table, Tone, plain};
use super::{Paint, Show, human, printable};

pub use check::Checked;
pub use plan::{Plans, window_text};
pub use prune::freed;
pub use runs::Runs;
pub use work::Work;

impl Show for RunReport {
    fn text(&self, paint: Paint<'_>) -> String {
        if self.runs.is_empty() && self.models.is_empty() {
            return "nothing to do\n".to_owned();
        }
        let mut text = runs_table(&self.runs, self.preview, paint);
        if !self.models.is_empty() {
            text.push_str(&format!("\n{}", models::models_table(&self.models, paint)));
        }
        if self.preview {
            text.push_str("\npreview: counted in the target and rolled back, nothing is kept\n");
            for run in &self.runs {
                let window = run.window.as_ref().map(|window| plan::window_text(window, paint));
                let file = || run.file.as_ref().map(|path| format!("file `{}`", printable(path)));
                let read = window.or_else(file).unwrap_or_else(|| "the whole table".to_owned());
                let line = format!("  {}: {read}", printable(&run.table));
                text.push_str(&format!("{}\n", fold(&line, paint.width(), 4)));
            }
        }
        text
    }
}

impl Show for TableRun {
    fn text(&self, paint: Paint<'_>) -> String {
        runs_table(std::slice::from_ref(self), false, paint)
    }
}

/// The last line of a run: what went through in all, and how many tables failed.
pub fn ended(report: &RunReport, seconds: f64) -> String {
    let tables: BTreeSet<&str> = report.runs.iter().map(|run| run.table.as_str()).collect();
    let failed = |stopped: bool| {
        let told = |run: &&TableRun| run.error.as_ref().is_some_and(|error| is_stopped(error) == stopped);
        report.runs.iter().filter(told).map(|run| run.table.as_str()).collect::<BTreeSet<_>>().len()
    };
    let (rows, bytes) = report.runs.iter().fold((0, 0), |sum, run| (sum.0 + run.rows_extracted, sum.1 + run.bytes));
    let all = human::many(tables.len(), "table");
    let of = match (failed(false), failed(true)) {
        (0, 0) if report.preview => format!("{all} looked at"),
        (0, 0) => all,
        (0, stopped) => format!("{stopped} of {all} interrupted"),
        (failed, _) => format!("{failed} of {all} FAILED"),
    };
    format!("{of}, {}, {}, {}", human::rows(rows), human::bytes(bytes), human::seconds(seconds))
}

/// Whether somebody stopped it: then it is no failure.
fn is_stopped(error: &ErrorReport) -> bool {
    error.code == ErrorKind::Interrupted.row().code
}

fn runs_table(runs: &[TableRun], preview: bool, paint: Paint<'_>) -> String {
    let stayed = Stayed::of(runs.iter().map(rare));
    let mut columns = vec!["~table", ">run/6", "mode/8", ">extracted", ">inserted/2", ">updated/3", ">identical/4"];
    columns.extend(stayed.columns());
    columns.extend([">size/7", ">time/3", "watermark/5", "status"]);
    let mut table = Table::new(&columns, paint);
    let shared = sharing(runs.iter().filter_map(|run| Some((run.table.as_str(), run.error.as_ref()?))));
    let alike = |run: &TableRun| match run.error {
        Some(ref error) if is_stopped(error) => Some("interrupted"),
        Some(_) => shared.contains(&run.table).then_some(SHARED),
        None => {
            let nothing = run.rows_extracted == 0 && rare(run).iter().all(|rows| *rows == 0);
            nothing.then_some("without a row")
        }
    };
    let told = Told::of(runs, alike, paint);
    for run in &told.shown {
        let mut row = vec![
            plain(&run.table),
            plain(run.run_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            plain(match run.kind {
                RunKind::Keys | RunKind::Resync | RunKind::Chunk => run.kind.as_str(),
                _ => run.mode.as_str(),
            }),
        ];
        let counts = [run.rows_extracted, run.rows_inserted, run.rows_updated, run.rows_identical];
        row.extend(counts.map(|rows| plain(human::count(rows))));
        row.extend(stayed.cells(rare(run).map(Some)));
        row.extend([
            plain(human::bytes(run.bytes)),
            plain(human::seconds(run.seconds.total)),
            // What a table was read whole for says nothing of its rows.
            plain(paint.ago(run.watermark.filter(|_| run.mode == Mode::Incremental))),
            if preview && run.error.is_none() {
                plain("preview")
            } else {
                state(run.status, run.error.as_ref().map(|error| error.code.as_str()))
            },
        ]);
        table.row(row);
    }
    table.text() + &told.rest()
}

/// What a screen shows of many: all of a few, else those that have something to say of their own.
struct Told<'a, T> {
    shown: Vec<&'a T>,
    rest: Vec<(&'static str, usize)>,
}

/// Of those that a cause below is about, as it is about many.
const SHARED: &str = "FAILED for a reason that many share";

/// Fewer tables of one cause each have a line.
const FEW: usize = 5;

impl<'a, T> Told<'a, T> {
    /// More lines than this nobody reads.
    const MANY: usize = 40;

    /// `alike` says in a word what there is to say of one, if it is no more than that.
    fn of(all: &'a [T], alike: impl Fn(&T) -> Option<&'static str>, paint: Paint<'_>) -> Self {
        let whole = paint.width().is_none() || all.len() <= Self::MANY;
        let mut told = Self { shown: Vec::new(), rest: Vec::new() };
        for one in all {
            match alike(one).filter(|_| !whole) {
                None => told.shown.push(one),
                Some(word) => match told.rest.iter_mut().find(|(known, _)| *known == word) {
                    Some((_, count)) => *count += 1,
                    None => told.rest.push((word, 1)),
                },
            }
        }
        told
    }

    /// `and 488 more equal`, or nothing.
    fn rest(&self) -> String {
        let line = |(word, count): &(&str, usize)| {
            let count = human::count(*count as u64);
            if self.shown.is_empty() { format!("{count} {word}\n") } else { format!("and {count} more {word}\n") }
        };
        self.rest.iter().map(line).collect()
    }
}

/// The tables that failed for a reason that more than a few share.
fn sharing<'a>(errors: impl IntoIterator<Item = (&'a str, &'a ErrorReport)>) -> BTreeSet<String> {
    let many = CauseReport::of(errors).into_iter().filter(|one| one.tables.len() > FEW);
    many.flat_map(|one| one.tables).collect()
}

/// Counts that most runs do not have.
const fn rare(run: &TableRun) -> [u64; 6] {
    let (removed, marked, unmarked) = (run.rows_removed, run.rows_marked, run.rows_unmarked);
    [run.rows_rejected, run.rows_different, run.rows_kept_newer, removed, marked, unmarked]
}

/// Which columns a table needs for counts that most runs do not have: records of a file that were rejected, rows of the
/// CSV that did not get into bronze, and rows of bronze that were removed or marked.
struct Stayed([bool; 6]);

impl Stayed {
    const NAMES: [(&'static str, Tone); 6] = [
        (">rejected/1", Tone::Warn),
        (">different/1", Tone::Warn),
        (">kept newer/1", Tone::Plain),
        (">removed/1", Tone::Plain),
        (">marked/1", Tone::Plain),
        (">unmarked/1", Tone::Plain),
    ];

    /// For runs with these counts, in the order of the names.
    fn of(runs: impl Iterator<Item = [u64; 6]>) -> Self {
        Self(runs.fold([false; 6], |found, counts| std::array::from_fn(|at| found[at] || counts[at] > 0)))
    }

    fn columns(&self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().zip(self.0).filter(|(_, shown)| *shown).map(|((name, _), _)| name)
    }

    fn cells(&self, counts: [Option<u64>; 6]) -> impl Iterator<Item = (String, Tone)> {
        let told = |(rows, (_, tone)): (Option<u64>, (&str, Tone))| match rows {
            Some(rows) if rows > 0 => (human::count(rows), tone),
            rows => plain(rows.map_or_else(|| "-".to_owned(), human::count)),
        };
        counts.into_iter().zip(Self::NAMES).zip(self.0).filter(|(_, shown)| *shown).map(move |(cell, _)| told(cell))
    }
}

/// How a row of the run log stands.
fn logged(run: &RunRecord) -> (String, Tone) {
    let code = run.error_code.as_deref().unwrap_or_default();
    state(run.status, (run.status == RunState::Failed).then_some(code))
}

/// A run that ended with an error failed, wherever it stood then, unless somebody stopped it. `error`: its stable word.
fn state(state: RunState, error: Option<&str>) -> (String, Tone) {
    match (error, state) {
        (Some(code), _) if code == ErrorKind::Interrupted.row().code => (code.to_owned(), Tone::Warn),
        (Some(_), _) => ("FAILED".to_owned(), Tone::Bad),
        (None, state) => reached(state),
    }
}

fn reached(state: RunState) -> (String, Tone) {
    match state {
        RunState::Loaded => (state.to_string(), Tone::Good),
        _ => plain(state.as_str()),
    }
}
