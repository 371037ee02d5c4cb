//! What every [`Source`] must do, as one suite that anybody's source can be put through.

use async_trait::async_trait;
use std::collections::BTreeMap;

use crate::config::{
    GeometryForm, Mode, OnConflict, OnMissingColumn, OnNewColumn, OnSchemaChange, TableConfig, Thresholds,
};
use crate::dialect::Tally;
use crate::error::ErrorKind;
use crate::plan::Plan;
use crate::schema::TableRef;
use crate::source::{BoundRequest, ReadRequest, Reading, Snapshot, Source, Sweep};
use crate::watermark::{BoundMode, Micros, SafeBound, Timestamp, Window};

/// A source with one empty table, [`events_table`], and the means to fill it.
#[async_trait]
pub trait SourceUnderTest: Send + Sync {
    /// The source.
    fn source(&self) -> &dyn Source;

    /// The table: `id bigint primary key, note text, recorded_at timestamptz not null default now()`, empty at first.
    fn table(&self) -> TableConfig;

    /// Inserts a row, stamped now, and commits.
    async fn insert(&self, id: i64, note: Option<&str>);

    /// Inserts a row, stamped now, and leaves its transaction open.
    async fn begin(&self, id: i64, note: Option<&str>) -> Box<dyn OpenRow>;

    /// The target's clock, which agrees with the source's; a later call says a later time.
    async fn now(&self) -> Timestamp;
}

/// A row whose transaction is open.
#[async_trait]
pub trait OpenRow: Send {
    /// Commits it.
    async fn commit(self: Box<Self>);
}

/// The configuration of an incremental table with the key `id` and the watermark `recorded_at`.
#[must_use]
pub fn events_table(relation: TableRef) -> TableConfig {
    TableConfig {
        name: relation.name.clone(),
        source: "app".to_owned(),
        target: TableRef::new("bronze", &relation.name),
        relation: Some(relation),
        query: None,
        files: None,
        mode: Mode::Incremental,
        watermark: Some("recorded_at".to_owned()),
        watermark_zone: None,
        key: vec!["id".to_owned()],
        on_conflict: OnConflict::Nothing,
        exclude: Vec::new(),
        on_missing_column: OnMissingColumn::Stop,
        on_new_column: OnNewColumn::Stop,
        on_schema_change: OnSchemaChange::Stop,
        chunk_rows: TableConfig::CHUNK_ROWS,
        replace: crate::config::Replace::Truncate,
        deletes: crate::config::Deletes::Keep,
        deletes_every: Micros::ZERO,
        deletes_max: 10.0,
        geometry: GeometryForm::Ewkt,
        window: Micros::ZERO,
        late_window: Micros::seconds(86_400),
        bound: BoundMode::Overlap,
        fixed_lag: None,
        allow_empty: false,
        select: BTreeMap::new(),
        columns: None,
        filter: None,
        uploaded_at: false,
        loaded_at: false,
        run_id: false,
        task_instance: None,
        manifest: None,
        thresholds: Thresholds::of_cadence(Micros::seconds(3 * 3600)),
    }
}

/// Runs the whole suite.
///
/// # Panics
/// With what is broken.
pub async fn source_contract(tested: &dyn SourceUnderTest) {
    describes_what_is_there(tested).await;
    let low = delivers_each_row_once(tested).await;
    let low = an_open_transaction_holds_the_bound(tested, low).await;
    late_rows_are_swept(tested, low).await;
    a_watermark_in_the_future_is_refused(tested).await;
    a_dropped_read_leaves_nothing(tested).await;
    a_whole_read_has_no_window(tested).await;
}

struct Extract {
    bound: SafeBound,
    snapshot: Snapshot,
    high: Option<Timestamp>,
    late_rows: u64,
    text: String,
}

impl Extract {
    /// The lines after the header, without the stamp at their end.
    fn rows(&self) -> Vec<&str> {
        let mut rows: Vec<&str> =
            self.text.lines().skip(1).map(|line| line.rsplit_once(',').map_or(line, |(row, _)| row)).collect();
        rows.sort_unstable();
        rows
    }
}

async fn plan(tested: &dyn SourceUnderTest) -> Plan {
    let table = tested.table();
    let schema = tested.source().describe(&table).await.expect("described");
    Plan::new(&table, schema).expect("a plan")
}

/// All that is read, and how many rows of it are late.
async fn drain(mut reading: Box<dyn Reading>) -> (String, u64) {
    let mut text = Vec::new();
    while let Some(piece) = reading.next().await.expect("a piece") {
        assert!(!piece.is_empty(), "an empty piece");
        text.extend_from_slice(&piece);
    }
    assert!(reading.next().await.expect("still the end").is_none(), "the end is the end");
    let late_rows = reading.late_rows().await.expect("counted");
    reading.finish().await.expect("finished");
    (String::from_utf8(text).expect("UTF-8"), late_rows)
}

async fn extract(tested: &dyn SourceUnderTest, low: Timestamp, sweep: Sweep, mode: BoundMode) -> Extract {
    let (plan, run_started_at) = (plan(tested).await, tested.now().await);
    let request = BoundRequest { plan: &plan, low, run_started_at, undrained: None };
    let bound = tested.source().bound(request).await.expect("a bound");
    assert!(bound.watermark >= low, "the watermark went back");
    let high = (mode == BoundMode::Hold).then_some(bound.watermark);
    let window = Window { low, high, watermark: bound.watermark };
    let request = ReadRequest { window: Some(window), sweep, ..ReadRequest::whole(&plan, run_started_at) };
    let reading = tested.source().read(request).await.expect("a reading");
    let (snapshot, high) = (reading.snapshot().clone(), reading.high());
    assert!(snapshot.xmin <= snapshot.xmax);
    assert!(high >= Some(bound.watermark), "U below B loses the rows between");
    let (text, late_rows) = drain(reading).await;
    assert!(text.starts_with("id,note,recorded_at\n"), "no header: {text}");
    Extract { bound, snapshot, high, late_rows, text }
}

async fn describes_what_is_there(tested: &dyn SourceUnderTest) {
    let plan = plan(tested).await;
    let told: Vec<(&str, &str, bool)> =
        plan.source.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str(), c.not_null)).collect();
    let expected = [("id", "bigint", true), ("note", "text", false), ("recorded_at", "timestamp with time zone", true)];
    assert_eq!(told, expected);
    assert_eq!(tested.source().earliest(&plan, Timestamp::NEG_INFINITY).await.expect("earliest"), None);
    let missing = events_table(TableRef::new("public", "no_such_table"));
    let error = tested.source().describe(&missing).await.expect_err("no such table");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no_such_table"), "{error}");
    let empty = extract(tested, Timestamp::NEG_INFINITY, Sweep::Off, BoundMode::Overlap).await;
    assert!(empty.rows().is_empty(), "{}", empty.text);
}

async fn delivers_each_row_once(tested: &dyn SourceUnderTest) -> Timestamp {
    tested.insert(1, None).await;
    tested.insert(2, Some("")).await;
    tested.insert(3, Some("two\nlines, \"quoted\"")).await;
    tested.now().await;
    let first = extract(tested, Timestamp::NEG_INFINITY, Sweep::Off, BoundMode::Overlap).await;
    for row in ["1,,", "2,\"\",", "3,\"two\nlines, \"\"quoted\"\"\","] {
        assert!(first.text.contains(&format!("\n{row}")), "{row} is not in {}", first.text);
    }
    assert!(first.bound.rule.is_proven());
    let plan = plan(tested).await;
    let earliest = tested.source().earliest(&plan, Timestamp::NEG_INFINITY).await.expect("earliest");
    assert!(earliest.is_some_and(|w| w <= first.bound.watermark), "a committed row lies at or below the bound");
    assert_eq!(tested.source().earliest(&plan, first.bound.watermark).await.expect("earliest"), None);
    let second = extract(tested, first.bound.watermark, Sweep::Off, BoundMode::Overlap).await;
    assert!(second.rows().is_empty(), "delivered again: {}", second.text);
    second.bound.watermark
}

async fn an_open_transaction_holds_the_bound(tested: &dyn SourceUnderTest, low: Timestamp) -> Timestamp {
    let open = tested.begin(10, Some("open")).await;
    tested.insert(11, Some("done")).await;
    tested.now().await;
    let held = extract(tested, low, Sweep::Off, BoundMode::Hold).await;
    assert!(held.rows().is_empty(), "hold reads nothing above its bound: {}", held.text);
    assert_eq!(held.high, Some(held.bound.watermark));
    let overlap = extract(tested, low, Sweep::Off, BoundMode::Overlap).await;
    assert_eq!(overlap.rows(), ["11,done"], "overlap reads what is committed");
    open.commit().await;
    let after = extract(tested, overlap.bound.watermark, Sweep::Off, BoundMode::Overlap).await;
    assert_eq!(after.rows(), ["10,open", "11,done"], "the late row is above the bound");
    after.bound.watermark
}

async fn late_rows_are_swept(tested: &dyn SourceUnderTest, low: Timestamp) {
    let open = tested.begin(20, Some("late")).await;
    let before = extract(tested, low, Sweep::Off, BoundMode::Overlap).await;
    // A watermark beyond the open transaction, as a clock that stepped back would leave it.
    let beyond = tested.now().await;
    tested.now().await;
    open.commit().await;
    let sweep = Sweep::Xmin { since: before.snapshot.xmin, back_to: Timestamp::NEG_INFINITY };
    let blind = extract(tested, beyond, Sweep::Off, BoundMode::Overlap).await;
    assert!(blind.rows().is_empty() && blind.late_rows == 0, "{}", blind.text);
    let swept = extract(tested, beyond, sweep, BoundMode::Overlap).await;
    // Transactions elsewhere in the server may hold its horizon: then older rows come again, never fewer.
    assert!(swept.rows().contains(&"20,late"), "{}", swept.text);
    // Counted as records: an older row may have a line break in it.
    let mut delivered = Tally::default();
    delivered.push(swept.text.as_bytes());
    assert_eq!(swept.late_rows, delivered.rows());
    let short = Sweep::Xmin { since: before.snapshot.xmin, back_to: beyond };
    assert_eq!(extract(tested, beyond, short, BoundMode::Overlap).await.late_rows, 0, "looks no further back");
    let all = Sweep::LookBack { back_to: low };
    assert_eq!(extract(tested, beyond, all, BoundMode::Overlap).await.rows(), ["20,late"]);
    let again = Sweep::Xmin { since: swept.snapshot.xmin, back_to: Timestamp::NEG_INFINITY };
    let again = extract(tested, beyond, again, BoundMode::Overlap).await;
    assert!(again.late_rows <= swept.late_rows, "{}", again.text);
}

async fn a_watermark_in_the_future_is_refused(tested: &dyn SourceUnderTest) {
    let (plan, now) = (plan(tested).await, tested.now().await);
    let low = now.plus(Micros::seconds(3600));
    let request = BoundRequest { plan: &plan, low, run_started_at: now, undrained: None };
    assert_eq!(tested.source().bound(request).await.expect_err("future").kind(), ErrorKind::Data);
}

async fn a_dropped_read_leaves_nothing(tested: &dyn SourceUnderTest) {
    let (plan, run_started_at) = (plan(tested).await, tested.now().await);
    let window = Some(Window { low: Timestamp::NEG_INFINITY, high: None, watermark: Timestamp::NEG_INFINITY });
    for pieces in 0..2 {
        let request = ReadRequest { window, ..ReadRequest::whole(&plan, run_started_at) };
        let mut reading = tested.source().read(request).await.expect("a reading");
        for _ in 0..pieces {
            reading.next().await.expect("a piece");
        }
        drop(reading);
    }
    // The dropped session may take a moment to end.
    for _ in 0..100 {
        let after = extract(tested, Timestamp::NEG_INFINITY, Sweep::Off, BoundMode::Overlap).await;
        if after.bound.rule.to_string().starts_with("quiet") {
            return;
        }
    }
    panic!("a dropped read left a transaction");
}

async fn a_whole_read_has_no_window(tested: &dyn SourceUnderTest) {
    let mut table = tested.table();
    table.mode = Mode::Snapshot;
    table.watermark = None;
    let schema = tested.source().describe(&table).await.expect("described");
    let plan = Plan::new(&table, schema).expect("a plan");
    let request = ReadRequest::whole(&plan, tested.now().await);
    let reading = tested.source().read(request).await.expect("a reading");
    assert_eq!(reading.high(), None);
    let (text, late_rows) = drain(reading).await;
    assert!(text.contains("late") && late_rows == 0, "{late_rows} of {text}");
}
