//! What a command tells while it works: on a terminal a line for the whole and one for each table that takes long, else a
//! line for each finished run.

mod whole;

use dwh_core::pipeline::{Event, ModelRun, ModelState, TableRun, WindowReport};
use dwh_core::{ErrorKind, RunId};
use indicatif::style::TemplateError;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Paint, Printer, human, table, text};
use whole::Whole;

/// A line of a table.
const TEMPLATE: &str = "{spinner} {prefix}  {msg}{quiet}";

/// A line of a model.
const MODEL: &str = "{spinner} {prefix}  {elapsed}";

/// A wait shorter than this is not worth a word.
const QUIET: Duration = Duration::from_secs(10);

/// A table of many that is ready sooner has no line of its own.
const LONG: Duration = Duration::from_secs(2);

/// The lines of the tables and of the model that are worked on.
pub struct Progress {
    printer: Printer,
    whole: Whole,
    tables: Mutex<HashMap<String, Bar>>,
    model: Mutex<Option<ProgressBar>>,
}

struct Bar {
    /// Not there as long as the table is one of many and has only begun.
    bar: Option<ProgressBar>,
    began: Instant,
    /// When something last happened; read by the bar whenever it is drawn.
    moved: Arc<Mutex<Instant>>,
    // Of the runs before those that are under way.
    rows_before: u64,
    bytes_before: u64,
    /// Rows and bytes of those.
    under_way: HashMap<RunId, (u64, u64)>,
}

impl Progress {
    /// No table yet.
    pub fn new(printer: Printer) -> Self {
        let whole = Whole::new(printer.stderr.width());
        Self { whole, printer, tables: Mutex::default(), model: Mutex::default() }
    }

    /// Tells one event.
    pub fn tell(&self, event: &Event) {
        let paint = self.printer.stderr;
        match event {
            Event::Warning { table, message } => self.printer.warning(&about(table, message)),
            Event::RunStarted { table, run_id, bound } if self.printer.verbose => {
                let bound = bound.as_ref().map_or_else(String::new, |bound| format!(", bound: {bound}"));
                self.printer.note(&format!("table `{table}`: run {run_id} begins{bound}"));
            }
            Event::RunFinished(run) if self.printer.verbose => self.printer.note(&decided(run, paint)),
            Event::RunFinished(run) if self.printer.bars.is_none() => self.printer.note(&finished(run)),
            Event::ModelFinished { run, number, of } if self.printer.verbose || self.printer.bars.is_none() => {
                self.printer.note(&built(run, *number, *of));
            }
            _ => {}
        }
        if let Some(bars) = &self.printer.bars {
            self.whole.tell(bars, event);
            self.draw(bars, event);
        }
    }

    fn draw(&self, bars: &MultiProgress, event: &Event) {
        match event {
            Event::TableStarted { table } => {
                let mut bar = Bar::new();
                if !self.whole.is_shown() {
                    bar.show(bars, table, self.printer.stderr);
                }
                self.tables().insert(table.clone(), bar);
            }
            Event::Extracted { table, run_id, rows, bytes } => {
                if let Some(bar) = self.tables().get_mut(table) {
                    bar.under_way.insert(*run_id, (*rows, *bytes));
                    if bar.began.elapsed() > LONG {
                        bar.show(bars, table, self.printer.stderr);
                    }
                    bar.refresh();
                }
            }
            Event::RunFinished(run) => {
                if let Some(bar) = self.tables().get_mut(&run.table) {
                    bar.next_run(run);
                }
            }
            Event::TableFinished { table } => {
                if let Some(bar) = self.tables().remove(table).and_then(|bar| bar.bar) {
                    bar.finish_and_clear();
                    bars.remove(&bar);
                }
            }
            Event::ModelStarted { model, number, of } => {
                let style = ProgressStyle::with_template(MODEL);
                let bar = line(bars, style, &format!("{number} of {of}  {model}"), self.printer.stderr);
                *self.model() = Some(bar);
            }
            Event::ModelFinished { .. } => {
                if let Some(bar) = self.model().take() {
                    bar.finish_and_clear();
                    bars.remove(&bar);
                }
            }
            _ => {}
        }
    }

    /// A panic elsewhere leaves the bars as they are: still good to draw.
    fn tables(&self) -> MutexGuard<'_, HashMap<String, Bar>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn model(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line that moves by itself. The templates are literals that a test renders; the default is as good.
fn line(
    bars: &MultiProgress,
    style: Result<ProgressStyle, TemplateError>,
    name: &str,
    paint: Paint<'_>,
) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let room = paint.width().map_or(usize::MAX, |width| (width / 3).max(12));
    bar.set_prefix(table::shortened(&super::printable(name), room));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Bar {
    fn new() -> Self {
        let moved = Arc::new(Mutex::new(Instant::now()));
        Self { bar: None, began: Instant::now(), moved, rows_before: 0, bytes_before: 0, under_way: HashMap::new() }
    }

    /// Puts its line on the screen, once.
    fn show(&mut self, bars: &MultiProgress, name: &str, paint: Paint<'_>) {
        if self.bar.is_some() {
            return;
        }
        let drawn = Arc::clone(&self.moved);
        let style = ProgressStyle::with_template(TEMPLATE).map(|style| {
            style.with_key("quiet", move |_: &ProgressState, text: &mut dyn fmt::Write| {
                let since = drawn.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
                // A line that cannot be drawn is drawn again at once.
                let _ = text.write_str(&quiet(since));
            })
        });
        self.bar = Some(line(bars, style, name, paint));
    }

    fn next_run(&mut self, run: &TableRun) {
        self.rows_before += run.rows_extracted;
        self.bytes_before += run.bytes;
        if let Some(run_id) = run.run_id {
            self.under_way.remove(&run_id);
        }
        self.refresh();
    }

    fn refresh(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let (rows, bytes) = self
            .under_way
            .values()
            .fold((self.rows_before, self.bytes_before), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        if let Some(bar) = &self.bar {
            bar.set_message(amounts(rows, bytes, self.began.elapsed()));
        }
    }
}

/// `, nothing new for 35 s`, or nothing.
fn quiet(since: Duration) -> String {
    if since < QUIET { String::new() } else { format!(", nothing new for {} s", since.as_secs()) }
}

/// `1,200 rows, 3.4 MB, 600 rows/s`.
fn amounts(rows: u64, bytes: u64, took: Duration) -> String {
    let per_second = rows as f64 / took.as_secs_f64().max(0.001);
    format!("{}, {}, {} rows/s", human::rows(rows), human::bytes(bytes), human::count(per_second as u64))
}

/// The table's name before a line that does not say it.
pub fn about(table: &str, message: &str) -> String {
    if message.contains(&format!("`{table}`")) { message.to_owned() } else { format!("table `{table}`: {message}") }
}

fn word(run: &TableRun) -> &str {
    match &run.error {
        Some(error) if error.code == ErrorKind::Interrupted.row().code => &error.code,
        Some(_) => "FAILED",
        None => run.status.as_str(),
    }
}

fn finished(run: &TableRun) -> String {
    let number = run.run_id.map_or_else(String::new, |id| format!(" {id}"));
    format!(
        "table `{}`: run{number} {}, {} extracted, {} loaded, {}, {}",
        run.table,
        word(run),
        human::rows(run.rows_extracted),
        human::count(run.rows_loaded),
        human::bytes(run.bytes),
        human::seconds(run.seconds.total)
    )
}

fn built(run: &ModelRun, number: usize, of: usize) -> String {
    let status = match run.status {
        ModelState::Failed => "FAILED",
        other => other.as_str(),
    };
    let rows = run.rows.map(|rows| format!(", {}", human::rows(rows))).unwrap_or_default();
    let because = run.because.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
    let seconds = human::seconds(run.seconds);
    format!("model `{}` ({number} of {of}): {status}{rows}, {seconds}{because}", run.model)
}

/// What the run read, how it got into bronze and why, and where the time went.
fn decided(run: &TableRun, paint: Paint<'_>) -> String {
    let window = |window: &WindowReport| format!("; window: {}", text::window_text(window, paint));
    let route = run.route.map_or_else(String::new, |route| {
        let why = run.route_reason.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        format!("; route: {route}{why}")
    });
    let spent = [
        ("read", run.seconds.extract),
        ("upload", run.seconds.upload),
        ("stage", run.seconds.stage),
        ("commit", run.seconds.commit),
        ("archive", run.seconds.archive),
    ];
    let spent: Vec<String> = spent
        .into_iter()
        .filter(|(_, seconds)| *seconds >= 0.05)
        .map(|(step, seconds)| format!("{step} {}", human::seconds(seconds)))
        .collect();
    let spent = if spent.is_empty() { String::new() } else { format!("; time: {}", spent.join(", ")) };
    format!("{}{}{route}{spent}", finished(run), run.window.as_ref().map_or_else(String::new, window))
}

#[cfg(test)]
mod tests {
    use super::{
        MODEL, ModelRun, ModelState, ProgressStyle, TEMPLATE, TableRun, about, amounts, built, decided, finished, quiet,
    };
    use crate::output::Paint;
    use dwh_core::config::{Mode, ModelKind};
    use dwh_core::pipeline::{ErrorReport, WindowReport};
    use dwh_core::sink::Route;
    use dwh_core::{Error, ErrorKind};
    use std::time::Duration;

    #[test]
    fn amounts_and_template() {
        assert_eq!(amounts(1200, 3_400_000, Duration::from_secs(2)), "1,200 rows, 3.40 MB, 600 rows/s");
        assert!([TEMPLATE, MODEL].iter().all(|template| ProgressStyle::with_template(template).is_ok()));
        assert_eq!(quiet(Duration::from_secs(9)), "");
        assert_eq!(quiet(Duration::from_secs(35)), ", nothing new for 35 s");
    }

    #[test]
    fn a_failed_run_says_so_wherever_it_stood() {
        let error = ErrorReport::from(&Error::new(ErrorKind::Drift, "gone"));
        let run = TableRun { error: Some(error), ..TableRun::new("trips", Mode::Snapshot) };
        assert_eq!(finished(&run), "table `trips`: run FAILED, 0 rows extracted, 0 loaded, 0 B, 0.0 s");
    }

    #[test]
    fn a_verbose_run_tells_what_it_decided() {
        let mut run = TableRun {
            rows_extracted: 1,
            window: Some(WindowReport { from: None, to: Some("2026-10-01T00:00:00Z".parse().expect("a moment")) }),
            route: Some(Route::Fresh),
            route_reason: Some("bronze has no row".into()),
            ..TableRun::new("trips", Mode::Incremental)
        };
        run.seconds.extract = 1.25;
        assert_eq!(
            decided(&run, Paint::new(false)),
            "table `trips`: run extracting, 1 row extracted, 0 loaded, 0 B, 0.0 s; window: from the first row up to \
             2026-10-01T00:00:00Z; route: fresh (bronze has no row); time: read 1.2 s"
        );
    }

    #[test]
    fn a_model_has_its_place_its_rows_and_why() {
        let run = ModelRun::new("gold.daily", ModelKind::Table);
        let well = ModelRun { status: ModelState::Built, rows: Some(1200), seconds: 0.5, ..run.clone() };
        assert_eq!(built(&well, 2, 5), "model `gold.daily` (2 of 5): built, 1,200 rows, 0.5 s");
        let because = Some("model `gold.trips` failed".to_owned());
        let skipped = ModelRun { status: ModelState::Skipped, because, ..run.clone() };
        assert_eq!(built(&skipped, 3, 5), "model `gold.daily` (3 of 5): skipped, 0.0 s, model `gold.trips` failed");
        let failed = ModelRun { status: ModelState::Failed, ..run };
        assert_eq!(built(&failed, 4, 5), "model `gold.daily` (4 of 5): FAILED, 0.0 s");
    }

    #[test]
    fn the_table_is_named_once() {
        assert_eq!(about("trips", "gone"), "table `trips`: gone");
        assert_eq!(about("trips", "table `trips`: gone"), "table `trips`: gone");
    }
}
