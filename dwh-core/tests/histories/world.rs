//! The world of a history: source, store and target in memory, and what is done to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dwh_core::blob::{Blob, BlobKey, BlobStore, Manifest};
use dwh_core::config::Environment;
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema, UniqueKey};
use dwh_core::sink::{MemoryBackup, RunFilter, RunRecord, Sink};
use dwh_core::source::{MemoryDump, MemoryTransaction, Source};
use dwh_core::{Config, MemoryBlobs, MemorySink, MemorySource, Pipeline, Timestamp};
use futures_util::TryStreamExt;

use crate::calls::Word;
use crate::model::{Model, Seen, Target};
use crate::mortal::{Life, Mortal};
use crate::steps::{Kind, Table};

/// The codes of keys that do not have their first one any more.
pub type Codes = [BTreeMap<u8, String>; 2];

/// The target of an earlier time, with the configuration that fits it.
pub struct Backup {
    pub sink: MemoryBackup,
    pub target: Target,
    pub other_key: [bool; 2],
    pub own_rows: [bool; 2],
    pub codes: Codes,
}

pub struct World {
    pub source: MemorySource,
    pub blobs: MemoryBlobs,
    pub sink: MemorySink,
    pub model: Model,
    pub clock: Timestamp,
    /// Whether the configured key is the other one.
    pub other_key: [bool; 2],
    /// The code of each key, where it is not the first one.
    pub codes: Codes,
    /// Whether versions of a row may be rows of their own by the key of today: the tool said so, or what told of it is gone.
    pub own_rows: [bool; 2],
    pub versions: u32,
    pub open: [Option<MemoryTransaction>; 2],
    /// Who has written a row and not ended yet.
    pub locks: BTreeMap<(Table, u8), usize>,
    pub dump: Option<(MemoryDump, Codes)>,
    pub backup: Option<Backup>,
    /// Everything that the tool said so far.
    pub words: Vec<Word>,
    /// For each table, how many words there were when its bronze last became what an older time or the archive knew.
    pub spoken_from: [usize; 2],
    pub disturbed: bool,
}

const COLUMNS: [(&str, &str); 4] =
    [("id", "bigint"), ("code", "text"), ("val", "text"), ("at", "timestamp with time zone")];

fn column(name: &str, type_name: &str) -> Column {
    Column { not_null: true, ..Column::new(name, type_name.parse().expect("a type")) }
}

pub fn unique(column: &str) -> UniqueKey {
    UniqueKey { name: format!("by_{column}"), columns: vec![column.to_owned()], primary: false, unusable: None }
}

pub fn schema(table: TableRef) -> TableSchema {
    TableSchema {
        table,
        kind: RelationKind::Table,
        columns: COLUMNS.iter().map(|(name, type_name)| column(name, type_name)).collect(),
        keys: vec![unique("id"), unique("code")],
        indexed: vec!["at".into()],
        row_estimate: -1,
        types: Vec::new(),
    }
}

pub fn name(table: Table) -> String {
    format!("t{table}")
}

pub fn relation(table: Table) -> TableRef {
    TableRef::new("app", name(table))
}

/// A table that stands beside it, of the same shape.
pub fn beside(table: Table) -> TableRef {
    TableRef::new("app", format!("beside{table}"))
}

pub fn bronze(table: Table) -> TableRef {
    TableRef::new("bronze", name(table))
}

impl World {
    pub fn new(kinds: [Kind; 2]) -> Self {
        // Near the machine's clock, which a worker's must agree with, at the beginning of a minute, which names of files tell.
        let clock = Timestamp::from_micros(Timestamp::now().micros() / 60_000_000 * 60_000_000);
        let (source, sink) = (MemorySource::new(clock), MemorySink::new());
        sink.set_clock(clock);
        let this = Self {
            source,
            blobs: MemoryBlobs::new(),
            sink,
            model: Model::new(kinds),
            clock,
            other_key: [false; 2],
            codes: Codes::default(),
            own_rows: [false; 2],
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

    pub fn make_bronze(&self, table: Table) {
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

    /// The code of a key at the source.
    pub fn code(&self, table: Table, key: u8) -> String {
        self.codes[table].get(&key).cloned().unwrap_or_else(|| format!("k{key}"))
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
}

pub fn table_of(name: &str) -> Option<Table> {
    name.strip_prefix('t').and_then(|number| number.parse().ok())
}

pub fn code_of(line: &str) -> &str {
    line.split(',').nth(1).expect("a code")
}

pub fn key_of(line: &str) -> u8 {
    line.split(',').next().and_then(|key| key.parse().ok()).expect("a key")
}
