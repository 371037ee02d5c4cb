//! A sink of your own: any other sink, and a message to whom it may concern once rows are committed.
//!
//! A warehouse has much to keep: leases, watermarks, a run log, and rows that commit together with them. So a sink of one's
//! own is mostly one that is wrapped; `MemorySink` of this crate is the smallest that is whole. Nothing need be installed:
//! `cargo run -p dwh-examples --example custom_sink`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use dwh_core::blob::Body;
use dwh_core::chain::RunIdentity;
use dwh_core::config::{Discovered, Environment};
use dwh_core::identity::BronzeId;
use dwh_core::schema::{Column, RelationKind, RowKey, TableRef, TableSchema};
use dwh_core::sink::{
    Accounting, AlertClaim, AlertLook, BronzeState, Commit, Committed, Gone, History, Lease, LeftView, LogEntry, Moved,
    Overview, Rehearsal, RunFilter, RunRecord, StageRequest, Staged, TableState, Upload,
};
use dwh_core::{
    Config, LoadPlan, MemoryBlobs, MemorySink, MemorySource, Pipeline, Result, RunId, RunRequest, Sink, Source,
    Timestamp,
};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_util::sync::CancellationToken;

/// What is told: these rows are in bronze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The table.
    pub table: String,
    /// The run that brought them.
    pub run_id: RunId,
    /// How many are new or changed.
    pub rows: u64,
}

/// Another sink, whose commits are told. A message is lost if the process dies between commit and message: what must miss
/// nothing reads the run log.
#[derive(Debug)]
pub struct Announced<S> {
    inner: S,
    told: UnboundedSender<Loaded>,
}

impl<S> Announced<S> {
    /// The same sink, telling whoever has the other end of the channel.
    pub fn new(inner: S, told: UnboundedSender<Loaded>) -> Self {
        Self { inner, told }
    }
}

fn tell(told: &UnboundedSender<Loaded>, table: &str, run_id: RunId, committed: &Committed) {
    let rows = committed.counts.inserted + committed.counts.updated;
    // Nobody listens any more: that is no reason to fail.
    let _ = told.send(Loaded { table: table.to_owned(), run_id, rows });
}

struct AnnouncedStaged {
    inner: Box<dyn Staged>,
    table: String,
    told: UnboundedSender<Loaded>,
}

/// A method that is not forwarded would fall back to what the trait does by itself: the lint finds it.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Staged for AnnouncedStaged {
    fn rows(&self) -> u64 {
        self.inner.rows()
    }

    async fn extra(&mut self) -> Result<Vec<RowKey>> {
        self.inner.extra().await
    }

    fn spare(&mut self, keys: &[RowKey]) {
        self.inner.spare(keys);
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        let run_id = commit.run_id;
        let committed = self.inner.commit(commit).await?;
        tell(&self.told, &self.table, run_id, &committed);
        Ok(committed)
    }

    async fn gone(&mut self, keys: usize) -> Result<Gone> {
        self.inner.gone(keys).await
    }

    async fn told_apart(&mut self) -> Result<()> {
        self.inner.told_apart().await
    }

    async fn stop(self: Box<Self>) {
        self.inner.stop().await;
    }

    async fn preview(self: Box<Self>) -> Result<Accounting> {
        self.inner.preview().await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Sink> Sink for Announced<S> {
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>> {
        self.inner.describe(target).await
    }

    async fn describe_all(&self, targets: &[&TableRef]) -> Result<Vec<Option<TableSchema>>> {
        self.inner.describe_all(targets).await
    }

    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>> {
        self.inner.lease(table, wait).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.inner.runs(filter).await
    }

    async fn recent(&self, tables: &[&str], since: Timestamp, limit: u32) -> Result<Vec<Vec<RunRecord>>> {
        self.inner.recent(tables, since, limit).await
    }

    async fn unsettled(&self, table: &str, after: Option<RunId>) -> Result<Vec<RunRecord>> {
        self.inner.unsettled(table, after).await
    }

    async fn log(&self, entry: LogEntry) -> Result<RunRecord> {
        self.inner.log(entry).await
    }

    async fn bronze_id(&self, target: &TableRef) -> Result<Option<BronzeState>> {
        self.inner.bronze_id(target).await
    }

    async fn bronze_ids(&self, targets: &[&TableRef]) -> Result<Vec<Option<BronzeState>>> {
        self.inner.bronze_ids(targets).await
    }

    async fn begin_anew(&self, table: &str, expected: &TableState) -> Result<TableState> {
        self.inner.begin_anew(table, expected).await
    }

    async fn stage(&self, request: StageRequest<'_>) -> Result<Box<dyn Staged>> {
        let table = request.load.table.clone();
        let inner = self.inner.stage(request).await?;
        Ok(Box::new(AnnouncedStaged { inner, table, told: self.told.clone() }))
    }

    async fn load_nothing(&self, load: &LoadPlan, upload: Upload, commit: Commit) -> Result<Committed> {
        self.inner.load_nothing(load, upload, commit).await
    }

    async fn overview(&self) -> Result<Overview> {
        self.inner.overview().await
    }

    async fn history(&self, tables: &[(&str, &TableRef)], days: &[Timestamp]) -> Result<History> {
        self.inner.history(tables, days).await
    }

    async fn discovered(&self, project: &str) -> Result<Vec<Discovered>> {
        self.inner.discovered(project).await
    }

    async fn remember(&self, project: &str, found: &[Discovered]) -> Result<()> {
        self.inner.remember(project, found).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn forget(&self, runs: &[RunId]) -> Result<u64> {
        self.inner.forget(runs).await
    }

    async fn number_above(&self, run: RunId, dry_run: bool) -> Result<bool> {
        self.inner.number_above(run, dry_run).await
    }

    async fn occupied(&self, tables: &[LoadPlan]) -> Result<Vec<String>> {
        self.inner.occupied(tables).await
    }

    async fn left_behind(&self, tables: &[LoadPlan]) -> Result<Vec<LeftView>> {
        self.inner.left_behind(tables).await
    }

    async fn move_away(&self, tables: &[LoadPlan]) -> Result<Moved> {
        self.inner.move_away(tables).await
    }

    async fn add_columns(&self, load: &LoadPlan) -> Result<()> {
        self.inner.add_columns(load).await
    }

    async fn fit_columns(&self, load: &LoadPlan) -> Result<()> {
        self.inner.fit_columns(load).await
    }

    async fn make_apart(&self, load: &LoadPlan, resync: &RunIdentity, kept: bool) -> Result<BronzeId> {
        self.inner.make_apart(load, resync, kept).await
    }

    async fn swap(&self, load: &LoadPlan, apart: &BronzeId, commit: Commit) -> Result<Committed> {
        let run_id = commit.run_id;
        let committed = self.inner.swap(load, apart, commit).await?;
        tell(&self.told, &load.table, run_id, &committed);
        Ok(committed)
    }

    /// Not even if the sink does: it would have to announce each run of such a commit.
    fn loads_together(&self) -> bool {
        false
    }

    async fn rehearse(&self, load: &LoadPlan, csv: &dyn Body) -> Result<Rehearsal> {
        self.inner.rehearse(load, csv).await
    }

    async fn make_tables(&self, tables: &[LoadPlan]) -> Result<()> {
        self.inner.make_tables(tables).await
    }

    async fn claim_alerts(&self, look: &AlertLook) -> Result<AlertClaim> {
        self.inner.claim_alerts(look).await
    }

    async fn settle_alerts(&self, claim: &AlertClaim, sent: bool) -> Result<()> {
        self.inner.settle_alerts(claim, sent).await
    }
}

const CONFIG: &str = r#"
    [project]
    name = "fleet"
    [source.app]
    url = "memory"
    [target]
    url = "memory"
    [blob]
    url = "file:///memory"
    [[table]]
    name = "devices"
    relation = "fleet.devices"
    mode = "snapshot"
"#;

/// One run, and what is heard of it.
#[tokio::main]
pub async fn main() -> Result<()> {
    let config = Config::parse(CONFIG, "dwh.toml".as_ref(), Environment::default())?;
    let devices = TableSchema {
        table: TableRef::new("fleet", "devices"),
        kind: RelationKind::Table,
        columns: vec![Column::new("id", "bigint".parse()?), Column::new("name", "text".parse()?)],
        keys: vec![],
        indexed: vec![],
        row_estimate: -1,
        types: vec![],
    };
    let noon: Timestamp = "2026-10-01T12:00:00Z".parse()?;
    let source = MemorySource::new(noon);
    source.create(devices.clone());
    source.insert(&devices.table, "1,one", noon);
    let warehouse = MemorySink::new();
    warehouse.add_table("devices", TableSchema { table: config.table("devices")?.target.clone(), ..devices });

    let (told, mut hears) = mpsc::unbounded_channel();
    let sink = Announced::new(warehouse, told);
    let sources = BTreeMap::from([("app".to_owned(), Arc::new(source) as Arc<dyn Source>)]);
    let pipeline = Pipeline::new(config, sources, Arc::new(MemoryBlobs::new()), Arc::new(sink));
    let report = pipeline.run(&RunRequest::default(), &CancellationToken::new()).await?;
    assert_eq!(report.exit_code(), 0, "{report:?}");
    let loaded = hears.recv().await;
    assert!(loaded.as_ref().is_some_and(|loaded| loaded.table == "devices" && loaded.rows == 1), "{loaded:?}");
    // A closed stdout is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{loaded:?}");
    Ok(())
}
