//! The tables, several at a time. What an end can tell of all of them is asked once.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::about::About;
use super::lease::Leases;
use super::server::Server;
use super::space::Size;
use super::table;
use super::words::Word;
use crate::config::TableConfig;
use crate::error::Result;
use crate::operate::{CheckReport, Severity};
use crate::pipeline::Pipeline;
use crate::pipeline::belongs::looks_at_bronze;
use crate::schema::TableRef;
use crate::sink::{BronzeState, TableState};
use crate::source::survey::Writers;

/// The servers that answered.
pub(super) struct Ends {
    pub(super) sources: BTreeMap<String, Server>,
    pub(super) target: Option<Server>,
}

impl Ends {
    /// The same on connections of their own.
    async fn again(&self) -> Result<Self> {
        let mut sources = BTreeMap::new();
        for (name, server) in &self.sources {
            sources.insert(name.clone(), server.again().await?);
        }
        let target = match &self.target {
            Some(target) => Some(target.again().await?),
            None => None,
        };
        Ok(Self { sources, target })
    }
}

/// What is known of all tables.
pub(super) struct Together {
    pub(super) states: BTreeMap<String, TableState>,
    pub(super) bronze: HashMap<TableRef, BronzeState>,
    /// By source.
    pub(super) writers: BTreeMap<String, HashMap<TableRef, Writers>>,
    /// What the control schema and `exports/` say; an error is told of each table.
    pub(super) leases: Option<Result<Leases>>,
    target_failed: bool,
}

impl Together {
    async fn ask(pipeline: &Pipeline, tables: &[&TableConfig], ends: &Ends, report: &CheckReport) -> Self {
        // Without a control schema nothing was loaded, and that is told already.
        let states = pipeline.known_states().await;
        let loaded =
            |table: &&&TableConfig| states.get(&table.name).is_some_and(|s| looks_at_bronze(table, s).is_some());
        let targets: Vec<&TableRef> = tables.iter().filter(loaded).map(|table| &table.target).collect();
        // What cannot be told together is asked of each table by itself, and told there.
        let found = pipeline.sink.bronze_ids(&targets).await.unwrap_or_default();
        let bronze = targets.into_iter().zip(found).filter_map(|(target, found)| Some((target.clone(), found?)));
        let bronze = bronze.collect();
        let mut writers = BTreeMap::new();
        for (name, server) in &ends.sources {
            let of_source = tables.iter().filter(|table| table.source == *name);
            let relations: Vec<&TableRef> = of_source.filter_map(|table| table.relation.as_ref()).collect();
            writers.insert(name.clone(), server.survey.writers(&relations).await.unwrap_or_default());
        }
        let leases = match &ends.target {
            Some(target) if !target.closed.contains(&pipeline.config().target.control_schema) => {
                Leases::ask(pipeline, target, tables).await.transpose()
            }
            _ => None,
        };
        let failed = |subject: &str| report.has_failed(subject);
        Self { states, bronze, writers, leases, target_failed: failed("target") }
    }
}

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
        let size = match table::check(pipeline, table, together, source, ends.target.as_ref(), &mut about).await {
            Ok(size) => size,
            Err(error) => {
                about.error(Word::Catalog, &error);
                None
            }
        };
        looked.push(Looked { place, report, size });
    }
}

impl CheckReport {
    /// Whether a failure of this subject was told.
    pub(super) fn has_failed(&self, subject: &str) -> bool {
        self.findings.iter().any(|found| found.severity == Severity::Failure && found.subject == subject)
    }
}
