//! The world of a history: source, store and target in memory, and what is done to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dwh_core::blob::{Blob, BlobKey, BlobStore, Manifest};
use dwh_core::config::Environment;
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::sink::{MemoryBackup, RunFilter, RunRecord, Sink};
use dwh_core::source::{MemoryDump, MemoryTransaction, Source};
use dwh_core::watermark::Micros;
use dwh_core::{Config, MemoryBlobs, MemorySink, MemorySource, Pipeline, Timestamp};
use futures_util::TryStreamExt;

use crate::calls::Word;
use crate::model::{Model, Seen, Target};
use crate::mortal::{Life, Mortal};
use crate::steps::{By, KEYS, Kind, Step, Table};

pub struct World {
    pub source: MemorySource,
    pub blobs: MemoryBlobs,
    pub sink: MemorySink,
    pub model: Model,
    pub clock: Timestamp,
    /// Whether the configured key is the other one.
    other_key: [bool; 2],
    versions: u32,
    open: [Option<MemoryTransaction>; 2],
    /// Who has written a row and not ended yet.
    locks: BTreeMap<(Table, u8), usize>,
    dump: Option<MemoryDump>,
    backup: Option<(MemoryBackup, Target)>,
    /// Everything that the tool said so far.
    pub words: Vec<Word>,
    /// For each table, how many words there were when its bronze last became what an older time or the archive knew.
    pub spoken_from: [usize; 2],
    pub disturbed: bool,
}

const COLUMNS: [(&str, &str); 4] =
    [("id", "bigint"), ("code", "text"), ("val", "text"), ("at", "timestamp with time zone")];

fn column(name: &str, type_name: &str) -> Column {
    Column {
        name: name.into(),
        type_name: type_name.parse().expect("a type"),
        not_null: true,
        generated: false,
        identity: false,
        geometry: false,
        default: None,
    }
}

fn unique(column: &str) -> UniqueKey {
    UniqueKey { name: format!("by_{column}"), columns: vec![column.to_owned()], primary: false, unusable: None }
}

fn schema(table: TableRef) -> TableSchema {
    TableSchema {
        table,
        kind: RelationKind::Table,
        columns: COLUMNS.iter().map(|(name, type_name)| column(name, type_name)).collect(),
        keys: vec![unique("id"), unique("code")],
        indexed: vec!["at".into()],
        row_estimate: -1,
    }
}

pub fn name(table: Table) -> String {
    format!("t{table}")
}

pub fn relation(table: Table) -> TableRef {
    TableRef::new("app", name(table))
}

/// A table that stands beside it, of the same shape.
fn beside(table: Table) -> TableRef {
    TableRef::new("app", format!("beside{table}"))
}

pub fn bronze(table: Table) -> TableRef {
    TableRef::new("bronze", name(table))
}

impl World {
    pub fn new(kinds: [Kind; 2]) -> Self {
        // Near the machine's clock: what is checked against that is no part of a history.
        let clock = Timestamp::from_micros(Timestamp::now().micros() / 1_000_000 * 1_000_000);
        let (source, sink) = (MemorySource::new(clock), MemorySink::new());
        sink.set_clock(clock);
        let this = Self {
            source,
            blobs: MemoryBlobs::new(),
            sink,
            model: Model::new(kinds),
            clock,
            other_key: [false; 2],
            versions: 0,
            open: [None, None],
            locks: BTreeMap::new(),
            dump: None,
            backup: None,
            words: Vec::new(),
            spoken_from: [0; 2],
            disturbed: false,
        };
        for table in 0..2 {
            this.source.create(schema(relation(table)));
            this.source.create(schema(beside(table)));
            this.make_bronze(table);
        }
        this
    }

    /// What `dwh migrate` does: it makes what is missing, and lets be what is there.
    pub async fn migrate(&self, table: Table) {
        if self.sink.describe(&bronze(table)).await.expect("a look").is_none() {
            self.make_bronze(table);
        }
    }

    fn make_bronze(&self, table: Table) {
        let mut schema = schema(bronze(table));
        if self.model.kinds[table] == Kind::Scd {
            schema.columns.push(column("_uploaded_at", "timestamp with time zone"));
            schema.keys.clear();
        }
        self.sink.add_table(&name(table), schema);
    }

    /// The pipeline of a new process.
    pub fn pipeline(&self, life: &Life) -> Pipeline {
        let mut toml = String::from(
            "[project]\nname = \"p\"\n[source.app]\nurl = \"postgresql://localhost/app\"\n[target]\n\
             url = \"postgresql://localhost/warehouse\"\nconnections = 1\n[blob]\nurl = \"file:///nowhere\"\n\
             [retention]\nprocessed = \"60s\"\nexports = \"60s\"\nruns = \"60s\"\nset_aside = \"60s\"\n",
        );
        for table in 0..2 {
            let key = if self.other_key[table] { "code" } else { "id" };
            let of_kind = match self.model.kinds[table] {
                Kind::Update => "mode = \"incremental\"\non_conflict = \"update\"",
                Kind::Nothing => "mode = \"incremental\"",
                Kind::Snapshot => "mode = \"snapshot\"\nallow_empty = true",
                Kind::Scd => "mode = \"scd\"",
            };
            let windows = match self.model.kinds[table] {
                Kind::Update | Kind::Nothing => {
                    format!("watermark = \"at\"\nkey = [\"{key}\"]\nwindow = \"30s\"\n")
                }
                Kind::Snapshot | Kind::Scd => String::new(),
            };
            toml += &format!("[[table]]\nname = \"t{table}\"\nrelation = \"app.t{table}\"\n{of_kind}\n{windows}");
        }
        let config = Config::parse(&toml, "dwh.toml".as_ref(), Environment::default()).expect("configuration");
        let mortal = Mortal { inner: self.source.clone(), life: life.clone() };
        let sources = BTreeMap::from([("app".to_owned(), Arc::new(mortal) as Arc<dyn Source>)]);
        let blobs = Arc::new(Mortal { inner: self.blobs.clone(), life: life.clone() });
        let sink = Arc::new(Mortal { inner: self.sink.clone(), life: life.clone() });
        Pipeline::new(config, sources, blobs, sink)
    }

    /// What the source shows at this moment.
    pub fn seen(&self) -> [Seen; 2] {
        [0, 1].map(|table| {
            let rows = self.source.visible(&relation(table));
            rows.into_iter().map(|(line, at)| (key_of(&line), (line, at))).collect()
        })
    }

    /// Bronze as lines.
    pub fn bronze(&self, table: Table) -> Vec<String> {
        let rows = self.sink.rows(&bronze(table));
        rows.into_iter()
            .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join(","))
            .collect()
    }

    /// Where the watermark of a table stands.
    pub async fn watermark(&self, table: Table) -> Timestamp {
        let overview = self.sink.overview().await.expect("a look");
        overview.tables.get(&name(table)).map_or(Timestamp::NEG_INFINITY, |table| table.state.low())
    }

    /// The run log, the oldest first.
    pub async fn records(&self) -> Vec<(Table, RunRecord)> {
        let mut records = self.sink.runs(&RunFilter::default()).await.expect("run log");
        records.reverse();
        records.into_iter().filter_map(|record| Some((table_of(&record.table_name)?, record))).collect()
    }

    /// The manifests of a folder, by run.
    pub async fn manifests(&self, folder: &str, table: Table) -> Vec<Manifest> {
        let prefix = format!("p/{folder}/t{table}/");
        let keys: Vec<BlobKey> = self.blobs.list(&prefix).map_ok(|meta| meta.key).try_collect().await.expect("names");
        let mut found = Vec::new();
        for key in keys.iter().filter(|key| key.is_manifest()) {
            let Blob { body, .. } = self.blobs.get(key).await.expect("a manifest");
            let json = body.try_collect::<Vec<_>>().await.expect("bytes").concat();
            found.push(Manifest::from_json(key, &json).expect("a manifest"));
        }
        found.sort_by_key(|manifest| (manifest.run_id, manifest.run_started_at));
        found
    }

    /// Does what is no call of the tool; what cannot be done is left out.
    pub async fn happen(&mut self, step: Step) {
        self.disturbed |= step.disturbs();
        match step {
            Step::Pass(seconds) => self.pass(seconds),
            Step::Put(table, key, by) => self.put(&relation(table), table, key, by),
            Step::Delete(table, key, by) => self.delete(table, key, by),
            Step::Spread(table) => {
                for key in 0..KEYS {
                    self.put(&relation(table), table, key, By::Now);
                    self.pass(35);
                }
            }
            Step::Begin(slot) if self.open[slot].is_none() => self.open[slot] = Some(self.source.begin()),
            Step::Begin(_) => {}
            Step::Commit(slot) => {
                if let Some(transaction) = self.end(slot) {
                    transaction.commit();
                }
            }
            Step::RollBack(slot) => drop(self.end(slot)),
            Step::Fill(table, key) => self.put(&beside(table), table, key + 100, By::Now),
            Step::Attach(table) => self.attach(table),
            Step::Swap(table) => {
                self.end_all();
                self.source.swap(&relation(table), &beside(table));
            }
            Step::Refill(table, key) => {
                self.end_all();
                self.source.truncate(&relation(table));
                self.put(&relation(table), table, key, By::Now);
            }
            Step::BackUpSource => self.dump = Some(self.source.backup()),
            Step::RestoreSource => self.restore_source(),
            Step::BackUpTarget => self.backup = Some((self.sink.backup(), self.model.target.clone())),
            Step::RestoreTarget => {
                if let Some((backup, target)) = &self.backup {
                    self.sink.restore(backup);
                    self.model.target = target.clone();
                    self.spoken_from = [self.words.len(); 2];
                }
            }
            Step::MakeBronzeAnew(table) => {
                self.make_bronze(table);
                self.model.emptied(table);
            }
            Step::TruncateBronze(table) => {
                self.sink.truncate(&bronze(table));
                self.model.emptied(table);
            }
            Step::ChangeKey(table) => {
                self.other_key[table] = !self.other_key[table];
                let key = if self.other_key[table] { "code" } else { "id" };
                self.sink.add_key(&bronze(table), unique(key));
            }
            Step::LoseCsv(table, at, both) => self.lose(table, at, both).await,
            Step::Call(..) => {}
        }
    }

    pub fn pass(&mut self, seconds: u8) {
        self.clock = self.clock.plus(Micros::seconds(seconds.into()));
        self.source.set_clock(self.clock);
        self.sink.set_clock(self.clock);
    }

    fn line(&mut self, key: u8, at: Timestamp) -> String {
        self.versions += 1;
        format!("{key},k{key},v{},{at}", self.versions)
    }

    /// The version of a row that whoever writes it now would see, unless another transaction has written it.
    fn present(&self, relation: &TableRef, key: u8) -> Option<String> {
        self.source.visible(relation).into_iter().map(|(line, _)| line).find(|line| key_of(line) == key)
    }

    fn put(&mut self, relation: &TableRef, table: Table, key: u8, by: By) {
        let old = self.present(relation, key);
        if self.locks.contains_key(&(table, key)) {
            return;
        }
        let at = match by {
            By::Now => self.clock,
            By::Earlier(seconds) => self.clock.minus(Micros::seconds(seconds.into())),
            By::Ever => Timestamp::NEG_INFINITY,
            By::Open(slot) => match &self.open[slot] {
                Some(transaction) => transaction.started_at(),
                None => return,
            },
        };
        let line = self.line(key, at);
        match (by, old) {
            (By::Open(slot), old) => {
                self.locks.insert((table, key), slot);
                let Some(transaction) = &self.open[slot] else { return };
                match old {
                    Some(old) => transaction.update(relation, &old, &line),
                    None => transaction.insert(relation, &line),
                }
            }
            (_, Some(old)) => self.source.update(relation, &old, &line, at),
            (_, None) => self.source.insert(relation, &line, at),
        }
    }

    fn delete(&mut self, table: Table, key: u8, by: By) {
        let relation = relation(table);
        let Some(old) = self.present(&relation, key).filter(|_| !self.locks.contains_key(&(table, key))) else {
            return;
        };
        match by {
            By::Open(slot) => {
                let Some(transaction) = &self.open[slot] else { return };
                transaction.delete(&relation, &old);
                self.locks.insert((table, key), slot);
            }
            By::Now | By::Earlier(_) | By::Ever => self.source.delete(&relation, &old),
        }
    }

    fn end(&mut self, slot: usize) -> Option<MemoryTransaction> {
        self.locks.retain(|_, holder| *holder != slot);
        self.open[slot].take()
    }

    pub fn end_all(&mut self) {
        for slot in 0..self.open.len() {
            drop(self.end(slot));
        }
    }

    /// Unless a key of it is there: a key of the parent holds in all its partitions.
    fn attach(&mut self, table: Table) {
        let keys = |relation: &TableRef| -> Vec<u8> {
            self.source.visible(relation).iter().map(|(line, _)| key_of(line)).collect()
        };
        let (there, coming) = (keys(&relation(table)), keys(&beside(table)));
        if coming.is_empty() || coming.iter().any(|key| there.contains(key)) {
            return;
        }
        self.end_all();
        self.source.attach(&relation(table), &beside(table));
        self.source.create(schema(beside(table)));
    }

    fn restore_source(&mut self) {
        if let Some(dump) = self.dump.clone() {
            self.end_all();
            self.source.restore(&dump);
        }
    }

    async fn lose(&mut self, table: Table, at: u8, both: bool) {
        let manifests = self.manifests("processed", table).await;
        let Some(manifest) = manifests.get(usize::from(at) % manifests.len().max(1)) else { return };
        let csv = BlobKey::parse(&manifest.csv.as_str().replace("/exports/", "/processed/")).expect("a name");
        self.model.lost(table, manifest);
        self.blobs.delete(&csv).await.expect("deleted");
        if both {
            self.blobs.delete(&csv.manifest()).await.expect("deleted");
        }
    }
}

pub fn table_of(name: &str) -> Option<Table> {
    name.strip_prefix('t').and_then(|number| number.parse().ok())
}

pub fn key_of(line: &str) -> u8 {
    line.split(',').next().and_then(|key| key.parse().ok()).expect("a key")
}
