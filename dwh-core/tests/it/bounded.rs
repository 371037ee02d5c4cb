//! What a run costs does not grow with the age of its table.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

use dwh_core::blob::{Blob, BlobKey, BlobMeta, BlobStore, Body};
use dwh_core::config::Environment;
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::{Config, MemoryBlobs, MemorySink, MemorySource, Pipeline, Result, RunRequest, Source, Timestamp};

const CONFIG: &str = "[project]\nname = \"fleet\"\n[source.app]\nurl = \"postgresql://app/app\"\n\
     [target]\nurl = \"postgresql://warehouse/warehouse\"\n[blob]\nurl = \"file:///blobs\"\n\
     [[table]]\nname = \"trips\"\nrelation = \"fleet.trips\"\nmode = \"incremental\"\nwatermark = \"recorded_at\"\n\
     key = [\"id\"]\n";

/// Runs whose files lie in `processed/`.
const OLD_RUNS: usize = 20_000;

/// A store that counts what it is asked of the archive.
#[derive(Debug, Clone, Default)]
struct Counted {
    inner: MemoryBlobs,
    calls: Arc<AtomicUsize>,
    names: Arc<AtomicUsize>,
}

impl Counted {
    /// Calls, and names that came out of listings, since the last time.
    fn take(&self) -> (usize, usize) {
        (self.calls.swap(0, Ordering::SeqCst), self.names.swap(0, Ordering::SeqCst))
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }

    fn counted<'a>(&self, names: BoxStream<'a, Result<BlobMeta>>) -> BoxStream<'a, Result<BlobMeta>> {
        let count = Arc::clone(&self.names);
        names
            .inspect_ok(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .boxed()
    }
}

#[async_trait]
impl BlobStore for Counted {
    fn url(&self) -> &str {
        self.inner.url()
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        self.called();
        self.inner.put(key, body).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        self.called();
        self.inner.get(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        self.called();
        self.counted(self.inner.list(prefix))
    }

    fn list_after(&self, prefix: &str, after: &str) -> BoxStream<'_, Result<BlobMeta>> {
        self.called();
        self.counted(self.inner.list_after(prefix, after))
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        self.called();
        self.inner.copy(from, to).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.called();
        self.inner.delete(key).await
    }
}

fn trips() -> TableSchema {
    let column = |name: &str, kind: &str| Column { not_null: true, ..Column::new(name, kind.parse().expect("type")) };
    TableSchema {
        table: TableRef::new("fleet", "trips"),
        kind: RelationKind::Table,
        columns: vec![column("id", "integer"), column("recorded_at", "timestamp with time zone")],
        keys: vec![UniqueKey { name: "trips_pkey".into(), columns: vec!["id".into()], primary: true, unusable: None }],
        indexed: vec!["recorded_at".into()],
        row_estimate: -1,
        types: Vec::new(),
    }
}

/// A table that was loaded once, and that may have a long past.
struct World {
    source: MemorySource,
    blobs: Counted,
    pipeline: Pipeline,
}

impl World {
    async fn new() -> Self {
        let source = MemorySource::new("2026-10-01T12:00:00Z".parse().expect("time"));
        source.create(trips());
        let config = Config::parse(CONFIG, "dwh.toml".as_ref(), Environment::default()).expect("configuration");
        let sink = MemorySink::new();
        let target = config.table("trips").expect("table").target.clone();
        sink.add_table("trips", TableSchema { table: target, ..trips() });
        let blobs = Counted::default();
        let sources = BTreeMap::from([("app".to_owned(), Arc::new(source.clone()) as Arc<dyn Source>)]);
        let pipeline = Pipeline::new(config, sources, Arc::new(blobs.clone()), Arc::new(sink));
        let world = Self { source, blobs, pipeline };
        world.run(1).await;
        world
    }

    /// A run that brings one new row, or none.
    async fn run(&self, id: i32) -> (usize, usize) {
        if id > 0 {
            let at: Timestamp = "2026-10-01T11:00:00Z".parse().expect("time");
            let at = at.plus(dwh_core::watermark::Micros::seconds(i64::from(id)));
            self.source.insert(&trips().table, &format!("{id},{at}"), at);
        }
        self.blobs.take();
        let report = self.pipeline.run(&RunRequest::default(), &CancellationToken::new()).await.expect("run");
        assert!(report.runs.iter().all(|run| run.error.is_none()), "{report:#?}");
        assert_eq!(report.runs.iter().map(|run| run.rows_extracted).sum::<u64>(), u64::from(id > 0), "{report:#?}");
        self.blobs.take()
    }

    async fn grow_old(&self) {
        for run in 0..OLD_RUNS {
            let stem = format!("fleet/processed/trips/20250101_0000_UTC_{}", run + 1_000);
            for end in [".csv", ".manifest.json"] {
                let key = BlobKey::parse(&format!("{stem}{end}")).expect("key");
                self.blobs.inner.put(&key, &bytes::Bytes::from_static(b"old")).await.expect("put");
            }
        }
    }
}

#[tokio::test]
async fn a_run_costs_the_same_with_twenty_thousand_files_in_the_archive() {
    let world = World::new().await;
    let young = (world.run(0).await, world.run(2).await);
    world.grow_old().await;
    let old = (world.run(0).await, world.run(3).await);
    let calls = |run: ((usize, usize), (usize, usize))| (run.0.0, run.1.0);
    assert_eq!(calls(old), calls(young), "without a row, and with one");
    // Files that are newer than the newest run of the log, by the minute: those of this test.
    assert!(old.0.1 <= 8 && old.1.1 <= 8, "names that were listed: {old:?}");
    assert!(young.0.0 <= 3, "a run that finds nothing: {young:?}");
}
