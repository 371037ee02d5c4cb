//! The line of the whole: how many tables are done, how much went through, how fast, for how long, and which ones are
//! worked on.

use dwh_core::RunId;
use dwh_core::pipeline::Event;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::paint::coarse;
use super::super::{human, table};

const TEMPLATE: &str = "{spinner} {whole}";

/// Before that much is known, nobody can say how long it will take.
const ENOUGH: (usize, Duration) = (3, Duration::from_secs(5));

/// The line, once it is known that there are several tables.
pub struct Whole {
    width: Option<usize>,
    bar: Mutex<Option<ProgressBar>>,
    // Read by the bar whenever it is drawn: nothing is drawn while it is locked.
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    began: Option<Instant>,
    total: usize,
    done: usize,
    /// Rows and bytes of each run.
    runs: HashMap<(String, Option<RunId>), (u64, u64)>,
    /// The tables that are worked on, the longest first.
    open: Vec<String>,
}

impl Whole {
    /// No line yet, on a screen of that width.
    pub fn new(width: Option<usize>) -> Self {
        Self { width, bar: Mutex::default(), known: Arc::default() }
    }

    /// Whether there is a line.
    pub fn is_shown(&self) -> bool {
        lock(&self.bar).is_some()
    }

    /// Counts one event.
    pub fn tell(&self, bars: &MultiProgress, event: &Event) {
        let ended = lock(&self.known).tell(event);
        match event {
            Event::TablesChosen { tables } if *tables > 1 => *lock(&self.bar) = Some(self.line(bars)),
            _ if ended => {
                if let Some(bar) = lock(&self.bar).take() {
                    bar.finish_and_clear();
                    bars.remove(&bar);
                }
            }
            _ => {}
        }
    }

    fn line(&self, bars: &MultiProgress) -> ProgressBar {
        let bar = bars.insert(0, ProgressBar::new_spinner());
        let (known, width) = (Arc::clone(&self.known), self.width);
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| {
            // The template is a literal that a test renders; the default is as good.
            ProgressStyle::default_spinner()
        });
        bar.set_style(style.with_key("whole", move |_: &ProgressState, text: &mut dyn fmt::Write| {
            let line = lock(&known).line();
            // Two columns are the spinner's. A line that cannot be drawn is drawn again at once.
            let _ = text.write_str(&table::shortened(&line, width.map_or(usize::MAX, |width| width.saturating_sub(3))));
        }));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

impl Known {
    /// Whether that was the last of it.
    fn tell(&mut self, event: &Event) -> bool {
        match event {
            Event::TablesChosen { tables } => {
                *self = Self { began: Some(Instant::now()), total: *tables, ..Self::default() };
            }
            Event::TableStarted { table } => self.open.push(table.clone()),
            Event::Extracted { table, run_id, rows, bytes } => {
                self.runs.insert((table.clone(), Some(*run_id)), (*rows, *bytes));
            }
            Event::RunFinished(run) => {
                self.runs.insert((run.table.clone(), run.run_id), (run.rows_extracted, run.bytes));
            }
            Event::TableFinished { table } => {
                self.open.retain(|open| open != table);
                self.done += 1;
                return self.done == self.total;
            }
            _ => {}
        }
        false
    }

    fn line(&self) -> String {
        let took = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        self.told(took)
    }

    /// `12/488 tables, 1,200 rows, 3.4 MB, 600 rows/s, 35 s, about 2 min left: trips, orders`.
    fn told(&self, took: Duration) -> String {
        let (rows, bytes) = self.runs.values().fold((0, 0), |sum: (u64, u64), run| (sum.0 + run.0, sum.1 + run.1));
        let mut line = format!("{}/{} tables, ", human::count(self.done as u64), human::count(self.total as u64));
        if bytes > 0 {
            line.push_str(&format!("{}, ", super::amounts(rows, bytes, took)));
        }
        line.push_str(&format!("{} s", took.as_secs()));
        if self.done >= ENOUGH.0 && took >= ENOUGH.1 && self.done < self.total {
            let left = took.as_secs_f64() / self.done as f64 * (self.total - self.done) as f64;
            line.push_str(&format!(", about {} left", coarse(left)));
        }
        if !self.open.is_empty() {
            let names: Vec<_> = self.open.iter().map(|name| super::super::printable(name)).collect();
            line.push_str(&format!(": {}", names.join(", ")));
        }
        line
    }
}

/// A panic elsewhere leaves numbers as they are: still good to draw.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Known, ProgressStyle, TEMPLATE};
    use dwh_core::RunId;
    use dwh_core::pipeline::Event;
    use std::time::Duration;

    #[test]
    fn the_whole_has_a_total_a_count_a_rate_and_an_end() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        let mut known = Known::default();
        let started = |table: &str| Event::TableStarted { table: table.into() };
        let finished = |table: &str| Event::TableFinished { table: table.into() };
        let rows =
            |table: &str, rows| Event::Extracted { table: table.into(), run_id: RunId(1), rows, bytes: 10 * rows };
        known.tell(&Event::TablesChosen { tables: 5 });
        known.tell(&started("a"));
        assert_eq!(known.told(Duration::ZERO), "0/5 tables, 0 s: a");
        known.tell(&rows("a", 600));
        known.tell(&rows("a", 1200));
        known.tell(&started("b"));
        assert_eq!(known.told(Duration::from_secs(2)), "0/5 tables, 1,200 rows, 12.00 kB, 600 rows/s, 2 s: a, b");
        for table in ["b", "c", "d"] {
            assert!(!known.tell(&finished(table)));
        }
        let late = known.told(Duration::from_secs(60));
        assert_eq!(late, "3/5 tables, 1,200 rows, 12.00 kB, 20 rows/s, 60 s, about 40 s left: a");
        assert!(!known.tell(&finished("a")));
        assert!(known.tell(&finished("e")), "the last one ends it");
    }
}
