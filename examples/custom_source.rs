//! A source of your own: anything that can say what its table looks like, how far it is safe to read, and its rows.
//!
//! This one makes up the readings of a thermometer, one a minute, and keeps files and rows in memory; nothing need be
//! installed: `cargo run -p dwh-examples --example custom_source`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dwh_core::config::{Environment, TableConfig};
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::source::{BoundRequest, ReadRequest, Reading, Snapshot, SourceIdentity};
use dwh_core::watermark::{BoundRule, Micros};
use dwh_core::{Config, MemoryBlobs, MemorySink, Pipeline, Plan, Result, RunRequest, SafeBound, Source, Timestamp};
use tokio_util::sync::CancellationToken;

const MINUTE: Micros = Micros::seconds(60);

/// One reading a minute since `installed`, each final as soon as its minute is over.
#[derive(Debug, Clone)]
struct Thermometer {
    installed: Timestamp,
    now: Timestamp,
}

impl Thermometer {
    /// The minutes of the readings above `low`, up to `high`.
    fn readings(&self, low: Timestamp, high: Timestamp) -> impl Iterator<Item = Timestamp> {
        let (first, end) = (self.installed, self.now.min(high));
        let minutes = (0..).map(move |minute| first.plus(Micros(MINUTE.0 * minute)));
        minutes.take_while(move |at| *at <= end).filter(move |at| *at > low)
    }
}

#[async_trait]
impl Source for Thermometer {
    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        let column = |name: &str, type_name: &str| {
            Ok::<_, dwh_core::Error>(Column { not_null: true, ..Column::new(name, type_name.parse()?) })
        };
        Ok(TableSchema {
            table: table.relation.clone().unwrap_or_else(|| TableRef::new("thermometer", "readings")),
            // A query has no row versions, so no late-row sweep is asked for.
            kind: RelationKind::Query,
            columns: vec![column("recorded_at", "timestamp with time zone")?, column("celsius", "numeric")?],
            keys: vec![],
            indexed: vec![],
            row_estimate: -1,
            types: Vec::new(),
        })
    }

    async fn earliest(&self, _plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        Ok(self.readings(low, Timestamp::INFINITY).next())
    }

    /// The promise: no reading at or below the bound will ever appear later. Readings are final once their minute is over.
    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        let over = self.now.minus(MINUTE).min(request.run_started_at).max(request.low);
        Ok(SafeBound::new(over, BoundRule::Quiet, self.now))
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let (low, high) = match request.window {
            Some(window) => (window.low, window.high.unwrap_or(window.watermark)),
            None => (Timestamp::NEG_INFINITY, self.now),
        };
        let mut csv = String::from("recorded_at,celsius\n");
        for at in self.readings(low, high) {
            let celsius = 20.0 + (at.micros() / MINUTE.0 % 100) as f64 / 10.0;
            csv.push_str(&format!("{at},{celsius:.1}\n"));
        }
        let identity = SourceIdentity {
            system_identifier: "thermometer".to_owned(),
            timeline: 1,
            database: "thermometer".to_owned(),
            server_version: "1".to_owned(),
            in_recovery: false,
        };
        let snapshot = Snapshot::new(self.now, 0, 0, identity);
        Ok(Box::new(Sheet { snapshot, high: request.window.map(|_| high), csv: Some(Bytes::from(csv)) }))
    }
}

/// Rows on their way, all in one piece.
struct Sheet {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    csv: Option<Bytes>,
}

#[async_trait]
impl Reading for Sheet {
    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn high(&self) -> Option<Timestamp> {
        self.high
    }

    fn late_rows(&self) -> u64 {
        0
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.csv.take())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

const CONFIG: &str = r#"
    [project]
    name = "weather"
    [source.thermometer]
    url = "thermometer://roof"
    [target]
    url = "memory"
    [blob]
    url = "file:///memory"
    [[table]]
    name = "readings"
    relation = "thermometer.readings"
    mode = "incremental"
    watermark = "recorded_at"
    key = ["recorded_at"]
"#;

#[tokio::main]
async fn main() -> Result<()> {
    let config = Config::parse(CONFIG, "dwh.toml".as_ref(), Environment::default())?;
    let mut thermometer =
        Thermometer { installed: "2025-10-01T00:00:00Z".parse()?, now: "2025-10-08T00:00:00Z".parse()? };

    let sink = MemorySink::new();
    let table = config.table("readings")?;
    let mut bronze = thermometer.describe(table).await?;
    bronze.table = table.target.clone();
    bronze.keys =
        vec![UniqueKey { name: "readings_pkey".to_owned(), columns: table.key.clone(), primary: true, unusable: None }];
    sink.add_table(&table.name, bronze);

    let blobs = Arc::new(MemoryBlobs::new());
    let stop = CancellationToken::new();
    for day in ["2025-10-08T00:00:00Z", "2025-10-09T00:00:00Z"] {
        thermometer.now = day.parse()?;
        let source: Arc<dyn Source> = Arc::new(thermometer.clone());
        let sources = BTreeMap::from([("thermometer".to_owned(), source)]);
        let pipeline = Pipeline::new(config.clone(), sources, blobs.clone(), Arc::new(sink.clone()));
        let report = pipeline.run(&RunRequest::default(), &stop).await?;
        for run in &report.runs {
            let line = format!("run {:?}: {}, {} rows, {:?}", run.run_id, run.status, run.rows_loaded, run.csv_path);
            // A closed stdout is no reason to fail.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
        assert_eq!(report.exit_code(), 0, "{report:?}");
    }
    // Eight days of minutes, each final but the last.
    assert_eq!(sink.rows(&config.table("readings")?.target).len(), 8 * 24 * 60);
    Ok(())
}
