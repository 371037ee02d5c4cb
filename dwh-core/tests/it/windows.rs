//! The windows of a run, several in flight: what is read while another one is loaded, and what is left when one fails.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use dwh_core::config::{Environment, TableConfig};
use dwh_core::pipeline::{RecoverRequest, RunReport, TableRun};
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::sink::{Commit, Committed, Lease, LogEntry, RunFilter, RunRecord, StageRequest, Staged};
use dwh_core::source::{BoundRequest, ReadRequest, Reading, Snapshot};
use dwh_core::watermark::SafeBound;
use dwh_core::{
    BlobStore, Config, Error, ErrorKind, MemoryBlobs, MemorySink, MemorySource, Pipeline, Plan, Result, RunRequest,
    RunState, Sink, Source, Timestamp,
};

const CONFIG: &str = "[project]\nname = \"fleet\"\n[source.app]\nurl = \"postgresql://app/app\"\n\
     [target]\nurl = \"postgresql://warehouse/warehouse\"\n[blob]\nurl = \"file:///blobs\"\n\
     [[table]]\nname = \"trips\"\nrelation = \"fleet.trips\"\nmode = \"incremental\"\nwatermark = \"recorded_at\"\n\
     key = [\"id\"]\nwindow = \"30m\"\n";

/// Rows, each in a window of its own; one more window goes up to the bound.
const ROWS: usize = 5;

/// A condition that never comes true would keep a test for ever.
const TOO_LONG: Duration = Duration::from_secs(20);

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    opened: usize,
    /// Windows of which it was known that they have rows.
    known: usize,
    /// Runs whose load has begun, as the log says.
    loading: usize,
    /// Loads that were asked to take rows.
    taking: usize,
    staged: usize,
    committed: usize,
    /// The most windows that were opened and not committed.
    in_flight: usize,
}

/// What the ends wait for, and where they fail.
#[derive(Debug, Clone, Default)]
struct Script {
    /// Rows come to the target once the log says that their load has begun.
    stages_wait: bool,
    /// Commits wait until the window after theirs is opened.
    commits_wait: bool,
    /// Rows come once so many windows are open at a time.
    rows_wait_for: usize,
    /// Rows that are known to be there come once a load takes them.
    known_rows_wait: bool,
    /// The window of this number cannot be read.
    unread: usize,
    /// Late rows are counted once the rows of their window are staged.
    counts_wait: bool,
    /// The late rows of the window of this number cannot be counted.
    uncounted: usize,
    /// The window of this number cannot be loaded.
    unloaded: usize,
    /// In the commit of this window somebody presses Ctrl-C.
    interrupted: usize,
    cancel: CancellationToken,
}

#[derive(Debug, Clone)]
struct Watched<T> {
    inner: T,
    script: Script,
    seen: Arc<watch::Sender<Seen>>,
}

impl<T> Watched<T> {
    async fn until(&self, what: &str, come: impl Fn(&Seen) -> bool) {
        let mut news = self.seen.subscribe();
        let seen = tokio::time::timeout(TOO_LONG, news.wait_for(|seen| come(seen))).await;
        seen.unwrap_or_else(|_| panic!("{what}: {:?}", *self.seen.borrow())).expect("the sender is here");
    }
}

#[async_trait]
impl Source for Watched<MemorySource> {
    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        self.inner.describe(table).await
    }

    async fn earliest(&self, plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        self.inner.earliest(plan, low).await
    }

    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        self.inner.bound(request).await
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let inner = self.inner.read(request).await?;
        self.seen.send_modify(|seen| {
            seen.opened += 1;
            seen.known += usize::from(inner.has_rows());
            seen.in_flight = seen.in_flight.max(seen.opened - seen.committed);
        });
        let number = self.seen.borrow().opened;
        Ok(Box::new(WatchedReading { inner, number, lines: 0, source: self.clone() }))
    }
}

struct WatchedReading {
    inner: Box<dyn Reading>,
    number: usize,
    lines: usize,
    source: Watched<MemorySource>,
}

#[async_trait]
impl Reading for WatchedReading {
    fn snapshot(&self) -> &Snapshot {
        self.inner.snapshot()
    }

    fn high(&self) -> Option<Timestamp> {
        self.inner.high()
    }

    fn has_rows(&self) -> bool {
        self.inner.has_rows()
    }

    async fn late_rows(&mut self) -> Result<u64> {
        assert!(self.lines > 1, "late rows are counted where there is no row at all");
        if self.source.script.counts_wait {
            self.source.until("rows wait for the count of the late ones", |seen| seen.staged >= self.number).await;
        }
        if self.source.script.uncounted == self.number {
            return Err(Error::new(ErrorKind::Unreachable, "the source is away"));
        }
        self.inner.late_rows().await
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let together = self.source.script.rows_wait_for.min(ROWS + 1);
        self.source.until("so many windows were never open at a time", |seen| seen.opened >= together).await;
        if self.source.script.unread == self.number {
            return Err(Error::new(ErrorKind::Unreachable, "the source is away"));
        }
        if self.source.script.known_rows_wait && self.has_rows() {
            self.source.until("a load waits for rows that are known", |seen| seen.taking >= self.number).await;
        }
        let piece = self.inner.next().await?;
        self.lines += piece.iter().flatten().filter(|byte| **byte == b'\n').count();
        Ok(piece)
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish().await
    }
}

#[async_trait]
impl Sink for Watched<MemorySink> {
    async fn describe(&self, target: &TableRef) -> Result<Option<TableSchema>> {
        self.inner.describe(target).await
    }

    async fn lease(&self, table: &str, wait: bool) -> Result<Box<dyn Lease>> {
        self.inner.lease(table, wait).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRecord>> {
        self.inner.runs(filter).await
    }

    async fn log(&self, entry: LogEntry) -> Result<RunRecord> {
        let loads = matches!(entry, LogEntry::Loading { .. });
        let record = self.inner.log(entry).await?;
        self.seen.send_modify(|seen| seen.loading += usize::from(loads));
        Ok(record)
    }

    async fn stage(&self, request: StageRequest<'_>) -> Result<Box<dyn Staged>> {
        self.seen.send_modify(|seen| seen.taking += 1);
        let inner = self.inner.stage(request).await?;
        if self.script.stages_wait {
            let number = self.seen.borrow().staged + 1;
            self.until("the log waits for the rows", |seen| seen.loading >= number).await;
        }
        self.seen.send_modify(|seen| seen.staged += 1);
        Ok(Box::new(WatchedStaged { inner, sink: self.clone() }))
    }
}

struct WatchedStaged {
    inner: Box<dyn Staged>,
    sink: Watched<MemorySink>,
}

#[async_trait]
impl Staged for WatchedStaged {
    fn rows(&self) -> u64 {
        self.inner.rows()
    }

    async fn commit(self: Box<Self>, commit: Commit) -> Result<Committed> {
        let number = self.sink.seen.borrow().committed + 1;
        if self.sink.script.unloaded == number {
            return Err(Error::new(ErrorKind::Data, "bronze does not take it"));
        }
        if self.sink.script.commits_wait && number <= ROWS {
            self.sink.until("the next window was never read", |seen| seen.opened > number).await;
        }
        if self.sink.script.interrupted == number {
            self.sink.script.cancel.cancel();
        }
        let committed = self.inner.commit(commit).await?;
        self.sink.seen.send_modify(|seen| seen.committed += 1);
        Ok(committed)
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

struct World {
    config: Config,
    source: MemorySource,
    blobs: MemoryBlobs,
    sink: MemorySink,
}

impl World {
    fn new() -> Self {
        let source = MemorySource::new("2026-10-01T12:00:00Z".parse().expect("time"));
        source.create(trips());
        for row in 1..=ROWS {
            let at: Timestamp = format!("2026-10-01T0{row}:00:00Z").parse().expect("time");
            source.insert(&trips().table, &format!("{row},2026-10-01 0{row}:00:00+00"), at);
        }
        let config = Config::parse(CONFIG, "dwh.toml".as_ref(), Environment::default()).expect("configuration");
        let sink = MemorySink::new();
        let target = config.table("trips").expect("table").target.clone();
        sink.add_table("trips", TableSchema { table: target, ..trips() });
        Self { config, source, blobs: MemoryBlobs::new(), sink }
    }

    async fn run(&self, script: Script, jobs: Option<usize>) -> (RunReport, Seen) {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let cancel = script.cancel.clone();
        let source = Watched { inner: self.source.clone(), script: script.clone(), seen: Arc::clone(&seen) };
        let sink = Watched { inner: self.sink.clone(), script, seen: Arc::clone(&seen) };
        let sources = BTreeMap::from([("app".to_owned(), Arc::new(source) as Arc<dyn Source>)]);
        let pipeline = Pipeline::new(self.config.clone(), sources, Arc::new(self.blobs.clone()), Arc::new(sink));
        let request = RunRequest { jobs, ..RunRequest::default() };
        let report = pipeline.run(&request, &cancel).await.expect("run");
        let seen = *seen.borrow();
        (report, seen)
    }

    /// A run without obstacles makes everything whole, and nothing is left to be said.
    async fn assert_whole_after_a_run(&self) -> RunReport {
        let (report, _) = self.run(Script::default(), None).await;
        assert_eq!(report.exit_code(), 0, "{report:#?}");
        let sources = BTreeMap::from([("app".to_owned(), Arc::new(self.source.clone()) as Arc<dyn Source>)]);
        let sink = Arc::new(self.sink.clone());
        let pipeline = Pipeline::new(self.config.clone(), sources, Arc::new(self.blobs.clone()), sink);
        let found = pipeline.recover(&RecoverRequest::default(), &CancellationToken::new()).await.expect("recover");
        assert_eq!((&found.found[..], &found.errors[..]), (&[][..], &[][..]));
        assert_eq!(self.sink.rows(&self.config.table("trips").expect("table").target).len(), ROWS);
        assert_eq!(self.exports().await, [""; 0]);
        let log = self.sink.runs(&RunFilter::default()).await.expect("log");
        let inserted: i64 = log.iter().filter_map(|run| run.rows_inserted).sum();
        assert_eq!(inserted, ROWS as i64, "each row is loaded once: {log:#?}");
        report
    }

    async fn exports(&self) -> Vec<String> {
        self.blobs.list("fleet/exports/").map_ok(|meta| meta.key.to_string()).try_collect().await.expect("list")
    }
}

fn states(report: &RunReport) -> Vec<RunState> {
    report.runs.iter().map(|run| run.status).collect()
}

fn message(run: &TableRun) -> &str {
    run.error.as_ref().map_or("", |error| &error.message)
}

#[tokio::test]
async fn while_a_window_is_committed_the_next_one_is_read() {
    let world = World::new();
    let (report, seen) = world.run(Script { commits_wait: true, ..Script::default() }, None).await;
    assert_eq!(states(&report), vec![RunState::Loaded; ROWS + 1], "{report:#?}");
    assert_eq!(seen.in_flight, 2, "one is loaded, and one is read");
    let ids: Vec<_> = report.runs.iter().map(|run| run.run_id).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    for pair in report.runs.windows(2) {
        let from = pair[1].window.expect("window").from;
        assert_eq!(pair[0].watermark, from, "one window ends where the next begins");
    }
    world.assert_whole_after_a_run().await;
}

#[tokio::test]
async fn a_load_begins_before_the_first_row_where_one_is_known_to_come() {
    let world = World::new();
    let (report, seen) = world.run(Script { known_rows_wait: true, ..Script::default() }, None).await;
    assert_eq!(states(&report), vec![RunState::Loaded; ROWS + 1], "{report:#?}");
    assert_eq!(seen.known, ROWS - 1, "all but the first window, which has no lower end");
    world.assert_whole_after_a_run().await;

    // Where it does not come after all, the run fails as any other, and the next one loads it.
    let world = World::new();
    let (report, seen) = world.run(Script { unread: 3, ..Script::default() }, None).await;
    assert_eq!(states(&report)[..3], [RunState::Loaded, RunState::Loaded, RunState::Failed], "{report:#?}");
    assert_eq!(message(&report.runs[2]), "table `trips`: the source is away");
    assert_eq!((seen.taking, seen.staged), (3, 2), "the load had begun");
    world.assert_whole_after_a_run().await;
}

#[tokio::test]
async fn a_window_that_cannot_be_loaded_waits_alone() {
    let world = World::new();
    let script = Script { commits_wait: true, unloaded: 2, ..Script::default() };
    let (report, _) = world.run(script, None).await;
    assert_eq!(states(&report)[..2], [RunState::Loaded, RunState::Failed], "{report:#?}");
    assert!(message(&report.runs[1]).contains("bronze does not take it"), "{report:#?}");
    for run in &report.runs[2..] {
        assert_eq!((run.status, run.csv_path.as_ref()), (RunState::Failed, None), "{report:#?}");
        assert!(message(run).contains("run 2 before it failed"), "{report:#?}");
    }
    assert_eq!(report.exit_code(), 4, "the one code of what went wrong");
    assert_eq!(world.exports().await.len(), 2, "the CSV of run 2 and its manifest");
    let next = world.assert_whole_after_a_run().await;
    assert_eq!(next.runs[0].run_id, report.runs[1].run_id, "the one that waits is loaded first");
}

#[tokio::test]
async fn ctrl_c_ends_the_windows_in_flight_in_order() {
    for jobs in [None, Some(4)] {
        let world = World::new();
        let script = Script { commits_wait: true, interrupted: 2, ..Script::default() };
        let (report, _) = world.run(script, jobs).await;
        assert_eq!(states(&report)[..2], [RunState::Loaded; 2], "a commit comes to its end: {report:#?}");
        let told = |run: &TableRun| run.error.as_ref().map(|error| error.code.clone());
        assert!(report.runs.len() > 2, "{report:#?}");
        assert!(report.runs[2..].iter().all(|run| told(run).as_deref() == Some("interrupted")), "{report:#?}");
        let log = world.sink.runs(&RunFilter::default()).await.expect("log");
        assert!(log.iter().all(|run| run.status.is_final()), "{log:#?}");
        world.assert_whole_after_a_run().await;
    }
}

#[tokio::test]
async fn jobs_read_windows_side_by_side_and_load_them_in_order() {
    let world = World::new();
    let (report, seen) = world.run(Script { rows_wait_for: 3, ..Script::default() }, Some(3)).await;
    assert_eq!(states(&report), vec![RunState::Loaded; ROWS + 1], "{report:#?}");
    assert!((3..=4).contains(&seen.in_flight), "three are read, and one is loaded: {seen:?}");
    world.assert_whole_after_a_run().await;
}

#[tokio::test]
async fn rows_do_not_wait_for_the_count_of_the_late_ones() {
    let world = World::new();
    let (report, _) = world.run(Script { counts_wait: true, ..Script::default() }, None).await;
    assert_eq!(states(&report), vec![RunState::Loaded; ROWS + 1], "{report:#?}");
    world.assert_whole_after_a_run().await;
}

#[tokio::test]
async fn the_log_does_not_wait_for_the_rows() {
    let world = World::new();
    let (report, _) = world.run(Script { stages_wait: true, ..Script::default() }, None).await;
    assert_eq!(states(&report), vec![RunState::Loaded; ROWS + 1], "{report:#?}");
    world.assert_whole_after_a_run().await;
}

#[tokio::test]
async fn of_a_window_whose_late_rows_cannot_be_counted_nothing_is_left() {
    let world = World::new();
    let (report, _) = world.run(Script { counts_wait: true, uncounted: 2, ..Script::default() }, None).await;
    assert_eq!(states(&report)[..2], [RunState::Loaded, RunState::Failed], "{report:#?}");
    assert!(message(&report.runs[1]).contains("the source is away"), "{report:#?}");
    assert_eq!(world.exports().await, [""; 0]);
    world.assert_whole_after_a_run().await;
}

#[tokio::test]
async fn what_was_read_beyond_a_window_that_fails_goes_without_a_trace() {
    for jobs in [None, Some(1), Some(3), Some(9)] {
        let world = World::new();
        let rows_wait_for = jobs.unwrap_or(1);
        let (report, _) = world.run(Script { rows_wait_for, unread: 3, ..Script::default() }, jobs).await;
        assert_eq!(states(&report)[..3], [RunState::Loaded, RunState::Loaded, RunState::Failed], "{report:#?}");
        assert!(report.runs[3..].iter().all(|run| message(run).contains("run 3 before it failed")), "{report:#?}");
        assert_eq!(report.exit_code(), 3, "the one code of what went wrong");
        assert_eq!(world.exports().await, [""; 0]);
        world.assert_whole_after_a_run().await;
    }
}
