//! A source of your own: a journal, kept in memory, to which programs append.
//!
//! An entry is stamped when it is begun and seen once it is done, so entries appear below others that are seen already: what
//! the bound is for. Nothing need be installed: `cargo run -p dwh-examples --example custom_source`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dwh_core::config::{Environment, TableConfig};
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::source::{BoundRequest, ReadRequest, Reading, Snapshot, SourceIdentity, Sweep};
use dwh_core::watermark::{BoundRule, Holder, Micros};
use dwh_core::{
    Config, Error, ErrorKind, MemoryBlobs, MemorySink, Pipeline, Plan, Result, RunRequest, SafeBound, Source, Timestamp,
};
use tokio_util::sync::CancellationToken;

const TICK: Micros = Micros(1);

/// The journal. Clones share its entries.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<Book>>);

#[derive(Debug)]
struct Book {
    clock: Timestamp,
    /// In the order in which they were begun: the place is the number of the transaction.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: i64,
    note: Option<String>,
    recorded_at: Timestamp,
    done: bool,
}

impl Journal {
    /// An empty journal, and what time it is.
    pub fn new(clock: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Book { clock, entries: Vec::new() })))
    }

    /// Begins an entry, which is stamped now and seen by nobody yet.
    pub fn begin(&self, id: i64, note: Option<&str>) {
        let recorded_at = self.tick();
        self.book().entries.push(Entry { id, note: note.map(str::to_owned), recorded_at, done: false });
    }

    /// Lets an entry be seen.
    pub fn finish(&self, id: i64) {
        self.book().entries.iter_mut().filter(|entry| entry.id == id).for_each(|entry| entry.done = true);
    }

    /// Lets time pass, and says what time it is then.
    pub fn tick(&self) -> Timestamp {
        let mut book = self.book();
        book.clock = book.clock.plus(TICK);
        book.clock
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nobody panics while it holds the lock, so what is behind it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn open(&self) -> Option<(usize, &Entry)> {
        self.entries.iter().enumerate().find(|(_, entry)| !entry.done)
    }

    fn snapshot(&self) -> Snapshot {
        let identity = SourceIdentity {
            system_identifier: "journal".to_owned(),
            timeline: 1,
            database: "journal".to_owned(),
            server_version: "1".to_owned(),
            in_recovery: false,
        };
        let end = self.entries.len();
        let oldest = self.open().map_or(end, |(number, _)| number);
        Snapshot::new(self.clock, oldest as u64, end as u64, identity)
    }
}

impl Entry {
    /// A field as PostgreSQL writes it into a CSV: nothing for NULL, quotes around an empty text.
    fn field(&self, column: &str) -> Result<String> {
        Ok(match column {
            "id" => self.id.to_string(),
            "recorded_at" => self.recorded_at.to_string(),
            "note" => match &self.note {
                None => String::new(),
                Some(note) if note.is_empty() || note.contains(['"', ',', '\n', '\r']) => {
                    format!("\"{}\"", note.replace('"', "\"\""))
                }
                Some(note) => note.clone(),
            },
            other => return Err(Error::new(ErrorKind::Contract, format!("column `{other}`: a journal has none"))),
        })
    }
}

#[async_trait]
impl Source for Journal {
    async fn describe(&self, table: &TableConfig) -> Result<TableSchema> {
        let entries = TableRef::new("public", "events");
        if table.relation.as_ref() != Some(&entries) {
            let message = format!("table `{}`: a journal has `{entries}` alone", table.name);
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let column = |name: &str, type_name: &str, not_null| {
            Ok::<_, Error>(Column { not_null, ..Column::new(name, type_name.parse()?) })
        };
        Ok(TableSchema {
            table: entries,
            kind: RelationKind::Table,
            columns: vec![
                column("id", "bigint", true)?,
                column("note", "text", false)?,
                column("recorded_at", "timestamp with time zone", true)?,
            ],
            keys: vec![],
            indexed: vec![],
            row_estimate: -1,
            types: vec![],
        })
    }

    async fn earliest(&self, _plan: &Plan, low: Timestamp) -> Result<Option<Timestamp>> {
        let book = self.book();
        let seen = book.entries.iter().filter(|entry| entry.done).map(|entry| entry.recorded_at);
        Ok(seen.filter(|stamp| *stamp > low).min())
    }

    /// The promise: no entry at or below the bound will ever be seen later. It ends before the oldest that is open.
    async fn bound(&self, request: BoundRequest<'_>) -> Result<SafeBound> {
        let book = self.book();
        if request.low > book.clock {
            return Err(Error::new(ErrorKind::Data, "the watermark lies in the future of the journal's clock"));
        }
        let (until, rule) = match book.open() {
            None => (book.clock, BoundRule::Quiet),
            Some((_, entry)) => {
                let holder = Holder { pid: 0, user: None, application: None, since: entry.recorded_at };
                (entry.recorded_at.minus(TICK), BoundRule::OpenTransaction(holder))
            }
        };
        let watermark = until.min(request.run_started_at).max(request.low);
        Ok(SafeBound::new(watermark, rule, book.clock))
    }

    async fn read(&self, request: ReadRequest<'_>) -> Result<Box<dyn Reading>> {
        let book = self.book();
        let snapshot = book.snapshot();
        let high = request.upper(snapshot.taken_at);
        let low = request.window.map_or(Timestamp::NEG_INFINITY, |window| window.low);
        let names: Vec<&str> = request.plan.columns.iter().map(|column| column.column.name.as_str()).collect();
        let mut csv = names.join(",") + "\n";
        let mut late_rows = 0;
        for (number, entry) in book.entries.iter().enumerate().filter(|(_, entry)| entry.done) {
            let stamp = entry.recorded_at;
            let late = stamp <= low
                && match request.sweep {
                    Sweep::Off => false,
                    Sweep::Xmin { since, back_to } => number as u64 >= since && stamp > back_to,
                    Sweep::LookBack { back_to } => stamp > back_to,
                };
            if late || (stamp > low && high.is_none_or(|high| stamp <= high)) {
                let fields: Vec<String> = names.iter().map(|name| entry.field(name)).collect::<Result<_>>()?;
                csv += &(fields.join(",") + "\n");
                late_rows += u64::from(late);
            }
        }
        Ok(Box::new(Sheet { snapshot, high, late_rows, csv: Some(Bytes::from(csv)) }))
    }
}

/// Rows on their way, all in one piece.
struct Sheet {
    snapshot: Snapshot,
    high: Option<Timestamp>,
    late_rows: u64,
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

    async fn late_rows(&mut self) -> Result<u64> {
        Ok(self.late_rows)
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
    name = "office"
    [source.journal]
    url = "journal://office"
    [target]
    url = "memory"
    [blob]
    url = "file:///memory"
    [[table]]
    name = "events"
    relation = "public.events"
    mode = "incremental"
    watermark = "recorded_at"
    key = ["id"]
"#;

/// Two runs: while the first entry is open, and once it is done.
#[tokio::main]
pub async fn main() -> Result<()> {
    let config = Config::parse(CONFIG, "dwh.toml".as_ref(), Environment::default())?;
    let journal = Journal::new("2026-10-01T12:00:00Z".parse()?);
    let sink = MemorySink::new();
    let table = config.table("events")?.clone();
    let keys =
        vec![UniqueKey { name: "events_pkey".to_owned(), columns: table.key.clone(), primary: true, unusable: None }];
    let bronze = TableSchema { table: table.target.clone(), keys, ..journal.describe(&table).await? };
    sink.add_table(&table.name, bronze);

    let sources = BTreeMap::from([("journal".to_owned(), Arc::new(journal.clone()) as Arc<dyn Source>)]);
    let pipeline = Pipeline::new(config, sources, Arc::new(MemoryBlobs::new()), Arc::new(sink.clone()));
    journal.begin(1, Some("begun first, done last"));
    for id in 2..=3 {
        journal.begin(id, None);
        journal.finish(id);
    }
    for rows in [2, 3] {
        let report = pipeline.run(&RunRequest::default(), &CancellationToken::new()).await?;
        assert_eq!(report.exit_code(), 0, "{report:?}");
        assert_eq!(sink.rows(&table.target).len(), rows);
        // A closed stdout is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{rows} rows in bronze");
        journal.finish(1);
        journal.tick();
    }
    Ok(())
}
