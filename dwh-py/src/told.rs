//! What the engine tells while it works, for Python's `logging` and for a progress function.
//!
//! The engine's threads only put it down here. Whoever waits for a call hands it to Python: the thread that made the
//! call, or one that goes in through the door of `exit`.

use dwh_core::pipeline::{Event, Observer, TableRun};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::convert::to_python;
use crate::exit;

/// More than this is not kept for a Python that does not come to read it.
const MOST: usize = 10_000;

/// Numbers of Python's `logging`.
const DEBUG: u8 = 10;
const INFO: u8 = 20;
const WARNING: u8 = 30;
const ERROR: u8 = 40;

enum Message {
    Line { level: u8, logger: String, text: String },
    Event { to: Arc<Py<PyAny>>, event: Value },
}

static MESSAGES: Mutex<VecDeque<Message>> = Mutex::new(VecDeque::new());
static NEWS: Notify = Notify::const_new();
/// What `logging` wants to hear of `dwh`.
static WANTED: AtomicU8 = AtomicU8::new(WARNING);

/// Comes back when there is something to deliver.
pub async fn news() {
    NEWS.notified().await;
}

/// Asks `logging` how much it wants to hear; called where a call begins.
pub fn listen(py: Python<'_>) -> PyResult<()> {
    let _inside = exit::inside(py)?;
    let logger = py.import("logging")?.call_method1("getLogger", ("dwh",))?;
    let level: u32 = logger.call_method0("getEffectiveLevel")?.extract()?;
    WANTED.store(u8::try_from(level).unwrap_or(u8::MAX), Ordering::Relaxed);
    Ok(())
}

/// Hands everything to Python. What a progress function or a handler of `logging` raises is shown and stops nothing.
///
/// # Errors
/// What is no `Exception`, such as a `KeyboardInterrupt`: a signal that came while Python was at it.
pub fn deliver(py: Python<'_>) -> PyResult<()> {
    let messages = messages().map(|mut messages| std::mem::take(&mut *messages)).unwrap_or_default();
    if messages.is_empty() {
        return Ok(());
    }
    let logging = py.import("logging")?;
    let mut signal = Ok(());
    for message in messages {
        let (to, done) = match message {
            Message::Line { level, logger, text } => {
                let logger = logging.call_method1("getLogger", (logger,));
                (None, logger.and_then(|logger| logger.call_method1("log", (level, "%s", text)).map(drop)))
            }
            Message::Event { to, event } => {
                let done = to_python(py, &event).and_then(|event| to.call1(py, (event,)).map(drop));
                (Some(to), done)
            }
        };
        match done {
            Err(raised) if raised.is_instance_of::<PyException>(py) => {
                raised.write_unraisable(py, to.as_ref().map(|to| to.bind(py)));
            }
            // The rest is told all the same.
            Err(raised) => signal = signal.and(Err(raised)),
            Ok(()) => {}
        }
    }
    signal
}

/// `None` only in a child that was forked while another thread was at it.
fn messages() -> Option<MutexGuard<'static, VecDeque<Message>>> {
    for _ in 0..1000 {
        match MESSAGES.try_lock() {
            Ok(messages) => return Some(messages),
            Err(TryLockError::Poisoned(messages)) => return Some(messages.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

fn put(message: Message) {
    if let Some(mut messages) = messages().filter(|messages| messages.len() < MOST) {
        messages.push_back(message);
        drop(messages);
        NEWS.notify_one();
    }
}

fn line(level: u8, logger: &str, text: String) {
    if level >= WANTED.load(Ordering::Relaxed) {
        put(Message::Line { level, logger: logger.to_owned(), text });
    }
}

/// Tells what happens to `logging`, and to a progress function.
pub fn observer(progress: Option<Arc<Py<PyAny>>>) -> Observer {
    Arc::new(move |event| {
        match event {
            Event::RunStarted { table, run_id, .. } => {
                line(INFO, "dwh", format!("table `{table}`: run {run_id} begins"));
            }
            Event::Warning { table, message } => line(WARNING, "dwh", format!("table `{table}`: {message}")),
            Event::RunFinished(run) => {
                let (level, text) = ended(run);
                line(level, "dwh", text);
            }
            _ => {}
        }
        if let (Some(to), Some(event)) = (&progress, as_json(event)) {
            put(Message::Event { to: Arc::clone(to), event });
        }
    })
}

fn ended(run: &TableRun) -> (u8, String) {
    let number = run.run_id.map_or_else(|| "a run".to_owned(), |run_id| format!("run {run_id}"));
    match &run.error {
        Some(error) => (ERROR, format!("{number} failed: {}", error.message)),
        None => {
            let seconds = run.seconds.total;
            let (table, read, loaded) = (&run.table, run.rows_extracted, run.rows_loaded);
            (
                INFO,
                format!(
                    "table `{table}`: {number} is {}: {read} rows read, {loaded} loaded, {seconds:.1} s",
                    run.status
                ),
            )
        }
    }
}

fn as_json(event: &Event) -> Option<Value> {
    Some(match event {
        Event::TablesChosen { tables } => json!({ "event": "tables_chosen", "tables": tables }),
        Event::TableStarted { table } => json!({ "event": "table_started", "table": table }),
        Event::RunStarted { table, run_id, bound } => {
            json!({ "event": "run_started", "table": table, "run_id": run_id, "bound": bound })
        }
        Event::Extracted { table, run_id, rows, bytes } => {
            json!({ "event": "extracted", "table": table, "run_id": run_id, "rows": rows, "bytes": bytes })
        }
        Event::Warning { table, message } => json!({ "event": "warning", "table": table, "message": message }),
        Event::RunFinished(run) => json!({ "event": "run_finished", "table": run.table, "run": run }),
        Event::TableFinished { table } => json!({ "event": "table_finished", "table": table }),
        Event::ModelStarted { model, number, of } => {
            json!({ "event": "model_started", "model": model, "number": number, "of": of })
        }
        Event::ModelFinished { run, number, of } => {
            json!({ "event": "model_finished", "model": run.model, "number": number, "of": of, "run": run })
        }
        // A newer engine tells more.
        _ => return None,
    })
}

/// What the engine tells to `tracing` goes to the loggers below `dwh`, and nothing of what is below the engine: drivers
/// log values.
struct ToLogging;

/// Begins to listen to `tracing`, unless somebody in this process does already.
pub fn install() {
    let _ours = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ToLogging));
}

fn is_ours(about: &Metadata<'_>) -> bool {
    about.target().split("::").next() == Some("dwh_core")
}

fn level_of(about: &Metadata<'_>) -> u8 {
    match *about.level() {
        Level::ERROR => ERROR,
        Level::WARN => WARNING,
        Level::INFO => INFO,
        _ => DEBUG,
    }
}

impl<S: Subscriber> Layer<S> for ToLogging {
    fn register_callsite(&self, about: &'static Metadata<'static>) -> Interest {
        // What `logging` wants may change from call to call.
        if is_ours(about) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, about: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_ours(about) && level_of(about) >= WANTED.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let place = event.metadata().target().split("::").skip(1).map(|part| format!(".{part}"));
        line(level_of(event.metadata()), &format!("dwh{}", place.collect::<String>()), text.whole());
    }
}

/// The message of an event, and its other values behind it.
#[derive(Default)]
struct Text {
    message: String,
    values: String,
}

impl Text {
    fn whole(self) -> String {
        if self.values.is_empty() { self.message } else { format!("{} ({})", self.message, self.values) }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
            return;
        }
        let comma = if self.values.is_empty() { "" } else { ", " };
        // A String takes everything.
        let _written = write!(self.values, "{comma}{}={value:?}", field.name());
    }
}
