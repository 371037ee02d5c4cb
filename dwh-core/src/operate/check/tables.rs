//! The tables, several at a time. What an end can tell of all of them is asked once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::about::About;
use super::space::Size;
use super::table;
use super::together::{Ends, Together};
use super::words::Word;
use crate::config::TableConfig;
use crate::operate::{CheckReport, Severity};
use crate::pipeline::{Event, Pipeline};

/// Looks at each of the tables whose source answered; returns how large their CSV files may be.
pub(super) async fn check(
    pipeline: &Pipeline,
    tables: &[&TableConfig],
    ends: Ends,
    report: &mut CheckReport,
) -> Vec<Size> {
    let tables: Vec<&TableConfig> =
        tables.iter().filter(|table| ends.sources.contains_key(&table.source)).copied().collect();
    let together = Together::ask(pipeline, &tables, &ends, report).await;
    let configs: Vec<TableConfig> = tables.iter().map(|table| (*table).clone()).collect();
    let pipeline = pipeline.clone().in_round(&configs);
    let mut more = Vec::new();
    for _ in 1..pipeline.config().target.connections.min(tables.len()) {
        // Fewer connections are as good.
        let Ok(another) = ends.again().await else { break };
        more.push(another);
    }
    let next = AtomicUsize::new(0);
    (pipeline.observer)(&Event::TablesChosen { tables: tables.len() });
    let workers = std::iter::once(&ends).chain(&more).map(|ends| work(&pipeline, &tables, &next, ends, &together));
    let mut looked: Vec<Looked> = futures_util::future::join_all(workers).await.into_iter().flatten().collect();
    looked.sort_by_key(|looked| looked.place);
    let mut sizes = Vec::new();
    for Looked { report: of_table, size, .. } in looked {
        report.findings.extend(of_table.findings);
        sizes.extend(size);
    }
    sizes
}

/// What was found of a table.
struct Looked {
    place: usize,
    report: CheckReport,
    size: Option<Size>,
}

/// Takes table after table until none is left.
async fn work(
    pipeline: &Pipeline,
    tables: &[&TableConfig],
    next: &AtomicUsize,
    ends: &Ends,
    together: &Together,
) -> Vec<Looked> {
    let mut looked = Vec::new();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let Some(table) = tables.get(place) else { return looked };
        let Some(source) = ends.sources.get(&table.source) else { continue };
        let mut report = CheckReport::default();
        let mut about = About::table(&table.name, &mut report).beside(together.target_failed);
        (pipeline.observer)(&Event::TableStarted { table: table.name.clone() });
        let size = match table::check(pipeline, table, together, source, ends.target.as_ref(), &mut about).await {
            Ok(size) => size,
            Err(error) => {
                about.error(Word::Catalog, &error);
                None
            }
        };
        (pipeline.observer)(&Event::TableFinished { table: table.name.clone() });
        looked.push(Looked { place, report, size });
    }
}

impl CheckReport {
    /// Whether a failure of this subject was told.
    pub(super) fn has_failed(&self, subject: &str) -> bool {
        self.findings.iter().any(|found| found.severity == Severity::Failure && found.subject == subject)
    }
}
