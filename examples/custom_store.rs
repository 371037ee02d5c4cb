//! A store of your own, in memory: bytes that several objects share are kept once, under their SHA-256.
//!
//! A table that is read whole has the same CSV each day on which nothing changed; here they take the room of one. Nothing
//! need be installed: `cargo run -p dwh-examples --example custom_store`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dwh_core::blob::{Blob, BlobMeta, Body};
use dwh_core::config::Environment;
use dwh_core::schema::{Column, RelationKind, TableRef, TableSchema};
use dwh_core::{
    BlobKey, BlobStore, Config, Error, ErrorKind, MemorySink, MemorySource, Pipeline, Result, RunRequest, Source,
    Timestamp,
};
use futures_util::TryStreamExt;
use futures_util::stream::{self, BoxStream};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

type Hash = [u8; 32];

/// Objects in memory, equal ones once. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Deduplicated(Arc<Mutex<Shelf>>);

#[derive(Debug, Default)]
struct Shelf {
    names: BTreeMap<BlobKey, (Hash, Timestamp)>,
    bytes: BTreeMap<Hash, Bytes>,
}

impl Deduplicated {
    /// How many objects there are, and how many different ones.
    pub fn counts(&self) -> (usize, usize) {
        let shelf = self.shelf();
        (shelf.names.len(), shelf.bytes.len())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nobody panics while it holds the lock, so what is behind it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn hash(&self, key: &BlobKey) -> Result<Hash> {
        let missing = || Error::new(ErrorKind::NotFound, format!("blob `shelf:{key}` does not exist"));
        self.names.get(key).map(|(hash, _)| *hash).ok_or_else(missing)
    }

    /// Lets go of bytes that have no name any more.
    fn tidy(&mut self, hash: Hash) {
        if !self.names.values().any(|(other, _)| *other == hash) {
            self.bytes.remove(&hash);
        }
    }
}

#[async_trait]
impl BlobStore for Deduplicated {
    fn url(&self) -> &str {
        "shelf:"
    }

    async fn put(&self, key: &BlobKey, body: &dyn Body) -> Result<u64> {
        // An error of the body goes to the caller as it is, and nothing was written.
        let whole = body.open().try_collect::<BytesMut>().await?.freeze();
        let hash: Hash = Sha256::digest(&whole).into();
        let bytes = whole.len() as u64;
        let mut shelf = self.shelf();
        match shelf.names.get(key) {
            Some((there, _)) if *there == hash => {}
            Some(_) => return Err(Error::new(ErrorKind::Exists, format!("blob `shelf:{key}` holds other bytes"))),
            None => {
                shelf.bytes.insert(hash, whole);
                shelf.names.insert(key.clone(), (hash, Timestamp::now()));
            }
        }
        Ok(bytes)
    }

    async fn get(&self, key: &BlobKey) -> Result<Blob> {
        let shelf = self.shelf();
        let bytes = shelf.bytes[&shelf.hash(key)?].clone();
        Ok(Blob { bytes: bytes.len() as u64, body: bytes.open() })
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<BlobMeta>> {
        let shelf = self.shelf();
        let found = shelf.names.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
        let metas = found.map(|(key, (hash, modified))| {
            Ok(BlobMeta { key: key.clone(), bytes: shelf.bytes[hash].len() as u64, modified: *modified })
        });
        Box::pin(stream::iter(metas.collect::<Vec<_>>()))
    }

    async fn copy(&self, from: &BlobKey, to: &BlobKey) -> Result<()> {
        let mut shelf = self.shelf();
        let hash = shelf.hash(from)?;
        if let Some((before, _)) = shelf.names.insert(to.clone(), (hash, Timestamp::now())) {
            shelf.tidy(before);
        }
        Ok(())
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let mut shelf = self.shelf();
        if let Some((hash, _)) = shelf.names.remove(key) {
            shelf.tidy(hash);
        }
        Ok(())
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

/// The same table twice, which has not changed in between.
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
    let sink = MemorySink::new();
    sink.add_table("devices", TableSchema { table: config.table("devices")?.target.clone(), ..devices });

    let store = Deduplicated::default();
    let sources = BTreeMap::from([("app".to_owned(), Arc::new(source) as Arc<dyn Source>)]);
    let pipeline = Pipeline::new(config, sources, Arc::new(store.clone()), Arc::new(sink));
    for _ in 0..2 {
        let report = pipeline.run(&RunRequest::default(), &CancellationToken::new()).await?;
        assert_eq!(report.exit_code(), 0, "{report:?}");
    }
    let (objects, different) = store.counts();
    // Two CSV files that are equal, and the manifest of each.
    assert_eq!((objects, different), (4, 3));
    // A closed stdout is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{objects} objects, {different} of them different");
    Ok(())
}
