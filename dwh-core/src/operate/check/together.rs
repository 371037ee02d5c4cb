//! The servers of all tables, and what each can tell of all of them at once.

use std::collections::{BTreeMap, HashMap};

use super::lease::Leases;
use super::server::Server;
use crate::config::TableConfig;
use crate::error::Result;
use crate::operate::CheckReport;
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
    pub(super) async fn again(&self) -> Result<Self> {
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
    pub(super) target_failed: bool,
}

impl Together {
    pub(super) async fn ask(pipeline: &Pipeline, tables: &[&TableConfig], ends: &Ends, report: &CheckReport) -> Self {
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
        let leases = Leases::of(pipeline, ends.target.as_ref(), tables).await;
        let failed = |subject: &str| report.has_failed(subject);
        Self { states, bronze, writers, leases, target_failed: failed("target") }
    }
}
