//! The three ends, wrapped so that the process dies at a call: the call is done or not, and nothing comes after it.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

use dwh_core::blob::{Ability, Blob, BlobKey, BlobMeta, BlobStore, Body};
use dwh_core::chain::RunIdentity;
use dwh_core::config::{Discovered, TableConfig};
use dwh_core::identity::BronzeId;
use dwh_core::schema::{RowKey, TableRef, TableSchema};
use dwh_core::sink::{
    AlertClaim, AlertLook, BronzeState, Commit, Committed, History, Lease, LeftView, LogEntry, Moved, Overview,
    Rehearsal, RunFilter, RunRecord, Sink, StageRequest, Staged, TableState, Upload,
};
use dwh_core::source::{BoundRequest, Estimate, FileTree, ReadRequest, Reading, Source, SourceIdentity};
use dwh_core::watermark::SafeBound;
use dwh_core::{LoadPlan, MemoryBlobs, MemorySink, MemorySource, Plan, Result, RunId, Timestamp};

use crate::steps::Death;

/// Counts the calls of a process, and ends it.
#[derive(Debug, Clone)]
pub struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Calls that are left; below zero: without end.
    left: AtomicI64,
    done: bool,
    dead: AtomicBool,
    died: Notify,
}

impl Life {
    pub fn new(death: Option<Death>) -> Self {
        Self(Arc::new(Inner {
            left: AtomicI64::new(death.map_or(-1, |death| i64::from(death.call))),
            done: death.is_some_and(|death| death.done),
            dead: AtomicBool::new(false),
            died: Notify::new(),
        }))
    }

    /// Returns when the process is dead.
    pub async fn over(&self) {
        let notified = self.0.died.notified();
        if !self.0.dead.load(Ordering::SeqCst) {
            notified.await;
        }
    }

    async fn call<T>(&self, work: impl Future<Output = T>) -> T {
        if self.0.dead.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        if self.0.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            if self.0.done {
                drop(work.await);
            }
            self.0.dead.store(true, Ordering::SeqCst);
            self.0.died.notify_one();
            return std::future::pending().await;
        }
        work.await
    }
}

#[derive(Debug, Clone)]
pub struct Mortal<T> {
    pub inner: T,
    pub life: Life,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for Mortal<MemoryBlobs> {
    fn url(&self) -> &str {
        self.inner.url()
    }

    fn folder(&self) -> Option<&std::path::Path> {
        self.inner.folder()
    }

    async fn make_ready(&self) {
        self.inner.make_ready().await;
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        self.life.call(self.inner.put(key, body)).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        self.life.call(self.inner.get(key)).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        let listed = self.inner.list(prefix);
        stream::once(self.life.call(async { Ok(listed) })).try_flatten().boxed()
    }

    fn list_after(&self, prefix: &str, after: &str) -> BoxStream<'_, Result<BlobMeta>> {
        let listed = self.inner.list_after(prefix, after);
        stream::once(self.life.call(async { Ok(listed) })).try_flatten().boxed()
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        self.life.call(self.inner.copy(from, to)).await
    }

    async fn is_one_file(&self, one: &BlobKey, other: &BlobKey) -> Result<bool> {
        self.life.call(self.inner.is_one_file(one, other)).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.life.call(self.inner.delete(key)).await
    }

    async fn sweep_uploads(&self, prefix: &str, before: Timestamp, dry_run: bool) -> Result<Vec<String>> {
        self.inner.sweep_uploads(prefix, before, dry_run).await
    }

    async fn abilities(&self, prefix: &str) -> Result<Vec<Ability>> {
        self.inner.abilities(prefix).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Source for Mortal<MemorySource> {
    async fn identity(&self) -> Result<Option<SourceIdentity>> {
        self.life.call(self.inner.identity()).await
    }

    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        self.life.call(self.inner.describe(table)).await
    }

    async fn describe_all(&self, tables: &[&TableConfig]) -> Result<Vec<Option<TableSchema>>> {
        self.life.call(self.inner.describe_all(tables)).await
    }

    async fn look_ahead(&self, tables: &[&TableConfig]) -> Result<()> {
        self.life.call(self.inner.look_ahead(tables)).await
    }

    async fn earliest(&self, plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        self.life.call(self.inner.earliest(plan, low)).await
    }

    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        self.life.call(self.inner.bound(request)).await
    }

    async fn bound_since(&self, request: BoundRequest<'_>, since: Instant) -> Result<SafeBound> {
        self.life.call(self.inner.bound_since(request, since)).await
    }

    async fn has_keys(&self, plan: &Plan, keys: &[RowKey]) -> Result<Vec<bool>> {
        self.life.call(self.inner.has_keys(plan, keys)).await
    }

    async fn cuts(&self, plan: &Plan, rows: u64) -> Result<Vec<RowKey>> {
        self.life.call(self.inner.cuts(plan, rows)).await
    }

    async fn estimate(&self, plan: &Plan, low: Timestamp, high: Timestamp) -> Result<Option<Estimate>> {
        self.life.call(self.inner.estimate(plan, low, high)).await
    }

    fn tree(&self) -> Option<&dyn FileTree> {
        self.inner.tree()
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        self.life.call(self.inner.read(request)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Sink for Mortal<MemorySink> {
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>> {
        self.life.call(self.inner.describe(target)).await
    }

    async fn describe_all(&self, targets: &[&TableRef]) -> Result<Vec<Option<TableSchema>>> {
        self.life.call(self.inner.describe_all(targets)).await
    }

    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>> {
        self.life.call(self.inner.lease(table, wait)).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.life.call(self.inner.runs(filter)).await
    }

    async fn recent(&self, tables: &[&str], since: Timestamp, limit: u32) -> Result<Vec<Vec<RunRecord>>> {
        self.life.call(self.inner.recent(tables, since, limit)).await
    }

    async fn unsettled(&self, table: &str, after: Option<RunId>) -> Result<Vec<RunRecord>> {
        self.life.call(self.inner.unsettled(table, after)).await
    }

    async fn log(&self, entry: LogEntry) -> Result<RunRecord> {
        self.life.call(self.inner.log(entry)).await
    }

    async fn bronze_id(&self, target: &TableRef) -> Result<Option<BronzeState>> {
        self.life.call(self.inner.bronze_id(target)).await
    }

    async fn bronze_ids(&self, targets: &[&TableRef]) -> Result<Vec<Option<BronzeState>>> {
        self.life.call(self.inner.bronze_ids(targets)).await
    }

    async fn begin_anew(&self, table: &str, expected: &TableState) -> Result<TableState> {
        self.life.call(self.inner.begin_anew(table, expected)).await
    }

    async fn stage(&self, request: StageRequest<'_>) -> Result<Box<dyn Staged>> {
        let inner = self.life.call(self.inner.stage(request)).await?;
        Ok(Box::new(MortalStaged { inner, life: self.life.clone() }))
    }

    /// Step by step: a sink that does not do it in one transaction may die between them.
    async fn load_nothing(&self, load: &LoadPlan, upload: Upload, commit: Commit) -> Result<Committed> {
        let run_id = commit.run_id;
        self.log(LogEntry::Uploaded(Box::new(upload))).await?;
        self.log(LogEntry::Loading { run_id, upload: None }).await?;
        let header = Arc::new(Bytes::from(format!("{}\n", load.header())));
        self.stage(StageRequest::new(load, header).of(run_id, &commit.expected)).await?.commit(commit).await
    }

    async fn overview(&self) -> Result<Overview> {
        self.life.call(self.inner.overview()).await
    }

    async fn history(&self, tables: &[(&str, &TableRef)], days: &[Timestamp]) -> Result<History> {
        self.life.call(self.inner.history(tables, days)).await
    }

    async fn discovered(&self, project: &str) -> Result<Vec<Discovered>> {
        self.life.call(self.inner.discovered(project)).await
    }

    async fn remember(&self, project: &str, found: &[Discovered]) -> Result<()> {
        self.life.call(self.inner.remember(project, found)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.life.call(self.inner.now()).await
    }

    async fn forget(&self, runs: &[RunId]) -> Result<u64> {
        self.life.call(self.inner.forget(runs)).await
    }

    async fn number_above(&self, run: RunId, dry_run: bool) -> Result<bool> {
        self.life.call(self.inner.number_above(run, dry_run)).await
    }

    async fn occupied(&self, tables: &[LoadPlan]) -> Result<Vec<String>> {
        self.life.call(self.inner.occupied(tables)).await
    }

    async fn left_behind(&self, tables: &[LoadPlan]) -> Result<Vec<LeftView>> {
        self.life.call(self.inner.left_behind(tables)).await
    }

    async fn move_away(&self, tables: &[LoadPlan]) -> Result<Moved> {
        self.life.call(self.inner.move_away(tables)).await
    }

    async fn add_columns(&self, load: &LoadPlan) -> Result<()> {
        self.life.call(self.inner.add_columns(load)).await
    }

    async fn fit_columns(&self, load: &LoadPlan) -> Result<()> {
        self.life.call(self.inner.fit_columns(load)).await
    }

    async fn make_apart(&self, load: &LoadPlan, resync: &RunIdentity, kept: bool) -> Result<BronzeId> {
        self.life.call(self.inner.make_apart(load, resync, kept)).await
    }

    async fn swap(&self, load: &LoadPlan, apart: &BronzeId, commit: Commit) -> Result<Committed> {
        self.life.call(self.inner.swap(load, apart, commit)).await
    }

    async fn rehearse(&self, load: &LoadPlan, csv: &dyn Body) -> Result<Rehearsal> {
        self.life.call(self.inner.rehearse(load, csv)).await
    }

    async fn make_tables(&self, tables: &[LoadPlan]) -> Result<()> {
        self.life.call(self.inner.make_tables(tables)).await
    }

    fn loads_together(&self) -> bool {
        self.inner.loads_together()
    }

    async fn claim_alerts(&self, look: &AlertLook) -> Result<AlertClaim> {
        self.life.call(self.inner.claim_alerts(look)).await
    }

    async fn settle_alerts(&self, claim: &AlertClaim, sent: bool) -> Result<()> {
        self.life.call(self.inner.settle_alerts(claim, sent)).await
    }
}

struct MortalStaged {
    inner: Box<dyn Staged>,
    life: Life,
}

#[async_trait]
impl Staged for MortalStaged {
    fn rows(&self) -> u64 {
        self.inner.rows()
    }

    async fn extra(&mut self) -> Result<Vec<RowKey>> {
        self.life.call(self.inner.extra()).await
    }

    fn spare(&mut self, keys: &[RowKey]) {
        self.inner.spare(keys);
    }

    async fn told_apart(&mut self) -> Result<()> {
        self.life.call(self.inner.told_apart()).await
    }

    async fn stop(self: Box<Self>) {
        self.inner.stop().await;
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        self.life.call(self.inner.commit(commit)).await
    }
}
